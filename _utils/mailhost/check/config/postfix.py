"""Postfix's configuration: its own tools accept it, its tables match the pillar, and so do its parameters."""

import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal, TypeAlias

from mailhost.check.findings import CheckedHost, Finding, ok
from mailhost.check.shared import brief, drifts, not_run, rows_differ, together
from mailhost.command import CommandResult, output_lines
from mailhost.postfix import tables as postfix_tables
from mailhost.shapes import Settings

SHOW = {
    "main.cf": ("postconf", "-n"),
    "all": ("postconf", "-x"),
    "master.cf": ("postconf", "-M"),
    "options": ("postconf", "-P"),
}
"""The commands that print main.cf, all parameters with their values filled in, master.cf, and its ``-o`` options."""
CHECK = ("postfix", "check")
ON_TERMINAL = ("script", "-qec", "postfix check", "/dev/null")
"""Most complaints of ``postfix check`` go only to the log, unless it writes to a terminal."""

_Submission: TypeAlias = Literal["submission", "submissions"]
_Name: TypeAlias = Literal["smtp"] | _Submission
_SERVICES: dict[_Name, tuple[str, ...]] = {
    "smtp": ("smtp", "25"),
    "submission": ("submission", "587"),
    "submissions": ("smtps", "submissions", "465"),
}
"""Services by their names in the pillar, and the names or numbers of their ports that master.cf may use."""
_AGAIN = "Run: salt-call state.apply mailserver.postfix sync_mods=all"

_WHOLE = [
    ipaddress.ip_network(one) for one in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/8", "fd00::/8")
]
_PRIVATE = [*_WHOLE, *(ipaddress.ip_network(one) for one in ("127.0.0.0/8", "169.254.0.0/16", "fc00::/7", "fe80::/10"))]
_PRIVATE += [ipaddress.ip_network("::1/128")]
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
SMALLEST = {4: 24, 6: 56}
"""The shortest prefixes that a public network may have to be trusted."""


def show(host: CheckedHost) -> dict[str, CommandResult]:
    """Return ``{name: CommandResult}`` for the commands of :data:`SHOW`."""
    return {name: host.command(words) for name, words in SHOW.items()}


def parsers(host: CheckedHost, shown: Mapping[str, CommandResult]) -> list[Finding]:
    """Return what Postfix's own tools say about its files."""
    found = [*_check(host), *(_parsed(name, shown[name]) for name in ("main.cf", "master.cf"))]
    if all(one.status != "fail" for one in found):  # these fail as well if a file is not understood
        names = [name for name in ("all", "options") if shown[name].status != 0]
        wanted = "Postfix shows its active configuration"
        found += [not_run("config.postfix.parser", name, wanted, SHOW[name], shown[name]) for name in names]
    return found


def _check(host: CheckedHost) -> list[Finding]:
    id, about, wanted = "config.postfix.parser", "postfix check", "no complaint of `postfix check`"
    done = host.command(ON_TERMINAL)
    if done.status in (None, 127):  # a host without script(1); 127 comes from script's shell if postfix is missing
        done = host.command(CHECK)
    if done.status is None:
        return [not_run(id, about, wanted, CHECK, done)]
    lines = output_lines(f"{done.out}\n{done.err}")
    others = [line for line in lines if "postconf: " not in line]
    if lines and not others:  # reported for the file that postconf names
        return []
    if others and done.status == 0 and all(line.endswith(" differ") for line in others):
        seen = f"copies in the chroot are old: {brief(line.partition('warning: ')[2] for line in others)}"
        return [Finding(id, "warn", about, wanted, seen, "Run: systemctl restart postfix, which copies them again.")]
    remedy = "Put right what it says (`postfix set-permissions` for owners and modes), then run `postfix check` again."
    return [_judged(id, about, wanted, done, others, remedy)]


