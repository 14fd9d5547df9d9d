"""The execution modules: what a call asks of the host, and how often."""

import ast
import importlib.util
import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
import yaml
from salt.exceptions import CommandExecutionError

from mailhost.dkim import advance as dkim_advance
from mailhost.dkim import keystore
from mailhost.dkim import run as dkim_run
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.dkim.report import Report
from mailhost.dns import lookup
from mailhost.dns.lookup import Answers, ServerAnswer
from mailhost.pillar.settings import resolve
from mailhost.postfix import queue as postfix_queue

TOP = Path(__file__).resolve().parents[2]
NAMES = ("a.example", "b.example", "c.example")
NOW = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)


def module(name):
    """An execution module as Salt loads it, under a name that no package has."""
    spec = importlib.util.spec_from_file_location(f"execution_{name}", TOP / "_modules" / f"{name}.py")
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


@pytest.fixture
def settings(tmp_path):
    """The settings of a host with three domains, each of which has a retired key."""
    system = yaml.safe_load((TOP / "mailserver/parameters/defaults.yaml").read_text())
    system["postfix"]["version"] = "3.7"
    paths = {name: str(tmp_path / name) for name in ("keys", "key_table", "signing_table")}
    system["opendkim"].update(paths)
    for name in NAMES:
        (tmp_path / "keys" / name).mkdir(parents=True)
        key = KeyRow("old", "rsa", 2048, "MIIB", NOW, NOW, NOW, NOW)
        keystore.write_manifest(tmp_path / "keys", Manifest(name, (key,)))
    pillar = {"domain": NAMES[0], "domains": {name: {} for name in NAMES}}
    return resolve(pillar, system, {"fqdn": "mx1.a.example", "ipv4": ["192.0.2.25"]})


@pytest.fixture
def asked(monkeypatch):
    """A list that gets an entry each time that the mail queue is read."""
    reads = []
    monkeypatch.setattr(postfix_queue, "_postqueue", lambda: reads.append("postqueue") or "")
    return reads


def test_the_records_of_all_domains_take_one_look_into_the_mail_queue(settings, asked):
    mailserver = module("mailserver")
    mailserver.settings = lambda: settings
    found = [one["name"] for one in mailserver.records() if "_domainkey" in one["name"]]
    assert found == [f"old._domainkey.{name}" for name in NAMES]
    assert asked == ["postqueue"]


@pytest.mark.parametrize("call", ["advance", "rotate", "plan"])
def test_a_run_reads_once_what_the_last_highstate_put_in_force(settings, monkeypatch, tmp_path, call):
    read = []
    applied = tmp_path / "dkim.json"
    applied.write_text(json.dumps({**settings, "format": dkim_run.APPLIED_FORMAT}))
    for_good = dkim_run.applied_settings
    monkeypatch.setattr(dkim_run, "applied_settings", lambda path: read.append(path) or for_good(path))
    monkeypatch.setattr(dkim_advance, "advance", lambda run, host, **more: Report(notes=[*run.domains]))
    dkim = module("dkim")
    dkim.__opts__ = {"mailserver.dkim_settings": str(applied)}
    assert getattr(dkim, call)()["notes"] == [*NAMES]
    assert read == [str(applied)]


def late_imports(path):
    """The formula's own modules that a file imports within a function, or by a name that it makes up."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)) and node not in tree.body:
            names = [node.module] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names]
            yield from (name for name in names if name.startswith("mailserver_"))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            yield from (ast.unparse(word) for word in node.args if ast.unparse(word) not in FOREIGN)


FOREIGN = ("'dkim'",)
"""A package of Salt's Python, which can be imported at any time."""


@pytest.mark.parametrize("path", sorted(TOP.glob("_*/**/*.py")), ids=lambda path: str(path.relative_to(TOP)))
def test_the_formulas_modules_are_imported_while_salt_loads_since_later_it_finds_none(path):
    assert list(late_imports(path)) == []


class Minion:
    """An execution module of a minion, and what it sent to the master."""

    def __init__(self, settings, folder, mine=None):
        self.mine, self.sent, self.context = mine, [], {}
        self.module = module("mailserver")
        self.module.settings = lambda: settings
        self.module.__opts__ = {"mailserver.published": str(folder)}
        self.module.__context__ = self.context
        self.module.__salt__ = {"mine.send": self._send, "event.send": self._event, "mine.get": self._get}

    def _send(self, name, **words):
        self.sent.append((name, words))
        return True

    def _event(self, tag, data):
        self.sent.append((tag, data))
        return True

    def _get(self, minion, name, tgt_type):
        assert (name, tgt_type) == ("mailserver_records", "list")
        return {} if self.mine is None else {minion: self.mine}


