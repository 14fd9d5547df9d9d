"""A certificate by ACME: when certbot must get one, its command line, and the credentials of its DNS plugin."""

import os
import re
import socket
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from mailhost.errors import AcmeError, MailserverError
from mailhost.files import AnyPath
from mailhost.publish.credential import read_credential
from mailhost.shapes import DnsRfc2136, TlsAcme
from mailhost.tls.certificate import names_of, read_chain

_AUTHENTICATORS = {"dns-01": "dns-rfc2136", "http-01": "standalone"}
_LIMIT = 300
"""Seconds for certbot: the longest wait for a record, plus a slow authority."""
_HEADER = "# Written by Salt (mailserver/tls); change the TSIG key of mailserver:dns:rfc2136, not this file.\n"


def lacking(lineage: str, names: Iterable[str], acme: TlsAcme, folder: AnyPath, reuse_key: bool) -> str | None:
    """Return why certbot must issue a certificate now, or ``None``; its own timer renews it.

    :param lineage: certbot's name for the certificate.
    :param acme: the pillar's section ``tls:acme``.
    :param folder: certbot's folder, ``/etc/letsencrypt``.
    """
    path = Path(folder) / "live" / lineage / "fullchain.pem"
    try:
        chain = read_chain(path)
        known = _known(Path(folder) / "renewal" / f"{lineage}.conf")
    except (OSError, ValueError):
        chain = []
    if not chain:
        return f"{path} is not there"
    if set(names_of(chain[0])) != set(names):
        return f"{path} is for {', '.join(names_of(chain[0]))}"
    wanted = {"server": acme["server"], "authenticator": authenticator(acme), "reuse_key": str(reuse_key)}
    for key, value in wanted.items():
        if known.get(key, "False") != value:
            return f"{path} was issued with {key} = {known.get(key, 'False')}, and {value} is wanted"
    return None


def _known(path: Path) -> dict[str, str]:
    """Return what certbot records about a certificate: the lines ``key = value`` of its renewal file."""
    return dict(re.findall(r"^(\w+) = (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE))


def authenticator(acme: TlsAcme) -> str:
    """Return certbot's name for the method that answers the challenge."""
    # Only a pillar that names a challenge has ACME as its source.
    return "webroot" if acme["webroot"] else _AUTHENTICATORS[cast(str, acme["challenge"])]


def command(lineage: str, names: Iterable[str], acme: TlsAcme, credentials: str, reuse_key: bool) -> list[str]:
    """Return the words of the command that gets the certificate; it contains all of certbot's options."""
    way = authenticator(acme)
    more = {
        "webroot": ("--webroot-path", acme["webroot"]),
        "dns-rfc2136": (
            "--dns-rfc2136-credentials",
            credentials,
            "--dns-rfc2136-propagation-seconds",
            str(acme["propagation"]),
        ),
    }
    return [
        *("certbot", "certonly", "--non-interactive", "--agree-tos", "--cert-name", lineage),
        *("--server", acme["server"], "--key-type", "ecdsa"),
        *(("--email", acme["email"]) if acme["email"] else ("--register-unsafely-without-email",)),
        *("--authenticator", way, *more.get(way, ())),
        *(("--reuse-key",) if reuse_key else ()),
        *("--force-renewal", "--renew-with-new-domains"),
        *(word for name in names for word in ("-d", name)),
    ]


def issue(words: Sequence[str], ca_file: str | None) -> None:
    """Run certbot.

    :raises AcmeError: with certbot's own last words; there is no new certificate.
    """
    environment = {**os.environ, **({"REQUESTS_CA_BUNDLE": ca_file} if ca_file else {})}
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=_LIMIT, check=False, env=environment)
    except FileNotFoundError as err:
        raise AcmeError("certbot is not installed") from err
    except subprocess.TimeoutExpired as err:
        raise AcmeError(f"certbot did not end in {_LIMIT} s") from err
    if done.returncode:
        raise AcmeError(_words(done.stderr + done.stdout))


def _words(text: str) -> str:
    """Return certbot's message about a failure, without its advice on where to ask and where its log is."""
    lines = [line.strip() for line in text.splitlines()]
    kept = [line for line in lines if line and not re.match(r"Saving debug log|Ask for help|- - -|Hint:", line)]
    return " ".join(kept)[-600:]


def credentials(rfc2136: DnsRfc2136) -> str:
    """Return the text of the file that gives certbot's plugin the TSIG key and the server.

    Older versions of the plugin accept only an address, so the server's name is looked up.

    :param rfc2136: the pillar's section ``dns:rfc2136``.
    :raises MailserverError: the key's file cannot be used, or the server's name has no address.
    """
    known = read_credential(rfc2136)
    try:
        address = socket.getaddrinfo(known.server, known.port, type=socket.SOCK_STREAM)[0][4][0]
    except OSError as err:
        raise AcmeError(f"{known.server} (mailserver:dns:rfc2136:server) has no address: {err.strerror}") from err
    values = {
        "server": address,
        "port": known.port,
        "name": f"{known.name}.",
        "secret": known.secret,
        "algorithm": known.algorithm.upper(),
    }
    return _HEADER + "".join(f"dns_rfc2136_{key} = {value}\n" for key, value in values.items())


def put_private(path: AnyPath, text: str) -> None:
    """Write a file that only root can read, atomically.

    :raises AcmeError: it cannot be written.
    """
    rough = f"{path}.new"
    try:
        Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        Path(rough).unlink(missing_ok=True)
        with open(os.open(rough, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(rough, path)
    except OSError as err:
        raise AcmeError(f"{path}: cannot be written: {err.strerror}") from err


def is_private(path: AnyPath, text: str) -> bool:
    """Tell whether a file has this text, and only its owner can access it."""
    try:
        return Path(path).read_text(encoding="utf-8") == text and not os.stat(path).st_mode & 0o077
    except (OSError, UnicodeDecodeError):
        return False


def awaited(names: Iterable[str], reason: str, err: MailserverError) -> str:
    """Return the message while there is no certificate: the previous one is still served."""
    return (
        f"The certificate for {', '.join(names)} is awaited, and what was served before is served on: {reason}, and "
        f"certbot could not get one: {err}. The next highstate tries again"
    )
