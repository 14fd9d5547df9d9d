"""The TLS of the host's mail ports: what each serves, the files that it comes from, and the TLS versions."""

import itertools
import os
import re
import ssl
import warnings
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mailhost.check.findings import CheckedHost, Finding, Status, ok
from mailhost.daemons.services import Service, services
from mailhost.daemons.talk import Budget, any_certificate, open_talk, short
from mailhost.errors import HandshakeFailed, WireError
from mailhost.shapes import Settings
from mailhost.tls.certificate import (
    covers,
    file_of,
    from_der,
    is_pair,
    issued,
    names_of,
    private_key,
    read_chain,
    subject,
    summary,
)

if TYPE_CHECKING:
    from cryptography import x509

WARN_BEFORE = timedelta(days=21)
FAIL_BEFORE = timedelta(days=7)
_AGAIN = "salt-call state.apply mailserver.tls sync_mods=all"
_ISSUED = {
    "text": "Put the new one and its key into mailserver:tls:certificate_text and :key_text, and run a highstate",
    "ca": _AGAIN,
    "acme": f"certbot renew --cert-name mailserver; if there is none yet, {_AGAIN}",
}
"""How to renew the certificate of a source that the formula itself installs."""
_RELOAD = "postfix reload; doveadm reload"
_LATER = "Check again; if it stays: mailserver.check area=protocol says more"


def findings(host: CheckedHost, domains: Collection[str]) -> list[Finding]:
    """Return the findings about TLS at the services that ``host.settings`` want; ``domains`` make no difference."""
    return look_at(host.settings, services(host.settings), Budget(), datetime.now(timezone.utc))


def look_at(settings: Settings, asked: Iterable[Service], budget: Budget, now: datetime) -> list[Finding]:
    """Return the findings about these services and the files of the certificate.

    A certificate is one subject, wherever it is served: findings about it name its ports.

    :param now: the moment at which certificates must be valid.
    """
    found = _files(settings)
    ports: defaultdict[tuple[bytes, ...], list[Service]] = defaultdict(list)
    for service in asked:
        chain, here = _port(settings, service, budget)
        found += here
        if chain:
            ports[tuple(chain)].append(service)
    for served, there in ports.items():
        certificates = [from_der(one) for one in served]
        about = f"{settings['hostname']} port {', '.join(str(one.port) for one in there)}"
        found += _certificate(settings, certificates, about, there[0], now, budget)
    return found


def _port(settings: Settings, service: Service, budget: Budget) -> tuple[list[bytes], list[Finding]]:
    """Return the chain that a port serves (DER, the server's own certificate first; empty if unknown), and findings."""
    wanted = "TLS 1.2 or 1.3 can be had (RFC 9325 section 3.1.1)"
    id = "tls.protocol.modern"
    try:
        version, chain = _handshake(service, budget, any_certificate())
    except HandshakeFailed as err:
        remedy = (
            f"journalctl -u '{service.unit}*' -g tls -n 20 says why; certificate and key are those of mailserver:tls. "
            f"Then {_RELOAD}"
        )
        return [], [Finding(id, "fail", service.about, wanted, str(err), remedy)]
    except WireError as err:
        return [], [Finding(id, "unknown", service.about, wanted, str(err), _LATER)]
    modern = ok(id, service.about, wanted, f"{service.endpoint}: {version}")
    return chain, [modern, _old_versions(settings, service, budget), _served(settings, service, chain)]


def _handshake(service: Service, budget: Budget, context: ssl.SSLContext) -> tuple[str | None, list[bytes]]:
    """Return the TLS version that a port negotiates, and the chain that it serves."""
    with open_talk(service, budget) as talk:
        talk.connect(context)
        if not service.direct:
            talk.greet()
            talk.hello()
            talk.starttls(context)
        connection = cast(ssl.SSLSocket, talk.socket)
        found = connection.version(), served_chain(connection)
        if service.direct:
            talk.greet()  # so that QUIT is not sent too early
        return found


def served_chain(connection: ssl.SSLSocket) -> list[bytes]:
    """Return the certificates that a TLS server sent, as DER in order; public only since Python 3.13."""
    inner = getattr(connection, "_sslobj", None)
    ask = getattr(connection, "get_unverified_chain", None) or getattr(inner, "get_unverified_chain", None)
    chain = ask() if ask else None
    if not chain:
        own = connection.getpeercert(binary_form=True)
        return [own] if own else []
    return [one if isinstance(one, bytes) else ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in chain]


