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

import mailserver_clock
import mailserver_dkim
import mailserver_dns
import mailserver_key_records
import mailserver_keygen
import mailserver_keystore
import mailserver_lifecycle
import mailserver_milter
import mailserver_opendkim
import mailserver_pillar
import mailserver_propagation
import mailserver_records
import mailserver_run
import mailserver_settled
import mailserver_signing
import mailserver_turns
from mailserver_lifecycle import Host
from mailserver_run import Place, Run
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
    return mailserver_pillar.resolve(pillar, {"postfix": {"version": "3.7"}}, {"fqdn": "mx1.lab.test"})


class World:
    """A host's keys and tables, its OpenDKIM, and the name server of its domains."""

    def __init__(self, etc, milter, server):
        self.etc, self.milter, self.server = etc, milter, server
        self.me = pwd.getpwuid(0).pw_name
        tables = mailserver_opendkim.tables(etc / "KeyTable", etc / "SigningTable")
        self.place = Place(str(etc / "keys"), tables, mailserver_keystore.Owner(self.me, self.me))
        self.settings = settings()
        self.ask = partial(mailserver_dns.ask, recursive=(RESOLVER,))

    def start(self):
        """Start OpenDKIM on the tables as they are on disk."""
        tables = self.place.tables
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
        return Run(self.place, domains, self.settings["dns"], at(hours), test, self.ask)

    def make(self, hours=0, test=False, **more):
        return mailserver_keygen.make_keys(self.run(hours, test), "mx1.lab.test", **more)

    def look(self, hours=0, test=False, oldest=None):
        return mailserver_propagation.check_published(self.run(hours, test), oldest or (lambda run: run.now))

    def sign(self, hours=0, reload=None, domains=None, test=False, instead=()):
        probe = partial(mailserver_milter.probe, self.milter.socket)
        return mailserver_signing.sign(self.run(hours, test, domains), reload or self.milter.reload, probe, instead)

    def advance(self, hours=0, publish=True, **more):
        """A whole run, publishing in between what it says is to be in DNS."""
        self.make(hours, **more)
        if publish:
            self.publish(hours=hours)
        seen = self.look(hours)
        return mailserver_run.merged(seen, self.sign(hours))

    def publish(self, hours=0, **other):
        """Publish all keys' records; ``other`` has another text of the zone's records for a domain."""
        zones = {}
        for name in NAMES:
            lines = [
                mailserver_records.zone_line(record)
                for record in mailserver_key_records.key_records(self.run(hours), name, lambda run: run.now)
            ]
            zones[name] = zone(["ns.test"], other.get(name.partition(".")[0], "\n".join(lines)))
        self.server.serve(**zones)

    def manifest(self, name="alpha.test"):
        return mailserver_keystore.read_manifest(self.place.keys, name)

    def key(self, name="alpha.test"):
        return self.manifest(name).keys[-1]

    def stages(self, name="alpha.test"):
        return [(key.selector, key.stage) for key in self.manifest(name).keys]

    def whole_run(self, hours, domains=None, reload=None, **more):
        """A run as the minion does it: under the lock, at the time that the host's clocks show."""
        reading = mailserver_clock.Reading(at(hours).timestamp(), "one boot", 3600.0 * hours)
        probe = partial(mailserver_milter.probe, self.milter.socket)
        host = Host("mx1.lab.test", reload or self.milter.reload, probe, lambda run: run.now)
        clock = mock.patch.object(mailserver_clock, "read", return_value=reading)
        with mailserver_keystore.locked(self.place.keys), clock:
            run = mailserver_run.begin(self.place, domains or self.domains, self.settings["dns"])
            return mailserver_lifecycle.advance(replace(run, ask=self.ask), host, **more)

    def signs(self, name="alpha.test"):
        """The selector that mail of the domain is signed with, as a recipient sees it; ``None``: unsigned."""
        return _selector(self._signed(name))

    def verified(self, name="alpha.test"):
        """As :meth:`signs`, after the signature was verified with what DNS shows."""
        message = self._signed(name)
        if _selector(message):
            assert mailserver_milter.verify(message, 0, self.shown) == (True, "")
        return _selector(message)

    def _signed(self, name):
        message = f"From: a@{name}\r\nTo: b@outside.test\r\nSubject: x\r\n\r\nbody\r\n".encode()
        added = mailserver_milter.sign(self.milter.socket, message, f"a@{name}", ["b@outside.test"])
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
    exact = mock.patch.multiple(mailserver_settled, YOUNG=0, _version=_content)
    with exact, mock.patch.object(mailserver_turns, "MANY", 0):
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
    keys = Path(world.place.keys)
    for name in mailserver_keystore.domains_on_disk(keys):
        for key in mailserver_dkim.live(mailserver_keystore.read_manifest(keys, name)):
            mailserver_keystore.check_private(keys, name, key)
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
        mailserver_opendkim.ensure_tables(made.place.tables)
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
    (pem,) = mailserver_keystore.generate([1024])
    monkeypatch.setattr(mailserver_keystore, "generate", lambda wanted: [pem] * len(wanted))
    return world
