"""A host's DKIM keys with a real OpenDKIM and a real name server, for the tests of the keys' life beside this file."""

import contextlib
import os
import pwd
import re
import shutil
import stat
import subprocess
import traceback
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from mailhost import clock as trusted_clock
from mailhost import files as safe_files
from mailhost.dkim import advance as dkim_advance
from mailhost.dkim import check as dkim_check
from mailhost.dkim import keystore, life
from mailhost.dkim import make as dkim_make
from mailhost.dkim import records as dkim_records
from mailhost.dkim import report as dkim_report
from mailhost.dkim import run as dkim_run
from mailhost.dkim import settled as dkim_settled
from mailhost.dkim import sign as dkim_sign
from mailhost.dkim.advance import SigningHost
from mailhost.dkim.run import Run, SigningPaths
from mailhost.dns import lookup
from mailhost.opendkim import milter as milters
from mailhost.opendkim import probe as opendkim_probe
from mailhost.opendkim import tables as opendkim_tables
from mailhost.pillar import settings as pillar_settings
from mailhost.receiver import dkim as receiver_dkim
from mailhost.records import record as mail_records
from mailhost.scale import turns as scale_turns
from mailhost.watch import memory
from name_server import NameServer, zone

AUTHORITY, RESOLVER = "127.54.0.1", "127.54.0.53"
START = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
NAMES = ("alpha.test", "beta.test")


def at(hours):
    return START + timedelta(hours=hours)


def settings(**dkim):
    dkim = {"rotate_after": 0, **dkim}
    dns = {"root_servers": [AUTHORITY]}
    pillar = {"domain": "alpha.test", "domains": {name: {"ttl": 300} for name in NAMES}, "dkim": dkim, "dns": dns}
    return pillar_settings.resolve(pillar, {"postfix": {"version": "3.7"}}, {"fqdn": "mx1.lab.test"})


class World:
    """A host's keys and tables, its OpenDKIM, and the name server of its domains."""

    def __init__(self, etc, milter, server):
        self.etc, self.milter, self.server = etc, milter, server
        self.me = pwd.getpwuid(0).pw_name
        tables = opendkim_tables.tables(etc / "KeyTable", etc / "SigningTable")
        self.paths = SigningPaths(str(etc / "keys"), tables, keystore.Owner(self.me, self.me))
        self.settings = settings()
        self.ask = partial(lookup.ask, recursive=(RESOLVER,))

    def start(self):
        """Start OpenDKIM on the tables as they are on disk."""
        tables = self.paths.tables
        self.milter.start(
            self.milter.socket, KeyTable=f"file:{tables.key_table}", SigningTable=f"file:{tables.domains_table}"
        )

    def restart(self):
        """End OpenDKIM as a power cut does, and start it on what is on disk."""
        self.milter.stop()
        self.start()

    @property
    def domains(self):
        return self.settings["domains"]

    def run(self, hours=0, test=False, domains=None):
        domains = self.domains if domains is None else domains
        return Run(self.paths, domains, self.settings["dns"], at(hours), test, self.ask, watched=memory.seen_wrong)

    def make(self, hours=0, test=False, **more):
        return dkim_make.make_keys(self.run(hours, test), "mx1.lab.test", **more)

    def check_dns(self, hours=0, oldest=None, run=None):
        return dkim_check.check_published(run or self.run(hours), oldest or (lambda run: run.now))

    def sign(self, hours=0, reload=None, domains=None, test=False, instead=(), run=None):
        probe = partial(opendkim_probe.probe, self.milter.socket)
        run = run or self.run(hours, test, domains)
        return dkim_sign.sign(run, reload or self.milter.reload, probe, instead)

    def advance(self, hours=0, publish=True, **more):
        """A whole run, publishing in between what it says is to be in DNS."""
        self.make(hours, **more)
        if publish:
            self.publish(hours=hours)
        seen = self.check_dns(hours)
        return dkim_report.merged(seen, self.sign(hours))

    def publish(self, hours=0, **other):
        """Publish all keys' records; ``other`` has another text of the zone's records for a domain."""
        zones = {}
        for name in NAMES:
            lines = [
                mail_records.zone_line(record)
                for record in dkim_records.key_records(self.run(hours), name, lambda run: run.now)
            ]
            zones[name] = zone(["ns.test"], other.get(name.partition(".")[0], "\n".join(lines)))
        self.server.serve(**zones)

    def manifest(self, name="alpha.test"):
        return keystore.read_manifest(self.paths.keys, name)

    def key(self, name="alpha.test"):
        return self.manifest(name).keys[-1]

    def stages(self, name="alpha.test"):
        return [(key.selector, key.stage) for key in self.manifest(name).keys]

    def whole_run(self, hours, domains=None, reload=None, **more):
        """A run as the minion does it: under the lock, at the time that the host's clocks show."""
        reading = trusted_clock.Reading(at(hours).timestamp(), "one boot", 3600.0 * hours)
        probe = partial(opendkim_probe.probe, self.milter.socket)
        host = SigningHost("mx1.lab.test", reload or self.milter.reload, probe, lambda run: run.now)
        clock = mock.patch.object(trusted_clock, "read", return_value=reading)
        with safe_files.locked(self.paths.keys), clock:
            run = dkim_run.begin(self.paths, domains or self.domains, self.settings["dns"])
            return dkim_advance.advance(replace(run, ask=self.ask), host, **more)

    def signs(self, name="alpha.test"):
        """The selector that mail of the domain is signed with, as a recipient sees it; ``None``: unsigned."""
        return _selector(self._signed(name))

    def verified(self, name="alpha.test"):
        """As :meth:`signs`, after the signature was verified with what DNS shows."""
        message = self._signed(name)
        if _selector(message):
            assert receiver_dkim.verify(message, 0, self.shown) == (True, "")
        return _selector(message)

    def _signed(self, name):
        message = f"From: a@{name}\r\nTo: b@outside.test\r\nSubject: x\r\n\r\nbody\r\n".encode()
        added = milters.sign(self.milter.socket, message, f"a@{name}", ["b@outside.test"])
        return "".join(f"{field}:{value}\r\n" for field, value in added).encode() + message

    def shown(self, name):
        """The text of the one TXT record that DNS shows, ``None`` if there is none."""
        found = [rdata for rrset in self.server.query(name, "TXT").answer for rdata in rrset]
        assert len(found) <= 1
        return b"".join(found[0].strings).decode() if found else None

    def everything(self):
        """All that is in the folder of the keys and tables: mode, owner and content of each path in it."""
        return {str(path.relative_to(self.etc)): _state(path) for path in self.etc.rglob("*")}

    def keep(self, folder):
        """Keep a copy of the keys and tables in a folder, to go back to."""
        return shutil.copytree(self.etc, folder)

    def go_back_to(self, kept):
        """Put the keys and tables in place that were kept, and have OpenDKIM sign with them."""
        for path in self.etc.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(kept, self.etc, dirs_exist_ok=True)
        self.restart()


