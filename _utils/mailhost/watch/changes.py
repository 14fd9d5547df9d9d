"""What changed between runs of mailserver.check: which findings got worse or better, and who was notified so far."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypedDict

from mailhost.check.areas import AREAS
from mailhost.check.findings import STATUSES, Finding, Status, ok, worst
from mailhost.watch.memory import GONE, Known, RememberedSubject, Rows, Subject

LONG_RUNS, LONG = 3, 24 * 3600
"""A finding that stays unknown for so many runs and so many seconds is reported; before that it is not."""
LONGEST = 500
"""Characters of a text that is saved and reported; findings may hold a daemon's whole output."""
MOST_ABOUT = 10
_PORTS = re.compile(r" port \d+(, \d+)*$")
_ONE_CERTIFICATE = ("tls.certificate.names", "tls.certificate.expiry", "tls.certificate.chain")
_TOGETHER = ("config", "running")
"""The areas whose checks report everything that is right in one finding (:func:`mailhost.check.shared.together`)."""
_CALM = ("ok", GONE)


def advance(rows: Rows | None, findings: Iterable[Finding], now: int) -> Rows:
    """Return the rows after a run.

    :param rows: those before it; ``None`` for the first run, in which every status is accepted at once.
    :param findings: what a check of all areas found.
    :param now: Unix seconds.
    """
    seen = by_subject(findings)
    broken = {id.partition(".")[0] for id, _ in seen if _is_of_area(id)}
    right = _told_together(seen)
    first, rows = rows is None, rows or {}
    after: Rows = {}
    for subject in {*rows, *(subject for subject, one in seen.items() if one.status != "ok")}:
        area, row = subject[0].partition(".")[0], rows.get(subject, RememberedSubject())
        if subject in seen:
            after[subject] = _seen(row, seen[subject], now, first)
        elif _is_of_area(subject[0]) or subject[0] in right:
            after[subject] = _seen(row, ok(*subject, "as wanted"), now, first)
        else:
            # An area whose check failed says nothing about its subjects, not even that one is gone.
            after[subject] = row if area in broken else _unseen(row)
    return after


def _told_together(seen: Mapping[Subject, Finding]) -> set[str]:
    """Return the ids for which one finding (``5 units``) covers everything that is right and has no finding of its own.

    An id with an unknown finding is left out: then it is not clear what is unknown.
    """
    alike: dict[str, set[Status]] = defaultdict(set)
    for (id, _), one in seen.items():
        if id.partition(".")[0] in _TOGETHER:
            alike[id].add(one.status)
    return {id for id, statuses in alike.items() if "ok" in statuses and "unknown" not in statuses}


def by_subject(findings: Iterable[Finding]) -> dict[Subject, Finding]:
    """Return ``{(id, about): finding}``, the worst one if several are about the same subject.

    A certificate remains the same subject when one of the ports that serve it is closed.
    """
    found: dict[Subject, list[Finding]] = defaultdict(list)
    for one in findings:
        about = _PORTS.sub("", one.about) if one.id in _ONE_CERTIFICATE else one.about
        found[one.id, about].append(one)
    return {subject: next(one for one in of_one if one.status == worst(of_one)) for subject, of_one in found.items()}


def _is_of_area(id: str) -> bool:
    """Tell whether a finding says that a whole area could not be checked; there is one only in that case."""
    return id in {f"{area}.check" for area in AREAS}


def _seen(row: RememberedSubject, finding: Finding, now: int, first: bool) -> RememberedSubject:
    if finding.status == "unknown":
        since = row.since if row.blind else now
        row = replace(row, blind=row.blind + 1, since=since)
        is_long = row.blind >= LONG_RUNS and now - since >= LONG
        return replace(row, status="unknown", last=_texts(finding)) if is_long else row
    row = replace(row, blind=0, since=0)
    if finding.status != row.status and _is_doubtful(row, finding) and not first:
        return replace(row, doubt=finding.status)
    return replace(row, status=finding.status, last=_texts(finding), doubt="")


def _is_doubtful(row: RememberedSubject, finding: Finding) -> bool:
    """Tell whether another run must see it as well: after each change in DNS the secondaries lag behind for a while.

    A failure is accepted at once, since mail may be lost meanwhile.
    """
    return finding.id.startswith("dns.") and finding.status == "warn" != row.doubt and row.status != "fail"


