"""A time that no jump of the host's clock can move: it grows by what was witnessed, run after run."""

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mailserver_errors import ClockError

EARLIEST = 1_767_225_600
"""2026-01-01: a clock that says less was never set."""
TOLERANCE = 6 * 3600
"""Seconds by which the host's clock and what was witnessed may differ before it counts as a jump."""
CREDIT = 86400
"""Seconds that count as passed between two runs with a boot in between, where the host's clock moved by too much."""
LONGEST_OFF = 7 * 86400
"""Seconds by which the host's clock may move between two runs with a boot in between and not count as a jump."""


@dataclass(frozen=True)
class Reading:
    """What the host's clocks say: ``wall`` (seconds since 1970), and ``uptime`` (seconds since the boot ``boot``)."""

    wall: float
    boot: str
    uptime: float


@dataclass(frozen=True)
class Clock:
    """The trusted time as of the last run, and the reading that it was taken with."""

    trusted: float
    wall: float
    boot: str
    uptime: float

    @property
    def is_believed(self):
        """Tell whether the host's clock agreed with what was witnessed."""
        return abs(self.wall - self.trusted) <= TOLERANCE


def read():
    """Return the host's :class:`Reading` now."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return Reading(time.time(), boot, time.clock_gettime(time.CLOCK_BOOTTIME))


def advance(clock, reading):
    """Return the :class:`Clock` after a new reading; ``clock`` is ``None`` at the first run.

    Between two runs of the same boot, the kernel's count of seconds tells how long it was, whatever the clock was set
    to. Across a boot the host's clock is believed if it moved by less than a week, else a day passes at most. The
    trusted time never goes back, and follows the host's clock while the two agree.

    :raises ClockError: at the first run, the host's clock was obviously never set.
    """
    if clock is None:
        _check_was_set(reading.wall)
        return Clock(reading.wall, reading.wall, reading.boot, reading.uptime)
    if reading.boot == clock.boot:
        passed = max(reading.uptime - clock.uptime, 0)
    else:
        passed = reading.wall - clock.wall
        if not 0 <= passed <= LONGEST_OFF:
            passed = CREDIT if passed > 0 else 0
    trusted = clock.trusted + passed
    if abs(reading.wall - trusted) <= TOLERANCE:
        trusted = max(reading.wall, clock.trusted)
    return Clock(trusted, reading.wall, reading.boot, reading.uptime)


def believe(clock):
    """Return ``clock`` with the host's clock believed, ahead or behind: an operator says that it is right.

    :raises ClockError: it was obviously never set.
    """
    _check_was_set(clock.wall)
    return replace(clock, trusted=clock.wall)


def _check_was_set(wall):
    if wall < EARLIEST:
        raise ClockError("the host's clock was never set (it is before 2026): set it, then run again")


def emit(clock):
    """Return a clock as the text of its file."""
    return json.dumps(asdict(clock)) + "\n"


def parse(text, where):
    """Read the text of a clock's file.

    :raises ClockError: it is damaged.
    """
    try:
        found = Clock(**json.loads(text))
        return Clock(float(found.trusted), float(found.wall), str(found.boot), float(found.uptime))
    except (ValueError, TypeError) as err:
        raise ClockError(f"{where}: damaged ({err}); delete it if the host's clock is right now") from err
