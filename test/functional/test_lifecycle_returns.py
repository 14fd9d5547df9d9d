"""Who signs is what DNS shows: keys that come back, keys that are lost, and hosts that were cloned or restored."""

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lifecycle_world import NAMES, large_host, settings
from mailhost.dkim import advance as dkim_advance
from mailhost.dkim import clock as dkim_clock
from mailhost.dkim import keystore, life, machine
from mailhost.dkim import settled as dkim_settled
from mailhost.dkim import status as dkim_status
from mailhost.dkim.given_up import FOREIGN, FOREIGN_REVOKED, LOST, REVOKED, TAKEN
from mailhost.dkim.life import KeyRow as Row
from mailhost.errors import DkimError, KeyInUse
from mailhost.opendkim import tables as opendkim_tables
from opendkim_daemon import Key

ALPHA = "alpha.test"
FIRST, SECOND, THIRD = "20261124-mx1", "20261124-mx1-2", "20261124-mx1-3"
DAYS = 24
REVOKED_RECORD = '"v=DKIM1; k=rsa; p="'


@pytest.fixture(params=[contextlib.nullcontext, large_host], ids=["small host", "large host"])
def size(request):
    with request.param():
        yield


def record(public, selector=FIRST):
    return f'{selector}._domainkey TXT "v=DKIM1; k=rsa; p={public[:200]}" "{public[200:]}"'


def signing(world):
    """A world that signs, and whose runs are those of a minion."""
    world.settings = settings(soak=0, rotate_after=0)
    world.whole_run(0)
    world.publish()
    world.whole_run(1)
    assert world.signs() == FIRST
    return world


def rest(world):
    return {"beta.test": world.domains["beta.test"]}


def turned_off(world):
    off = {**world.domains[ALPHA], "dkim": {**world.domains[ALPHA]["dkim"], "enabled": False}}
    return {**world.domains, ALPHA: off}


AWAY = [rest, turned_off]


def gone(world):
    """What has OpenDKIM forget a key: it takes its new tables some moments after the signal."""
    opendkim_tables.patient(lambda *_: _unsigned(world))("x", None)


def _unsigned(world):
    if world.signs() is not None:
        raise opendkim_tables.ProbeError("it is still signed")


@pytest.mark.parametrize("away", AWAY)
def test_a_key_that_comes_back_signs_only_when_dns_shows_it(world, size, away):
    signing(world).whole_run(2, domains=away(world))
    gone(world)
    world.publish(2, alpha="")
    predicted = world.sign(3, test=True)
    report = world.whole_run(3)
    assert predicted.changes == report.changes == {}
    assert world.signs() is None
    assert "alpha.test: mail is not signed." in report.notes
    (error,) = report.whole(report.errors)
    assert error.startswith(f"alpha.test: the key {FIRST} does not sign, because DNS does not show it as it must.")
    assert f"{FIRST}._domainkey.alpha.test." in error
    world.publish(4)
    assert world.whole_run(4).changes == {ALPHA: {"old": None, "new": FIRST}}
    assert world.verified() == FIRST


@pytest.mark.parametrize("away", AWAY)
def test_a_key_that_comes_back_and_that_dns_shows_signs_at_once(world, size, away):
    signing(world).whole_run(2, domains=away(world))
    gone(world)
    assert world.whole_run(3).changes == {ALPHA: {"old": None, "new": FIRST}}
    assert world.verified() == FIRST


def test_a_key_that_comes_back_does_not_sign_on_hearsay(world):
    signing(world).whole_run(2, domains=rest(world))
    gone(world)
    world.server.stop()
    world.settings["dns"].update(timeout=1, lifetime=3)
    report = world.whole_run(3)
    assert ALPHA not in report.changes
    assert not report.errors
    assert f"alpha.test: the key {FIRST} does not sign yet: DNS cannot be asked whether it shows it." in report.notes
    assert world.signs() is None


LOST_RECORDS = [
    ("revoked", REVOKED, lambda: f"{FIRST}._domainkey TXT {REVOKED_RECORD}"),
    ("another's", TAKEN, lambda: record(Key().record.partition("p=")[2])),
]


