"""The files of a domain's keys: each gets its owner and mode back, and a dry run says which would."""

import grp
import os
import pwd
from datetime import datetime, timedelta, timezone

import pytest

from mailhost.dkim import keystore
from mailhost.dkim.life import STAGES, KeyRow, Manifest
from mailhost.dkim.make import make_keys
from mailhost.dkim.run import Run, SigningPaths
from mailhost.opendkim.tables import tables
from mailhost.pillar.settings import resolve

NAME = "a.example"
NOW = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
OWNER = keystore.Owner(pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name)
SETTINGS = resolve({"domains": {NAME: {}}}, {"postfix": {"version": "3.7"}}, {"fqdn": "mx1.a.example"})
PUT_RIGHT = {"old": "wrong owner or mode", "new": "0600"}


def key(selector, stages, first):
    """A key that has reached the first ``stages`` stages, one an hour, the first of them ``first`` hours ago."""
    times = {name: NOW - timedelta(hours=first - number) for number, name in enumerate(STAGES[:stages])}
    return KeyRow(selector, "rsa", 2048, "MIIB", **times)


KEYS = (key("one", 4, 20), key("two", 4, 15), key("three", 3, 10))


@pytest.fixture
def keys(tmp_path):
    """The folder of a host's keys: one domain with two retired ones and one that signs."""
    (tmp_path / NAME).mkdir()
    keystore.write_manifest(tmp_path, Manifest(NAME, KEYS))
    for one in KEYS:
        keystore.write_private(tmp_path, NAME, one.selector, "a key", OWNER)
    return tmp_path


def made(keys, test=False, owner=OWNER):
    paths = SigningPaths(str(keys), tables(keys / "KeyTable", keys / "SigningTable"), owner)
    return make_keys(Run(paths, SETTINGS["domains"], SETTINGS["dns"], NOW, test), "mx1.a.example")


def file(keys, selector):
    return keystore.private_path(keys, NAME, selector)


def mode(keys, selector):
    return file(keys, selector).stat().st_mode & 0o777


def test_a_missing_key_file_keeps_no_other_from_being_put_right(keys):
    file(keys, "one").unlink()
    file(keys, "two").chmod(0o644)
    file(keys, "three").chmod(0o640)
    report = made(keys)
    assert [mode(keys, name) for name in ("two", "three")] == [0o600, 0o600]
    assert report.changes == {NAME: {"two": PUT_RIGHT, "three": PUT_RIGHT}}
    (message,) = report.errors
    assert message.startswith(f"{NAME}: {file(keys, 'one')}: missing")


@pytest.mark.parametrize("test", [False, True])
def test_every_missing_key_file_is_named(keys, test):
    for name in ("one", "three"):
        file(keys, name).unlink()
    named = [message.partition(";")[0] for message in made(keys, test).errors]
    assert named == [f"{NAME}: {file(keys, name)}: missing" for name in ("one", "three")]


def test_a_dry_run_says_which_key_files_a_run_puts_right_and_touches_none(keys):
    file(keys, "one").unlink()
    file(keys, "two").chmod(0o644)
    predicted = made(keys, test=True)
    assert mode(keys, "two") == 0o644
    assert predicted.changes == {NAME: {"two": PUT_RIGHT}}
    done = made(keys)
    assert (done.changes, done.errors) == (predicted.changes, predicted.errors)
    assert not made(keys, test=True).changes


def test_a_dry_run_before_a_package_brings_the_user_says_that_the_files_get_their_owner(keys):
    nobody_yet = keystore.Owner("no-such-user", "no-such-group")
    predicted = made(keys, test=True, owner=nobody_yet)
    assert predicted.changes == {NAME: dict.fromkeys(("one", "two", "three"), PUT_RIGHT)}
    assert not predicted.errors
    assert all("no user or group" in message for message in made(keys, owner=nobody_yet).errors)
