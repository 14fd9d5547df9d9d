"""How many answers the reflector sent in the last hour, and to whom: a small file under a lock."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

WINDOW = 3600

Answer = tuple[float, str]
"""When an answer was sent (seconds), and the hash of the mailbox that it went to."""


class Ledger:
    """The answers of the last hour: at most ``total``, so the file stays small, and at most ``rate`` to one sender.

    :param folder: the folder of the file; only the reflector's user may write there.
    """

    def __init__(self, folder: str | Path, rate: int, total: int) -> None:
        self.folder, self.rate, self.total = Path(folder), rate, total

    def full(self, mailbox: str, now: float) -> str | None:
        """Return why ``mailbox`` gets no answer at the moment ``now`` (seconds), or ``None``."""
        with self._locked():
            return self._full(self._read(now), _hash(mailbox))

    def take(self, mailbox: str, now: float) -> str | None:
        """Count an answer to ``mailbox``; if there is a reason not to send it, return that instead (:meth:`full`)."""
        with self._locked():
            answers, key = self._read(now), _hash(mailbox)
            why = self._full(answers, key)
            if why is None:
                self._write([*answers, (now, key)])
            return why

    def _full(self, answers: Sequence[Answer], key: str) -> str | None:
        if len(answers) >= self.total:
            return f"{self.total} answers were sent in the last hour (mailserver:reflector:total)"
        if sum(one == key for _, one in answers) >= self.rate:
            return f"this sender got {self.rate} answers in the last hour (mailserver:reflector:rate)"
        return None

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read(self, now: float) -> list[Answer]:
        """Return the answers of the last hour; none if the file is damaged, since that must not stop the reflector."""
        try:
            found = json.loads((self.folder / "answers.json").read_text(encoding="ascii"))
            return [(when, key) for when, key in found if now - WINDOW < when <= now]
        except (OSError, ValueError, TypeError):
            return []

    def _write(self, answers: Sequence[Answer]) -> None:
        rough = self.folder / "answers.json.new"
        rough.write_text(json.dumps(answers), encoding="ascii")
        os.replace(rough, self.folder / "answers.json")


def _hash(mailbox: str) -> str:
    return hashlib.sha256(mailbox.encode("utf-8", "replace")).hexdigest()[:32]
