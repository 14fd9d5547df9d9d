"""From no key to signed mail, with a real OpenDKIM and a real name server: nothing signs before DNS shows it."""

import contextlib
import json
import os
import shutil
import stat
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from lifecycle_world import AUTHORITY, NAMES, START, Child, at, check_keys, large_host, settings
from mailhost import clock as trusted_clock
from mailhost import files as safe_files
from mailhost.dkim import advance as dkim_advance
from mailhost.dkim import clock as dkim_clock
from mailhost.dkim import keystore, life
from mailhost.dkim import run as dkim_run
from mailhost.dkim import status as dkim_status
from mailhost.dkim.advance import SigningHost
from mailhost.errors import CutoverError, DkimError, LockHeld, ProbeError
from mailhost.opendkim import probe
from mailhost.opendkim import tables as opendkim_tables
from name_server import zone
from opendkim_daemon import Key, await_that


@pytest.fixture(params=[contextlib.nullcontext, large_host], ids=["small host", "large host"], autouse=True)
def size(request):
    with request.param():
        yield


def test_a_new_key_signs_only_after_dns_shows_it(world):
    made = world.make()
    selector = world.key().selector
    assert selector == "20261124-mx1"
    assert made.changes == {name: {selector: {"old": None, "new": "generated"}} for name in NAMES}

    waits = world.check_dns()
    assert not waits.changes
    assert not waits.errors
    line = f"{selector}._domainkey.alpha.test. 300 IN TXT"
    assert any(
        line in text and f"v=DKIM1; k=rsa; p={world.key().public}" in text for text in waits.whole(waits.waiting)
    )
    assert not world.sign().changes
    assert world.signs() is None

    world.publish()
    seen = world.check_dns(1)
    assert seen.changes == {name: {selector: {"old": "generated", "new": "published"}} for name in NAMES}
    assert not seen.waiting
    on = world.sign(1)
    assert on.changes == {name: {"old": None, "new": selector} for name in NAMES}
    assert "alpha.test: mail is now signed with 20261124-mx1." in on.notes
    assert world.signs() == selector
    assert [world.key(name).stage for name in NAMES] == ["signing", "signing"]

    again = [world.make(2), world.check_dns(2), world.sign(2)]
    assert [report.changes for report in again] == [{}, {}, {}]


def test_a_dry_run_writes_nothing_and_says_what_the_run_then_does(world):
    def everything():
        folder = Path(world.paths.keys).parent
        return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "log"}

    before = everything()
    assert world.make(test=True).changes == {
        name: {"20261124-mx1": {"old": None, "new": "generated"}} for name in NAMES
    }
    assert everything() == before
    world.make()
    world.publish()
    before = everything()
    dry = world.run(test=True)
    predicted = [world.check_dns(run=dry).changes, world.sign(run=dry).changes]
    assert everything() == before
    assert predicted[1]["alpha.test"] == {"old": None, "new": "20261124-mx1"}
    assert [world.check_dns().changes, world.sign().changes] == predicted


def test_private_keys_are_the_owners_alone(world):
    world.make()
    path = keystore.private_path(world.paths.keys, "alpha.test", world.key().selector)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    path.chmod(0o644)
    assert world.make(1).changes == {
        "alpha.test": {world.key().selector: {"old": "wrong owner or mode", "new": "0600"}}
    }
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def _key_text():
    return Key().record


WRONG = [
    ("a different key", lambda key: f'"{_key_text()[:250]}" "{_key_text()[250:]}"', "different"),
    (
        "two records",
        lambda key: f'"v=DKIM1; k=rsa; p={key.public[:200]}" "{key.public[200:]}"\n{{}} TXT "x"',
        "there are 2 TXT",
    ),
    ("a cut TXT", lambda key: f'"v=DKIM1; k=rsa; p={key.public[:230]}"', "cut"),
    (
        "backslashes",
        lambda key: f'"v=DKIM1\\\\; k=rsa\\\\; p={key.public[:200]}" "{key.public[200:]}"',
        "backslashes",
    ),
]


