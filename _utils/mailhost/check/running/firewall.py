"""The firewall: firewalld lets in what the pillar wants, now and after its next reload."""

from collections.abc import Collection, Container, Mapping, Sequence

from mailhost.check.findings import CheckedHost, Finding, ok
from mailhost.check.shared import brief, command_line, not_run
from mailhost.command import CommandResult

ID = "running.firewall"
_OPTIONS: dict[str, tuple[str, ...]] = {"running": (), "permanent": ("--permanent",)}


def findings(host: CheckedHost) -> list[Finding]:
    """Return whether the pillar's zone lets in what it should; nothing if firewalld is off."""
    wanted = host.settings["firewalld"]
    if not wanted["enabled"]:
        return []
    zone = wanted["zone"]
    found, shown = [], {}
    for where, options in _OPTIONS.items():
        words = ("firewall-cmd", *options, f"--zone={zone}", "--list-all")
        done = host.command(words)
        if done.status != 0:
            found.append(_failed(f"{zone}, {where}", words, done))
            continue
        shown[where] = parse(done.out)
        found.append(_open(zone, where, [*wanted["services"], *wanted["ports"]], shown[where]))
    if len(shown) == 2:
        found.append(_same(zone, shown, {*wanted["services"], *wanted["ports"]}))
    return found


def parse(text: str) -> set[str]:
    """Return the services and ports in the output of ``firewall-cmd --list-all``, as a set."""
    lines = dict(line.strip().partition(":")[::2] for line in text.splitlines())
    return {*lines.get("services", "").split(), *lines.get("ports", "").split()}


def _failed(about: str, words: Sequence[str], done: CommandResult) -> Finding:
    wanted, said = "firewalld runs and has the zone", f"{done.out} {done.err}"
    if done.status is not None and "not running" in said:
        seen = f"`{command_line(words)}`: firewalld is not running, and no port is guarded"
        return Finding(
            ID, "fail", about, wanted, seen, "Run: systemctl restart firewalld; journalctl -u firewalld -n 50"
        )
    if done.status is not None and "INVALID_ZONE" in said:
        remedy = "Name another zone in mailserver:firewalld:zone; firewall-cmd --get-zones lists them."
        return Finding(ID, "fail", about, wanted, f"`{command_line(words)}`: no such zone", remedy)
    return not_run(ID, about, wanted, words, done)


def _open(zone: str, where: str, items: Collection[str], allowed: Container[str]) -> Finding:
    about, wanted = f"{zone}, {where}", f"the zone {zone} lets in {brief(items, 20)}"
    missing = [item for item in items if item not in allowed]
    if not missing:
        return ok(ID, about, wanted)
    adds = [f"--add-{'port' if '/' in item else 'service'}={item}" for item in missing]
    permanent = _OPTIONS[where]
    remedy = "Run: " + "; ".join(command_line(("firewall-cmd", *permanent, f"--zone={zone}", add)) for add in adds)
    effect = "after the next reload or boot" if permanent else "now"
    seen = f"{', '.join(missing)} not let in {effect} (firewall-cmd --list-all)"
    return Finding(ID, "warn" if permanent else "fail", about, wanted, seen, remedy)


def _same(zone: str, shown: Mapping[str, set[str]], ours: set[str]) -> Finding:
    id, wanted = "running.firewall_permanent", "the running firewall is the permanent one"
    now, later = (
        sorted(shown["running"] - shown["permanent"] - ours),
        sorted(shown["permanent"] - shown["running"] - ours),
    )
    if not now and not later:
        return ok(id, zone, wanted)
    told = [f"only running: {brief(now)}" if now else "", f"only permanent: {brief(later)}" if later else ""]
    seen = "; ".join(filter(None, told))
    remedy = (
        "To keep what runs: firewall-cmd --runtime-to-permanent. To go back to what is permanent: firewall-cmd --reload"
    )
    return Finding(id, "warn", zone, wanted, f"{seen} (zone {zone})", remedy)