def _parsed(name: str, done: CommandResult) -> Finding:
    id, wanted = "config.postfix.parser", f"Postfix understands all of {name}"
    if done.status is None:
        return not_run(id, name, wanted, SHOW[name], done)
    lines = [line for line in output_lines(done.err) if ("master.cf" in line) == (name == "master.cf")]
    remedy = f"{_AGAIN}, which writes the file again; change in the pillar what it must not write."
    return _judged(id, name, wanted, done, lines, remedy)


def _judged(id: str, about: str, wanted: str, done: CommandResult, lines: Sequence[str], remedy: str) -> Finding:
    if done.status == 0 and not lines:
        return ok(id, about, wanted)
    failed = done.status != 0 or any(re.search(r"\b(fatal|error|panic):", line) for line in lines)
    seen = "; ".join(lines[:3]) or f"exit status {done.status}"
    more = f" (and {len(lines) - 3} lines more)" if len(lines) > 3 else ""
    return Finding(id, "fail" if failed else "warn", about, wanted, seen + more, remedy)


def main_drift(settings: Settings, main: Mapping[str, str]) -> list[Finding]:
    """Return where main.cf differs from the pillar; ``main`` are its parameters."""
    # postconf adds this one if it is told which folder to read.
    seen = {name: value for name, value in main.items() if name != "config_directory"}
    remedy = f"{_AGAIN}. If main.cf is right, write it into the pillar: mailserver:postfix:main:{{}}"
    return drifts("config.postfix.main", "main.cf", settings["postfix"]["main"], seen, remedy)


def services(settings: Settings, rows: str) -> list[Finding]:
    """Return whether master.cf has the pillar's services; ``rows`` is the output of ``postconf -M``."""
    postfix, found = settings["postfix"], []
    known: set[str] = set()
    inet = {words[0]: words for words in map(str.split, rows.splitlines()) if words[1:2] == ["inet"]}
    for name, ports in _SERVICES.items():
        enabled = name == "smtp" or postfix[name]["enabled"]
        here = next((port for port in ports if port in inet), None)
        known.update(ports)
        wanted = f"master.cf has the service {name}" if enabled else f"master.cf has no service {name}"
        if (here is not None) == enabled:
            found.append(_chroot(settings, name, wanted, inet.get(here) if here else None))
            continue
        seen = f"it has {'no ' if enabled else ''}{ports[0]}"
        found.append(Finding("config.postfix.service", "fail" if enabled else "warn", name, wanted, seen, f"{_AGAIN}."))
    for other in sorted(set(inet) - known):
        remedy = f"{_AGAIN}, which takes it away. The pillar cannot ask for it (mailserver:postfix)."
        wanted, seen = "master.cf listens for what the pillar names", f"it has {' '.join(inet[other])}"
        found.append(Finding("config.postfix.service", "warn", other, wanted, seen[:200], remedy))
    return found


def _chroot(settings: Settings, name: _Name, wanted: str, row: Sequence[str] | None) -> Finding:
    default = settings["os"]["postfix"].get("chroot", False)
    ours = "y" if (default if name == "smtp" else settings["postfix"][name]["chroot"]) else "n"
    if row is None or row[4].replace("-", "n") == ours:
        return ok("config.postfix.service", name, wanted)
    seen = f"its column chroot is {row[4]} in master.cf, and not {ours}"
    return Finding("config.postfix.service", "warn", name, f"{wanted}, as the pillar has it", seen, f"{_AGAIN}.")


def options(settings: Settings, printed: str) -> list[Finding]:
    """Return where the ``-o`` options of the submission services differ; ``printed`` is from ``postconf -P``."""
    seen: dict[_Submission, dict[str, str]] = {"submission": {}, "submissions": {}}
    for parameter, value in postfix_tables.parameters(printed).items():
        port, _, name = parameter.partition("/inet/")
        for service, theirs in seen.items():
            if port in _SERVICES[service]:
                theirs[f"{service}: {name}"] = value
    found = []
    for service, theirs in seen.items():
        remedy = f"{_AGAIN}. If it is right, write it into the pillar: mailserver:postfix:{service}:options"
        if settings["postfix"][service]["enabled"]:
            ours = {f"{service}: {name}": value for name, value in settings["postfix"][service]["options"].items()}
            found += drifts("config.postfix.option", f"master.cf ({service})", ours, theirs, remedy)
    return found


