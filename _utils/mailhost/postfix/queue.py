"""Postfix's mail queue: how old the oldest message in it is, by the host's clock and by the trusted one."""

import json
import subprocess
from datetime import timedelta

from mailhost.clock import TOLERANCE, utc


def oldest(now, offset, run=None):
    """Return when the oldest message in the queue arrived; ``now`` for an empty queue, ``None`` if that is not known.

    A message from the future arrived while the host's clock was wrong, and nobody knows when that was.

    :param now: the trusted time, an aware UTC datetime.
    :param offset: seconds by which the host's clock is ahead of the trusted time now. A message may have arrived
        before the clock jumped or after it; the earlier of both readings counts.
    :param run: returns what ``postqueue -j`` prints; for tests.
    """
    try:
        lines = (run or _postqueue)().splitlines()
        moments = [utc(json.loads(line)["arrival_time"]) for line in lines if line.strip()]
    except (OSError, OverflowError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
    ahead = timedelta(seconds=max(offset, 0))
    moments = [moment - ahead for moment in moments]
    # Some arrive while this run is under way, and are no reason to doubt.
    if max(moments, default=now) > now + timedelta(seconds=TOLERANCE):
        return None
    return min(moments, default=now)


def oldest_for(run):
    """Return :func:`oldest` for a :class:`mailhost.dkim.run.Run`."""
    return oldest(run.now, run.clock_ahead)


def _postqueue():
    done = subprocess.run(("postqueue", "-j"), capture_output=True, text=True, timeout=60, check=True)
    return done.stdout
