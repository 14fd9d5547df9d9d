"""Where Postfix would hand mail on to: asked of its own resolver and looked up in DNS. Nothing is sent."""

import re
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mailhost.command import Command
from mailhost.errors import MailserverError, RouteUnknown
from mailhost.files import AnyPath
from mailhost.receiver import resolver as receiver_resolver
from mailhost.receiver.dmarc import Unanswered

STRANGER = "somebody@elsewhere.invalid"
"""An address that is not local to this host and that no table has a row for (RFC 2606 section 2)."""
LIMIT = 15
_LOCAL, _VIRTUAL = 1 << 8, 1 << 10
_HOSTS = ("smtp", "lmtp", "relay")
"""Transports in the formula's master.cf whose next hop is a host name."""
_MOST = 50
_TIMEOUT = 5


@dataclass(frozen=True)
class Route:
    """How Postfix resolved an address: the service of master.cf, the next hop, and whether it stays on this host."""

    transport: str
    nexthop: str
    stays: bool

    def __str__(self) -> str:
        return f"{self.transport}:{self.nexthop}"


def resolve(address: str, queue: AnyPath, sender: str = "") -> Route:
    """Ask Postfix's trivial-rewrite(8), as its own daemons do, where mail for an address goes.

    :param queue: Postfix's queue folder.
    :raises RouteUnknown: it does not answer.
    """
    pairs = (("request", "resolve"), ("sender", sender), ("address", address))
    asked = b"".join(f"{name}\0{value}\0".encode() for name, value in pairs) + b"\0"
    buffer, path = b"", f"{queue}/private/rewrite"
    try:
        with socket.socket(socket.AF_UNIX) as service:
            service.settimeout(LIMIT)
            service.connect(path)
            service.sendall(asked)
            while "transport" not in (found := attributes(buffer)):
                octets = service.recv(4096)
                if not octets:
                    raise RouteUnknown(f"{path} gave no answer for {address}")
                buffer += octets
    except OSError as err:
        raise RouteUnknown(f"{path}: {err.strerror or err}") from err
    flags = int(found.get("flags", "0"))
    return Route(found["transport"], found.get("nexthop", ""), bool(flags & (_LOCAL | _VIRTUAL)))


def attributes(octets: bytes) -> dict[str, str]:
    """Return the last complete list of attributes in what a Postfix daemon sent, ``{name: value}``.

    Each attribute is a name and a value, each ended by a zero byte; one more zero byte ends a list. Since 3.6 a list
    with the protocol's name comes first. If a name is repeated, its last value counts.
    """
    words = octets.split(b"\0")[:-1]
    found: dict[str, str] = {}
    last: dict[str, str] = {}
    at = 0
    while at < len(words):
        if not words[at]:
            found, last, at = {}, found, at + 1
        elif at + 1 < len(words):
            found[words[at].decode("utf-8", "replace")] = words[at + 1].decode("utf-8", "replace")
            at += 2
        else:
            break
    return last


class NameResolution:
    """Whether host names can be resolved by this system's DNS."""

    def __init__(self, resolver: receiver_resolver.Resolver | None = None) -> None:
        self._resolver = resolver

    def leads_nowhere(self, hop: str) -> str:
        """Return why a next hop, ``[host]:port`` or ``domain``, leads nowhere; ``""`` if it may lead somewhere."""
        name, has_mx = host_of(hop)
        if not name:
            return ""
        try:
            resolver = self._resolver or receiver_resolver.Resolver(_TIMEOUT)
            leads = resolver.takes_mail(name) if has_mx else resolver.has_address(name)
        except (Unanswered, MailserverError):
            return ""
        return "" if leads or _is_known_here(name) else f"DNS has no {'MX record or ' * has_mx}address of {name}"


def _is_known_here(name: str) -> bool:
    """Tell whether the system knows a name that DNS does not (``/etc/hosts``)."""
    try:
        return bool(socket.getaddrinfo(name, None))
    except OSError:
        return False