@pytest.mark.parametrize(("what", "text", "said"), WRONG, ids=[one[0] for one in WRONG])
def test_a_wrong_record_is_named_for_what_it_is_and_where(world, what, text, said):
    world.make()
    name = f"{world.key().selector}._domainkey"
    world.publish(alpha=f"{name} TXT {text(world.key()).format(name)}")
    report = world.check_dns()
    (message,) = report.waiting
    assert message.startswith("alpha.test: ")
    assert "ns.test" in message
    assert AUTHORITY in message
    assert said in message
    world.sign()
    assert world.signs("alpha.test") is None
    assert world.signs("beta.test") == world.key("beta.test").selector


def test_unknown_answer_never_advances_a_key_and_never_takes_a_stamp_away(world):
    world.make()
    world.publish()
    world.server.stop()
    world.settings["dns"].update(timeout=1, lifetime=3)
    report = world.check_dns(1)
    assert not report.changes
    assert not report.errors
    assert all("cannot be confirmed" in text for text in report.waiting)
    world.server.start()
    await_that(lambda: world.check_dns(2).changes, "the resolver still remembers that nobody answered it")
    world.sign(2)
    world.server.stop()
    report = world.check_dns(3)
    assert not report.errors
    assert len(report.waiting) == 2
    assert not world.sign(3).changes
    assert [world.key(name).stage for name in NAMES] == ["signing", "signing"]
    assert world.signs() == world.key().selector


def test_a_record_that_vanished_since_it_was_published_does_not_sign(world):
    world.make()
    world.publish()
    world.check_dns()
    world.publish(alpha="")
    report = world.sign()
    assert "alpha.test: the key 20261124-mx1 does not sign yet: DNS no longer shows it." in report.notes
    assert world.signs("alpha.test") is None


def test_a_key_that_signs_but_is_not_in_dns_is_a_failure(world):
    world.make()
    world.publish()
    world.check_dns()
    world.sign()
    world.publish(alpha="")
    (message,) = world.check_dns(1).errors
    assert message.startswith("alpha.test: mail is signed with 20261124-mx1, but DNS does not show this key")
    assert world.signs() == "20261124-mx1"


def test_waiting_is_a_warning_until_the_deadline_and_then_a_failure(world):
    world.make()
    assert not world.check_dns(71).errors
    late = world.check_dns(73)
    assert len(late.errors) == 2
    assert "publish_deadline" in late.errors[0]
    world.settings = settings(strict=True)
    assert "mailserver:dkim:strict is set" in world.check_dns(1).errors[0]


def test_a_clock_that_jumped_back_stamps_nothing(world):
    world.make()
    world.publish()
    report = world.check_dns(-24 * 365)
    assert not report.changes
    assert "set the clock right" in report.errors[0]
    assert world.key().stage == "generated"


def test_a_removed_domain_is_no_longer_signed_for_and_keeps_its_keys(world):
    world.make()
    world.publish()
    world.check_dns()
    world.sign()
    rest = {"beta.test": world.domains["beta.test"]}
    report = world.sign(domains=rest)
    assert report.changes == {"alpha.test": {"old": "20261124-mx1", "new": None}}
    opendkim_tables.patient(lambda *_: _must_be(world.signs("alpha.test"), None))("alpha.test", None)
    assert world.signs("beta.test") == "20261124-mx1"
    assert keystore.private_path(world.paths.keys, "alpha.test", "20261124-mx1").exists()
    assert world.sign().changes == {"alpha.test": {"old": None, "new": "20261124-mx1"}}
    assert world.signs("alpha.test") == "20261124-mx1"


def _must_be(seen, wanted):
    if seen != wanted:
        raise ProbeError(f"{seen} instead of {wanted}")


def test_a_successor_takes_over_after_its_soak_and_its_predecessor_is_retired(world):
    world.advance()
    assert world.make(1, also=["alpha.test"]).changes == {
        "alpha.test": {"20261124-mx1-2": {"old": None, "new": "generated"}}
    }
    assert not world.make(1, also=["alpha.test"]).changes, "one waits already"
    world.publish()
    world.check_dns(1)
    soaking = world.sign(1)
    assert not soaking.changes
    assert "alpha.test: the key 20261124-mx1-2 is published and signs from 2026-11-24 19:05 UTC on." in soaking.notes
    assert world.signs() == "20261124-mx1"
    assert world.sign(2).changes == {"alpha.test": {"old": "20261124-mx1", "new": "20261124-mx1-2"}}
    assert world.signs() == "20261124-mx1-2"
    assert world.stages() == [("20261124-mx1", "retired"), ("20261124-mx1-2", "signing")]


