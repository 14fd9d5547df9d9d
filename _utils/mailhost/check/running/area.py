"""Checks of what is running: units, listeners, firewall, mail queue, disks, signatures in the log, and the clock."""

import time
from collections.abc import Callable, Iterable

from mailhost.check.findings import CheckedHost, Finding, Status, ok
from mailhost.check.running import firewall as check_firewall
from mailhost.check.running import flow as check_flow
from mailhost.check.running import listeners as check_listeners
from mailhost.check.running import room as check_room
from mailhost.check.running import signatures as check_signatures
from mailhost.check.shared import not_run, together
from mailhost.daemons.daemon import behind
from mailhost.dkim.run import begin, paths_of
from mailhost.errors import ClockError
from mailhost.shapes import Settings


def findings(host: CheckedHost, domains: Iterable[str], now: Callable[[], float] = time.time) -> list[Finding]:
    """Return the findings about everything that runs on the host, and when mail of these domains was last signed."""
    return [
        *_units(host),
        *check_listeners.findings(host),
        *check_firewall.findings(host),
        *check_room.findings(host, now()),
        *check_flow.findings(host),
        *(check_signatures.findings(host, domains) if host.settings["opendkim"]["enabled"] else []),
        *(_clock(host.settings) if host.settings["opendkim"]["enabled"] else []),
    ]


def units(settings: Settings) -> list[str]:
    """Return the units of the components that the pillar enables."""
    os = settings["os"]
    wanted = {
        "postfix": True,
        "sasl": settings["sasl"]["type"] == "cyrus",
        "dovecot": settings["dovecot"]["enabled"],
        "opendkim": settings["opendkim"]["enabled"],
        "firewalld": settings["firewalld"]["enabled"],
    }
    return [os[name]["service"] for name, is_wanted in wanted.items() if is_wanted]


def _units(host: CheckedHost) -> list[Finding]:
    names = units(host.settings)
    running = [*names, *behind(host.command, host.settings["os"]["postfix"]["service"])]
    return [
        *_each(host, running, "running.unit", "the unit is active", "is-active", _inactive),
        *_each(host, names, "running.unit_enabled", "the unit starts at boot", "is-enabled", _disabled),
    ]


def _each(
    host: CheckedHost,
    names: Iterable[str],
    id: str,
    wanted: str,
    verb: str,
    judge: Callable[[str, str], tuple[Status, str] | None],
) -> list[Finding]:
    found, good = [], []
    for name in names:
        words = ("systemctl", verb, f"{name}.service")
        done = host.command(words)
        state = done.out.strip()
        if done.status is None or not state:
            found.append(not_run(id, name, wanted, words, done))
        elif wrong := judge(name, state):
            found.append(Finding(id, wrong[0], name, wanted, f"systemctl {verb} {name}: {state}", wrong[1]))
        else:
            good.append(name)
    return found + together(id, good, "units", wanted)


def _inactive(name: str, state: str) -> tuple[Status, str] | None:
    if state in ("active", "reloading"):
        return None
    log = f"journalctl -u {name} -n 50"
    if state == "activating":
        return "warn", f"Check again in a minute; if it still is, it starts again and again: {log}"
    return "fail", f"Run: systemctl restart {name}; if it does not stay up: {log}"


def _disabled(name: str, state: str) -> tuple[Status, str] | None:
    good = ("enabled", "enabled-runtime", "static", "indirect", "generated", "alias")
    if state in good:
        return None
    first = f"systemctl unmask {name}; " if state.startswith("masked") else ""
    return "warn", f"Run: {first}systemctl enable {name}"


def _clock(settings: Settings) -> list[Finding]:
    id, about, wanted = "running.clock", "clock", "the host's clock agrees with what was witnessed of the time"
    try:
        warnings = begin(paths_of(settings), {}, settings["dns"], test=True).warnings
    except ClockError as err:
        remedy = "Set the clock (timedatectl; chronyc makestep), then run: salt-call dkim.advance"
        return [Finding(id, "fail", about, wanted, str(err), remedy)]
    if not warnings:
        return [ok(id, about, wanted)]
    remedy = "Compare `date -u` with another host; set the clock right or, if it is: salt-call dkim.believe_clock"
    return [Finding(id, "warn", about, wanted, warnings[0], remedy)]
