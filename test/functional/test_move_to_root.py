"""OpenDKIM under its own user: it signs from folders that are root's, and at each moment while they become so."""

import contextlib
import grp
import itertools
import os
import pwd

import pytest

from mailhost import files as safe_files
from mailhost.dkim import folders as key_folders
from mailhost.dkim import keystore
from mailhost.dkim.life import Manifest
from mailhost.errors import WriteError
from mailhost.opendkim import milter as milters
from opendkim_daemon import Key

USER = "opendkim"
NAMES = [f"d{number}.test" for number in range(8)]
MESSAGE = "From: a@{0}\r\nTo: b@outside.test\r\nSubject: x\r\n\r\nbody\r\n"


class Signer:
    """An OpenDKIM that runs as its package's user, with the keys of some domains in folders that are its own."""

    def __init__(self, milter):
        self.milter, self.key = milter, Key()
        self.user = pwd.getpwnam(USER)
        self.owner = keystore.Owner(USER, grp.getgrgid(self.user.pw_gid).gr_name)
        self.top = milter.folder / "keys"
        for folder in (milter.folder.parent, milter.folder):
            folder.chmod(0o755)
        self.top.mkdir(mode=0o750)
        os.chown(self.top, 0, self.user.pw_gid)
        for name in NAMES:
            self.lay(name)
        rows = "".join(f"s._domainkey.{name} {name}:s:{self.path(name)}\n" for name in NAMES)
        (milter.folder / "KeyTable").write_text(rows)
        (milter.folder / "SigningTable").write_text("".join(f"{name} s._domainkey.{name}\n" for name in NAMES))
        milter.start(UserID=f"{USER}:{self.owner.group}", KeyTable=f"file:{milter.folder}/KeyTable")

    def path(self, name):
        return keystore.private_path(self.top, name, "s")

    def lay(self, name):
        """Lay a domain's key as earlier versions of the formula did."""
        (self.top / name).mkdir()
        self.path(name).touch(0o600)
        self.path(name).write_bytes(self.key.pem)
        keystore.write_manifest(self.top, Manifest(name))
        for path, mode in ((self.path(name), 0o600), (self.top / name, 0o700)):
            os.chown(path, self.user.pw_uid, self.user.pw_gid)
            path.chmod(mode)

    def signs(self, name):
        message = MESSAGE.format(name).encode()
        added = milters.sign(self.milter.socket, message, f"a@{name}", ["b@outside.test"])
        return any(field == "DKIM-Signature" for field, _ in added)


@pytest.fixture
def signer(daemon):
    return Signer(daemon())


def test_the_move_to_root_loses_no_signature_at_any_moment_of_it(signer, monkeypatch):
    """A message is signed after each single change of owner or mode, of domains before, in and after their move."""
    assert all(signer.signs(name) for name in NAMES)
    seen = []

    def watched(act):
        def acts(*arguments):
            act(*arguments)
            seen.append(all(signer.signs(name) for name in NAMES[:2]))

        return acts

    for act in ("fchmod", "fchown"):
        monkeypatch.setattr(key_folders.os, act, watched(getattr(os, act)))
    changes, troubles = key_folders.settle(signer.top, signer.owner)
    assert (len(changes), troubles) == (len(NAMES), {})
    assert len(seen) >= 4 * len(NAMES)
    assert all(seen)
    assert all(signer.signs(name) for name in NAMES)


def as_daemon(signer, act):
    """Fork a process of the daemon's user that acts for ever; return its number."""
    child = os.fork()
    if child:
        return child
    with contextlib.suppress(BaseException):
        os.setgroups([])
        os.setgid(signer.user.pw_gid)
        os.setuid(signer.user.pw_uid)
        while True:
            with contextlib.suppress(OSError):
                act()
    os._exit(0)


def test_an_intruder_who_works_against_the_move_gets_no_file_of_roots(signer):
    """The daemon's user puts links to another's file, FIFOs and second names in place all the time, as runs go on."""
    victim = signer.milter.folder / "shadow"
    victim.write_text("root:secret")
    victim.chmod(0o600)
    own = signer.top / NAMES[0]
    names = itertools.cycle(["s.private", "keys.json", "s.compromised", "s.txt"])
    puts = itertools.cycle([os.symlink, lambda target, path: os.mkfifo(path), os.symlink])

    def act():
        path = own / next(names)
        with contextlib.suppress(OSError):
            path.unlink()
        next(puts)(victim, path)
        with contextlib.suppress(OSError):
            own.chmod(0o700)

    child = as_daemon(signer, act)
    before = victim.stat()
    try:
        for _ in range(200):
            with contextlib.suppress(safe_files.UnsafeFile):
                key_folders.settle(signer.top, signer.owner)
            for work in (
                lambda: keystore.read_manifest(signer.top, NAMES[0]),
                lambda: keystore.write_manifest(signer.top, Manifest(NAMES[0])),
                lambda: keystore.mark_compromised(signer.top, NAMES[0], "s"),
                lambda: keystore.write_record(signer.top, NAMES[0], "s", "text"),
                lambda: safe_files.sweep(own),
                lambda: keystore.destroy(own / "old.private"),
            ):
                with contextlib.suppress(keystore.ManifestError, WriteError, OSError):
                    work()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    after = victim.stat()
    assert victim.read_text() == "root:secret"
    assert (after.st_uid, after.st_gid, after.st_mode, after.st_ino) == (
        before.st_uid,
        before.st_gid,
        before.st_mode,
        before.st_ino,
    )
    assert all(signer.signs(name) for name in NAMES[1:])