@pytest.mark.parametrize(("what", "why", "text"), LOST_RECORDS, ids=[one[0] for one in LOST_RECORDS])
def test_a_key_that_comes_back_and_is_lost_never_signs_again_and_has_a_successor_at_once(world, size, what, why, text):
    signing(world).whole_run(2, domains=rest(world))
    gone(world)
    world.publish(2, alpha=text())
    foreseen = dkim_advance.check_in_dns(
        world.run(3, test=True), "mx1.lab.test", lambda run: run.now, None, False, _survey(world, 3)
    )[0]
    report = world.whole_run(3)
    assert foreseen.changes[ALPHA][FIRST]["new"] == "revoked"
    assert report.changes[ALPHA][FIRST]["new"] in ("revoked", "removed")
    assert foreseen.changes[ALPHA][SECOND] == {"old": None, "new": "generated"}
    rows = world.manifest().keys
    assert [(key.selector, key.given_up) for key in rows] == [(FIRST, why), (SECOND, "")]
    assert rows[0].retired
    assert world.signs() is None
    assert not any(f"{FIRST}._" in line and "p=MI" in line for line in _to_publish(report))
    assert any(SECOND in line and "p=MI" in line for line in _to_publish(report))
    with pytest.raises(DkimError, match="no earlier key"):
        dkim_advance.check_can_go_back(world.run(4), ALPHA)
    world.publish(4)
    assert world.whole_run(4).changes[ALPHA]["new"] == SECOND
    assert world.verified() == SECOND
    assert not any(f"{FIRST}._domainkey" in line and "p=MI" in line for line in _to_publish(world.whole_run(5)))


def _survey(world, hours):
    return dkim_settled.Survey(world.run(hours, test=True))


def _to_publish(report):
    texts = report.whole([*report.errors, *report.waiting])
    return [line for text in texts for line in text.splitlines() if " IN TXT " in line]


def rotated(world, keep):
    """A world after a rotation and the first key's revocation; its keys' folder from before is kept."""
    signing(world)
    shutil.copytree(world.paths.keys, keep)
    world.whole_run(2, also=[ALPHA])
    world.publish(2)
    world.whole_run(3)
    assert world.signs() == SECOND
    world.publish(20 * DAYS)
    world.whole_run(20 * DAYS)
    assert world.stages()[0] == (FIRST, "revoked")


def put_back(world, kept):
    shutil.rmtree(world.paths.keys)
    shutil.copytree(kept, world.paths.keys)


@pytest.mark.parametrize("tables", ["stay", "go"])
def test_a_keys_folder_from_before_a_rotation_does_not_sign_with_the_revoked_key(world, size, tmp_path, tables):
    rotated(world, tmp_path / "kept")
    put_back(world, tmp_path / "kept")
    if tables == "go":
        for table in world.paths.tables.all:
            table.unlink()
        opendkim_tables.ensure_tables(world.paths.tables)
    report = world.whole_run(21 * DAYS)
    in_force = opendkim_tables.signers_in_force(world.paths.tables)
    assert in_force.get(ALPHA) is None or in_force[ALPHA].selector == SECOND
    assert not any(f"{FIRST}._" in line and "p=MI" in line for line in _to_publish(report))
    newest = world.key()
    assert newest.selector not in (FIRST, SECOND)
    assert (newest.stage, world.manifest().key(FIRST).given_up) == ("generated", REVOKED)
    world.publish(22 * DAYS)
    world.whole_run(22 * DAYS)
    assert world.verified() == newest.selector


def test_a_file_of_stamps_from_before_a_rotation_does_not_undo_it(world, size, tmp_path):
    """Only keys.json was put back: the key that signs is still there, and goes on signing."""
    rotated(world, tmp_path / "kept")
    shutil.copy(tmp_path / "kept" / ALPHA / "keys.json", Path(world.paths.keys) / ALPHA / "keys.json")
    world.whole_run(21 * DAYS)
    world.whole_run(21 * DAYS + 1)
    assert world.verified() == SECOND
    assert world.manifest().key(FIRST).given_up == REVOKED
    assert world.manifest().key(SECOND).stage == "signing"


