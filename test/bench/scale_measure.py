"""How a benchmark compares: medians of runs taken by turns, and rows of a table that end in a verdict."""

import os
import statistics
import sys
import time
from dataclasses import dataclass

SIZES = (10, 100, 1_000, 10_000)
"""Domains at which a curve has its points."""


@dataclass(frozen=True)
class Row:
    """What was measured, with what it was compared, the figure, and the bound that it has to keep.

    ``figure`` is a ratio unless ``unit`` says otherwise; ``least``: the bound is the least that is wanted,
    and not the most.
    """

    work: str
    compared: str
    figure: float
    bound: float
    unit: str = "x"
    least: bool = False
    note: str = ""

    @property
    def is_ok(self):
        return self.figure >= self.bound if self.least else self.figure <= self.bound

    def text(self):
        """Return the row as a line of the table."""
        wanted = f"{'≥' if self.least else '≤'} {self.bound:g} {self.unit}"
        verdict = "ok" if self.is_ok else "short"
        note = f"  ({self.note})" if self.note else ""
        return f"{self.work:58} {self.compared:44} {self.figure:9.2f} {self.unit:3} {wanted:>11}{note}  {verdict}"


@dataclass(frozen=True)
class Measured:
    """What a group of rows brings: its rows, and curves ``{what: {domains: seconds}}`` for the plot."""

    rows: tuple = ()
    curves: dict = None


def timed(act, clock=time.perf_counter):
    """Return the seconds that ``act`` takes."""
    began = clock()
    act()
    return clock() - began


def by_turns(*acts, runs=3):
    """Return the median seconds of each of several functions, called by turns: a busy machine slows all alike."""
    found = [[timed(act) for act in acts] for _ in range(runs)]
    return [statistics.median(column) for column in zip(*found, strict=True)]


@dataclass(frozen=True)
class Ratio:
    """The median of a ratio measured in several turns; as text, with the least and the most."""

    turns: tuple

    @classmethod
    def of(cls, act, other, runs=5):
        """Return the ratio of the seconds of ``act`` to those of ``other``; they are called alternately."""
        return cls(tuple(timed(act) / timed(other) for _ in range(runs)))

    @property
    def median(self):
        return statistics.median(self.turns)

    @property
    def spread(self):
        return f"{min(self.turns):.2f} to {max(self.turns):.2f} in {len(self.turns)} turns"


def sizes(domains):
    """Return the sizes of curves up to a number of domains."""
    return [one for one in SIZES if one <= domains] or [domains]


def tell(what):
    """Tell on stderr what comes next, and when: a run with thousands of domains takes minutes."""
    print(f"{time.strftime('%H:%M:%S')}  {what}; {load()}", file=sys.stderr, flush=True)


def told(row):
    """Return a row, and tell of it: should the run be cut short, what was measured is known."""
    tell(" ".join(row.text().split()))
    return row


def load():
    """Return how busy the machine is, in words."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
