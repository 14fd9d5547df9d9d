"""With thousands of domains, a run looks for the records of those that were not as wanted, and of others by turns."""

import json

import pytest
from signing_host import watched

from mailhost.scale import turns as scale_turns
from mailhost.watch import memory

NAMES = [f"d{number}.example" for number in range(7)]


def alike(names):
    """Return settings of domains that are the same."""
    settings = {"mx": []}
    return dict.fromkeys(names, settings)


@pytest.fixture
def turns(tmp_path, monkeypatch):
    """Return a function that lets a run check: it gets the domains whose records are wrong, and returns who was due."""
    monkeypatch.setattr(scale_turns, "MANY", 2)
    monkeypatch.setattr(scale_turns, "SHARE", 2)

    def run_once(wrong=(), domains=None, dns=None):
        domains = alike(NAMES) if domains is None else domains
        turn = scale_turns.DueDomains(domains, dns or {}, memory.seen_wrong, note(tmp_path))
        turn.note([name for name in turn.due if name in wrong])
        assert sorted([*turn.due, *turn.later]) == sorted(domains)
        return turn.due

    return run_once


def note(folder):
    return folder / "mailserver" / "records.json"


def test_up_to_500_domains_all_are_looked_for_in_each_run_and_nothing_is_noted(tmp_path):
    assert scale_turns.MANY == 500
    turn = scale_turns.DueDomains(alike(NAMES), {}, memory.seen_wrong, note(tmp_path))
    turn.note([])
    assert (turn.due, turn.later) == (NAMES, [])
    assert not note(tmp_path).exists()


def test_each_domain_has_its_turn_before_any_has_a_second_one(turns):
    assert turns() == NAMES
    assert [turns() for _ in range(5)] == [NAMES[:2], NAMES[2:4], NAMES[4:6], [NAMES[0], NAMES[6]], NAMES[1:3]]


def test_what_is_wrong_is_looked_for_in_each_run_until_it_is_right(turns):
    turns(wrong=NAMES[5:])
    assert turns(wrong=NAMES[5:]) == [*NAMES[:2], *NAMES[5:]]
    assert turns(wrong=NAMES[6:]) == [*NAMES[2:4], *NAMES[5:]]
    assert turns() == [NAMES[4], NAMES[5], NAMES[6]]
    assert turns() == [NAMES[0], NAMES[6]]


def test_a_drift_is_found_when_its_turn_comes_and_told_from_then_on(turns):
    turns()
    assert [NAMES[3] in turns(wrong=[NAMES[3]]) for _ in range(4)] == [False, True, True, True]


@pytest.mark.parametrize(("id", "below"), [("dns.spf", ""), ("dns.dmarc", "_dmarc."), ("dns.mta_sts", "")])
def test_what_the_last_watch_saw_wrong_is_looked_for_at_once(turns, tmp_path, monkeypatch, id, below):
    turns()
    watched(monkeypatch, tmp_path, {(id, f"{below}{NAMES[5]}"): {"status": "warn"}})
    assert turns() == [*NAMES[:2], NAMES[5]]


def test_what_the_watch_saw_of_other_things_changes_no_turns(turns, tmp_path, monkeypatch):
    turns()
    others = [("dns.spf.lookups", NAMES[5]), ("dns.dkim", f"s._domainkey.{NAMES[5]}")]
    watched(monkeypatch, tmp_path, {subject: {"status": "warn"} for subject in others})
    assert turns() == NAMES[:2]


def test_other_settings_of_a_domain_are_looked_for_at_once(turns):
    turns()
    assert turns(domains={**alike(NAMES), NAMES[6]: {"mx": ["mx2"]}}) == [*NAMES[:2], NAMES[6]]


def test_a_new_domain_is_looked_for_at_once_and_one_that_went_is_forgotten(turns, tmp_path):
    turns()
    assert turns(domains=alike([*NAMES[1:], "new.example"])) == [*NAMES[1:3], "new.example"]
    assert NAMES[0] not in json.loads(note(tmp_path).read_text())["of"]


def test_where_dns_is_asked_otherwise_all_are_looked_for(turns):
    turns()
    assert turns(dns={"resolvers": ["192.0.2.53"]}) == NAMES


@pytest.mark.parametrize("text", ["", "[]", "{", "null", '{"format": 1, "last": "", "marks": [], "of": {"a": 1}}'])
def test_a_damaged_note_is_as_good_as_none(turns, tmp_path, text):
    turns()
    note(tmp_path).write_text(text)
    assert turns() == NAMES
    assert turns() == NAMES[:2]


def test_a_note_that_cannot_be_written_costs_only_time(turns, tmp_path):
    note(tmp_path).parent.write_text("no folder")
    assert [turns() for _ in range(2)] == [NAMES, NAMES]