def hand_made(world, selector="20210808"):
    """Tables and a key as people make them, with which OpenDKIM signs."""
    folder = Path(world.paths.keys) / ALPHA
    folder.mkdir(parents=True)
    path = folder / f"{selector}.private"
    path.write_bytes(Key().pem)
    path.chmod(0o600)
    world.paths.tables.key_table.write_text(f"{selector}._domainkey.alpha.test alpha.test:{selector}:{path}\n")
    world.paths.tables.signing_table.write_text(f"*@alpha.test {selector}._domainkey.alpha.test\n")
    world.paths.tables.domains_table.unlink()
    opendkim_tables.ensure_tables(world.paths.tables)
    world.restart()
    assert world.signs() == selector
    world.make()
    return path


def test_a_key_that_the_tables_name_is_not_revoked_before_another_signs(world):
    path = hand_made(world)
    dkim_advance.give_up(world.run(1), ALPHA, "20210808")
    world.whole_run(1, also=[ALPHA])
    assert path.exists()
    assert world.signs() == "20210808"
    assert world.manifest().key("20210808").stage == "generated"
    assert world.key().selector == FIRST
    world.publish(2)
    world.whole_run(2)
    assert world.verified() == FIRST
    assert world.manifest().key("20210808").retired
    world.publish(3)
    world.whole_run(3)
    assert world.manifest().key("20210808").stage == "revoked"
    assert not path.exists()


def revoked_by_stamps(world):
    """A manifest that says of the key that signs that it is revoked."""
    key = world.manifest().key("20210808")
    times = dict.fromkeys(("published", "signing", "retired", "revoked"), key.generated)
    keystore.write_manifest(world.paths.keys, world.manifest().with_key(replace(key, **times)))


@pytest.mark.parametrize("where", ["tables", "kept", "no key table", "another name for the file"])
def test_no_private_key_that_a_table_names_is_destroyed_whatever_the_stamps_say(world, where):
    path, tables = hand_made(world), world.paths.tables
    if where == "kept":
        for table in tables.all:
            shutil.copy(table, tables.kept[table])
            table.write_text("")
    elif where == "no key table":
        tables.key_table.unlink()
    elif where == "another name for the file":
        (world.etc / "link").symlink_to(path)
        tables.key_table.write_text(f"20210808._domainkey.alpha.test %:20210808:{world.etc}/link\n")
    revoked_by_stamps(world)
    report = world.make(1)
    assert path.exists()
    assert any("not destroyed, although 20210808 is revoked" in text for text in report.errors)
    with pytest.raises(KeyInUse):
        world.run(1).destroy(ALPHA, "20210808")


def test_a_key_that_was_taken_over_and_overtaken_retires_like_any_other(world):
    hand_made(world)
    (waiting,) = [text for text in world.check_dns(1).waiting if "20210808" in text]
    assert "but mail is signed with it, as before this formula" in waiting
    assert "mail is signed with it already" in waits(world, "20210808", 1)
    world.make(1, also=[ALPHA])
    world.publish(1, alpha=record(world.key().public))
    world.check_dns(1)
    report = world.sign(2)
    assert report.changes[ALPHA] == {"old": "20210808", "new": FIRST}
    assert world.verified() == FIRST
    assert world.manifest().key("20210808").stage == "retired"
    report = world.check_dns(3)
    assert not report.errors
    (waiting,) = [text for text in report.waiting if "20210808" in text]
    assert "mail still on its way was signed with 20210808, as a hand-made configuration had it" in waiting
    world.check_dns(20 * DAYS)
    assert world.manifest().key("20210808").stage == "revoked"
    assert not any(
        "20210808" in text for text in (*world.check_dns(21 * DAYS).errors, *world.check_dns(21 * DAYS).waiting)
    )


def waits(world, selector, hours):
    return dkim_status.status(world.run(hours), lambda run: run.now)[ALPHA][selector]["waits"]


