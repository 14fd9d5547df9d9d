"""On a large host a run leaves alone the domains of which nothing is due, and sees whatever changed of the others."""

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from signing_host import MADE, NAMES, NOW, PEM, World, dkim_states

from mailhost import files as safe_files
from mailhost.dkim import advance as dkim_advance
from mailhost.dkim import keystore, life
from mailhost.dkim import make as dkim_make
from mailhost.dkim import settled as dkim_settled
from mailhost.dkim import sign as dkim_sign
from mailhost.dkim.report import Report
from mailhost.scale import turns as scale_turns

FIRST, REST = NAMES[0], NAMES[1:]
FILES = ("", "keys.json", "s.private")
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setattr(scale_turns, "MANY", 0)
    monkeypatch.setattr(dkim_settled, "YOUNG", 0)
    world = World(tmp_path)
    monkeypatch.setattr(keystore, "_read_before", {})
    sign(world)
    make(world)
    return world


def make(world, now=NOW, **more):
    return dkim_make.make_keys(world.run(now=now), "mx1.example", **more)


def sign(world, now=NOW, proved=None, instead=()):
    """Turn signing on where it is due; ``proved`` is a list that gets the domains that were probed."""
    probe = (lambda domain, *_: proved.append(domain)) if proved is not None else lambda *_: None
    return dkim_sign.sign(world.run(now=now), lambda: None, probe, instead)


def unsettled(world, now=LATER, thorough=True, **more):
    return dkim_settled.Survey(world.run(now=now), thorough=thorough, **more).rest


def folder(world, name=FIRST):
    return Path(world.paths.keys, name)


def read_from_disk(monkeypatch):
    """Return the list of the domains whose manifests are read from now on."""
    read, before = [], keystore.read_manifest
    monkeypatch.setattr(keystore, "read_manifest", lambda keys, name: read.append(name) or before(keys, name))
    return read


def test_up_to_500_domains_each_run_looks_into_all_and_notes_nothing(tmp_path):
    assert scale_turns.MANY == 500
    world = World(tmp_path)
    make(world)
    assert unsettled(world) == NAMES
    assert not (tmp_path / "keys" / dkim_settled.NOTE).exists()


def test_a_file_that_has_just_changed_is_not_noted(world, monkeypatch):
    monkeypatch.setattr(dkim_settled, "YOUNG", 3600)
    world.write(FIRST)
    make(world)
    assert unsettled(world) == [FIRST]


def test_an_unchanged_run_reads_no_manifest_and_does_nothing(world, monkeypatch):
    read = read_from_disk(monkeypatch)
    reports = [make(world, LATER), sign(world, LATER)]
    assert (read, [report.changes for report in reports]) == ([], [{}, {}])
    assert not any(report.errors or report.notes for report in reports)


def test_what_dns_shows_is_looked_for_by_turns_and_only_those_manifests_are_read(world, monkeypatch):
    monkeypatch.setattr(scale_turns, "SHARE", 2)
    read = read_from_disk(monkeypatch)
    turns = [name for _ in range(4) for name in world.check_dns(now=LATER)[0]]
    assert sorted(turns) == sorted([FIRST, *NAMES])
    assert sorted(read) == sorted(turns)


def test_a_drift_is_told_in_each_run(world, monkeypatch):
    monkeypatch.setattr(scale_turns, "SHARE", 2)
    world.gone = {FIRST}
    assert all("DNS does not show this key as it must" in world.check_dns(now=LATER)[1].errors[0] for _ in range(5))


def with_time_of_before(path, act):
    before = os.stat(path)
    act(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: with_time_of_before(folder / "keys.json", lambda path: path.write_text(path.read_text())),
        lambda folder: safe_files.replace_file(folder / "keys.json", (folder / "keys.json").read_text(), 0o644),
        lambda folder: (folder / "s.private").chmod(0o644),
        lambda folder: (folder / "s.private").unlink(),
        lambda folder: with_time_of_before(folder / "s.private", lambda path: path.write_text(path.read_text())),
        lambda folder: (folder / ".s.private.x.unfinished").touch(),
        lambda folder: folder.chmod(0o755),
    ],
    ids=["edited", "replaced", "mode", "no key", "another key", "unfinished", "folder"],
)
def test_a_change_by_hand_is_looked_into(world, change):
    assert unsettled(world) == []
    change(folder(world))
    assert unsettled(world) == [FIRST]


def test_a_key_file_gets_its_mode_back_and_what_a_killed_run_left_is_deleted(world):
    (folder(world) / "s.private").chmod(0o644)
    (folder(world, NAMES[3]) / ".s.private.x.unfinished").touch()
    assert make(world, LATER).changes == {FIRST: {"s": {"old": "wrong owner or mode", "new": "0600"}}}
    assert (folder(world) / "s.private").stat().st_mode & 0o777 == 0o600
    assert not (folder(world, NAMES[3]) / ".s.private.x.unfinished").exists()


def test_the_parts_of_a_run_go_by_one_survey_at_the_files(world, monkeypatch):
    versions, before = [], dkim_settled._version
    monkeypatch.setattr(dkim_settled, "_version", lambda path: versions.append(path) or before(path))
    host = dkim_advance.SigningHost("mx1.example", lambda: None, lambda *_: None)
    report = dkim_advance.advance(world.run(now=LATER), host)
    assert (report.changes, report.errors) == ({}, [])
    assert sorted(versions) == sorted(f"{folder(world, name)}/{file}" for name in NAMES for file in FILES)


def test_the_states_of_a_highstate_go_by_one_survey_and_by_no_other_domains(world):
    state, run = dkim_states(), world.run(now=LATER)
    first = state._survey(run, "as packed", begins=True)
    assert state._survey(run, "as packed") is first
    assert state._survey(run, "other domains") is not first
    assert state._survey(run, "as packed", begins=True) is not first


