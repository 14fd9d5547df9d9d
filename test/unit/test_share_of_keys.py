"""With many keys a run looks for a share of those that DNS showed before; none is left out for good."""

import pwd
from datetime import datetime, timedelta, timezone

import pytest

import mailserver_keystore
import mailserver_opendkim
import mailserver_pillar
import mailserver_propagation
from mailserver_dkim import Key, Manifest
from mailserver_dns import Answers, Seen
from mailserver_run import Place, Run

NOW = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
MADE = NOW - timedelta(days=1)
NAMES = [f"d{number}.example" for number in range(7)]
(PEM,) = mailserver_keystore.generate([2048])
PUBLIC, _ = mailserver_keystore.public_half(PEM, "a test's key")


class World:
    """A host whose keys sign, and a DNS that shows all of them but those of ``gone``; ``silent`` are not answered."""

    def __init__(self, folder):
        me = pwd.getpwuid(0).pw_name
        tables = mailserver_opendkim.tables(folder / "KeyTable", folder / "SigningTable")
        self.place = Place(str(folder / "keys"), tables, mailserver_keystore.Owner(me, me))
        whole = {"domain": NAMES[0], "addresses": ["192.0.2.25"], "domains": {name: {} for name in NAMES}}
        self.settings = mailserver_pillar.resolve(whole, {"postfix": {"version": "3.7"}}, {"fqdn": "mx1.example"})
        self.gone, self.silent, self.asked = set(), set(), []
        for name in NAMES:
            (folder / "keys" / name).mkdir(parents=True)
            self.write(name, signing=MADE)

    def write(self, name, signing):
        key = Key("s", "rsa", 2048, PUBLIC, MADE, MADE, signing)
        mailserver_keystore.write_manifest(self.place.keys, Manifest(name, (key,)))

    def look(self, test=False, now=NOW):
        """Look as a run does; return the domains that DNS was asked for, and the report."""
        self.asked = []
        run = Run(self.place, self.settings["domains"], self.settings["dns"], now, test, self.ask)
        report = mailserver_propagation.check_published(run)
        return self.asked, report

    def ask(self, questions, _options):
        return {question: self.answers(question) for question in questions}

    def answers(self, question):
        domain = question.name.partition("._domainkey.")[2]
        self.asked.append(domain)
        if domain in self.silent:
            seen = Seen("ns", "192.0.2.53", "unknown", detail="no answer in 5 s")
        elif domain in self.gone:
            seen = Seen("ns", "192.0.2.53", "absent", detail="NXDOMAIN")
        else:
            seen = Seen("ns", "192.0.2.53", "answer", (f"v=DKIM1; k=rsa; p={PUBLIC}".encode(),), 300)
        return Answers(question, question.name, domain, 300, (seen,))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def two_a_run(monkeypatch):
    monkeypatch.setattr(mailserver_propagation, "SHARE", 2)


def test_up_to_500_keys_are_all_looked_for_in_each_run(world):
    assert mailserver_propagation.SHARE == 500
    assert [sorted(world.look()[0]) for _ in range(2)] == [NAMES, NAMES]


def test_every_key_has_its_turn_before_any_has_a_second_one(world, two_a_run):
    turns = [name for _ in range(4) for name in world.look()[0]]
    assert sorted(turns) == [NAMES[0], *NAMES]


def test_a_drift_of_a_signing_keys_record_is_found_when_its_turn_comes(world, two_a_run):
    world.gone = {NAMES[5]}
    found = [world.look()[1].errors for _ in range(4)]
    assert [bool(errors) for errors in found] == [False, False, True, True]


def test_what_is_wrong_is_told_in_each_run_until_it_is_right(world, two_a_run):
    world.gone = {NAMES[0]}
    assert all(world.look()[1].errors for _ in range(5))
    world.gone = set()
    assert NAMES[0] in world.look()[0]
    assert not world.look()[1].errors


def test_a_key_of_which_something_is_awaited_is_looked_for_in_each_run(world, two_a_run):
    world.write(NAMES[6], signing=None)
    assert all(NAMES[6] in world.look()[0] for _ in range(4))


def test_a_dry_run_takes_no_turn_away(world, two_a_run):
    assert [world.look(test=True)[0] for _ in range(2)] == [NAMES[:2], NAMES[:2]]
    assert world.look()[0] == NAMES[:2]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"last": 5, "wrong": []}', '{"last": ["a"], "wrong": [5]}', "null"])
def test_a_damaged_file_of_turns_is_as_good_as_none(world, two_a_run, tmp_path, text):
    (tmp_path / "keys" / mailserver_propagation.LOOKED).write_text(text)
    assert len(world.look()[0]) == 2