def test_a_key_that_an_earlier_version_left_red_for_ever_is_retired(world):
    signing(world)
    key = world.key()
    stuck = Row("20210808", "rsa", 2048, key.public, key.generated)
    keystore.write_private(world.paths.keys, ALPHA, "20210808", "x", world.paths.owner)
    before = replace(world.manifest(), keys=(stuck, key))
    keystore.write_manifest(world.paths.keys, before)
    assert world.make(2, test=True).changes == world.make(2).changes
    assert world.manifest().key("20210808").stage == "retired"
    assert not world.check_dns(3).errors


def with_successor(world):
    """A world after a rotation, with a published successor that is ready to take over."""
    signing(world)
    world.whole_run(2, also=[ALPHA])
    world.publish(2)
    world.whole_run(3)
    world.settings = settings(soak="1d", rotate_after=0)
    world.whole_run(4, also=[ALPHA])
    world.publish(4)
    world.whole_run(5)
    assert world.stages() == [(FIRST, "retired"), (SECOND, "signing"), (THIRD, "published")]


def test_a_rollback_is_not_undone_by_a_successor_that_waits(world, size):
    with_successor(world)
    report = world.whole_run(6, instead=[ALPHA])
    assert not report.errors
    assert world.verified() == FIRST
    for hours in (7, 40, 41):
        world.publish(hours)
        assert not world.whole_run(hours).errors
        assert world.verified() == FIRST
    assert world.manifest().key(THIRD).retired


def test_a_rollback_to_what_dns_does_not_show_is_an_error_and_changes_nothing(world, size):
    with_successor(world)
    before = world.stages()
    world.publish(6, alpha="\n".join(record(key.public, key.selector) for key in world.manifest().keys[1:]))
    report = world.whole_run(6, instead=[ALPHA])
    assert any(
        text == f"alpha.test: there is no way back to the key {FIRST}: DNS no longer shows it; mail is signed with "
        f"{SECOND}, as before."
        for text in report.errors
    )
    assert world.stages() == before
    assert world.verified() == SECOND


@pytest.fixture
def cloned(world, monkeypatch):
    """A world whose disk is on another machine from now on."""

    def clone():
        monkeypatch.setattr(machine, "mark", lambda: "ab12ab12ab12ab12")

    monkeypatch.setattr(machine, "mark", lambda: "0123012301230123")
    return clone


def test_a_clone_has_keys_of_its_own_before_the_other_host_revokes_the_key(world, size, cloned):
    signing(world)
    assert world.manifest().machine == "0123012301230123"
    cloned()
    report = world.whole_run(2)
    assert world.manifest().machine == "ab12ab12ab12ab12"
    assert [(key.selector, key.given_up) for key in world.manifest().keys] == [
        (FIRST, FOREIGN),
        ("20261124-mx1-ab12", ""),
    ]
    assert any("it was made on another machine" in text for text in report.notes)
    assert world.verified() == FIRST, "DNS shows it, so that it signs until the new one can"
    old = record(world.manifest().key(FIRST).public)
    world.publish(3, alpha="\n".join([old, record(world.key().public, world.key().selector)]))
    world.whole_run(3)
    assert world.verified() == "20261124-mx1-ab12"
    for hours in (4, 60 * DAYS):
        report = world.whole_run(hours)
        assert not any(FIRST in text for text in (*report.errors, *report.waiting)), "it is the other host's"
    assert world.manifest().key(FIRST).stage == "retired"
    assert "dkim.revoke alpha.test 20261124-mx1" in waits(world, FIRST, 60 * DAYS)
    world.publish(61 * DAYS, alpha=record(world.key().public, world.key().selector))
    world.whole_run(61 * DAYS)
    world.whole_run(62 * DAYS)
    assert world.manifest().key(FIRST).stage == "removed"


def test_what_the_other_host_revoked_is_not_published_again(world, size, cloned):
    signing(world)
    cloned()
    world.publish(2, alpha=f"{FIRST}._domainkey TXT {REVOKED_RECORD}")
    report = world.whole_run(2)
    assert world.manifest().key(FIRST).given_up == FOREIGN_REVOKED
    assert any("which is given up" in text and "Do not publish its record" in text for text in report.errors)
    assert not any(FIRST + "._" in line for line in _to_publish(report))
    assert world.key().stage == "generated"