@pytest.mark.parametrize("which", ["also", "instead"])
def test_a_domain_of_which_a_run_wants_something_is_looked_into_by_all_its_parts(world, monkeypatch, which):
    rests = []
    for part in ("make_keys", "check_published", "sign"):
        monkeypatch.setattr(dkim_advance, part, lambda *given, **_: rests.append(given[-1].rest) or Report())
    host = dkim_advance.SigningHost("mx1.example", lambda: None, lambda *_: None)
    dkim_advance.advance(world.run(now=LATER), host, **{which: [FIRST]})
    assert rests == [[FIRST]] * 3


def test_a_damaged_manifest_is_an_error_in_each_run(world):
    (folder(world) / "keys.json").write_text("{")
    for _ in range(2):
        assert FIRST in make(world, LATER).errors[0]
        assert FIRST in sign(world, LATER).errors[0]


def test_a_key_that_others_know_is_looked_into_by_every_part_of_a_run(world):
    keystore.mark_compromised(world.paths.keys, FIRST, "s")
    assert unsettled(world, thorough=False) == [FIRST]
    make(world)
    assert unsettled(world) == [FIRST]


def test_other_settings_of_a_domains_keys_are_looked_into(world):
    domains = world.settings["domains"]
    domains[FIRST] = {**domains[FIRST], "dkim": {**domains[FIRST]["dkim"], "rotate_after": 86400}}
    assert unsettled(world) == [FIRST]


def test_a_rotation_begins_at_its_moment(world):
    run = world.run()
    moments = {name: life.rotates_at(name, run.manifest(name).keys[0], run.policy(name)) for name in NAMES}
    first = min(moments, key=moments.get)
    assert unsettled(world, moments[first] - timedelta(seconds=1)) == []
    assert list(make(world, moments[first]).changes) == [first]


def test_a_key_that_retired_is_looked_into_once_its_retention_is_over(world):
    have_older(world, retired=MADE)
    ends = MADE + timedelta(seconds=world.run().policy(FIRST)["retention"])
    assert unsettled(world, ends - timedelta(seconds=1)) == []
    assert unsettled(world, ends) == [FIRST]


def test_a_key_that_retired_and_never_signed_is_to_be_revoked_at_once(world):
    have_older(world, retired=MADE, signing=None)
    assert unsettled(world) == [FIRST]


def test_a_revoked_key_is_looked_into_once_its_record_is_to_go(world):
    have_older(world, retired=MADE, revoked=MADE)
    ends = MADE + timedelta(seconds=world.run().policy(FIRST)["revoke_for"])
    assert unsettled(world, ends - timedelta(seconds=1)) == []
    assert unsettled(world, ends) == [FIRST]


def test_a_key_that_waits_to_take_over_is_looked_into_in_each_run(world):
    key = world.run().manifest(FIRST).keys[0]
    put(world, key, replace(key, selector="newer", signing=None))
    assert unsettled(world) == [FIRST]


def test_two_keys_that_sign_are_looked_into_in_each_run(world):
    have_older(world)
    assert unsettled(world) == [FIRST]


def test_a_rotation_that_people_ask_for_begins_at_once(world):
    assert list(make(world, LATER, also=[FIRST]).changes) == [FIRST]


def test_a_rollback_that_people_ask_for_is_done_at_once(world):
    have_older(world, retired=MADE)
    folder(world).joinpath("older.private").write_text(PEM)
    make(world)
    assert unsettled(world) == []
    assert sign(world, LATER, instead=[FIRST]).changes == {FIRST: {"old": "s", "new": "older"}}
    make(world, LATER)
    assert sign(world, LATER).changes == {}


def have_older(world, **stamps):
    key = world.run().manifest(FIRST).keys[0]
    put(world, replace(key, selector="older", **stamps), key)


def put(world, *keys):
    """Have the first domain have these keys, and a run look at them."""
    for selector in {key.selector for key in keys if not key.revoked} - {"s"}:
        keystore.write_private(world.paths.keys, FIRST, selector, "x", world.paths.owner)
    keystore.write_manifest(world.paths.keys, life.Manifest(FIRST, keys))
    make(world)


def test_tables_that_somebody_changed_are_found_and_written_again(world):
    table = world.paths.tables.signing_table
    table.write_text("".join(line for line in table.open() if FIRST not in line))
    before = table.read_text()
    report = sign(world, LATER)
    assert FIRST not in before
    assert FIRST in table.read_text()
    assert report.changes


def test_a_row_of_both_tables_that_went_is_put_back_after_a_probe(world):
    for table in world.paths.tables.all:
        table.write_text("".join(line for line in table.open() if FIRST not in line))
    proved = []
    assert sign(world, LATER, proved).changes == {FIRST: {"old": None, "new": "s"}}
    assert proved == [FIRST]


def test_a_dry_run_writes_no_note(world):
    note = Path(world.paths.keys, dkim_settled.NOTE)
    note.unlink()
    dkim_make.make_keys(world.run(test=True), "mx1.example")
    assert not note.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("\t", " "),
        lambda text: text.replace("[1,", "[2,"),
        lambda text: "\n".join([text.splitlines()[0], "x", "\t\t\t\t\t", f"{FIRST}\ta\tb\tc\td\te", ""]),
        lambda text: "\udc80",
    ],
)
def test_a_damaged_note_is_as_good_as_none(world, damage):
    note = Path(world.paths.keys, dkim_settled.NOTE)
    whole = note.read_text()
    note.write_text(damage(whole), errors="surrogateescape")
    assert unsettled(world) != []
    report = make(world, LATER)
    assert (report.changes, report.errors) == ({}, [])
    assert note.read_text() == whole
    assert unsettled(world) == []
