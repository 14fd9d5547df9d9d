"""The measurement of load: how it splits the work, and what it calls short."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import load
import load_client
import load_count


@pytest.mark.parametrize("messages", [0, 1, 7, 2000, 50_000])
def test_every_message_of_a_burst_has_one_way_and_one_session(messages):
    parts = load.parts(messages)
    assert sum(map(sum, parts.values())) == messages
    for submitted, _ in parts.values():
        shares = load_client.shares(submitted, load.LANES)
        assert sorted(number for share in shares for number in share) == list(range(submitted))


@pytest.mark.parametrize(
    ("taken", "arrived", "distinct", "is_ok"),
    [(10, 10, 10, True), (9, 9, 9, False), (10, 9, 9, False), (10, 11, 10, False), (10, 10, 9, False)],
)
def test_a_row_is_short_when_something_was_refused_lost_or_there_twice(taken, arrived, distinct, is_ok):
    row = load.Row("mx1", 10, taken, arrived, distinct, 2.0)
    assert row.is_ok is is_ok
    assert row.text().endswith("ok" if is_ok else "short")


def test_a_mailbox_is_counted_by_subject_and_message_id(tmp_path):
    for part in ("new", "cur"):
        (tmp_path / part).mkdir()
    for name, number in (("new/1", 1), ("new/2", 2), ("cur/3", 2)):
        (tmp_path / name).write_text(load_client.message("load00@alpha.test", "burst-mx1", number))
    assert load_count.count(tmp_path) == {"burst-mx1": [3, 2]}


def test_no_user_needs_more_connections_from_one_address_than_dovecot_allows():
    assert load.SESSIONS / len(load.USERS) <= 10