def test_the_newest_of_several_successors_signs_and_those_it_overtook_are_retired(world):
    world.advance()
    world.make(1, also=["alpha.test"])
    world.make(1, also=["alpha.test"], force=True)
    world.advance(1)
    world.advance(3)
    assert world.signs() == "20261124-mx1-3"
    retired = ("20261124-mx1", "20261124-mx1-2")
    assert world.stages() == [*((name, "retired") for name in retired), ("20261124-mx1-3", "signing")]
    world.advance(4)
    assert world.signs() == "20261124-mx1-3"
    assert world.stages()[1] == ("20261124-mx1-2", "revoked"), "it never signed, so nothing needs its record"


DAYS = 24


def rotated(world):
    """A world whose first key was retired two hours after it began."""
    world.advance()
    world.advance(1, also=NAMES)
    world.advance(2)
    assert world.stages() == [("20261124-mx1", "retired"), ("20261124-mx1-2", "signing")]


def test_a_retired_key_is_revoked_after_its_retention_then_removed_and_its_private_key_is_gone(world):
    rotated(world)
    private = keystore.private_path(world.paths.keys, "alpha.test", "20261124-mx1")
    world.advance(13 * DAYS)
    assert world.stages()[0] == ("20261124-mx1", "retired")
    assert private.exists()

    waits = world.check_dns(15 * DAYS)
    assert not waits.changes
    assert not waits.errors
    assert any(
        "it is due to be revoked" in text and '"v=DKIM1; k=rsa; p="' in text for text in waits.whole(waits.waiting)
    )
    assert private.exists(), "DNS still shows the key: whoever reads it expects that it verifies"

    world.advance(15 * DAYS)
    assert world.stages() == [("20261124-mx1", "revoked"), ("20261124-mx1-2", "signing")]
    assert not private.exists()

    world.advance(44 * DAYS)
    assert world.stages()[0] == ("20261124-mx1", "revoked")
    world.advance(46 * DAYS)
    assert world.stages() == [("20261124-mx1", "removed"), ("20261124-mx1-2", "signing")]
    assert world.manifest().keys[0].public == ""
    assert world.signs() == "20261124-mx1-2"


@pytest.mark.parametrize(
    ("oldest", "said"),
    [(at(1), "is still in the mail queue"), (None, "what is in the mail queue could not be found out")],
)
def test_a_key_stays_as_long_as_mail_that_it_may_have_signed_is_in_the_queue(world, oldest, said):
    rotated(world)
    assert not world.check_dns(300 * DAYS, oldest=lambda run: oldest).waiting
    found = dkim_status.status(world.run(300 * DAYS), lambda run: oldest)
    assert said in found["alpha.test"]["20261124-mx1"]["waits"]
    assert world.stages()[0] == ("20261124-mx1", "retired")


def test_a_key_is_not_revoked_while_one_server_still_shows_it(world):
    rotated(world)
    world.server.stop()
    world.settings["dns"].update(timeout=1, lifetime=3)
    assert not world.check_dns(15 * DAYS).changes
    assert world.stages()[0] == ("20261124-mx1", "retired")


def test_each_domain_rotates_when_its_own_moment_in_the_period_has_come(world):
    world.settings = settings(rotate_after="90d")
    world.advance()
    moments = {name: life.rotates_at(name, world.key(name), world.domains[name]["dkim"]) for name in NAMES}
    assert len(set(moments.values())) == 2
    for name, moment in moments.items():
        assert 45 * DAYS <= (moment - START) / timedelta(hours=1) <= 135 * DAYS
        before = (moment - START) / timedelta(hours=1) - 1
        assert name not in world.make(before, test=True).changes
        assert name in world.make(before + 2, test=True).changes


def test_a_compromised_key_is_revoked_as_soon_as_its_successor_signs(world):
    world.advance()
    dkim_advance.give_up(world.run(1), "alpha.test", "20261124-mx1")
    done = world.advance(1, also=["alpha.test"])
    assert done.changes["alpha.test"]["new"] == "20261124-mx1-2", "no soak"
    assert world.signs() == "20261124-mx1-2"
    world.advance(1)
    assert world.stages() == [("20261124-mx1", "revoked"), ("20261124-mx1-2", "signing")]
    assert not keystore.private_path(world.paths.keys, "alpha.test", "20261124-mx1").exists()


