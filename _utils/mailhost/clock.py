"""A time that no jump of the host's clock can move: it grows by the time that runs witnessed. Also its text forms."""

import json
import math
import os
import time
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mailhost.errors import ClockError

FIRST_PROCESS = Path("/proc/1/stat")
EARLIEST = 1_767_225_600
"""2026-01-01: a clock with an earlier time was never set."""
TOLERANCE = 6 * 3600
"""Seconds by which the host's clock and the trusted time may differ before that counts as a jump."""
CREDIT = 3 * 86400
"""Seconds that the host's clock may add in all to what was witnessed; each later second of agreement proves one."""
SETTLES = 86400
"""Seconds after a boot in which the host's clock may still be corrected and then show how long the host was off."""
MOST_TAKEN_BACK = 7 * 86400
"""Seconds of credit that the host's clock may take back later."""

_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Reading:
    """A reading of the host's clocks: ``wall`` (seconds since 1970), and ``uptime`` (seconds since the boot ``boot``).

    ``running``: seconds for which the host's first process has run. In a container with its own boot, such as one of
    systemd-nspawn, ``uptime`` is still that of the machine.
    """

    wall: float
    boot: str
    uptime: float
    running: float = math.inf


@dataclass(frozen=True)
class Clock:
    """The trusted time as of the last run, and the reading on which it is based.

    ``credit`` are seconds of ``trusted`` that nobody witnessed and that the host's clock may still take back.
    ``unproved`` are those that count against :data:`CREDIT` (a negative number: so many were taken back, and may be
    added again). ``unseen``: it is not settled yet how long the host was off before this boot.
    """

    trusted: float
    wall: float
    boot: str
    uptime: float
    credit: float = 0.0
    unproved: float = 0.0
    unseen: bool = False

    @property
    def is_believed(self) -> bool:
        """Tell whether the host's clock agrees with what was witnessed."""
        return abs(self.wall - self.trusted) <= TOLERANCE


def read() -> Reading:
    """Return the host's :class:`Reading` now."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    return Reading(time.time(), boot, uptime, max(uptime - _first_process_began(), 0))


def _first_process_began() -> float:
    """Return when process 1 started, in seconds since the machine's boot (proc(5), field 22 of /proc/1/stat).

    If that cannot be read, it counts as started just now, so that too little time is assumed to have passed, never too
    much.
    """
    try:
        fields = FIRST_PROCESS.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return math.inf


def advance(clock: Clock | None, reading: Reading) -> Clock:
    """Return the :class:`Clock` after a new reading; ``clock`` is ``None`` at the first run.

    The kernel's count of seconds says how much time passed since the last run or, if the host booted in between, how
    much at least. The host's clock is compared with the trusted time, never with its own earlier readings:

    * If it is ahead by time that nobody witnessed, because the host was off, that is accepted, up to :data:`CREDIT` in
      all. The longer it then agrees with what is witnessed, the more of that is proved and no longer counts.
    * If it is behind because too much was accepted before, the trusted time waits for it. The trusted time never goes
      back, and never grows by less in all than what was witnessed.
    * Otherwise it is not trusted and does not change the trusted time.

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


def _compared(clock: Clock, passed: float) -> Clock:
    """Return the clock after comparing its trusted time with the host's clock."""
    ahead = clock.wall - clock.trusted
    if ahead > 0:
        left = CREDIT - clock.unproved
        return _credited(clock, ahead) if ahead <= (left if clock.unseen else min(left, TOLERANCE)) else clock
    # A clock that is behind by more than all credit is wrong, whatever the credit was.
    back = min(-ahead, passed, clock.credit) if -ahead <= clock.credit + TOLERANCE else 0
    # Seconds that were taken back by mistake may be added again.
    return replace(_credited(clock, -back), unseen=True) if back else clock


def _credited(clock: Clock, seconds: float) -> Clock:
    credit = min(clock.credit + seconds, MOST_TAKEN_BACK)
    return replace(clock, trusted=clock.trusted + seconds, credit=credit, unproved=clock.unproved + seconds)


def _proved(clock: Clock, passed: float) -> Clock:
    """Return the clock after ``passed`` seconds were witnessed, if the host's clock agrees with them."""
    if not clock.is_believed:
        return clock
    unproved = max(clock.unproved - passed, 0) if clock.unproved > 0 else clock.unproved
    return replace(clock, unproved=unproved, unseen=clock.unseen and clock.uptime < SETTLES)


def believe(clock: Clock) -> Clock:
    """Return ``clock`` with the host's clock trusted, ahead or behind: an operator says that it is right.

    :raises ClockError: it was obviously never set.
    """
    _check_was_set(clock.wall)
    return Clock(clock.wall, clock.wall, clock.boot, clock.uptime)


def _check_was_set(wall: float) -> None:
    if wall < EARLIEST:
        raise ClockError("the host's clock was never set (it is before 2026): set it, then run again")


def emit(clock: Clock) -> str:
    """Return a clock as the text of its file."""
    return json.dumps(asdict(clock)) + "\n"


OF_UNKNOWN_CREDIT = {"credit": CREDIT, "unproved": CREDIT, "unseen": True}
"""Values that an earlier version of the formula did not save: it may have accepted that much, and more."""


def parse(text: str, where: str) -> Clock:
    """Read the text of a clock's file.

    :raises ClockError: it is damaged.
    """
    try:
        found: dict[str, Any] = {**OF_UNKNOWN_CREDIT, **json.loads(text)}
        numbers = {name: float(found[name]) for name in ("trusted", "wall", "uptime", "credit", "unproved")}
        if not all(map(math.isfinite, numbers.values())):
            raise ValueError("a time that is no number")
        return Clock(boot=str(found["boot"]), unseen=bool(found["unseen"]), **numbers)
    except (ValueError, TypeError, KeyError) as err:
        raise ClockError(f"{where}: damaged ({err!r}); delete it if the host's clock is right now") from err


def utc(now: float) -> datetime:
    """Return the time ``now`` (seconds since 1970, UTC) as a time stamp."""
    return datetime.fromtimestamp(int(now), timezone.utc)


def shown_time(moment: datetime) -> str:
    """Return a time stamp in the form for people."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def iso_time(moment: datetime) -> str:
    """Return a time stamp in the form for programs (ISO 8601, UTC)."""
    return moment.strftime(_TIME)
