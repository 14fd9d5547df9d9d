"""With many keys a run looks for a share of those that DNS showed before; none is left out for good."""

import pytest
from signing_host import NAMES, World, watched

from mailhost.dkim import check as dkim_check
from mailhost.scale import turns as scale_turns


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def two_a_run(monkeypatch):
    monkeypatch.setattr(scale_turns, "MANY", 2)
    monkeypatch.setattr(scale_turns, "SHARE", 2)


def test_up_to_500_keys_are_all_looked_for_in_each_run(world):
    assert scale_turns.MANY == 500
    assert [sorted(world.check_dns()[0]) for _ in range(2)] == [NAMES, NAMES]


def test_every_key_has_its_turn_before_any_has_a_second_one(world, two_a_run):
    turns = [name for _ in range(4) for name in world.check_dns()[0]]
    assert sorted(turns) == [NAMES[0], *NAMES]


def test_a_drift_of_a_signing_keys_record_is_found_when_its_turn_comes(world, two_a_run):
    world.gone = {NAMES[5]}
    found = [world.check_dns()[1].errors for _ in range(4)]
    assert [bool(errors) for errors in found] == [False, False, True, True]


def test_what_is_wrong_is_told_in_each_run_until_it_is_right(world, two_a_run):
    world.gone = {NAMES[0]}
    assert all(world.check_dns()[1].errors for _ in range(5))
    world.gone = set()
    assert NAMES[0] in world.check_dns()[0]
    assert not world.check_dns()[1].errors


@pytest.mark.parametrize("saw", [{"status": "fail"}, {"status": "warn"}, {"doubt": "warn"}])
def test_what_the_last_watch_saw_wrong_is_looked_for_in_the_next_run(world, two_a_run, tmp_path, monkeypatch, saw):
    world.check_dns()
    watched(monkeypatch, tmp_path, {("dns.dkim", f"s._domainkey.{NAMES[5]}"): saw})
    assert world.check_dns()[0] == [NAMES[2], NAMES[3], NAMES[5]]


@pytest.mark.parametrize(
    "rows",
    [
        {("dns.dkim", f"s._domainkey.{NAMES[5]}"): {"status": "unknown"}},
        {("dns.dkim", f"s._domainkey.{NAMES[5]}"): {"status": "gone"}},
        {("dns.spf", NAMES[5]): {"status": "fail"}},
        {("dns.dkim", "s._domainkey.gone.example"): {"status": "fail"}},
        None,
    ],
    ids=["nobody knows", "no longer there", "another record", "another domain", "damaged"],
)
def test_what_else_the_watch_remembers_changes_no_turns(world, two_a_run, tmp_path, monkeypatch, rows):
    world.check_dns()
    watched(monkeypatch, tmp_path, rows)
    assert world.check_dns()[0] == NAMES[2:4]


def test_a_key_of_which_something_is_awaited_is_looked_for_in_each_run(world, two_a_run):
    world.write(NAMES[6], signing=None)
    assert all(NAMES[6] in world.check_dns()[0] for _ in range(4))


def test_who_asks_for_everything_has_all_looked_for(world, two_a_run):
    world.check_dns()
    world.gone = {NAMES[5]}
    asked, report = world.check_dns(everything=True)
    assert sorted(asked) == NAMES
    assert [NAMES[5] in error for error in report.errors] == [True]
    assert NAMES[5] in world.check_dns()[0]


def test_a_dry_run_takes_no_turn_away(world, two_a_run):
    assert [world.check_dns(test=True)[0] for _ in range(2)] == [NAMES[:2], NAMES[:2]]
    assert world.check_dns()[0] == NAMES[:2]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"last": 5, "wrong": []}', '{"last": ["a"], "wrong": [5]}', "null"])
def test_a_damaged_file_of_turns_is_as_good_as_none(world, two_a_run, tmp_path, text):
    (tmp_path / "keys" / dkim_check.CHECKED).write_text(text)
    assert len(world.check_dns()[0]) == 2