def test_a_compromised_key_goes_on_signing_until_another_can(world):
    world.advance()
    dkim_advance.give_up(world.run(1), "alpha.test", "20261124-mx1")
    world.advance(1, publish=False, also=["alpha.test"])
    assert world.signs() == "20261124-mx1"
    assert world.stages() == [("20261124-mx1", "signing"), ("20261124-mx1-2", "generated")]


def test_the_predecessor_signs_again_after_a_rollback(world):
    rotated(world)
    dkim_advance.check_can_go_back(world.run(3), "alpha.test")
    back = world.sign(3, instead=["alpha.test"])
    assert back.changes == {"alpha.test": {"old": "20261124-mx1-2", "new": "20261124-mx1"}}
    assert world.signs() == "20261124-mx1"
    assert world.stages() == [("20261124-mx1", "signing"), ("20261124-mx1-2", "retired")]
    assert not world.advance(4).changes


def test_there_is_no_rollback_to_a_key_that_dns_no_longer_shows(world):
    rotated(world)
    world.publish(alpha=f"20261124-mx1-2._domainkey TXT {_strings(world.key())}")
    assert not world.sign(3, instead=["alpha.test"]).changes
    assert world.signs() == "20261124-mx1-2"
    world.advance(15 * DAYS)
    with pytest.raises(DkimError, match="no earlier key that DNS still shows"):
        dkim_advance.check_can_go_back(world.run(15 * DAYS), "alpha.test")


def _strings(key):
    return f'"v=DKIM1; k=rsa; p={key.public[:200]}" "{key.public[200:]}"'


def test_a_key_folder_that_was_lost_does_not_let_an_unpublished_key_sign(world):
    world.advance()
    shutil.rmtree(Path(world.paths.keys) / "alpha.test")
    world.make(1)
    assert world.key().selector == "20261124-mx1-2"
    report = world.sign(1)
    assert "alpha.test: OpenDKIM is to sign with" in report.errors[0]
    assert "which is gone" in report.errors[0]
    with pytest.raises(ProbeError):
        world.signs()
    world.publish()
    world.check_dns(2)
    assert world.sign(2).changes == {"alpha.test": {"old": "20261124-mx1", "new": "20261124-mx1-2"}}
    assert world.signs() == "20261124-mx1-2"


SECRET = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
POLICY = "update-policy {{ grant mx1 wildcard *._domainkey.{}. TXT; }};"


@pytest.fixture
def publishing(world, tmp_path):
    """A world whose name server takes updates from the host, of key records only."""
    server = world.server
    server.stop()
    server._keys["mx1"] = SECRET
    server._zone_options.update({name: POLICY.format(name) for name in NAMES})
    server.start()
    file = tmp_path / "rfc2136.key"
    file.touch(0o600)
    file.write_text(f'key "mx1" {{ algorithm hmac-sha256; secret "{SECRET}"; }};\n')
    world.settings["dns"].update(publish="rfc2136")
    world.settings["dns"]["rfc2136"].update(server=AUTHORITY, key_file=str(file))
    return world


def whole_run(world, hours, also=()):
    host = SigningHost("mx1.lab.test", world.milter.reload, partial(probe.probe, world.milter.socket),
                lambda run: run.now)  # fmt: skip
    return dkim_advance.advance(world.run(hours), host, also)


def shown(world, selector):
    answer = world.server.query(f"{selector}._domainkey.alpha.test", "TXT").answer
    return [b"".join(rdata.strings).decode() for rrset in answer for rdata in rrset]


