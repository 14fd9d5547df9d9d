"""Findings: what a check of this mail server wanted, what it saw and where, and what to do about it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from mailhost.wording import plain

STATUSES = ("ok", "unknown", "warn", "fail")
"""From the best to the worst. ``unknown``: there was no result (timeout, server in trouble), which is not a fault."""


@dataclass(frozen=True)
class Finding:
    """One thing that was checked.

    ``id`` is stable from release to release (``dns.spf.published``). ``about`` is its subject: a domain, an address, a
    unit, a file. ``wanted`` and ``seen`` are parts of sentences, ``seen`` with the place (server, address, path).
    ``remedy`` says what to do, in a sentence or two; only an ``ok`` finding has none. Strangers may have written parts
    of the texts, so each is made plain.
    """

    id: str
    status: str
    about: str
    wanted: str
    seen: str
    remedy: str = ""

    def __post_init__(self):
        for name in ("about", "wanted", "seen", "remedy"):
            object.__setattr__(self, name, plain(getattr(self, name)))


@dataclass(frozen=True)
class Host:
    """What checks read: the settings (``mailserver.settings``) and, for everything else, functions.

    ``command`` is called with the words of a command and returns :class:`Done`; it never raises an exception.
    """

    settings: dict
    command: Callable


def ok(id, about, wanted, seen=""):
    """Return a finding for something that is as wanted."""
    return Finding(id, "ok", about, wanted, seen or wanted)


def worst(findings):
    """Return the worst status among findings; ``ok`` for none."""
    return max((one.status for one in findings), key=STATUSES.index, default="ok")


def counts(findings):
    """Return how many findings there are of each status."""
    found = Counter(one.status for one in findings)
    return {status: found[status] for status in STATUSES}
