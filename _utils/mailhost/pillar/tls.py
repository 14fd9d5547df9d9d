"""The pillar of the host's certificate: its source, and how the keys of each source are read."""

import re
from dataclasses import dataclass
from typing import Any

from mailhost.pillar import Draft
from mailhost.schema import Bool, Choice, Domain, Duration, Integer, Items, Key, Section, Text, Wrong
from mailhost.tls.certificate import blocks, is_pair, load_key, parse_chain

_PATH = Text(r"/\S+", "an absolute path")
_KEYS_OF = {
    "files": ("certificate", "key"),
    "text": ("certificate_text", "key_text"),
    "ca": ("ca:server",),
    "acme": ("acme:challenge",),
}
"""The keys that select each source; the first one stands for it in a message."""
_BESIDE = {
    "ca": ("signing_policy", "chain"),
    "acme": ("email", "server", "ca_file", "webroot"),
}
"""Keys that have no meaning without the key that selects their source."""
SELF_SIGNED = "self-signed"
LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


@dataclass(frozen=True)
class Pem:
    """PEM text with blocks of one kind. Messages do not quote it, since it may be a key."""

    label: str
    form: str

    def read(self, value: object) -> str:
        blocks = re.findall(rf"-----BEGIN {self.label}-----.+?-----END {self.label}-----", str(value), re.DOTALL)
        if not isinstance(value, str) or not blocks:
            raise Wrong(f"the value is not {self.form}")
        return value


_CHAIN = Pem("CERTIFICATE", "PEM text (-----BEGIN CERTIFICATE-----)")
_KEY = Pem("[A-Z ]*PRIVATE KEY", "PEM text of a private key (-----BEGIN PRIVATE KEY-----)")

_CA = Section(
    {
        "server": Key(
            Text(r"[A-Za-z0-9._-]+", "the id of a minion"),
            "The minion that is the authority: it signs (`x509.sign_remote_certificate`), and the master's `peer` lets "
            "this host ask it. On Salt 3006 both need `features: {x509_v2: true}` in their configuration.",
            computed="none",
        ),
        "signing_policy": Key(
            Text(r"[A-Za-z0-9._-]+", "the name of a signing policy"),
            "Its signing policy for this host.",
            computed="must be given with `server`",
        ),
        "days_remaining": Key(Integer(1, 3650, "days"), "A highstate renews what is valid for fewer days.", 30),
        "chain": Key(
            _CHAIN,
            "Certificates to serve after the host's own, PEM text: those between it and the root, or the root, "
            "where there are none.",
            computed="none",
        ),
    }
)

_ACME = Section(
    {
        "challenge": Key(
            Choice(("http-01", "dns-01")),
            "How the authority verifies that the names belong to this host: `http-01`, by a file at port 80, which "
            "is opened for it; `dns-01`, by a TXT record, sent with the credential of `dns:rfc2136`.",
            computed="none: no ACME",
        ),
        "email": Key(
            Text(r"[^@\s]+@[A-Za-z0-9.-]+", "a mail address (user@example.com)"),
            "The account's address, to which the authority writes.",
            computed="none is given",
        ),
        "server": Key(
            Text(r"https://\S+", "a URL (https://…)"),
            "The authority's directory (RFC 8555 section 7.1.1). By naming a challenge you agree to its terms.",
            computed="Let's Encrypt",
        ),
        "ca_file": Key(
            _PATH,
            "Root certificates on the host, PEM, for the directory's own HTTPS, where the authority is a private one.",
            computed="the system's",
        ),
        "webroot": Key(
            _PATH,
            "With `http-01`, the folder of the web server that listens at port 80.",
            computed="none: certbot itself listens while it asks",
        ),
        "propagation": Key(
            Duration(), "With `dns-01`, how long after its record was sent the authority may look for it.", 60
        ),
    }
)

HOST_KEY = Key(
    Section(
        {
            "certificate": Key(
                _PATH,
                "Certificate chain on the host, PEM. One source of the certificate can be given: files, text, `ca` or "
                "`acme`.",
                computed="a self-signed one is made: mail servers take it, people's mail programs warn",
            ),
            "key": Key(_PATH, "Its private key, PEM.", computed="as above"),
            "certificate_text": Key(_CHAIN, "Certificate chain as PEM text.", computed="none"),
            "key_text": Key(
                _KEY,
                "Its private key as PEM text, not encrypted; encrypt the pillar (GPG).",
                computed="none",
            ),
            "ca": Key(_CA, "A certificate from Salt's own authority; its key is made on this host, and stays."),
            "acme": Key(_ACME, "A certificate by ACME (RFC 8555), with certbot, whose own timer renews it."),
            "names": Key(
                Items(Domain(), 1),
                "Names in a certificate of `ca` or `acme`; `hostname` should be one of them.",
                computed="`hostname`",
            ),
            "tlsa": Key(
                Bool(),
                "Emit and check the host's TLSA record (`3 1 1`, DANE for SMTP). Its zone must be signed. A new key "
                "needs its record in DNS for two TTLs before it is served, so let renewals keep the key.",
                False,
            ),
        }
    ),
    "The certificate of Postfix and Dovecot (docs/tls.md).",
)