def test_a_host_that_may_publish_rotates_without_anybodys_help(publishing):
    world = publishing
    done = whole_run(world, 0)
    assert not done.errors
    assert world.stages() == [("20261124-mx1", "signing")], "published, seen and signing in one run"
    assert world.signs() == "20261124-mx1"
    whole_run(world, 1, also=NAMES)
    whole_run(world, 3)
    assert world.stages() == [("20261124-mx1", "retired"), ("20261124-mx1-2", "signing")]
    assert "p=MI" in shown(world, "20261124-mx1")[0]
    whole_run(world, 18 * DAYS)
    assert world.stages()[0] == ("20261124-mx1", "revoked")
    assert shown(world, "20261124-mx1") == ["v=DKIM1; k=rsa; p="]
    done = whole_run(world, 50 * DAYS)
    assert world.stages() == [("20261124-mx1", "removed"), ("20261124-mx1-2", "signing")]
    assert shown(world, "20261124-mx1") == []
    assert not done.errors
    assert world.signs() == "20261124-mx1-2"


def test_a_refused_update_is_told_with_the_servers_words_and_changes_nothing(publishing):
    world = publishing
    world.server.stop()
    world.server._zone_options["alpha.test"] = "update-policy { grant mx1 name nothing.alpha.test. TXT; };"
    world.server.start()
    report = whole_run(world, 0)
    (told,) = [text for text in report.waiting if text.startswith("Publishing failed")]
    assert "REFUSED" in told
    assert "20261124-mx1._domainkey.alpha.test" in told
    assert world.stages("alpha.test") == [("20261124-mx1", "generated")]
    assert world.stages("beta.test") == [("20261124-mx1", "signing")]


def test_a_record_that_is_somebody_elses_is_never_overwritten(publishing):
    world = publishing
    other = f"20261124-mx1._domainkey TXT {_strings(SimpleNamespace(public=Key().record.partition('p=')[2]))}"
    world.server.serve(**{"alpha.test": zone(["ns.test"], other)})
    before = shown(world, "20261124-mx1")
    report = whole_run(world, 0)
    assert any(text.startswith("Publishing failed") for text in report.waiting)
    assert shown(world, "20261124-mx1") == before
    assert world.stages("alpha.test") == [("20261124-mx1", "generated")]


def test_a_missing_credential_is_a_failure_that_names_the_file(publishing):
    world = publishing
    Path(world.settings["dns"]["rfc2136"]["key_file"]).unlink()
    report = whole_run(world, 0)
    assert "No record was published" in report.errors[0]
    assert "rfc2136.key" in report.errors[0]


def test_a_clock_that_jumps_by_a_year_ends_no_retention(world):
    rotated(world)
    clock = trusted_clock.advance(None, trusted_clock.read())
    path = Path(world.paths.keys) / dkim_clock.CLOCK
    year = 365 * 24 * 3600
    before = replace(clock, trusted=clock.trusted - year, wall=clock.wall - year)
    path.write_text(trusted_clock.emit(before))
    run = dkim_run.begin(world.paths, world.domains, world.settings["dns"])
    assert abs(run.now.timestamp() - before.trusted) < 60
    assert "salt-call dkim.believe_clock" in run.warnings[0]
    dkim_clock.believe_clock(world.paths.keys)
    run = dkim_run.begin(world.paths, world.domains, world.settings["dns"])
    assert abs(run.now.timestamp() - clock.trusted) < 60
    assert not run.warnings


def test_a_key_file_that_is_not_the_published_key_never_signs(world):
    world.make()
    world.publish()
    world.check_dns()
    path = keystore.private_path(world.paths.keys, "alpha.test", world.key().selector)
    path.write_bytes(Key().pem)
    report = world.sign()
    assert "not the key whose record was emitted" in report.errors[0]
    assert world.signs("alpha.test") is None
    assert world.signs("beta.test") == "20261124-mx1"


def test_a_reload_that_is_not_taken_is_found_out_and_undone(world, monkeypatch):
    monkeypatch.setattr(opendkim_tables, "PROBE_LIMIT", 1)
    monkeypatch.setattr(opendkim_tables.patient, "__defaults__", (1, *opendkim_tables.patient.__defaults__[1:]))
    world.make()
    world.publish()
    world.check_dns()
    report = world.sign(reload=lambda: None)
    assert len(report.errors) == 2
    assert "was tried and undone, mail is not signed" in report.errors[0]
    assert not report.changes
    assert world.key().stage == "published"
    assert opendkim_tables.signers_in_force(world.paths.tables) == {}
    assert len(world.sign().changes) == 2


