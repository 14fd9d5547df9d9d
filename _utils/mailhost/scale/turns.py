"""Rotation: of thousands of domains whose records were as wanted, a run checks a share; it checks all others.

The others are those that are not known to be right, and those that ``mailserver.watch``, which checks all, last saw
wrong.
"""

import bisect
import contextlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias, TypeVar

from mailhost.errors import WriteError
from mailhost.files import AnyPath, replace_file
from mailhost.scale import packing

MANY = 500
"""Up to so many domains, or keys that DNS showed, a run checks all of them."""
SHARE = 100
"""How many of them a run checks in DNS, in rotation, if there are more than that."""
NOTE = "/var/lib/mailserver/records.json"
"""The file with the domains whose records were as wanted, and the last one that was checked in rotation. Without it all
are checked."""
FORMAT = 1
_CHECKS = ("dns.mx", "dns.spf", "dns.dmarc", "dns.mta_sts", "dns.tls_rpt", "dns.caa")
"""The checks of ``mailserver.check`` for these records."""
Watched: TypeAlias = Callable[[tuple[str, ...], Mapping[str, object]], Collection[str]]
"""What returns those of some domains that the last watch saw wrong (:func:`mailhost.watch.memory.seen_wrong`)."""
_Thing = TypeVar("_Thing", bound=str | tuple[str, ...])


def rotated(things: Sequence[_Thing], last: str | tuple[str, ...]) -> list[_Thing]:
    """Return sorted things in rotation: from the one after ``last`` to the end, then from the beginning."""
    begin = bisect.bisect_right(things, last) % len(things) if things else 0
    return [*things[begin:], *things[:begin]]


class DueDomains:
    """The domains whose records a run checks, ``due``, and those that were as wanted and are skipped, ``later``.

    :param domains: the settings of all domains.
    :param dns: how DNS is asked, plain data: if this or a domain's settings change, the domain is checked again.
    :param watched: called with the ids of checks and the domains, returns those that the last watch saw wrong
        (:func:`mailhost.watch.memory.seen_wrong`).
    :param path: the path of the note.
    """

    def __init__(
        self,
        domains: Mapping[str, Mapping[str, object]],
        dns: Mapping[str, object],
        watched: Watched,
        path: AnyPath = NOTE,
    ) -> None:
        marks, self._path = packing.Marks(dns), Path(path)
        self._marks = {name: marks.of(domain) for name, domain in domains.items()}
        right, last = _read(self._path) if len(domains) > MANY else ({}, "")
        wrong = watched(_CHECKS, domains) if right else ()
        settled = sorted(name for name, mark in self._marks.items() if right.get(name) == mark and name not in wrong)
        turned = rotated(settled, last)
        self._share, self.later = turned[:SHARE], turned[SHARE:]
        later = frozenset(self.later)
        self.due = [name for name in domains if name not in later]

    def note(self, wrong: Iterable[str]) -> None:
        """Write which domains' records were as wanted.

        :param wrong: those of ``due`` whose records are not, or could not be seen.
        """
        if len(self._marks) <= MANY:
            return
        wrong = frozenset(wrong)
        right = {name: self._marks[name] for name in (*self.due, *self.later) if name not in wrong}
        marks = sorted(set(right.values()))
        of = {name: marks.index(mark) for name, mark in right.items()}
        last = self._share[-1] if self._share else ""
        with contextlib.suppress(WriteError, OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._path, json.dumps({"format": FORMAT, "last": last, "marks": marks, "of": of}), 0o644)


def _read(path: Path) -> tuple[dict[str, str], str]:
    """Return ``({domain: mark}, the last one in rotation)``; a damaged file is treated as missing."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        if note["format"] == FORMAT:
            marks = list(map(str, note["marks"]))
            return {name: marks[number] for name, number in note["of"].items()}, str(note["last"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        pass
    return {}, ""
