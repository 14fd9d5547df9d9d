"""A host whose domains' keys sign, and what DNS shows of them: for tests of runs over many domains."""

import importlib.util
import pwd
from datetime import datetime, timedelta, timezone
from pathlib import Path

from mailhost.dkim import check as dkim_check
from mailhost.dkim import keystore
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.dkim.run import Run, SigningPaths
from mailhost.dns.lookup import Answers, ServerAnswer
from mailhost.opendkim import tables as opendkim_tables
from mailhost.pillar import settings as pillar_settings
from mailhost.watch import memory

NOW = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
MADE = NOW - timedelta(days=1)
NAMES = [f"d{number}.example" for number in range(7)]
(PEM,) = keystore.generate([2048])
PUBLIC, _ = keystore.public_half(PEM, "a test's key")


def dkim_states():
    """Return ``_states/dkim.py``, as Salt loads it: not by an import."""
    spec = importlib.util.spec_from_file_location("dkim_state", Path(__file__).parents[2] / "_states" / "dkim.py")
    states = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(states)
    states.__opts__, states.__context__ = {"test": False}, {}
    states.__lowstate__, states.__running__ = (), {}
    return states


def watched(monkeypatch, folder, rows):
    """Have the last watch remember rows, ``{(id, about): fields of a row}``; ``None``: its memory is damaged."""
    path = folder / "memory.json"
    found = {subject: memory.RememberedSubject(**fields) for subject, fields in (rows or {}).items()}
    path.write_text("{" if rows is None else memory.emit(memory.Memory(found)))
    monkeypatch.setattr(memory, "PATH", str(path))


class World:
    """A host whose keys sign, and a DNS that shows all of them but those of ``gone``; ``silent`` are not answered."""

    def __init__(self, folder):
        me = pwd.getpwuid(0).pw_name
        tables = opendkim_tables.tables(folder / "KeyTable", folder / "SigningTable")
        self.paths = SigningPaths(str(folder / "keys"), tables, keystore.Owner(me, me))
        whole = {"domain": NAMES[0], "addresses": ["192.0.2.25"], "domains": {name: {} for name in NAMES}}
        self.settings = pillar_settings.resolve(whole, {"postfix": {"version": "3.7"}}, {"fqdn": "mx1.example"})
        self.gone, self.silent, self.asked = set(), set(), []
        for name in NAMES:
            keystore.make_folder(self.paths.keys, name, self.paths.owner)
            keystore.write_private(self.paths.keys, name, "s", PEM, self.paths.owner)
            self.write(name, signing=MADE)

    def write(self, name, signing=MADE, **stamps):
        key = KeyRow("s", "rsa", 2048, PUBLIC, MADE, MADE, signing, **stamps)
        keystore.write_manifest(self.paths.keys, Manifest(name, (key,)))

    def run(self, test=False, now=NOW):
        return Run(
            self.paths, self.settings["domains"], self.settings["dns"], now, test, self.ask, watched=memory.seen_wrong
        )

    def check_dns(self, test=False, now=NOW, **more):
        """Check as a run does; return the domains that DNS was asked for, and the report."""
        self.asked = []
        report = dkim_check.check_published(self.run(test, now), **more)
        return self.asked, report

    def ask(self, questions, _options):
        return {question: self.answers(question) for question in questions}

    def answers(self, question):
        domain = question.name.partition("._domainkey.")[2]
        self.asked.append(domain)
        if domain in self.silent:
            seen = ServerAnswer("ns", "192.0.2.53", "unknown", detail="no answer in 5 s")
        elif domain in self.gone:
            seen = ServerAnswer("ns", "192.0.2.53", "absent", detail="NXDOMAIN")
        else:
            seen = ServerAnswer("ns", "192.0.2.53", "answer", (f"v=DKIM1; k=rsa; p={PUBLIC}".encode(),), 300)
        return Answers(question, question.name, domain, 300, (seen,))