def test_an_opendkim_that_is_down_changes_nothing(world):
    world.make()
    world.publish()
    world.check_dns()

    def down():
        raise CutoverError("OpenDKIM could not be reloaded: it does not run")

    report = world.sign(reload=down)
    assert not report.changes
    assert "does not run" in report.errors[0]
    assert opendkim_tables.signers_in_force(world.paths.tables) == {}


def test_a_key_of_the_hand_written_procedure_is_taken_over_and_signs_without_a_break(world):
    legacy = Key()
    folder = Path(world.paths.keys) / "alpha.test"
    folder.mkdir(parents=True)
    path = folder / "20210808.private"
    path.write_bytes(legacy.pem)
    path.chmod(0o600)
    for table in world.paths.tables.all:
        table.unlink()
    world.paths.tables.key_table.write_text(f"20210808._domainkey.alpha.test alpha.test:20210808:{path}\n")
    world.paths.tables.signing_table.write_text("*@alpha.test 20210808._domainkey.alpha.test\n")
    opendkim_tables.ensure_tables(world.paths.tables)
    world.milter.reload()
    opendkim_tables.patient(lambda *_: _must_be(world.signs(), "20210808"))("alpha.test", None)
    assert world.make().changes["alpha.test"] == {"20210808": {"old": None, "new": "taken over from disk"}}
    assert path.read_bytes() == legacy.pem
    world.check_dns()
    world.sign()
    assert world.signs() == "20210808", "DNS does not show it yet, but what signed yesterday goes on signing"
    world.publish()
    world.check_dns()
    world.sign()
    assert world.key().stage == "signing"
    assert world.signs() == "20210808"


def test_a_damaged_manifest_stops_its_own_domain_only(world):
    world.make()
    world.publish()
    world.check_dns()
    world.sign()
    path = Path(world.paths.keys) / "alpha.test" / "keys.json"
    path.write_text("{")
    for report in (world.make(), world.check_dns(), world.sign()):
        assert len(report.errors) == 1
        assert report.errors[0].startswith(f"alpha.test: {path}")
        assert not report.changes
    assert path.read_text() == "{"
    assert [world.signs(name) for name in NAMES] == ["20261124-mx1", "20261124-mx1"]


def test_two_runs_never_work_on_the_same_keys(world):
    with (
        safe_files.locked(world.paths.keys),
        pytest.raises(LockHeld, match="another run has worked on these keys"),
        safe_files.locked(world.paths.keys, wait=0),
    ):
        raise AssertionError("both runs held the lock")


def test_two_processes_that_run_at_once_make_one_key_for_each_domain_and_damage_nothing(world):
    for hours, also, count in ((0, (), 1), (1, NAMES, 2)):
        waits, starts = os.pipe()

        def run(told, hours=hours, also=also, waits=waits, starts=starts):
            os.close(starts)
            os.read(waits, 1)
            report = world.whole_run(hours, also=also)
            os.write(told, json.dumps([report.errors, report.changes]).encode())

        runs = [Child(run), Child(run)]
        os.close(starts)
        told, codes = zip(*(one.end() for one in runs), strict=True)
        assert codes == (0, 0), told
        (errors, changes), (more_errors, more_changes) = map(json.loads, told)
        assert not errors + more_errors
        assert sorted([sorted(changes), sorted(more_changes)]) == [[], list(NAMES)], "one made all, the other nothing"
        for name in NAMES:
            assert len(world.manifest(name).keys) == count
            assert len(list((world.etc / "keys" / name).glob("*.private"))) == count
        check_keys(world)
        world.publish(hours)
        assert not world.whole_run(hours).errors
    assert not list(world.etc.rglob("*.unfinished"))
    assert [world.verified(name) for name in NAMES] == ["20261124-mx1", "20261124-mx1"]


def test_status_says_what_became_of_each_key(world):
    world.make()
    found = dkim_status.status(world.run())
    row = found["alpha.test"]["20261124-mx1"]
    assert (row["stage"], row["since"], row["signs"]) == ("generated", "2026-11-24T18:00:00Z", False)
    assert row["fails_from"] == "2026-11-27T18:00:00Z"
    world.publish()
    world.check_dns()
    world.sign()
    found = dkim_status.status(world.run(domains={}))
    row = found["alpha.test"]["20261124-mx1"]
    assert (row["stage"], row["signs"], row["next"]) == ("signing", True, "nothing: the domain is not in the pillar")
