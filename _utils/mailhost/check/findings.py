"""Findings: what a check of this mail server wanted, what it saw and where, and what to do about it."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mailhost.command import Command
from mailhost.shapes import Settings
from mailhost.wording import plain

Status: TypeAlias = Literal["ok", "unknown", "warn", "fail"]
STATUSES: tuple[Status, ...] = ("ok", "unknown", "warn", "fail")
"""From the best to the worst. ``unknown``: there was no result (timeout, server in trouble), which is not a fault."""
CheckResult: TypeAlias = tuple[Status, str, str]
"""The result of one check: its status, what was seen, and the remedy (of :class:`Finding`)."""


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    ``id`` is stable from release to release (``dns.spf.published``). ``about`` is its subject: a domain, an address, a
    unit, a file. ``wanted`` and ``seen`` are parts of sentences, ``seen`` with the server, address or path.
    ``remedy`` says what to do, in a sentence or two; only an ``ok`` finding has none. Strangers may have written parts
    of the texts, so each is made plain.
    """

    id: str
    status: Status
    about: str
    wanted: str
    seen: str
    remedy: str = ""

    def __post_init__(self) -> None:
        for name in ("about", "wanted", "seen", "remedy"):
            object.__setattr__(self, name, plain(getattr(self, name)))


@dataclass(frozen=True)
class CheckedHost:
    """What checks read: the settings (``mailserver.settings``) and, for everything else, functions.

    ``command`` is called with the words of a command and returns :class:`mailhost.command.CommandResult`; it never
    raises an exception.
    """

    settings: Settings
    command: Command


def ok(id: str, about: str, wanted: str, seen: str = "") -> Finding:
    """Return a finding for something that is as wanted."""
    return Finding(id, "ok", about, wanted, seen or wanted)


def worst(findings: Iterable[Finding]) -> Status:
    """Return the worst status among findings; ``ok`` for none."""
    return max((one.status for one in findings), key=STATUSES.index, default="ok")


def counts(findings: Iterable[Finding]) -> dict[str, int]:
    """Return how many findings there are of each status."""
    found = Counter(one.status for one in findings)
    return {status: found[status] for status in STATUSES}
