"""A dry run changes nothing, and reports what a run then does: each part of it goes by what the one before planned."""

from dataclasses import replace
from pathlib import Path

import pytest
from signing_host import MADE, NAMES, NOW, PEM, PUBLIC, World, dkim_states

from mailhost.dkim import advance as dkim_advance
from mailhost.dkim import keystore
from mailhost.dkim import sign as dkim_sign
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.dns.lookup import ServerAnswer
from mailhost.opendkim import tables as opendkim_tables

FIRST = NAMES[0]
HOST = dkim_advance.SigningHost("mx1.example", lambda: None, lambda *_: None, lambda run: run.now)
NEW = "20261124-mx1"


class Shown(World):
    """A host of one domain, and a DNS that shows of its keys what a test says, ``{selector: text}``; none of others."""

    def __init__(self, folder):
        self.texts = {"s": f"v=DKIM1; k=rsa; p={PUBLIC}"}
        super().__init__(folder)
        opendkim_tables.ensure_tables(self.paths.tables)
        self.settings["domains"] = {FIRST: self.settings["domains"][FIRST]}

    def answers(self, question):
        text = self.texts.get(question.name.partition(".")[0])
        seen = (
            ServerAnswer("ns", "192.0.2.53", "answer", (text.encode(),), 300)
            if text
            else ServerAnswer("ns", "192.0.2.53", "absent")
        )
        return replace(super().answers(question), seen=(seen,))

    def rows(self, *keys):
        keystore.write_manifest(self.paths.keys, Manifest(FIRST, keys))


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(keystore, "generate", lambda wanted: [PEM] * len(wanted))
    monkeypatch.setattr(keystore, "_read_before", {})
    return Shown(tmp_path)


def signs(world):
    dkim_sign.sign(world.run(), lambda: None, lambda *_: None)


def first_key(world):
    world.write(FIRST, signing=None)


def unstamped(world):
    world.rows(KeyRow("s", "rsa", 2048, PUBLIC, MADE))


def revoked_by_others(world):
    signs(world)
    world.texts["s"] = "v=DKIM1; k=rsa; p="


def comes_back_and_is_lost(world):
    world.texts["s"] = "v=DKIM1; k=rsa; p="


def known_to_others(world):
    signs(world)
    keystore.mark_compromised(world.paths.keys, FIRST, "s")


def overtaken(world):
    world.rows(KeyRow("old", "rsa", 2048, PUBLIC, MADE), KeyRow("s", "rsa", 2048, PUBLIC, MADE, MADE, MADE))
    signs(world)


def with_its_key_gone(world):
    signs(world)
    keystore.destroy(keystore.private_path(world.paths.keys, FIRST, "s"))


SITUATIONS = [
    (first_key, {"old": None, "new": "s"}),
    (unstamped, {"s": {"old": "generated", "new": "published"}, "old": None, "new": "s"}),
    (revoked_by_others, {NEW: {"old": None, "new": "generated"}}),
    (comes_back_and_is_lost, {"s": {"old": "retired", "new": "revoked"}, NEW: {"old": None, "new": "generated"}}),
    (known_to_others, {NEW: {"old": None, "new": "generated"}}),
    (overtaken, {"old": {"old": "retired", "new": "revoked"}}),
    (with_its_key_gone, {}),
]


@pytest.mark.parametrize(("situation", "changes"), SITUATIONS, ids=[one.__name__ for one, _ in SITUATIONS])
def test_a_dry_run_foresees_what_the_run_changes_and_changes_nothing(world, situation, changes):
    situation(world)
    before = everything(world)
    foreseen = dkim_advance.advance(world.run(test=True), HOST)
    assert everything(world) == before
    assert dkim_advance.advance(world.run(), HOST).changes == foreseen.changes
    assert foreseen.changes.get(FIRST, {}) == changes


def test_what_a_dry_run_would_make_is_reported_once(world):
    comes_back_and_is_lost(world)
    keystore.mark_compromised(world.paths.keys, FIRST, "s")
    notes = dkim_advance.advance(world.run(test=True), HOST).notes
    assert notes.count(f"{FIRST}: the key {NEW} would be generated.") == 1


def test_a_dry_run_does_not_foresee_a_stamp_that_the_clock_forbids(world):
    world.rows(KeyRow("s", "rsa", 2048, PUBLIC, NOW))
    foreseen = dkim_advance.advance(world.run(test=True, now=MADE), HOST)
    assert (foreseen.changes, len(foreseen.errors)) == ({}, 1)


def test_the_states_of_a_dry_run_go_by_what_those_before_them_would_have_done(world, monkeypatch):
    unstamped(world)
    states = dkim_states()
    states.__opts__["test"] = True
    states.__salt__ = {"dkim.announce": None}
    monkeypatch.setattr(states.dkim_run, "begin", begun(world))
    tables, me = world.paths.tables, world.paths.owner.user
    common = {"key_table": str(tables.key_table), "signing_table": str(tables.signing_table), "user": me, "group": me}
    domains, dns = world.settings["domains"], world.settings["dns"]
    states.managed(world.paths.keys, domains, "mx1.example", **common)
    states.published(world.paths.keys, domains, dns, **common)
    found = states.signing(world.paths.keys, domains, dns, socket="inet:8891@127.0.0.1", **common)
    assert (found["result"], found["changes"]) == (None, {FIRST: {"old": None, "new": "s"}})
    states.managed(world.paths.keys, domains, "mx1.example", **common)
    assert states.signing(world.paths.keys, domains, dns, socket="inet:8891@127.0.0.1", **common)["changes"] == {}


def begun(world):
    return lambda paths, domains, dns, test, watched, planned: replace(world.run(test), planned=planned)


def everything(world):
    folder = Path(world.paths.keys).parent
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
