"""Signatures in the log: when OpenDKIM last signed for each domain, and whether with the key that the tables name."""

import re
from collections.abc import Iterable

from mailhost.check.findings import CheckedHost, Finding, ok
from mailhost.check.shared import not_run, together
from mailhost.clock import shown_time, utc
from mailhost.dkim.run import paths_of
from mailhost.opendkim import tables as opendkim_tables
from mailhost.shapes import Settings

ID = "running.signature"
DAYS = 7
MOST = 20_000
"""Lines of the log that are read, the newest first."""
SLACK = 3600
"""Seconds after a change of the tables in which OpenDKIM may still use the old ones, on open connections."""
_LONGEST = 1000
"""Characters of a log line that are read: strangers can influence its text."""
_LINE = re.compile(r"^(\d+)(?:\.\d+)? .*DKIM-Signature field added \(s=([^,\s]+), d=([^)\s]+)\)")


def findings(host: CheckedHost, domains: Iterable[str]) -> list[Finding]:
    """Return when mail was last signed for those domains that the tables name a key for.

    A domain that sent nothing has no signatures, so none in a week is not a fault.
    """
    settings = host.settings
    words = _words(settings["os"]["opendkim"]["service"])
    done, wanted = host.command(words), "when mail was last signed"
    is_empty = "-- No entries --" in done.out
    if done.status is None or (done.status != 0 and not is_empty) or "No journal files" in done.err:
        return [not_run(ID, "log", wanted, words, done)]
    tables = paths_of(settings).tables
    signers = opendkim_tables.signers_in_force(tables)
    changed = max((path.stat().st_mtime for path in tables.all if path.exists()), default=0)
    last, found, silent = newest(done.out), [], []
    for name in domains:
        if name in signers and name in last:
            found.append(_signed(name, *last[name], signers[name].selector, changed, settings))
        elif name in signers:
            silent.append(name)
    count = len(done.out.splitlines())
    since = f"the last {MOST} signatures" if count >= MOST else f"{DAYS} days"
    return found + together(ID, silent, "domains", f"a signature if mail was sent; none in {since}")


def _words(service: str) -> tuple[str, ...]:
    return (
        "journalctl",
        f"--unit={service}.service",
        f"--since=-{DAYS}d",
        "--grep=DKIM-Signature field added",
        "--reverse",
        f"--lines={MOST}",
        "--output=short-unix",
        "--no-pager",
    )


def newest(text: str) -> dict[str, tuple[int, str]]:
    """Return ``{domain: (seconds since 1970, selector)}`` for the newest signature of each domain in a reversed log."""
    last: dict[str, tuple[int, str]] = {}
    for line in text.splitlines():
        found = _LINE.match(line[:_LONGEST])
        if found:
            last.setdefault(found[3].lower(), (int(found[1]), found[2]))
    return last


def _signed(name: str, moment: int, selector: str, signer: str, changed: float, settings: Settings) -> Finding:
    wanted, seen = f"signed with {signer}, as the tables say", f"last on {shown_time(utc(moment))} with {selector}"
    if selector == signer or moment <= changed + SLACK:
        return ok(ID, name, wanted, seen)
    service = settings["os"]["opendkim"]["service"]
    remedy = f"OpenDKIM goes by old tables. Run: systemctl restart {service}; then: salt-call dkim.status {name}"
    return Finding(ID, "warn", name, wanted, seen, remedy)