def fill(settings: Draft, problems: list[str], folder: str) -> None:
    """Fill in ``source``, the files that are served and what depends on other keys; append problems.

    Certificate and key text is checked and then removed: settings are shown and stored, and a key belongs only in its
    file.

    :param folder: the folder for certificates that the formula itself writes.
    """
    tls = settings["tls"]
    sources = [source for source, keys in _KEYS_OF.items() if any(_at(tls, key) for key in keys)]
    tls["source"] = sources[0] if sources else SELF_SIGNED
    if len(sources) > 1:
        given = ", ".join(f"mailserver:tls:{next(key for key in _KEYS_OF[one] if _at(tls, key))}" for one in sources)
        problems.append(f"{given}: these are {len(sources)} sources of one certificate; keep one")
    _check_alone(tls, problems)
    if tls["names"] is None:
        tls["names"] = [settings["hostname"]]
    texts = tls.pop("certificate_text"), tls.pop("key_text")
    if tls["source"] == "text" and all(texts):
        _check_texts(*texts, problems)
    tls["ca"]["chain"] = blocks(tls["ca"]["chain"] or "")
    if tls["source"] == "ca" and tls["ca"]["signing_policy"] is None:
        problems.append("mailserver:tls:ca:signing_policy: not given, but mailserver:tls:ca:server is")
    if tls["source"] == "acme":
        _fill_acme(settings, problems)
    if tls["source"] in ("text", "ca", "acme"):
        for part in ("certificate", "key"):
            tls[part] = tls[part] or f"{folder}/{tls['source']}/{part}.pem"


def _at(tls: Draft, key: str) -> Any:
    outer, _, inner = key.partition(":")
    return tls[outer][inner] if inner else tls[outer]


def _check_alone(tls: Draft, problems: list[str]) -> None:
    """Report incomplete settings: a certificate without its key, or keys of a source that is not selected."""
    for one, other in (_KEYS_OF["files"], _KEYS_OF["text"]):
        if bool(tls[one]) != bool(tls[other]):
            given, missing = (one, other) if tls[one] else (other, one)
            problems.append(
                f"mailserver:tls:{missing}: not given, but mailserver:tls:{given} is; a certificate needs its key"
            )
    for source, keys in _BESIDE.items():
        needed = _KEYS_OF[source][0]
        for key in keys:
            if tls[source][key] and not _at(tls, needed):
                problems.append(f"mailserver:tls:{needed}: not given, but mailserver:tls:{source}:{key} is")


def _check_texts(certificate: str, key: str, problems: list[str]) -> None:
    where = "mailserver:tls"
    try:
        chain = parse_chain(certificate)
    except ValueError:
        chain = []
    if not chain:
        problems.append(f"{where}:certificate_text: what calls itself a certificate in it is none")
    try:
        private = load_key(key.encode())
    except ValueError as err:
        reason = (
            "the key is encrypted, so that no daemon can read it"
            if str(err) == "the key is encrypted"
            else "it is no key"
        )
        problems.append(f"{where}:key_text: {reason}")
        return
    if chain and not is_pair(private, chain[0]):
        problems.append(f"{where}:key_text: this is not the key of the first certificate of {where}:certificate_text")


def _fill_acme(settings: Draft, problems: list[str]) -> None:
    acme, where = settings["tls"]["acme"], "mailserver:tls:acme"
    acme["server"] = acme["server"] or LETS_ENCRYPT
    if acme["challenge"] == "dns-01" and settings["dns"]["rfc2136"]["server"] is None:
        problems.append(
            f"mailserver:dns:rfc2136:server: not given, but {where}:challenge is dns-01; say which primary server "
            "takes the record, and have the TSIG key in mailserver:dns:rfc2136:key_file"
        )
    if acme["challenge"] != "http-01" and acme["webroot"]:
        problems.append(f"{where}:webroot: given, but {where}:challenge is not http-01")
    if acme["challenge"] == "http-01" and not acme["webroot"] and settings["mta_sts"]["serve"] == "nginx":
        problems.append(
            f"{where}:webroot: not given, but nginx serves MTA-STS on this host, and may have port 80; say the folder "
            "of its site there (Debian: /var/www/html, EL: /usr/share/nginx/html)"
        )
