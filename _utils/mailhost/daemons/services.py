"""The services of a mail host that its settings ask for, and the address of each."""

import contextlib
import ipaddress
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from mailhost.shapes import Settings

LOOPBACK = "127.0.0.1"
SUBMISSION: dict[Literal["submission", "submissions"], int] = {"submission": 587, "submissions": 465}
SIEVE = 4190
"""The port of ManageSieve (RFC 5804)."""
MAILBOXES = {"imap": (143, 993), "pop3": (110, 995)}
"""The ports of a protocol: with STARTTLS or STLS, and with implicit TLS."""


@dataclass(frozen=True)
class Service:
    """A service of the host: its name as in ``/etc/services``, its protocol, and where it listens.

    ``direct``: implicit TLS. ``source``: the address to connect from; ``None``: the system chooses.
    """

    host: str
    name: str
    protocol: str
    address: str
    port: int
    direct: bool = False
    source: str | None = None

    @property
    def about(self) -> str:
        return f"{self.host} port {self.port}"

    @property
    def endpoint(self) -> str:
        return f"{self.address} port {self.port}"

    @property
    def unit(self) -> str:
        return "postfix" if self.protocol == "smtp" else "dovecot"


def services(settings: Settings) -> list[Service]:
    """Return the services that the settings ask for, at an address by which others reach the host, if it has one."""
    host, postfix, dovecot = settings["hostname"], settings["postfix"], settings["dovecot"]
    own = own_address(settings["addresses"])
    first = smtp_service(host, settings["addresses"], postfix["main"].get("inet_interfaces", "all"))
    smtp, found = first.address, [first]
    for name, port in SUBMISSION.items():
        if postfix[name]["enabled"]:
            found.append(Service(host, name, "smtp", smtp, port, name == "submissions"))
    for protocol, (plain, direct) in MAILBOXES.items():
        if dovecot["enabled"] and protocol in dovecot["protocols"]:
            found.append(Service(host, protocol, protocol, own, plain, False, _other_source(own)))
            found.append(Service(host, f"{protocol}s", protocol, own, direct, True, _other_source(own)))
    return found


def smtp_service(hostname: str, addresses: Iterable[str], inet_interfaces: str = "all") -> Service:
    """Return port 25, at an address by which others reach the host, if Postfix listens there."""
    return Service(hostname, "smtp", "smtp", _smtp_address(inet_interfaces, own_address(addresses)), 25)


def own_address(addresses: Iterable[str]) -> str:
    """Return the first of ``addresses`` (or of the routes') that is the host's own, IPv4 if possible, else loopback.

    Behind NAT the settings hold public addresses, which the host itself does not have.
    """
    candidates = [ipaddress.ip_address(one) for one in [*addresses, *_routed()]]
    outward = [one for one in candidates if not one.is_loopback and _is_own(one)]
    return str(min(outward, key=lambda one: one.version, default=LOOPBACK))


def _routed() -> Iterator[str]:
    """Yield the addresses that the host would connect from; connecting a UDP socket sends nothing."""
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((somewhere, 9))
            yield probe.getsockname()[0]


def _is_own(address: IPv4Address | IPv6Address) -> bool:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((str(address), 0))
        return True
    return False


def _smtp_address(inet_interfaces: str, own: str) -> str:
    words = re.split(r"[,\s]+", inet_interfaces)
    if "all" in words or own in words:
        return own
    named = [word for word in words if re.fullmatch(r"[0-9.]+|[0-9a-fA-F:]*:[0-9a-fA-F:.]*", word)]
    return named[0] if named else LOOPBACK if {"loopback-only", "localhost"} & set(words) else own


def _other_source(address: str) -> str | None:
    """Return an address that differs from the server's.

    Dovecot considers a connection with the same address at both ends secure and allows plaintext logins on it, so it
    does not show what strangers are offered.
    """
    if ":" in address:
        return None
    return LOOPBACK if address != LOOPBACK else "127.0.0.2"