@contextlib.contextmanager
def large_host():
    """Have runs leave alone what is settled, as they do with thousands of domains, however few there are.

    A test changes files faster than a clock of a tick can tell, so that their content is what they are told apart by.
    """
    exact = mock.patch.multiple(dkim_settled, YOUNG=0, _version=_content)
    with exact, mock.patch.object(scale_turns, "MANY", 0):
        yield


def _content(path):
    found = os.stat(path)
    content = sorted(os.listdir(path)) if stat.S_ISDIR(found.st_mode) else Path(path).read_bytes()
    return f"{found.st_uid}{found.st_gid}{found.st_mode}{hash(str(content))}:0"


class Child:
    """A process forked from this one, which calls ``act`` with the descriptor at which it may tell things."""

    def __init__(self, act):
        self._reading, told = os.pipe()
        self._pid = os.fork()
        if self._pid:
            os.close(told)
            return
        try:
            act(told)
            os._exit(0)
        except BaseException:
            os.write(told, traceback.format_exc().encode())
        finally:
            os._exit(1)

    def end(self):
        """Await its end; return what it told, and its exit code, which is negative for the signal that ended it."""
        with os.fdopen(self._reading) as file:
            told = file.read()
        return told, os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def check_mail(world, signers):
    """Each domain's mail is signed by one of its two signers, which verifies and was not said to be retired."""
    for name, possible in signers.items():
        selector = world.verified(name)
        assert selector in possible
        key = world.manifest(name).key(selector)
        assert key is None or not key.retired


def check_keys(world):
    """Each key that is not revoked has its file, and no file that holds a private key can be read by others."""
    keys = Path(world.paths.keys)
    for name in keystore.domains_on_disk(keys):
        for key in life.live(keystore.read_manifest(keys, name)):
            keystore.check_private(keys, name, key)
    secrets = [state for state in world.everything().values() if state[3] and b"PRIVATE KEY" in state[3]]
    assert {mode for mode, *_ in secrets} <= {"-rw-------"}


def _selector(message):
    field = re.search(rb"^DKIM-Signature:.*?\bs=([^;\s]+);", message, re.DOTALL | re.MULTILINE)
    return field and field[1].decode()


def _state(path):
    found = path.stat()
    return (stat.filemode(found.st_mode), found.st_uid, found.st_gid, None if path.is_dir() else path.read_bytes())


@contextlib.contextmanager
def tmpfs(folder, **options):
    """Have a file system of its own at a folder, in memory; options are those of mount (``size``, ``nr_inodes``)."""
    given = ",".join(f"{name}={value}" for name, value in {"mode": "755", **options}.items())
    subprocess.run(["mount", "-t", "tmpfs", "-o", given, "tmpfs", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def milter(daemon):
    return daemon()


@pytest.fixture
def etc(milter):
    """The folder of the host's keys and tables, which RequireSafeKeys accepts."""
    folder = milter.folder / "etc"
    folder.mkdir()
    return folder


@pytest.fixture
def world(etc, milter, tmp_path):
    root = zone(["ns.test"], f"test NS ns.test.\nns.test. A {AUTHORITY}")
    test = zone(["ns.test"], f"ns A {AUTHORITY}\nalpha NS ns\nbeta NS ns")
    zones = {"": root, "test": test, **{name: zone(["ns.test"]) for name in NAMES}}
    with (
        NameServer(tmp_path, AUTHORITY, zones) as server,
        NameServer(tmp_path, RESOLVER, root_servers=(AUTHORITY,)),
    ):
        made = World(etc, milter, server)
        opendkim_tables.ensure_tables(made.paths.tables)
        made.start()
        yield made
        milter.stop()


@pytest.fixture
def foreseen(world, monkeypatch):
    """A world in which each key is known before it is made, so that DNS can show it to the very run that makes it.

    OpenDKIM is spoken to at a socket of the file system, which is quicker.
    """
    world.settings = settings(soak=0, bits=1024, rotate_after="90d")
    world.milter.socket = f"local:{world.milter.folder}/socket"
    world.restart()
    (pem,) = keystore.generate([1024])
    monkeypatch.setattr(keystore, "generate", lambda wanted: [pem] * len(wanted))
    return world