def host_of(hop: str) -> tuple[str, bool]:
    """Return the name of a next hop, and whether Postfix looks up its MX records; ``""`` if it is not a name."""
    hop = hop.strip()
    is_plain = hop.startswith("[")
    name = hop[1:].partition("]")[0] if is_plain else re.sub(r":[^:]*\Z", "", hop)
    name = name.removeprefix("inet:").rstrip(".").lower()
    labels = name.split(".")
    is_name = len(labels) > 1 and all(re.fullmatch(r"[a-z0-9_-]+", one) for one in labels) and not labels[-1].isdigit()
    return (name, not is_plain) if is_name else ("", False)


def elements(value: str) -> list[str]:
    """Return the elements of a Postfix list such as ``transport_maps``; braces keep an element together."""
    found: list[str] = []
    depth, word = 0, ""
    for char in value:
        depth += {"{": 1, "}": -1}.get(char, 0)
        if depth <= 0 and (char.isspace() or char == ","):
            found, word = [*found, word], ""
        else:
            word += char
    return [one for one in [*found, word] if one]


def hop_of(value: str) -> tuple[str, str]:
    """Return (transport, next hop) of ``transport:nexthop``; either may be empty."""
    transport, _, nexthop = value.strip().partition(":")
    return transport, nexthop


def rows(maps: str, command: Command) -> dict[str, str]:
    """Return ``{key: value}`` of those tables that can list their rows (``postmap -s``)."""
    found: dict[str, str] = {}
    for table in elements(maps):
        done = command(("postmap", "-s", table.removeprefix("proxy:")))
        for line in done.out.splitlines() if done.status == 0 else ():
            key, _, value = line.partition("\t")
            found[key.strip()] = value.strip()
    return found


def parameters(names: Sequence[str], command: Command) -> dict[str, str]:
    """Return parameters of main.cf with references filled in; ``""`` for one that this Postfix does not have."""
    shown = command(("postconf", "-x", *names))
    if shown.status != 0:  # before 2.10.2 there is no -x
        shown = command(("postconf", *names))
    pairs = (line.partition("=")[::2] for line in shown.out.splitlines())
    return {**dict.fromkeys(names, ""), **{name.strip(): value.strip() for name, value in pairs}}


def outgoing_problems(
    queue: AnyPath, sender: str, command: Command, names: NameResolution | None = None
) -> dict[str, str]:
    """Return what keeps mail for others from leaving, ``{what: why}``: a transport or next hop that does not exist.

    Postfix itself is asked where mail for a stranger goes. The rows of its tables and its content filter are read. Host
    names are looked up; nothing is sent to them.

    :param queue: the queue folder of a running Postfix.
    :raises RouteUnknown: Postfix does not answer.
    """
    names = names or NameResolution()
    route = resolve(STRANGER, queue, sender)
    hops = {} if route.stays else {"mail for others": (route.transport, route.nexthop)}
    lists = ("transport_maps", "sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps")
    given = parameters((*lists, "content_filter", "smtp_fallback_relay"), command)
    if given["content_filter"]:
        hops["content_filter"] = hop_of(given["content_filter"])
    for one in elements(given["smtp_fallback_relay"]):
        hops[f"smtp_fallback_relay {one}"] = ("smtp", one)
    for name in lists:
        found = rows(given[name], command) if given[name] else {}
        for key, value in list(found.items())[:_MOST]:
            # A sender's relay host is only a next hop.
            hops[f"{name}, {key}"] = ("smtp", value) if name.endswith("relayhost_maps") else hop_of(value)
    with ThreadPoolExecutor(8) as pool:
        why = pool.map(lambda hop: _hop_problem(hop[0], hop[1], queue, names), hops.values())
        return {what: words for what, words in zip(hops, why, strict=True) if words}


def _hop_problem(transport: str, nexthop: str, queue: AnyPath, names: NameResolution) -> str:
    if transport and not any(Path(queue, kind, transport).exists() for kind in ("private", "public")):
        return f"the transport {transport} is not in master.cf, so that Postfix would put off all of it"
    if nexthop == STRANGER.partition("@")[2] or transport not in ("", *_HOSTS):
        return ""
    nowhere = names.leads_nowhere(nexthop)
    return f"{transport or 'smtp'}:{nexthop}: {nowhere}, so that Postfix would put off all of it" if nowhere else ""
