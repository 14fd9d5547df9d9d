"""For which host a publisher published which key record, so that no host replaces another's record.

The form is ``{name of the record: [minion's id]}``, stored by :mod:`mailhost.publish.remembered`. A name is written
before its record is sent, and removed once it is gone from DNS.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mailhost.errors import LockHeld
from mailhost.files import locked
from mailhost.publish import remembered
from mailhost.publish.change import Sent
from mailhost.records.allowed_names import AllowedNames

_FILE = "publisher.json"
_WAIT = 120
"""Seconds that a call waits for the earlier call for the same minion."""
LATER = {"later": "Another call for this minion waits for its turn, and will publish what is asked for by now."}
"""The return of a call that left its work to another one."""


def path_of(folder: str | Path = remembered.FOLDER) -> Path:
    """Return the path of the file."""
    return Path(folder) / _FILE


class Owners:
    """The file as seen by one host that asks; changes are on disk when a method returns."""

    def __init__(self, path: Path, minion: str) -> None:
        self.path, self._minion = path, minion
        self._before = remembered.read_texts(path)
        self._now = dict(self._before)

    def has(self, name: str) -> bool:
        """Tell whether the record at a name was published for this host."""
        return self._minion in self._before.get(name, ())

    def others(self, name: str) -> list[str]:
        """Return the hosts besides this one for which the record at a name was published."""
        return [one for one in self._before.get(name, ()) if one != self._minion]

    def refusal(self, name: str) -> str:
        """Return why a name that belongs to others is left alone."""
        return (
            f"{name} did not change: its record was published for {', '.join(self.others(name))}, and not for "
            f"{self._minion}. If that host is gone, take the name out of {self.path} on the publisher."
        )

    def claim(self, names: Iterable[str]) -> None:
        """Write down names whose records are about to be sent for this host."""
        self._write({**self._now, **{name: [self._minion] for name in names}})

    def settle(self, sent: Iterable[Sent], allowed: AllowedNames) -> None:
        """Write the outcomes: names whose records were not sent go back to what they were.

        A record that already existed becomes this host's only below its own domains.
        """
        after = dict(self._now)
        for one in sent:
            name, is_gone = one.change.name, one.change.wanted is None
            took = one.result in ("sent", "unknown") or (one.result == "already" and allowed.is_of_domain(name))
            if one.result in ("sent", "already") and is_gone:
                after.pop(name, None)
            elif not took and name in self._before:
                after[name] = self._before[name]
            elif not took:
                after.pop(name, None)
        self._write(after)

    def _write(self, names: dict[str, list[str]]) -> None:
        if names != self._now:
            remembered.write_texts(self.path, names)
        self._now = names


@contextmanager
def held(path: Path, minion: str) -> Iterator[Owners]:
    """Lock the file, so that no other call changes it; yield the :class:`Owners` of a minion.

    :raises PublishError: the file is damaged. :raises LockHeld: another call has held it for too long.
    """
    with locked(path.parent, what="records to publish"):
        yield Owners(path, minion)


@contextmanager
def turn(folder: str | Path, minion: str) -> Iterator[bool]:
    """Let one call at a time work for a minion, and at most one wait; yield whether this call should work.

    A waiting call reads the requests after it has waited, so later calls need not wait as well. A minion that sends
    event after event keeps no more than two calls busy.
    """
    mark = hashlib.sha256(minion.encode("utf-8", "replace")).hexdigest()[:16]
    waiting, working = (Path(folder) / ".publishing" / f"{mark}.{word}" for word in ("waits", "works"))
    try:
        wait = locked(waiting, wait=0, what="records to publish")
        wait.__enter__()
    except LockHeld:
        yield False
        return
    try:
        work = locked(working, wait=_WAIT, what=f"the records of {minion}")
        work.__enter__()
    finally:
        wait.__exit__(None, None, None)
    try:
        yield True
    finally:
        work.__exit__(None, None, None)
