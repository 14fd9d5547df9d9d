"""Folders of keys that were OpenDKIM's become root's; nothing that an intruder put there is followed or believed."""

import contextlib
import os
import pwd
import socket
import stat
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import pytest

from mailhost import files as safe_files
from mailhost.dkim import folders as key_folders
from mailhost.dkim import keystore
from mailhost.dkim import run as dkim_run
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.dkim.run import SigningPaths
from mailhost.errors import DkimError, KeyFileError, ManifestError, UnsafeFile
from mailhost.opendkim.tables import signers_in_force, tables

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

NAME, OTHER = "a.example", "b.example"
NOW = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
(PEM,) = keystore.generate([1024])
PUBLIC, _ = keystore.public_half(PEM, "a test's key")
DAEMON = pwd.getpwnam("daemon")
OWNER = keystore.Owner("daemon", "daemon")


class Host:
    """A host whose keys lie as earlier versions laid them: each domain's folder is the daemon's."""

    def __init__(self, folder):
        self.etc, self.keys = folder, folder / "keys"
        self.keys.mkdir(mode=0o750)
        os.chown(self.keys, 0, DAEMON.pw_gid)
        self.victim = folder / "shadow"
        self.victim.write_text("root:secret")
        self.victim.chmod(0o600)
        for name in (NAME, OTHER):
            (self.keys / name).mkdir()
            self.path(name, "s.private").touch(0o600)
            self.path(name, "s.private").write_text(PEM)
            os.chown(self.path(name, "s.private"), DAEMON.pw_uid, DAEMON.pw_gid)
            keystore.write_manifest(self.keys, Manifest(name, (KeyRow("s", "rsa", 1024, PUBLIC, NOW),)))
            self.give(self.keys / name)

    @staticmethod
    def give(folder):
        os.chown(folder, DAEMON.pw_uid, DAEMON.pw_gid)
        folder.chmod(0o700)

    def path(self, name, file):
        return self.keys / name / file

    def settle(self, test=False):
        return key_folders.settle(self.keys, OWNER, test)

    def begin(self, test=False):
        paths = SigningPaths(str(self.keys), tables(self.etc / "KeyTable", self.etc / "SigningTable"), OWNER)
        return dkim_run.begin(paths, {}, {}, test)

    def everything(self):
        found = {path: path.lstat() for path in self.etc.rglob("*")}
        return {path: (its.st_ino, its.st_mode, its.st_uid, its.st_gid, its.st_nlink) for path, its in found.items()}


@pytest.fixture
def host():
    # Not below pytest's own folder, through which the daemon could not pass.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        os.chmod(folder, 0o755)
        yield Host(Path(folder))


def whose(path):
    found = os.stat(path)
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def test_a_folder_that_was_the_daemons_becomes_roots_and_its_group_may_pass(host):
    changes, troubles = host.settle()
    assert not troubles
    assert changes == {
        str(host.keys / name): {"old": "daemon:daemon 0700", "new": "root:daemon 0750"} for name in (NAME, OTHER)
    }
    assert whose(host.keys / NAME) == (0, DAEMON.pw_gid, 0o750)
    assert whose(host.path(NAME, "s.private")) == (DAEMON.pw_uid, DAEMON.pw_gid, 0o600)
    assert host.settle() == ({}, {})


def test_a_dry_run_says_what_a_run_does_and_touches_nothing(host):
    before = host.everything()
    predicted = host.settle(test=True)
    assert host.everything() == before
    assert host.settle() == predicted


def as_daemon(act):
    """Do something as the daemon's user, in a process of its own; return whether it could."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setgid(DAEMON.pw_gid)
            os.setuid(DAEMON.pw_uid)
            act()
            os._exit(0)
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_at_each_moment_the_daemon_can_pass_and_read_its_key(host, monkeypatch):
    could = []

    def seen(act):
        def watched(*arguments):
            act(*arguments)
            could.append(as_daemon(host.path(NAME, "s.private").read_text))

        return watched

    for name in ("fchmod", "fchown"):
        monkeypatch.setattr(key_folders.os, name, seen(getattr(os, name)))
    host.settle()
    assert len(could) >= 8
    assert all(could)


def test_the_daemon_can_change_nothing_in_a_folder_that_is_roots(host):
    host.settle()
    assert as_daemon(lambda: host.path(NAME, "s.private").read_text())
    assert not as_daemon(lambda: os.symlink(host.victim, host.path(NAME, "t.private")))
    assert not as_daemon(host.path(NAME, "s.private").unlink)
    assert not as_daemon(lambda: os.rename(host.keys / NAME, host.keys / "x"))


def link(path, host):
    path.symlink_to(host.victim)


def second_name(path, host):
    os.link(host.victim, path)


def fifo(path, host):
    os.mkfifo(path)


def device(path, host):
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3))


def folder(path, host):
    path.mkdir()


def unix_socket(path, host):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


def setuid_program(path, host):
    path.write_text("#!/bin/sh")
    os.chown(path, DAEMON.pw_uid, DAEMON.pw_gid)
    path.chmod(0o4755)


def of_root(path, host):
    """A second name of a file of root's whose first one went since, as passwd(1) has it go."""
    path.write_text("root:old-secret")
    path.chmod(0o600)


def of_daemon(path, host):
    path.write_text("{}")
    os.chown(path, DAEMON.pw_uid, DAEMON.pw_gid)


def writable(path, host):
    path.write_text("{}")
    path.chmod(0o666)


PUT = (link, second_name, fifo, device, folder, unix_socket, setuid_program)
HOSTILE = [
    *((file, put) for file in ("keys.json", "s.private", "s.compromised") for put in PUT),
    ("s.private", of_root),
    *((file, put) for file in ("keys.json", "s.compromised") for put in (of_daemon, writable)),
]


