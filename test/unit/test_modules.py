"""The execution modules: what a call asks of the host, and how often."""

import ast
import importlib.util
import json
from datetime import datetime, timezone
from pathlib import Path

import pytest
import yaml

import mailserver_keystore
import mailserver_lifecycle
import mailserver_queue
import mailserver_run
from mailserver_dkim import Key, Manifest
from mailserver_pillar import resolve
from mailserver_run import Report

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
        key = Key("old", "rsa", 2048, "MIIB", NOW, NOW, NOW, NOW)
        mailserver_keystore.write_manifest(tmp_path / "keys", Manifest(name, (key,)))
    pillar = {"domain": NAMES[0], "domains": {name: {} for name in NAMES}}
    return resolve(pillar, system, {"fqdn": "mx1.a.example"})


@pytest.fixture
def asked(monkeypatch):
    """A list that gets an entry each time that the mail queue is read."""
    reads = []
    monkeypatch.setattr(mailserver_queue, "_postqueue", lambda: reads.append("postqueue") or "")
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
    applied.write_text(json.dumps({**settings, "format": mailserver_run.APPLIED_FORMAT}))
    for_good = mailserver_run.applied_settings
    monkeypatch.setattr(mailserver_run, "applied_settings", lambda path: read.append(path) or for_good(path))
    monkeypatch.setattr(mailserver_lifecycle, "advance", lambda run, host, **more: Report(notes=[*run.domains]))
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


@pytest.mark.parametrize("path", sorted(TOP.glob("_*/*.py")), ids=lambda path: path.name)
def test_the_formulas_modules_are_imported_while_salt_loads_since_later_it_finds_none(path):
    assert list(late_imports(path)) == []