def _old_versions(settings: Settings, service: Service, budget: Budget) -> Finding:
    id, wanted = "tls.protocol.old", "TLS 1.0 and 1.1 are refused (RFC 8996)"
    try:
        version = _handshake(service, budget, _old_context())[0]
    except HandshakeFailed as err:
        # An alert comes from the server; any other failure before it comes from this system.
        if re.search(r"alert|closed|reset|eof|unsupported protocol|wrong version", str(err).lower()):
            return ok(id, service.about, wanted, str(err))
        remedy = f"This system cannot offer them; elsewhere: openssl s_client -tls1_1 -connect {settings['hostname']}"
        if "answered STARTTLS" in str(err):  # a new process of Postfix, which could not load the certificate
            remedy = _LATER
        return Finding(id, "unknown", service.about, wanted, str(err), remedy)
    except (WireError, ValueError, ssl.SSLError) as err:
        return Finding(id, "unknown", service.about, wanted, str(err), _LATER)
    key = {
        "postfix": "Take smtpd_tls_protocols and smtpd_tls_mandatory_protocols out of mailserver:postfix",
        "dovecot": "Take ssl_min_protocol out of mailserver:dovecot:settings",
    }[service.unit]
    # At port 25 the alternative to weak TLS is no TLS (RFC 7435); at the others passwords are sent over it.
    status: Status = "warn" if service.name == "smtp" else "fail"
    remedy = f"{key}, and run a highstate"
    return Finding(id, status, service.about, wanted, f"{service.endpoint}: agreed on {version}", remedy)


def _old_context() -> ssl.SSLContext:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are the point of this check
        context = any_certificate(ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1)
    context.set_ciphers("ALL:@SECLEVEL=0")  # above 0, OpenSSL 3 does not offer them at all
    return context


def _served(settings: Settings, service: Service, chain: Sequence[bytes]) -> Finding:
    id, wanted = "tls.certificate.served", "the certificate that is served is the one on disk"
    paths = _certificate_files(settings, service)
    try:
        on_disk = [one for path in paths for one in read_chain(path)]
    except (OSError, ValueError) as err:
        return Finding(id, "unknown", service.about, wanted, f"{', '.join(paths)}: {err}", "See tls.certificate.file")
    served = from_der(chain[0])
    seen = f"{service.endpoint}: {summary(served)}"
    if served in on_disk:
        return ok(id, service.about, wanted, seen)
    newest = f"{paths[-1]} has {summary(on_disk[0])}" if on_disk else f"{', '.join(paths)} has none"
    remedy = f"Renewed, and not reloaded: {_RELOAD}; let the renewal run that (docs/operations.md, Certificates)"
    return Finding(id, "warn", service.about, wanted, f"{seen}; {newest}", remedy)


def _certificate_files(settings: Settings, service: Service) -> list[str]:
    """Return the files that hold the certificate: Postfix may have several, one of which holds the key."""
    listed = settings["postfix"]["main"].get("smtpd_tls_chain_files") if service.unit == "postfix" else None
    return re.split(r"[,\s]+", listed) if listed else [file_of(settings, "certificate")]


def _files(settings: Settings) -> list[Finding]:
    """Return the findings about the files of certificate and key."""
    path, key_path = file_of(settings, "certificate"), file_of(settings, "key")
    made = f"{_AGAIN} makes a new pair if one of the two files is missing"
    named = settings["tls"]["certificate"] and settings["tls"].get("source") not in _ISSUED
    remedy = "Put the files of mailserver:tls:certificate and :key there" if named else made
    id, wanted = "tls.certificate.file", "the file holds a certificate (PEM)"
    try:
        chain = read_chain(path)
    except PermissionError as err:
        return [Finding(id, "unknown", path, wanted, str(err), "Run as root")]
    except (OSError, ValueError) as err:
        return [Finding(id, "fail", path, wanted, short(f"{path}: {err}"), remedy)]
    if not chain:
        return [Finding(id, "fail", path, wanted, f"{path} has none", remedy)]
    file = ok(id, path, wanted, f"{path}: {summary(chain[0])}")
    mode = [_key_mode(key_path)] if os.path.exists(key_path) else []
    return [file, _key_pair(chain[0], path, key_path, remedy), *mode]


def _key_pair(certificate: "x509.Certificate", path: str, key_path: str, remedy: str) -> Finding:
    id, wanted = "tls.key.pair", f"the key is that of the certificate {path}"
    try:
        key = private_key(key_path)
    except PermissionError as err:
        return Finding(id, "unknown", key_path, wanted, str(err), "Run as root")
    except (OSError, ValueError) as err:
        return Finding(id, "fail", key_path, wanted, short(f"{key_path}: {err}"), remedy)
    if is_pair(key, certificate):
        return ok(id, key_path, wanted)
    return Finding(id, "fail", key_path, wanted, f"{key_path} is the key of another certificate", remedy)