@pytest.mark.parametrize("test", [True, False])
@pytest.mark.parametrize(("file", "put"), HOSTILE)
def test_what_only_an_intruder_puts_there_is_named_and_left_and_other_domains_go_on(host, file, put, test):
    path = host.path(NAME, file)
    path.unlink(missing_ok=True)
    put(path, host)
    before, folder = host.everything(), host.keys / NAME
    run = host.begin(test)
    assert list(run.refused) == [NAME]
    assert run.refused[NAME].startswith(f"{path}: ")
    assert f"The folder {folder} stays as it is" in run.refused[NAME]
    with pytest.raises(ManifestError):
        run.manifest(NAME)
    assert run.manifest(OTHER).keys
    after = host.everything()
    assert {path: after[path] for path in before if path.is_relative_to(folder)} == {
        path: its for path, its in before.items() if path.is_relative_to(folder)
    }
    assert after[host.victim] == before[host.victim]
    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    assert not host.begin(test).refused


def test_a_folder_in_which_a_killed_run_had_not_looked_yet_is_looked_at(host, monkeypatch):
    host.path(NAME, "s.private").unlink()
    host.path(NAME, "s.private").symlink_to(host.victim)
    killed = key_folders._check

    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(key_folders, "_check", die)
    with pytest.raises(KeyboardInterrupt):
        host.settle()
    monkeypatch.setattr(key_folders, "_check", killed)
    _, troubles = host.settle()
    assert list(troubles) == [NAME]
    assert whose(host.keys / NAME) == (DAEMON.pw_uid, DAEMON.pw_gid, 0o700)


def test_who_holds_the_list_of_keys_open_since_before_writes_to_it_in_vain(host):
    with open(host.path(NAME, "keys.json"), "a") as held:
        host.settle()
        held.write("forged")
    assert keystore.read_manifest(host.keys, NAME).keys


def test_a_domains_folder_that_is_a_link_is_named(host, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (host.keys / "c.example").symlink_to(tmp_path / "elsewhere")
    assert "symbolic link" in host.settle()[1]["c.example"]


def test_a_forged_list_of_keys_is_not_believed_wherever_it_lies(host):
    host.settle()
    path = host.path(NAME, "keys.json")
    os.chown(path, DAEMON.pw_uid, DAEMON.pw_gid)
    with pytest.raises(ManifestError, match=f"belongs to user {DAEMON.pw_uid}.*DNS"):
        keystore.read_manifest(host.keys, NAME)


@pytest.mark.parametrize("put", [link, fifo, device, folder, unix_socket])
def test_nothing_hangs_or_follows_where_a_file_is_another_thing(host, put):
    for file in ("keys.json", "s.private"):
        host.path(NAME, file).unlink()
        put(host.path(NAME, file), host)
    before = host.everything()
    with pytest.raises(ManifestError, match="not a regular file"):
        keystore.read_manifest(host.keys, NAME)
    key = KeyRow("s", "rsa", 1024, PUBLIC, NOW)
    for act in (
        lambda: keystore.settle_key(host.keys, NAME, key, OWNER),
        lambda: keystore.check_private(host.keys, NAME, key),
        lambda: keystore.write_private(host.keys, NAME, "s", PEM, OWNER),
    ):
        with pytest.raises(KeyFileError):
            act()
    assert host.everything() == before


@pytest.mark.parametrize("put", [link, fifo, folder])
@pytest.mark.parametrize("file", ["clock.json", ".lock"])
def test_a_run_with_a_strange_lock_or_clock_ends_with_its_name(host, put, file):
    put(host.keys / file, host)
    before = host.everything()[host.victim]
    with pytest.raises(DkimError, match=file), safe_files.locked(host.keys, wait=0):
        host.begin()
    assert host.everything()[host.victim] == before


def test_the_daemon_cannot_hold_the_lock(host):
    (host.keys / ".lock").touch(0o644)
    assert as_daemon((host.keys / ".lock").read_text)
    with safe_files.locked(host.keys):
        assert not as_daemon((host.keys / ".lock").read_text)


def test_a_link_to_a_keys_folder_that_root_set_is_followed_and_another_is_not(host, tmp_path):
    (tmp_path / "mine").symlink_to(host.keys)
    assert key_folders.settle(tmp_path / "mine", OWNER)[0]
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "keys").symlink_to(host.keys)
    Host.give(theirs)
    with pytest.raises(UnsafeFile, match="symbolic link"):
        key_folders.settle(theirs / "keys", OWNER)
    with pytest.raises(UnsafeFile, match="symbolic link"):
        safe_files.replace(theirs / "keys" / "file", b"", 0o644)


def test_a_file_is_replaced_and_a_link_of_its_name_goes(host):
    path = Path(host.etc) / "made"
    path.symlink_to(host.victim)
    safe_files.replace_file(path, "new", 0o644)
    assert path.read_text() == "new"
    assert not path.is_symlink()
    assert host.victim.read_text() == "root:secret"


def test_a_fifo_in_place_of_a_table_is_named_and_a_link_to_one_is_read(host):
    paths = tables(host.etc / "KeyTable", host.etc / "SigningTable")
    (host.etc / "mine").write_text(f"s._domainkey.{NAME} {NAME}:s:{host.path(NAME, 's.private')}\n")
    paths.key_table.symlink_to(host.etc / "mine")
    paths.signing_table.write_text(f"*@{NAME} s._domainkey.{NAME}\n")
    assert list(signers_in_force(paths)) == [NAME]
    paths.domains_table.unlink(missing_ok=True)
    os.mkfifo(paths.domains_table)
    with pytest.raises(UnsafeFile, match="a FIFO"):
        signers_in_force(paths)
