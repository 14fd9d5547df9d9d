"""A time that no jump of the host's clock can move: it grows by what was witnessed, run after run; and its spelling."""

import json
import math
import os
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from mailhost.errors import ClockError

FIRST_PROCESS = Path("/proc/1/stat")
EARLIEST = 1_767_225_600
"""2026-01-01: a clock that says less was never set."""
TOLERANCE = 6 * 3600
"""Seconds by which the host's clock and what was witnessed may differ before it counts as a jump."""
CREDIT = 3 * 86400
"""Seconds that the host's clock may add in all to what was witnessed; each second of agreement since proves one."""
SETTLES = 86400
"""Seconds after a boot for which the host's clock may still be set right, and then tell how long the host was off."""
MOST_TAKEN_BACK = 7 * 86400
"""Seconds of credit that the host's clock may take back later."""

_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Reading:
    """What the host's clocks say: ``wall`` (seconds since 1970), and ``uptime`` (seconds since the boot ``boot``).

    ``running``: seconds for which the host's first process has run. In a container that has a boot of its own, as
    systemd-nspawn gives one, ``uptime`` is the machine's all the same.
    """

    wall: float
    boot: str
    uptime: float
    running: float = math.inf


@dataclass(frozen=True)
class Clock:
    """The trusted time as of the last run, and the reading that it was taken with.

    ``credit`` are seconds of ``trusted`` that nobody witnessed, as far as the host's clock may still take them back,
    and ``unproved`` those that count against :data:`CREDIT` (less than none: so many were taken back, and may be
    given again). ``unseen``: how long the host was off before this boot is not settled yet.
    """

    trusted: float
    wall: float
    boot: str
    uptime: float
    credit: float = 0.0
    unproved: float = 0.0
    unseen: bool = False

    @property
    def is_believed(self):
        """Tell whether the host's clock agreed with what was witnessed."""
        return abs(self.wall - self.trusted) <= TOLERANCE


def read():
    """Return the host's :class:`Reading` now."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    return Reading(time.time(), boot, uptime, max(uptime - _first_process_began(), 0))


def _first_process_began():
    """Return when process 1 began, in seconds since the machine's boot (proc(5), field 22 of /proc/1/stat).

    Where that cannot be seen it began just now: too little is believed to have passed, and never too much.
    """
    try:
        fields = FIRST_PROCESS.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return math.inf


def advance(clock, reading):
    """Return the :class:`Clock` after a new reading; ``clock`` is ``None`` at the first run.

    The kernel's count of seconds tells how long it was since the last run or, if the host booted in between, how long
    it was at least. The host's clock is compared with the trusted time, never with what it said itself before:

    * It is ahead by what nobody witnessed, since the host was off: that is believed, up to :data:`CREDIT` in all.
      What it says for longer in agreement with what is witnessed is proved, and no longer counts against that.
    * It is behind by what was believed so: the trusted time waits for it. It never goes back, nor grows by less in all
      than what was witnessed.
    * Else it is not believed, and leaves the trusted time alone.

    :raises ClockError: at the first run, the host's clock was obviously never set.
    """
    if clock is None:
        _check_was_set(reading.wall)
        return Clock(reading.wall, reading.wall, reading.boot, reading.uptime)
    is_same = reading.boot == clock.boot
    passed = max(reading.uptime - clock.uptime if is_same else min(reading.uptime, reading.running), 0)
    now = replace(
        clock,
        trusted=clock.trusted + passed,
        unseen=clock.unseen or not is_same,
        wall=reading.wall,
        boot=reading.boot,
        uptime=reading.uptime,
    )
    return _proved(_compared(now, passed), passed)


def _compared(clock, passed):
    """Return the clock after its trusted time was compared with the host's clock."""
    ahead = clock.wall - clock.trusted
    if ahead > 0:
        left = CREDIT - clock.unproved
        return _credited(clock, ahead) if ahead <= (left if clock.unseen else min(left, TOLERANCE)) else clock
    # A clock that is behind by more than all credit is wrong, whatever that was.
    back = min(-ahead, passed, clock.credit) if -ahead <= clock.credit + TOLERANCE else 0
    # What was taken back by mistake may be given again.
    return replace(_credited(clock, -back), unseen=True) if back else clock


def _credited(clock, seconds):
    credit = min(clock.credit + seconds, MOST_TAKEN_BACK)
    return replace(clock, trusted=clock.trusted + seconds, credit=credit, unproved=clock.unproved + seconds)


def _proved(clock, passed):
    """Return the clock after ``passed`` seconds were witnessed, if the host's clock agrees with them."""
    if not clock.is_believed:
        return clock
    unproved = max(clock.unproved - passed, 0) if clock.unproved > 0 else clock.unproved
    return replace(clock, unproved=unproved, unseen=clock.unseen and clock.uptime < SETTLES)


def believe(clock):
    """Return ``clock`` with the host's clock believed, ahead or behind: an operator says that it is right.

    :raises ClockError: it was obviously never set.
    """
    _check_was_set(clock.wall)
    return Clock(clock.wall, clock.wall, clock.boot, clock.uptime)


def _check_was_set(wall):
    if wall < EARLIEST:
        raise ClockError("the host's clock was never set (it is before 2026): set it, then run again")


def emit(clock):
    """Return a clock as the text of its file."""
    return json.dumps(asdict(clock)) + "\n"


OF_UNKNOWN_CREDIT = {"credit": CREDIT, "unproved": CREDIT, "unseen": True}
"""What an earlier version of the formula did not write down: it may have believed that much, and more."""


def parse(text, where):
    """Read the text of a clock's file.

    :raises ClockError: it is damaged.
    """
    try:
        found = {**OF_UNKNOWN_CREDIT, **json.loads(text)}
        numbers = {name: float(found[name]) for name in ("trusted", "wall", "uptime", "credit", "unproved")}
        if not all(map(math.isfinite, numbers.values())):
            raise ValueError("a time that is no number")
        return Clock(boot=str(found["boot"]), unseen=bool(found["unseen"]), **numbers)
    except (ValueError, TypeError, KeyError) as err:
        raise ClockError(f"{where}: damaged ({err!r}); delete it if the host's clock is right now") from err


def utc(now):
    """Return the time ``now`` (seconds since 1970, UTC) as time stamps have it."""
    return datetime.fromtimestamp(int(now), timezone.utc)


def shown_time(moment):
    """Return a time stamp as people read it."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def iso_time(moment):
    """Return a time stamp as programs read it (ISO 8601, UTC)."""
    return moment.strftime(_TIME)