def _key_mode(path: str) -> Finding:
    """Check a key's mode. Below a folder that others may not enter, a key is safe whatever its mode."""
    id, wanted = "tls.key.mode", "only its owner and group can read the key"
    real = Path(os.path.realpath(path))
    try:
        mode = real.stat().st_mode & 0o777
        reachable = all(folder.stat().st_mode & 0o001 for folder in real.parents)
    except OSError as err:
        return Finding(id, "unknown", path, wanted, str(err), "Run as root")
    if mode & 0o004 and reachable:
        remedy = f"chmod 0600 {real}; anyone with an account here may have copied it, so get a new key and certificate"
        return Finding(id, "fail", path, wanted, f"{real} has mode {mode:04o}", remedy)
    return ok(id, path, wanted, f"{real} has mode {mode:04o}")


def _certificate(
    settings: Settings, chain: Sequence["x509.Certificate"], about: str, service: Service, now: datetime, budget: Budget
) -> list[Finding]:
    leaf = chain[0]
    self_signed = issued(leaf, leaf)
    source = settings["tls"].get("source")
    renew = _ISSUED.get(source, "Renew it (certbot renew, or whatever made it)")
    if not settings["tls"]["certificate"]:
        own = settings["os"]["tls"]
        renew = f"rm {own['certificate']} {own['key']}; {_AGAIN}"
    renew = f"{renew}; then {_RELOAD}"
    note = "self-signed, " if self_signed else ""
    return [
        _names(leaf, settings["hostname"], about, service.endpoint, note, renew, self_signed),
        _expiry(leaf, about, service.endpoint, note, renew, now),
        _chain(chain, about, service, self_signed, budget, source),
    ]


def _names(
    leaf: "x509.Certificate", hostname: str, about: str, endpoint: str, note: str, renew: str, self_signed: bool
) -> Finding:
    wanted = f"the certificate names {hostname} (RFC 9525 section 6.3)"
    names = names_of(leaf)
    seen = f"{endpoint}: {note}for {', '.join(names) or 'no DNS name'}"
    if any(covers(name, hostname) for name in names):
        return ok("tls.certificate.names", about, wanted, short(seen))
    # Nobody relies on the name in a certificate that nobody signed.
    status: Status = "warn" if self_signed else "fail"
    remedy = f"Get one that names {hostname}. {renew}"
    return Finding("tls.certificate.names", status, about, wanted, short(seen), remedy)


def _expiry(leaf: "x509.Certificate", about: str, endpoint: str, note: str, renew: str, now: datetime) -> Finding:
    wanted = f"the certificate is valid, and for {WARN_BEFORE.days} days more"
    left = leaf.not_valid_after_utc - now
    span = f"{leaf.not_valid_before_utc:%Y-%m-%d %H:%M} to {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    seen = f"{endpoint}: {note}valid from {span}"
    if leaf.not_valid_before_utc > now:
        remedy = f"Is the clock right (timedatectl)? Else: {renew}"
        return Finding("tls.certificate.expiry", "fail", about, wanted, f"{seen}, which is to come", remedy)
    if left >= WARN_BEFORE:
        return ok("tls.certificate.expiry", about, wanted, seen)
    status: Status = "fail" if left < FAIL_BEFORE else "warn"
    when = f"{left.days} days left" if left > timedelta(0) else "expired"
    return Finding("tls.certificate.expiry", status, about, wanted, f"{seen}: {when}", renew)


def _chain(
    chain: Sequence["x509.Certificate"], about: str, service: Service, self_signed: bool, budget: Budget, source: str
) -> Finding:
    id, wanted = "tls.certificate.chain", "each certificate is signed by the next (RFC 8446 section 4.4.2)"
    names = " < ".join(subject(one) for one in chain)
    seen = short(f"{service.endpoint}: {names}")
    remedy = (
        "Put the host's certificate first into the file, then those between it and the root, in their order (certbot: "
        f"fullchain.pem, not cert.pem); then {_RELOAD}"
    )
    if self_signed and source in ("ca", "acme"):
        seen = f"{service.endpoint}: self-signed; the certificate of mailserver:tls:{source} is awaited"
        remedy = f"{_AGAIN} says what is in its way"
        return Finding(id, "warn", about, wanted, seen, remedy)
    if self_signed:
        return ok(id, about, wanted, f"{service.endpoint}: self-signed")
    if not all(issued(one, other) for one, other in itertools.pairwise(chain)):
        return Finding(id, "fail", about, wanted, seen, remedy)
    try:
        complete = len(chain) > 1 or _trusted(service, budget)
    except WireError as err:
        return Finding(id, "unknown", about, wanted, str(err), _LATER)
    if not complete:
        seen = short(f"{service.endpoint}: only {names}, by {chain[0].issuer.rfc4514_string()}, unknown here")
        return Finding(id, "fail", about, wanted, seen, remedy)
    return ok(id, about, wanted, seen)


def _trusted(service: Service, budget: Budget) -> bool:
    """Return whether the system's own authorities validate what a service serves."""
    context = ssl.create_default_context()
    context.check_hostname = False
    try:
        _handshake(service, budget, context)
    except HandshakeFailed:
        return False
    return True
