"""What a run over thousands of domains tells fits into a minion's answer, and says where the rest is."""

import pwd
from pathlib import Path

import pytest
from signing_host import dkim_states

from mailhost.dkim import keystore
from mailhost.dkim.report import SHOWN, Report, brief
from mailhost.dkim.run import SigningPaths
from mailhost.opendkim import tables as opendkim_tables

MANY = [f"d{number}.example: its record is not in DNS" for number in range(10_000)]


@pytest.fixture
def state(tmp_path):
    """Return what a state of ``_states/dkim.py`` returns for a report."""
    states = dkim_states()
    me = pwd.getpwuid(0).pw_name
    tables = opendkim_tables.tables(tmp_path / "KeyTable", tmp_path / "SigningTable")
    paths = SigningPaths(str(tmp_path / "keys"), tables, keystore.Owner(me, me))
    Path(paths.keys).mkdir()
    return lambda report: states._act(paths, {}, {}, "nothing", lambda run: report)


def test_a_few_texts_are_shown_whole():
    assert brief(MANY[:SHOWN]) == MANY[:SHOWN]
    assert brief([]) == []


def test_of_many_texts_the_first_are_shown_and_the_others_counted():
    shown = brief(MANY)
    assert shown[:-1] == MANY[:SHOWN]
    assert shown[-1].startswith(f"{10_000 - SHOWN:,} more")
    assert "mailserver.records" in shown[-1]


@pytest.mark.parametrize("kind", ["waiting", "errors", "notes"])
def test_a_state_tells_briefly_what_it_has_to_tell_of_thousands_of_domains(state, kind):
    told = state(Report(**{kind: list(MANY)}))
    assert told["result"] is (kind != "errors")
    assert MANY[0] in told["comment"]
    assert MANY[-1] not in told["comment"]
    assert len(str(told)) < 10_000