def test_a_revocation_that_nobody_asked_for_makes_a_successor_in_the_same_run(world, size):
    signing(world)
    world.publish(2, alpha=f"{FIRST}._domainkey TXT {REVOKED_RECORD}")
    report = world.whole_run(2)
    assert world.manifest().key(FIRST).given_up == REVOKED
    assert world.stages() == [(FIRST, "signing"), (SECOND, "generated")]
    assert any(SECOND in line for line in _to_publish(report))
    assert not any(f"{FIRST}._" in line for line in _to_publish(report))
    world.publish(3, alpha=record(world.key().public, SECOND))
    world.whole_run(3)
    assert world.verified() == SECOND


def test_a_wildcard_revocation_is_no_reason_to_give_up_a_new_key(world):
    world.whole_run(0)
    world.publish(0, alpha=f"*._domainkey TXT {REVOKED_RECORD}")
    for hours in (1, 2):
        world.whole_run(hours)
    assert world.stages() == [(FIRST, "generated")]


def impossible(world, selector):
    key = world.key()
    row = Row(selector, "rsa", 2048, key.public, key.generated)
    keystore.write_private(world.paths.keys, ALPHA, selector, "x", world.paths.owner)
    keystore.write_manifest(world.paths.keys, life.Manifest(ALPHA, (row,)))


@pytest.mark.parametrize("selector", ["x" * 64, "20261124.", "a..b"])
def test_a_row_that_dns_cannot_hold_stops_nothing_and_is_replaced(world, size, selector):
    world.whole_run(0)
    impossible(world, selector)
    report = world.whole_run(1)
    assert not report.errors
    assert world.manifest().key(selector).stage == "removed"
    world.publish(1)
    world.whole_run(2)
    assert [world.verified(name) for name in NAMES] == [FIRST, FIRST]


@pytest.mark.parametrize("template", ["{date}.", "x" * 60 + "{date}"])
def test_a_selector_that_cannot_be_made_is_the_error_of_its_domain_alone(world, size, template):
    policy = {**world.domains[ALPHA]["dkim"], "selector": template}
    domains = {**world.domains, ALPHA: {**world.domains[ALPHA], "dkim": policy}}
    report = world.whole_run(0, domains=domains)
    (error,) = report.errors
    assert error.startswith("alpha.test: no key can be made: the selector ")
    assert not (Path(world.paths.keys) / ALPHA / "keys.json").exists()
    assert world.stages("beta.test") == [(FIRST, "generated")]
    assert not world.whole_run(1).errors
    assert world.stages() == [(FIRST, "generated")]


def test_lost_tables_are_written_again_when_dns_shows_the_keys(world, size):
    signing(world)
    for table in world.paths.tables.all:
        table.unlink()
    opendkim_tables.ensure_tables(world.paths.tables)
    assert sorted(world.whole_run(2).changes) == [*NAMES]
    assert [world.verified(name) for name in NAMES] == [FIRST, FIRST]


def test_a_manifest_is_marked_once_and_an_unchanged_run_writes_nothing(world, cloned):
    signing(world)
    before = world.everything()
    assert world.whole_run(2).changes == {}
    after = world.everything()
    assert {path for path in after if before.get(path) != after[path]} <= {f"keys/{dkim_clock.CLOCK}"}


def test_a_key_is_given_up_as_lost_only_where_another_signs(world):
    signing(world)
    other = Path(world.paths.keys) / ALPHA / "other.private"
    other.write_bytes(Key().pem)
    other.chmod(0o600)
    for table in world.paths.tables.all:
        table.write_text(table.read_text().replace(FIRST, "other"))
    beta = record(world.manifest("beta.test").keys[0].public)
    world.publish(2, alpha="", beta=beta)
    world.whole_run(2)
    assert world.manifest().key(FIRST).given_up == LOST
    assert world.manifest().key("other").stage == "generated"