def test_a_host_whose_people_publish_says_so_when_it_is_to_publish(settings, tmp_path):
    with pytest.raises(CommandExecutionError, match=r"mailserver:dns:publish is manual, so people publish"):
        Minion(settings, tmp_path).module.publish(test=True)


def test_a_domain_that_is_not_the_hosts_is_not_published(settings, tmp_path):
    with pytest.raises(CommandExecutionError, match=r"mailserver.publish: b.exampel is not among .* 'b.example'"):
        Minion(settings, tmp_path).module.publish("b.exampel")


def answered(monkeypatch, values):
    """Have DNS show some names' TXT records, and nothing anywhere else."""

    def ask(questions, options):
        found = {}
        for question in questions:
            value = values.get(question.name)
            seen = ServerAnswer(
                "ns1", "192.0.2.53", "answer" if value else "absent", tuple(value or ()), 60, "NXDOMAIN"
            )
            found[question] = Answers(question, question.name, "example", 60, (seen,))
        return found

    monkeypatch.setattr(lookup, "ask", ask)


@pytest.fixture
def central(settings):
    settings["dns"].update(publish="central", central={"publisher": "ns1", "publisher_type": "glob"})
    return settings


def test_a_host_without_a_credential_asks_for_what_dns_does_not_show(central, tmp_path, monkeypatch):
    answered(
        monkeypatch, {"_dmarc.a.example": [b"v=DMARC1; p=none"], "a.example": [b"other", b"v=spf1 ip4:1.2.3.4 -all"]}
    )
    central["domains"]["a.example"]["spf"]["addresses"] = ["192.0.2.25"]
    minion = Minion(central, tmp_path)
    plan = {row["name"]: row for row in minion.module.publish("a.example", test=True)}
    assert plan["a.example"]["result"] == "due"
    assert plan["a.example"]["now"] == ["v=spf1 ip4:1.2.3.4 -all"]
    assert plan["_dmarc.a.example"]["result"] == "already"
    assert minion.sent == []
    assert minion.module.publish("a.example") == {
        "asked": ["a.example"],
        "already": ["_dmarc.a.example"],
        "unknown": [],
    }
    (name, words), (tag, data) = minion.sent
    assert (name, tag, data) == ("mailserver_records", "mailserver/records/wanted", {})
    assert (words["allow_tgt"], words["allow_tgt_type"]) == ("ns1", "glob")
    (row,) = minion.module.wanted(words["names"])
    assert (row["name"], row["kind"]) == ("a.example", "SPF")


def test_a_host_whose_records_are_all_there_troubles_nobody(central, tmp_path, monkeypatch):
    rows = Minion(central, tmp_path).module.wanted(["SPF a.example", "DMARC _dmarc.a.example"])
    answered(monkeypatch, {row["name"]: [row["wanted"].encode()] for row in rows})
    minion = Minion(central, tmp_path)
    assert minion.module.publish("a.example")["asked"] == []
    assert [name for name, _ in minion.sent] == ["mailserver_records"]


def test_a_publisher_refuses_rows_by_what_the_pillar_says_of_their_domain_as_it_is_spelled_there(settings, tmp_path):
    row = {"name": "_dmarc.a.example", "kind": "DMARC", "ttl": 60, "wanted": "v=DMARC1; p=none"}
    (tmp_path / "key").write_text('key "mx1" { algorithm hmac-sha256; secret "c2VjcmV0"; };')
    (tmp_path / "key").chmod(0o600)
    settings["dns"]["rfc2136"].update(server="127.0.0.1", key_file=str(tmp_path / "key"))
    minion = Minion(settings, tmp_path, mine=[row])
    told = minion.module.publish_for("mx1", ["A.Example"], {"A.Example": {"dmarc": {"p": "reject"}}})
    assert minion.context["retcode"] == 2
    assert told["sent"] == told["already"] == []
    assert "is no DMARC record as this formula writes it for a.example; it was not published." in told["refused"][0]
    (planned,) = minion.module.publish_for("mx1", ["b.example"], {}, test=True)
    assert planned["result"] == "refused"


def test_a_publisher_that_may_read_nothing_says_what_to_look_at(settings, tmp_path):
    with pytest.raises(CommandExecutionError, match="mx1 has nothing in the mine that this minion may read"):
        Minion(settings, tmp_path).module.publish_for("mx1", ["a.example"])
