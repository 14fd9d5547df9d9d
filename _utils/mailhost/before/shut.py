"""Which present listeners a firewall would block when it starts. Pure, except that it reads firewalld's services."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mailhost.before import found as before_found
from mailhost.files import AnyPath

OURS = ("master", "dovecot", "opendkim", "saslauthd")
"""Programs whose ports the pillar decides: those of Postfix, Dovecot, OpenDKIM and Cyrus SASL."""
DEFAULT = ("ssh", "dhcpv6-client")
"""What firewalld's own zone ``public`` lets in, as long as firewalld is not installed."""
_DEFINITIONS = ("/etc/firewalld/services", "/usr/lib/firewalld/services")
_CLIENTS = {68, 123, 323, 546, 1900, 5353}
"""Ports on which programs wait for answers to their own UDP queries, which every firewall lets in."""
_EPHEMERAL = 32768
"""The first port that Linux gives to programs that do not choose one: a UDP program on such a port is a client."""

Span: TypeAlias = tuple[str, int, int]
"""Ports: their protocol, the first one and the last one."""


@dataclass(frozen=True)
class Listener:
    """A listener that others can reach; ``program`` is empty if it is the kernel itself."""

    protocol: str
    address: str
    port: int
    program: str = ""
    process: str = ""

    @property
    def item(self) -> str:
        return f"{self.port}/{self.protocol}"

    def __str__(self) -> str:
        whose = f"{self.program} (process {self.process})" if self.program else "the kernel"
        return f"{whose} at {self.address}:{self.item}"


def listeners(text: str) -> list[Listener]:
    """Return the listeners that others can reach, from the output of ``ss -Hltunp``, each port of a program once."""
    found: dict[tuple[str, int, str], Listener] = {}
    for words in map(str.split, text.splitlines()):
        if len(words) < 6 or words[0] not in ("tcp", "udp"):
            continue
        address, _, port = words[4].rpartition(":")
        whose = re.search(r'"([^"]+)",pid=(\d+)', words[6] if len(words) > 6 else "")
        program, process = whose.groups() if whose else ("", "")
        is_loopback = address.startswith(("127.", "[::1]", "[::ffff:127.")) or address.endswith("%lo")
        if is_loopback or not port.isdigit() or (words[0] == "udp" and _is_client(int(port), program)):
            continue
        found.setdefault((words[0], int(port), program), Listener(words[0], address, int(port), program, process))
    return sorted(found.values(), key=lambda one: (one.port, one.protocol))


def _is_client(port: int, program: str) -> bool:
    # A listener of the kernel itself, such as WireGuard, is not a client.
    return bool(program) and (port in _CLIENTS or port >= _EPHEMERAL)


def shut(
    found: Iterable[Listener],
    services: Iterable[str],
    ports: Iterable[str],
    given_up: Iterable[str] = (),
    folders: Collection[AnyPath] = _DEFINITIONS,
) -> list[Listener]:
    """Return the listeners that a zone with these services and ports would block.

    :param found: what :func:`listeners` returned.
    :param given_up: ports that may be blocked.
    """
    spans = [span for item in (*ports, *given_up) for span in _spans(item)]
    spans += [span for service in services for span in service_spans(service, folders)]
    return [
        one
        for one in found
        if one.program not in OURS
        and not any(one.protocol == protocol and first <= one.port <= last for protocol, first, last in spans)
    ]


def _spans(item: str) -> list[Span]:
    """Return (protocol, first, last) for ``587/tcp`` or ``60000-61000/udp``."""
    port, _, protocol = item.partition("/")
    first, _, last = port.partition("-")
    return [(protocol, int(first), int(last or first))] if first.isdigit() else []


def service_spans(service: str, folders: Collection[AnyPath] = _DEFINITIONS, seen: tuple[str, ...] = ()) -> list[Span]:
    """Return (protocol, first, last) for each port of a service, from its definition, or else the usual ones."""
    path = next((path for path in (Path(folder, f"{service}.xml") for folder in folders) if path.exists()), None)
    if path is None or service in seen:
        return [span for item in before_found.ports_of([service]) for span in _spans(item)]
    text = path.read_text(encoding="utf-8", errors="replace")
    found: list[Span] = []
    for tag in re.findall(r"<port ([^<>]*)>", text):
        port, protocol = (re.search(rf'\b{name}="([0-9a-z-]{{1,11}})"', tag) for name in ("port", "protocol"))
        found += _spans(f"{port[1]}/{protocol[1]}") if port and protocol else []
    for other in re.findall(r'<include service="([^"<>]*)"', text):
        found += service_spans(other, folders, (*seen, service))
    return found


def report(found: Collection[Listener], ports: Iterable[str]) -> str:
    """Return sentences for the operator: what would be blocked, and what to do about it; ``""`` if nothing would be.

    :param ports: the ports that the pillar opens, since a list in the pillar replaces the default.
    """
    if not found:
        return ""
    items = list(dict.fromkeys(one.item for one in found))
    return (
        f"firewalld does not run yet, and is not started, since it would shut what listens now: "
        f"{'; '.join(map(str, found))}. Open what must stay reachable "
        f"(mailserver:firewalld:ports: [{', '.join([*ports, *items])}]), and give up what is not "
        f"(mailserver:firewalld:shut: [{', '.join(items)}]); or have this formula leave the firewall alone "
        "(mailserver:firewalld:enabled: false)"
    )
