"""A host's DKIM keys with a real OpenDKIM and a real name server, for the tests of the keys' life beside this file."""

import pwd
from datetime import datetime, timedelta, timezone
from functools import partial

import pytest

import mailserver_dns
import mailserver_key_records
import mailserver_keygen
import mailserver_keystore
import mailserver_milter
import mailserver_opendkim
import mailserver_pillar
import mailserver_propagation
import mailserver_records
import mailserver_run
import mailserver_signing
from mailserver_run import Place, Run
from name_server import NameServer, zone

AUTHORITY, RESOLVER = "127.54.0.1", "127.54.0.53"
START = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
NAMES = ("alpha.test", "beta.test")


def at(hours):
    return START + timedelta(hours=hours)


def settings(**dkim):
    dkim = {"rotate_after": 0, **dkim}
    pillar = {"domain": "alpha.test", "domains": {name: {"ttl": 300} for name in NAMES}, "dkim": dkim}
    return mailserver_pillar.resolve(pillar, {"postfix": {"version": "3.7"}}, {"fqdn": "mx1.lab.test"})


class World:
    """A host's keys and tables, its OpenDKIM, and the name server of its domains."""

    def __init__(self, etc, milter, server):
        self.milter, self.server = milter, server
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

    def signs(self, name="alpha.test"):
        """The selector that mail of the domain is signed with, as a recipient sees it; ``None``: unsigned."""
        message = f"From: a@{name}\r\nTo: b@outside.test\r\nSubject: x\r\n\r\nbody\r\n".encode()
        added = mailserver_milter.sign(self.milter.socket, message, f"a@{name}", ["b@outside.test"])
        found = [value for field, value in added if field.lower() == "dkim-signature"]
        return found[0].partition("s=")[2].partition(";")[0] if found else None


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
