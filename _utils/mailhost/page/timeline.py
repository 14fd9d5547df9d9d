"""The time line of DKIM keys: which span of time it shows, and what to draw of each key's life. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

from mailhost.page.form import KeyTimes

DAY = 86400
LONGEST = 200 * DAY
SHORTEST = 30 * DAY
"""Seconds that the time line reaches to either side of now, at most and at least."""
SAMPLES = {"rotation": "M18 6h0", "now": "M18 0v12"}
"""The paths of a mark in the legend, where they are not a line."""
WIDTH = 1000
LANE = 10
NARROWEST = 4
"""The least width of a mark, of :data:`WIDTH`, so that what began an hour ago is to be seen."""
_BRIEF = ("waiting", "published")
"""What is not drawn if it lasted less than a day and is over."""
KINDS = {
    "waiting": "made, DNS must show it",
    "published": "published, does not sign yet",
    "signing": "signing",
    "retention": "retention: it verifies mail on its way",
    "revoked": "revoked: empty p= in DNS",
    "plan": "what is to come",
    "rotation": "next rotation",
}
"""All kinds of marks, in the order in which they are drawn, and their legend."""


@dataclass(frozen=True)
class Window:
    """The span that is shown: from ``start`` to ``end``, and ``now`` in between (seconds since 1970)."""

    start: int
    end: int
    now: int

    def share(self, moment: float) -> float:
        """Return where a moment lies: 0 at the start, 1 at the end."""
        return (moment - self.start) / (self.end - self.start)

    def x(self, moment: float) -> int:
        """Return where a moment lies on a picture of the width :data:`WIDTH`, at its edge if it is outside."""
        return min(max(round(self.share(moment) * WIDTH), 0), WIDTH)


def window(keys: Iterable[KeyTimes], now: int) -> Window:
    """Return the :class:`Window` that shows these keys, within bounds."""
    starts, ends = [now - SHORTEST], [now + SHORTEST]
    for key in keys:
        if key.stage != "removed":
            starts.append(key.made)
        ends.append(key.due or now)
    start, end = max(min(starts), now - LONGEST), min(max(ends), now + LONGEST)
    margin = (end - start) // 50
    return Window(start - margin, end + margin, now)


def months(shown: Window) -> list[tuple[float, str]]:
    """Return ``[(share, name)]`` of the first of each month within a window."""
    moment = datetime.fromtimestamp(shown.start, timezone.utc)
    year, month = moment.year, moment.month
    found: list[tuple[float, str]] = []
    while True:
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
        first = datetime(year, month, 1, tzinfo=timezone.utc)
        if first.timestamp() >= shown.end:
            return found
        found.append((shown.share(first.timestamp()), f"{first:%b}" if month > 1 else f"{first:%Y}"))


Span = tuple[str, int, int]
"""A kind (one of :data:`KINDS`), and from when to when it is so."""


def spans(key: KeyTimes, now: int) -> list[Span]:
    """Return what a key was, is, and is to be: ``[(kind, start, end)]`` in the order of time."""
    reached = [(kind, moment) for kind, stage in _BEGINS if (moment := key.at(stage)) is not None]
    was_shown = key.at("published") is not None
    found: list[Span] = []
    for number, (kind, start) in enumerate(reached):
        end = reached[number + 1][1] if number + 1 < len(reached) else max(now, start)
        if kind in KINDS and (was_shown or kind == "waiting"):
            found.append((kind, start, end))
    if key.due and key.due > now:
        found.append(("plan", now, key.due))
    if key.stage == "signing" and key.due:
        found.append(("rotation", key.due, key.due))
    return found


_BEGINS = (
    ("waiting", "generated"),
    ("published", "published"),
    ("signing", "signing"),
    ("retention", "retired"),
    ("revoked", "revoked"),
    ("gone", "removed"),
)


@dataclass(frozen=True)
class Picture:
    """What a template draws as SVG: ``paths`` are (kind, path), the last of them the line of now."""

    height: int
    paths: tuple[tuple[str, str], ...]


def picture(keys: Iterable[KeyTimes], shown: Window) -> Picture:
    """Return the :class:`Picture` of a domain's keys on one host, each on the first lane that is free as it begins."""
    lanes: list[int] = []
    marks: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for key in sorted(keys, key=lambda key: key.made):
        visible = [span for span in spans(key, shown.now) if span[2] >= shown.start and span[1] <= shown.end]
        if not visible:
            continue
        begins, ends = shown.x(visible[0][1]), max(shown.x(span[2]) for span in visible)
        lane = next((number for number, taken in enumerate(lanes) if taken < begins), len(lanes))
        lanes[lane:] = [ends] if lane == len(lanes) else [ends, *lanes[lane + 1 :]]
        for kind, start, end in visible:
            if kind in _BRIEF and end - start < DAY and end != shown.now:
                continue
            marks[kind].append(_mark(kind, shown.x(start), shown.x(end), lane * LANE + LANE // 2 + 1))
    height = max(len(lanes), 1) * LANE + 2
    paths = tuple((kind, "".join(found)) for kind, found in marks.items() if found)
    return Picture(height, (*paths, ("now", f"M{shown.x(shown.now)} 0v{height}")))


def _mark(kind: str, x: int, end: int, y: int) -> str:
    begin = x if kind in ("plan", "rotation") else max(min(x, end - NARROWEST), 0)
    return f"M{begin} {y}h{end - begin}"