def _unseen(row: RememberedSubject) -> RememberedSubject:
    row = replace(row, blind=row.blind + 1)
    return replace(row, status=GONE, doubt="") if row.blind >= LONG_RUNS or row.status in _CALM else row


def _texts(finding: Finding) -> dict[str, str]:
    return {name: shortened(getattr(finding, name)) for name in ("wanted", "seen", "remedy")}


def shortened(text: str) -> str:
    """Return a text shortened to at most ``LONGEST`` characters."""
    return text if len(text) <= LONGEST else text[: LONGEST - 2] + " …"


@dataclass(frozen=True)
class StatusChange:
    """One subject whose status changed from ``was`` to ``status``, as far as a channel knows."""

    id: str
    about: str
    was: Status
    status: Known
    last: dict[str, str]


def changes(rows: Rows, channel: str) -> list[StatusChange]:
    """Return what a channel must be notified of: a :class:`StatusChange` for each row whose status is new to it."""
    found = []
    for (id, about), row in sorted(rows.items()):
        was = row.told.get(channel, "ok")
        if _known_as(row.status) != was:
            found.append(StatusChange(id, about, was, row.status, row.last))
    return found


def delivered(rows: Rows, channel: str) -> Rows:
    """Return the rows after a channel was notified of everything."""
    return {subject: replace(row, told={**row.told, channel: _known_as(row.status)}) for subject, row in rows.items()}


def kept(rows: Rows, channels: Collection[str]) -> Rows:
    """Return the rows that hold more than an ok status that these channels know; others are forgotten.

    The texts of rows that all channels know are dropped as well: with ten thousand domains the file would get large.
    """
    found: Rows = {}
    for subject, row in rows.items():
        told = {name: row.told.get(name, "ok") for name in channels}
        is_known = all(status == _known_as(row.status) for status in told.values())
        if not _is_dull(row, told):
            found[subject] = replace(row, told=told, last={} if is_known else row.last)
    return found


def _is_dull(row: RememberedSubject, told: Mapping[str, Status]) -> bool:
    waits = row.status != GONE and (row.blind or row.doubt)
    return row.status in _CALM and not waits and all(status == "ok" for status in told.values())


def _known_as(status: Known) -> Status:
    return "ok" if status == GONE else status


KINDS = ("worse", "unknown", "better", "mended", GONE)
"""The kinds of changes, in the order of a report."""


def kind(was: Status, status: Known) -> str:
    """Return the kind of a change: one of ``KINDS``."""
    if status in (GONE, "unknown"):
        return status
    if status == "ok":
        return "mended"
    return "worse" if STATUSES.index(status) > STATUSES.index(was) else "better"


class ChangeGroup(TypedDict):
    """Equal changes as one, for a report (:func:`grouped`)."""

    change: str
    id: str
    was: Status
    status: Known
    count: int
    about: list[str]
    wanted: str
    seen: str
    remedy: str


def grouped(found: Iterable[StatusChange]) -> list[ChangeGroup]:
    """Return changes for a report, equal ones as one: ``change`` (one of ``KINDS``), ``id``, ``was``, ``status``,
    ``count``, ``about`` (the first ones), and ``wanted``, ``seen`` and ``remedy`` of the first.

    So 300 domains that fail at once because a name server died are a few lines, not 300 mails.
    """
    groups: dict[tuple[int, int, str, Status, Known], list[StatusChange]] = defaultdict(list)
    for one in found:
        groups[KINDS.index(kind(one.was, one.status)), -_severity(one), one.id, one.was, one.status].append(one)
    return [
        {
            "change": KINDS[number],
            "id": id,
            "was": was,
            "status": status,
            "count": len(alike),
            "about": [one.about for one in alike[:MOST_ABOUT]],
            "wanted": alike[0].last.get("wanted", ""),
            "seen": alike[0].last.get("seen", ""),
            "remedy": alike[0].last.get("remedy", ""),
        }
        for (number, _, id, was, status), alike in sorted(groups.items())
    ]


def _severity(change: StatusChange) -> int:
    return STATUSES.index(_known_as(change.status))
