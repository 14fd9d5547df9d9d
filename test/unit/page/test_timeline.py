"""The time line: which span it shows, and what each key was, is and is to be."""

import re

import pytest

from mailhost.page.form import KeyTimes
from mailhost.page.timeline import DAY, KINDS, LONGEST, SHORTEST, WIDTH, months, picture, spans, window

NOW = 1795543200  # 2026-11-24 18:00 UTC


def key(*days, due=None):
    """A key with stamps so many days ago."""
    stamps = tuple(None if day is None else NOW - int(day * DAY) for day in days)
    return KeyTimes("one", 2048, None if due is None else NOW + due * DAY, stamps)


SPANS = [
    (key(3), ["waiting -3 0"]),
    (key(3, 2, due=1), ["waiting -3 -2", "published -2 0", "plan 0 1"]),
    (key(9, 8, 7, due=30), ["waiting -9 -8", "published -8 -7", "signing -7 0", "plan 0 30", "rotation 30 30"]),
    (key(9, 8, 7), ["waiting -9 -8", "published -8 -7", "signing -7 0"]),
    (key(9, 8, 7, due=-1), ["waiting -9 -8", "published -8 -7", "signing -7 0", "rotation -1 -1"]),
    (key(9, 8, 7, 5, due=9), ["waiting -9 -8", "published -8 -7", "signing -7 -5", "retention -5 0", "plan 0 9"]),
    (
        key(90, 89, 88, 40, 20, due=10),
        ["waiting -90 -89", "published -89 -88", "signing -88 -40", "retention -40 -20", "revoked -20 0", "plan 0 10"],
    ),
    (
        key(90, 89, 88, 40, 20, 5),
        ["waiting -90 -89", "published -89 -88", "signing -88 -40", "retention -40 -20", "revoked -20 -5"],
    ),
    (key(9, None, None, 5), ["waiting -9 -5"]),
    (key(9, 8, None, 5), ["waiting -9 -8", "published -8 -5", "retention -5 0"]),
]


@pytest.mark.parametrize(("one", "wanted"), SPANS)
def test_each_stage_lasts_until_the_next_or_now_and_what_is_due_is_to_come(one, wanted):
    found = [f"{kind} {(start - NOW) // DAY} {(end - NOW) // DAY}" for kind, start, end in spans(one, NOW)]
    assert found == wanted


def test_every_kind_of_mark_has_a_legend():
    drawn = {kind for one, _ in SPANS for kind, _, _ in spans(one, NOW)}
    assert drawn == set(KINDS)


@pytest.mark.parametrize(
    ("keys", "start", "end"),
    [
        ([], SHORTEST, SHORTEST),
        ([key(1, 1, 1, due=2)], SHORTEST, SHORTEST),
        ([key(100, 99, 98, due=80)], 100 * DAY, 80 * DAY),
        ([key(5000, 4999, 4998, due=4000)], LONGEST, LONGEST),
        ([key(150, 150, 150, 90, 80, 70)], SHORTEST, SHORTEST),
    ],
)
def test_the_window_shows_all_living_keys_within_bounds(keys, start, end):
    found = window(keys, NOW)
    margin = (start + end) // 50
    assert (NOW - found.start, found.end - NOW) == (start + margin, end + margin)


def test_months_begin_where_they_do():
    shown = window([key(100, 99, 98, due=80)], NOW)
    assert [name for _, name in months(shown)] == ["Sep", "Oct", "Nov", "Dec", "2027", "Feb"]
    first, _ = months(shown)[0]
    assert shown.start + first * (shown.end - shown.start) == pytest.approx(1788220800)  # 2026-09-01


def drawn(keys):
    """The marks of a picture: (kind, x, y, length)."""
    found = picture(keys, window(keys, NOW))
    return [(kind, *map(int, mark)) for kind, path in found.paths for mark in re.findall(r"M(\d+) (\d+)h(\d+)", path)]


def test_keys_that_overlap_lie_on_two_lanes_and_those_that_do_not_share_one():
    old, present = key(100, 99, 98, 10, due=4), key(10, 10, 10, due=80)
    assert {y for _, _, y, _ in drawn([old, present])} == {6, 16}
    gone, later = key(90, 90, 90, 70, 60, 50), key(40, 40, 40, due=60)
    assert {y for _, _, y, _ in drawn([gone, later])} == {6}


def test_what_began_just_now_can_be_seen_and_nothing_leaves_the_picture():
    marks = drawn([key(199, 199, 199, due=500), key(0)])
    assert all(length >= 4 for kind, _, _, length in marks if kind in ("waiting", "signing"))
    assert all(0 <= x <= x + length <= WIDTH for _, x, _, length in marks)
    assert "waiting" in {kind for kind, _, _, _ in marks}


def test_an_hour_between_two_stages_is_not_drawn_once_it_is_over():
    assert {kind for kind, _, _, _ in drawn([key(9, 8.9, 8.8)])} == {"signing"}
    assert {kind for kind, _, _, _ in drawn([key(9, 7, 5)])} == {"waiting", "published", "signing"}


def test_a_picture_without_keys_still_shows_now():
    assert [kind for kind, _ in picture([], window([], NOW)).paths] == ["now"]
