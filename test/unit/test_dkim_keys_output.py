"""The tables of keys that `dkim.status` and `salt-run mailserver.keys` are on a terminal."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

from mailhost.dkim import life

PATH = Path(__file__).resolve().parents[2] / "_output" / "dkim_keys.py"
SPEC = importlib.util.spec_from_file_location("dkim_keys", PATH)
dkim_keys = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(dkim_keys)

SIGNING = {
    "stage": "signing", "since": "2026-11-01T10:00:00Z", "bits": 2048, "signs": True, "next": "retired",
    "waits": "a successor is made on 2027-01-12 06:00 UTC", "earliest": "2027-01-12T06:00:00Z",
}  # fmt: skip
GENERATED = {
    "stage": "generated", "since": "2026-11-30T07:00:00Z", "bits": 2048, "signs": False, "next": "published",
    "waits": "DNS must show its record (dkim.records)", "attention": True, "fails_from": "2026-12-03T07:00:00Z",
}  # fmt: skip
GIVEN_UP = {
    **SIGNING, "signs": False, "given_up": "its record is revoked", "waits": "a new key takes over", "attention": True,
}  # fmt: skip


def table(domains, width=120):
    return dkim_keys.table("mx1", domains, width).splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_ten_domains_that_are_all_right_take_twelve_lines_of_the_terminals_width(width):
    lines = table({f"d{number}.example": {"20261101-mx1": SIGNING} for number in range(10)}, width)
    assert len(lines) == 12
    assert max(map(len, lines)) <= width
    assert lines[0] == "mx1: 10 keys of 10 domains"


def test_what_needs_attention_comes_first_and_is_told_whole():
    lines = table({"a.example": {"now": SIGNING}, "b.example": {"new": GENERATED}, "c.example": {"old": GIVEN_UP}}, 80)
    assert lines[0] == "mx1: 3 keys of 3 domains, 2 need attention"
    assert [line.split()[1] for line in lines if line.startswith("!")] == ["b.example", "c.example"]
    text = " ".join(" ".join(lines).split())
    assert "DNS must show its record (dkim.records); fails from 2026-12-03 07:00 UTC" in text
    assert "given up: its record is revoked. a new key takes over" in text
    assert lines[-1].split()[:3] == ["a.example", "now", "signing"]


def test_the_stages_are_those_of_a_keys_life():
    assert dkim_keys._STAGES == life.STAGES


def test_a_key_that_is_gone_needs_nothing():
    removed = {"stage": "removed", "since": "2026-11-30T07:00:00Z", "signs": False, "next": "", "given_up": "lost"}
    assert table({"a.example": {"old": removed}})[0] == "mx1: 1 key of 1 domain"


def test_a_host_without_keys_and_a_narrow_terminal_are_no_trouble():
    assert table({}) == ["mx1: no keys"]
    assert len(table({"a-rather-long-name.of-a-domain.example": {"20261101-mx1": SIGNING}}, 40)) == 3


def test_nothing_steers_the_terminal():
    assert all(line.isprintable() for line in table({"a.example": {"x": {**GENERATED, "waits": "a\x1b[2Jb\rc"}}}))


OPTIONS = {"color": False, "extension_modules": "", "outputter_dirs": [str(PATH.parent)]}


def test_an_error_is_shown_as_it_is_without_what_steers_the_terminal(monkeypatch):
    monkeypatch.setattr(dkim_keys, "__opts__", OPTIONS, raising=False)
    assert dkim_keys.output({"mx1": "ERROR: keys.json\x1b[2J is damaged"}).split() == (
        "mx1: ERROR: keys.json?[2J is damaged".split()
    )
    assert "unheard" in dkim_keys.output({"mx1": {"what": "unheard of"}})
    assert "molten" in dkim_keys.output({"domains": {"a.example": {"mx1": "molten"}}, "unanswered": {}})


OF_ALL = {
    "a.example": {"mx1": {"now": SIGNING}, "mx2": {"now": SIGNING, "new": GENERATED}},
    "b.example": {"mx1": {"old": GIVEN_UP, "now": SIGNING}},
}


def test_a_stage_that_is_not_known_is_the_last_and_hides_no_other():
    odd = {"stage": "mol\x07ten", "since": 5, "signs": None, "next": None}
    lines = table({"a.example": {"odd": odd, "now": SIGNING}, "b.example": {"odd": odd}})
    assert [line.split()[1:3] for line in lines[2:]] == [["now", "signing"], ["odd", "mol?ten"], ["odd", "mol?ten"]]


def table_of_all(domains, unanswered, width, monkeypatch):
    monkeypatch.setattr(dkim_keys.shutil, "get_terminal_size", lambda _: SimpleNamespace(columns=width))
    return dkim_keys.output({"domains": domains, "unanswered": unanswered}).splitlines()


@pytest.mark.parametrize("width", [80, 120])
def test_the_keys_of_all_hosts_are_one_table_with_those_that_need_attention_first(width, monkeypatch):
    head, columns, *lines = table_of_all(OF_ALL, {}, width, monkeypatch)
    assert head == "5 keys of 2 domains on 2 hosts, 2 need attention"
    assert columns.split() == ["domain", "host", "selector", "stage", "since", "signs", "next"]
    assert [tuple(line[2:].split()[:3]) for line in lines if not line.startswith("   ")] == [
        ("a.example", "mx2", "new"),
        ("b.example", "mx1", "old"),
        ("a.example", "mx1", "now"),
        ("a.example", "mx2", "now"),
        ("b.example", "mx1", "now"),
    ]
    assert max(map(len, lines)) <= width


def test_hosts_without_an_answer_are_before_the_table(monkeypatch):
    found = table_of_all(OF_ALL, {"mx9": "no answer within 20 s", "mx8": "it answered: a\x1b\rb"}, 120, monkeypatch)
    assert found[1:3] == ["! mx9: no answer within 20 s", "! mx8: it answered: a??b"]
    assert table_of_all({}, {"mx9": "no answer within 20 s"}, 80, monkeypatch) == [
        "no keys",
        "! mx9: no answer within 20 s",
    ]
