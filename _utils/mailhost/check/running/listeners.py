"""Listeners: something listens on each port that the pillar wants, on IPv4 and on IPv6."""

import ipaddress
import re
from collections.abc import Collection, Iterable, Iterator

from mailhost.check.findings import CheckedHost, Finding
from mailhost.check.shared import not_run, together
from mailhost.daemons.services import MAILBOXES, SIEVE, SUBMISSION
from mailhost.postfix.domains import has_managesieve
from mailhost.shapes import Settings

ID = "running.listener"
SS = ("ss", "-ltnH")
ADDRESSES = ("ip", "-6", "-o", "addr", "show", "scope", "global")
_EVERYWHERE = {4: "0.0.0.0", 6: "::"}


def findings(host: CheckedHost) -> list[Finding]:
    """Return whether something listens wherever it should."""
    listening, addresses = host.command(SS), host.command(ADDRESSES)
    if listening.status != 0:
        return [not_run(ID, "listeners", "something listens on each port", SS, listening)]
    found, families = [], {4}
    if addresses.status != 0:
        found.append(not_run(ID, "IPv6", "known whether the host has an IPv6 address", ADDRESSES, addresses))
    elif addresses.out.strip():
        families.add(6)
    bound, good, wanted = parse(listening.out), [], "something listens on it, for everybody"
    for port, unit, version, is_open in _wanted(host.settings, families):
        about = f"port {port}, IPv{version}"
        wrong = _missing(bound, port, version, is_open)
        if wrong:
            remedy = f"Run: systemctl restart {unit}; if it does not help: journalctl -u {unit} -n 50"
            found.append(Finding(ID, "fail", about, wanted, wrong, remedy))
        else:
            good.append(about)
    return found + together(ID, good, "ports", wanted) + _milter(host.settings, bound)


def parse(text: str) -> set[tuple[str, str]]:
    """Return ``{(address, port)}`` for the output of ``ss -ltnH``; ``*`` stands for both families' wildcard address."""
    found: set[tuple[str, str]] = set()
    for words in map(str.split, text.splitlines()):
        if len(words) < 4:
            continue
        address, _, port = words[3].rpartition(":")
        address = address.strip("[]").partition("%")[0]
        found.update((one, port) for one in (_EVERYWHERE.values() if address == "*" else (address,)))
    return found


def _wanted(settings: Settings, families: Collection[int]) -> Iterator[tuple[int, str, int, bool]]:
    """Yield (port, unit, IP version, whether it must listen on all addresses) for each listener that is wanted."""
    postfix, dovecot = settings["postfix"], settings["dovecot"]
    protocols = postfix["main"].get("inet_protocols", "all")
    is_open = postfix["main"].get("inet_interfaces", "all") == "all"
    ports = [25] + [port for name, port in SUBMISSION.items() if postfix[name]["enabled"]]
    for port in ports:
        for version in sorted(families):
            if protocols == "all" or f"ipv{version}" in protocols:
                yield port, settings["os"]["postfix"]["service"], version, is_open
    listen = str(dovecot["settings"].get("listen", "*, ::"))
    mailboxes = dovecot["protocols"] if dovecot["enabled"] else ()
    ports = [port for protocol in mailboxes for port in MAILBOXES.get(protocol, ())]
    for port in [*ports, *([SIEVE] if has_managesieve(settings) else [])]:
        for version in sorted(families):
            if version == 4 or ":" in listen:
                yield port, settings["os"]["dovecot"]["service"], version, listen == "*, ::"


def _missing(bound: Iterable[tuple[str, str]], port: int, version: int, is_open: bool) -> str:
    """Return why others cannot connect to a port; ``""`` if they can."""
    here = sorted(address for address, other in bound if other == str(port) and (":" in address) == (version == 6))
    if not here:
        return f"`{' '.join(SS)}` shows nothing there"
    if is_open and all(ipaddress.ip_address(address).is_loopback for address in here):
        return f"it is only heard on {', '.join(here)}"
    return ""


def _milter(settings: Settings, bound: Iterable[tuple[str, str]]) -> list[Finding]:
    if not settings["opendkim"]["enabled"]:
        return []
    about, unit = settings["opendkim"]["socket"], settings["os"]["opendkim"]["service"]
    port, _, name = about.partition(":")[2].partition("@")
    wanted = f"OpenDKIM listens at {about}, and nowhere else"
    here = sorted(address for address, other in bound if other == port)
    expected = ("127.0.0.1", "::1") if name == "localhost" else (re.sub(r"[\[\]]", "", name),)
    remedy = f"Run: systemctl restart {unit}; if it does not help: journalctl -u {unit} -n 50"
    if not any(one in here for one in (*expected, *_EVERYWHERE.values())):
        seen = f"`{' '.join(SS)}` shows {', '.join(here) or 'nothing'} at port {port}"
        return [Finding(ID, "fail", about, wanted, seen, remedy)]
    more = [address for address in here if address not in expected]
    if more:
        seen = f"`{' '.join(SS)}` shows {', '.join(more)} at port {port}, too: others may have mail signed"
        return [Finding(ID, "warn", about, wanted, seen, remedy)]
    return together(ID, [about], "sockets", wanted)