def tables(wanted: Mapping[str, Sequence[str]]) -> list[Finding]:
    """Return whether the tables that the formula writes have the pillar's rows: ``{path: lines}``."""
    id, right = "config.postfix.table", "its rows are as in the pillar"
    found, good = [], []
    for path, lines in wanted.items():
        differs = _table_differs(path, lines)
        good += [] if differs else [path]
        found += [Finding(id, "warn", path, right, differs, f"{_AGAIN}.")] if differs else []
    return found + together(id, good, "tables", right)


def _table_differs(path: str, wanted: Sequence[str]) -> str:
    """Return how the rows of a table differ from the wanted ones, ``""`` if they do not."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as err:
        return f"{path} cannot be read: {err}"
    there = [line for line in lines if line.strip() and not line.startswith("#")]
    return rows_differ("it", wanted, there) or ("" if there == wanted else "its rows are in another order")


def networks(text: str) -> list[Finding]:
    """Return which networks of ``mynetworks`` (its text, values filled in) are too wide to be trusted."""
    id, wanted, found, narrow = "config.postfix.mynetworks", "only hosts of one's own may relay without a login", [], []
    for item in _networks(text):
        status, seen = _too_wide(item)
        if status:
            remedy = (
                "Name only hosts of your own in mailserver:postfix:main:mynetworks, or leave it out, then "
                "run: salt-call state.apply mailserver.postfix sync_mods=all"
            )
            found.append(Finding(id, status, item, wanted, f"{item} in mynetworks: {seen}", remedy))
        else:
            narrow.append(item)
    return found + together(id, narrow, "networks", wanted)


def _networks(text: str) -> Iterator[str]:
    for item in filter(None, re.split(r"[,\s]+", text)):
        if item.startswith("/"):
            try:
                lines = Path(item).read_text(encoding="utf-8", errors="replace").splitlines()
            except OSError:  # Postfix itself complains about it, and trusts nobody because of it
                continue
            yield from (word for line in lines for word in line.partition("#")[0].split())
        elif not item.startswith("!") and not re.match(r"[a-z]+:/", item):
            yield item


def _too_wide(item: str) -> tuple[Literal["", "warn", "fail"], str]:
    """Return the status of a network that is too wide to be trusted, and why; ``""`` for others."""
    try:
        network = ipaddress.ip_network(item.replace("[", "").replace("]", ""), strict=False)
    except ValueError:
        return "", ""
    if _within(network, _MAPPED):
        network = ipaddress.ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    if any(_within(network, one) for one in _PRIVATE):
        if any(_within(whole, network) for whole in _WHOLE):
            return "warn", "all of a private range, so whoever gets into the local network can send"
        return "", ""
    if network.prefixlen < SMALLEST[network.version]:
        return "fail", f"wider than /{SMALLEST[network.version]}, so strangers can relay through this host"
    return "", ""


def _within(network: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    """Tell whether a network is part of another one; networks of different families are not."""
    if isinstance(network, IPv4Network):
        return isinstance(other, IPv4Network) and network.subnet_of(other)
    return isinstance(other, IPv6Network) and network.subnet_of(other)


def default_action(effective: Mapping[str, str]) -> Finding:
    """Return what happens to mail while OpenDKIM is down; ``effective`` are all parameters."""
    id, about, wanted = "config.milter.default_action", "milter_default_action", "mail waits while OpenDKIM is down"
    value = effective.get("milter_default_action", "")
    remedy = "Leave mailserver:postfix:main:milter_default_action out of the pillar, or say tempfail; then a highstate."
    effects = {"accept": "mail leaves unsigned", "reject": "mail is refused for good"}
    if value in effects:
        return Finding(id, "warn", about, wanted, f"{about} = {value}: {effects[value]} meanwhile", remedy)
    return ok(id, about, wanted, f"{about} = {value}")
