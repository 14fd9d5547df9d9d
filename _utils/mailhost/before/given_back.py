"""Units, ports and aliases of a host as they were before this formula: recorded, and restored."""

import re
from collections.abc import Iterable
from typing import Literal, TypedDict

from mailhost.command import Command, run_command
from mailhost.daemons import firewall as daemons_firewall
from mailhost.errors import FirewallError, OriginalsError

_VERBS: tuple[tuple[tuple[str, str], Literal["enabled", "active"]], ...] = (
    (("disable", "enable"), "enabled"),
    (("stop", "start"), "active"),
)


class UnitState(TypedDict):
    """Whether a unit runs, and whether it starts at boot."""

    active: bool
    enabled: bool


class ZoneState(TypedDict):
    """What a firewalld zone allows (``permanent`` and ``current``), and whether firewalld runs and is installed."""

    running: bool
    installed: bool
    permanent: list[str]
    current: list[str]


def unit_states(units: Iterable[str], command: Command = run_command) -> dict[str, UnitState]:
    """Return whether units are active and enabled, ``{unit: {"active", "enabled"}}``."""
    return {
        unit: {
            "active": command(("systemctl", "is-active", "--quiet", unit)).status == 0,
            "enabled": command(("systemctl", "is-enabled", "--quiet", unit)).status == 0,
        }
        for unit in units
    }


def zone_state(
    zone: str, unit: str, run: daemons_firewall.FirewallCmd | None = None, command: Command = run_command
) -> ZoneState:
    """Return what a firewalld zone allows, and whether firewalld runs and is installed.

    :return: ``{"running", "installed", "permanent", "current"}``.
    """
    run = run or daemons_firewall.firewall_cmd
    running = command(("systemctl", "is-active", "--quiet", unit)).status == 0
    installed = command(("systemctl", "cat", unit)).status == 0
    shown = {"permanent": "", "current": ""}
    if running:
        try:
            shown["permanent"] = run("--permanent", f"--zone={zone}", "--list-all")
            shown["current"] = run(f"--zone={zone}", "--list-all")
        except FirewallError:
            pass
    elif installed:
        shown["permanent"] = command(("firewall-offline-cmd", f"--zone={zone}", "--list-all")).out or ""
    permanent, current = allowed(shown["permanent"]), allowed(shown["current"])
    return {"running": running, "installed": installed, "permanent": permanent, "current": current}


def allowed(text: str) -> list[str]:
    """Return the services and ports in the output of ``firewall-cmd --list-all``."""
    lines = dict(line.strip().partition(": ")[::2] for line in text.splitlines())
    return sorted([*lines.get("services", "").split(), *lines.get("ports", "").split()])


def set_unit(unit: str, state: UnitState, command: Command = run_command) -> list[str]:
    """Make a unit run and start at boot, or neither, as it did before; return the verbs of what changed.

    :raises OriginalsError: systemd refused.
    """
    here = unit_states([unit], command)[unit]
    changed = []
    for verbs, key in _VERBS:
        if here[key] != state[key]:
            verb = verbs[state[key]]
            done = command(("systemctl", verb, unit))
            if done.status != 0:
                said = (done.err or done.out).strip()
                raise OriginalsError(f"systemctl {verb} {unit}: {said}; see journalctl -u {unit}")
            changed.append(verb)
    return changed


def entries(text: str) -> dict[str, str]:
    """Return the entries of aliases(5), ``{name: its lines}``, in order; ``""`` has the lines before the first one."""
    found, name = {"": ""}, ""
    for line in text.splitlines(keepends=True):
        begins = re.match(r'\s*("[^"]+"|[^\s#:][^:]*?)\s*:', line) if not line[:1].isspace() else None
        name = begins[1].strip('"').lower() if begins else name
        found[name] = found.get(name, "") + line
    return found


def aliases_as_they_were(former: str | None, present: str, names: Iterable[str]) -> str:
    """Return the text of the aliases file with these names restored; changes that others made since then are kept.

    :param former: the file's text before the formula; ``None`` if unknown: then the names are removed, except
        postmaster.
    """
    names = {name.lower() for name in names}
    now = entries(present)
    if former is None:
        return "".join(lines for name, lines in now.items() if name not in names - {"postmaster"})
    was = entries(former)
    others = [{name: lines for name, lines in one.items() if name not in names} for one in (was, now)]
    if others[0] == others[1]:
        return former
    back = {name: was.get(name, "") if name in names else lines for name, lines in now.items()}
    back.update({name: lines for name, lines in was.items() if name in names})
    return "".join(back.values())
