"""Postfix's mail queue: the age of its oldest message, by the host's clock and by the trusted one."""

import json
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from mailhost.clock import TOLERANCE, utc


class Timed(Protocol):
    """A run's trusted time, and by how many seconds the host's clock is ahead of it."""

    @property
    def now(self) -> datetime: ...

    @property
    def clock_ahead(self) -> float: ...


def oldest(now: datetime, offset: float, run: Callable[[], str] | None = None) -> datetime | None:
    """Return when the oldest message in the queue arrived; ``now`` if the queue is empty, ``None`` if that is unknown.

    A message from the future arrived while the host's clock was wrong, so nobody knows when that was.

    :param now: the trusted time, an aware UTC datetime.
    :param offset: seconds by which the host's clock is ahead of the trusted time now. A message may have arrived
        before or after the clock jumped; the earlier of both readings counts.
    :param run: returns the output of ``postqueue -j``; for tests.
    """
    try:
        lines = (run or _postqueue)().splitlines()
        moments = [utc(json.loads(line)["arrival_time"]) for line in lines if line.strip()]
    except (OSError, OverflowError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
    ahead = timedelta(seconds=max(offset, 0))
    moments = [moment - ahead for moment in moments]
    # Messages that arrive during this run are normal.
    if max(moments, default=now) > now + timedelta(seconds=TOLERANCE):
        return None
    return min(moments, default=now)


def oldest_for(run: Timed) -> datetime | None:
    """Return :func:`oldest` for a :class:`mailhost.dkim.run.Run`."""
    return oldest(run.now, run.clock_ahead)


def _postqueue() -> str:
    done = subprocess.run(("postqueue", "-j"), capture_output=True, text=True, timeout=60, check=True)
    return done.stdout
