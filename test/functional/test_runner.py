"""The runner on a real master with real minions: what they answer, if they do, gets to the page by bus and by mine, and
their keys to the terminal."""

import contextlib
import json
import logging
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from example_fleet import SPF, overview
from mailhost.dkim.run import applied_settings
from mailhost.errors import SettingsError
from mailhost.page.form import packed

TOP = Path(__file__).resolve().parents[2]
NAMES = ("mx1", "db1")
AWAY = "mx9"
STAND_IN = '''
"""Answers as a mail host would: what a test wrote down for it."""
import json


def _answer():
    with open(__opts__["answers"] + "/" + __grains__["id"] + ".json") as file:
        return json.load(file)


def overview():
    return _answer()


def status():
    return _answer()
'''
KEY = {"stage": "signing", "since": "2026-11-01T10:00:00Z", "signs": True, "next": "retired", "attention": False}
NEW = {**KEY, "stage": "generated", "signs": False, "next": "published", "attention": True}


class Salt:
    """A master, a mail host (mx1), a minion without the modules (db1), and a mail host that is away (mx9)."""

    def __init__(self, factories, home):
        self.answers = home / "answers"
        roots = home / "roots"
        for name in ("_runners", "_utils", "_output"):
            shutil.copytree(TOP / name, roots / name, ignore=shutil.ignore_patterns("__pycache__"))
        (roots / "_modules").mkdir()
        for name in ("mailserver", "dkim"):
            (roots / "_modules" / f"{name}.py").write_text(STAND_IN)
        self.answers.mkdir()
        common = {"root_dir": str(home / "master"), "interface": "127.0.0.1"}
        shutil.copytree(TOP / "mailserver" / "parameters", roots / "mailserver" / "parameters")
        self.pillar = home / "pillar"
        self.pillar.mkdir()
        more = {
            "file_roots": {"base": [str(roots)]},
            "pillar_roots": {"base": [str(self.pillar)]},
            "auto_accept": True,
        }
        self.master = factories.salt_master_daemon("master", defaults=common, overrides=more)
        self.minions = [self._minion(name, home) for name in NAMES]

    def _minion(self, name, home):
        more = {"answers": str(self.answers), "mine_functions": {"mailserver.overview": []}}
        if name == "db1":
            more["disable_modules"] = ["mailserver", "dkim"]
        return self.master.salt_minion_daemon(name, defaults={"root_dir": str(home / name)}, overrides=more)

    def begin(self):
        """Bring the modules to all, and have a minion known that is not there."""
        self.run("saltutil.sync_all")
        for name in NAMES:
            assert self.call(name, "saltutil.sync_all") is not None
        accepted = Path(self.master.config["pki_dir"]) / "minions"
        shutil.copy(accepted / "mx1", accepted / AWAY)
        return self

    def run(self, *words, **options):
        return self.master.salt_run_cli(timeout=1800).run(*words, **options)

    def terminal(self, *words):
        """Return what `salt-run` prints for people, where it is given no form of output."""
        command = [word for word in self.run("test.arg").cmdline if not word.startswith("--out")]
        command[command.index("test.arg") :] = words
        return subprocess.run(command, capture_output=True, text=True, timeout=1800, check=True).stdout

    def call(self, name, *words):
        return self.master.salt_cli(timeout=1200).run(*words, minion_tgt=name).data

    def give(self, **pillars):
        """Give minions pillars, each as the source of its SLS."""
        (self.pillar / "top.sls").write_text(json.dumps({"base": {name: [name] for name in pillars}}))
        for name, text in pillars.items():
            (self.pillar / f"{name}.sls").write_text(text)

    def report(self, *words, path, **options):
        done = self.run("mailserver.report", *words, f"output={path}", **options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.data, path.read_text()

    def answer(self, name, what):
        path = self.answers / f"{name}.json"
        if what is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(json.dumps(what))


@pytest.fixture(scope="session")
def home():
    """A folder with a short path: that of a socket below it must not be too long."""
    folder = Path(tempfile.mkdtemp(prefix="mp", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def salt_factories_config(home):
    return {"root_dir": str(home)}


@pytest.fixture(scope="module")
def salt(salt_factories, home):
    logging.raiseExceptions = False
    made = Salt(salt_factories, home)
    with contextlib.ExitStack() as stack:
        for daemon in (made.master, *made.minions):
            stack.enter_context(daemon.started(start_timeout=2400))
        yield made.begin()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "page.html"


def test_minions_are_shown_by_what_they_answer_and_none_is_left_out(salt, path):
    salt.answer("mx1", overview("mx1", ["school.example"], [SPF]))
    told, page = salt.report(path=path, timeout=20)
    assert told["hosts"] == {"mx1": "fail", "mx9": "unknown"}
    assert told["others"] == ["db1"]
    assert "no answer within 20 s" in page
    assert "Leave one TXT record" in page
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_host_that_breaks_is_unknown_with_its_own_words(salt, path):
    salt.answer("mx1", None)
    told, page = salt.report("mx1", path=path)
    assert told["hosts"] == {"mx1": "unknown"}
    assert "No such file or directory" in page


def test_ten_thousand_domains_come_through_the_bus(salt, path):
    names = [f"d{number}.example" for number in range(10_000)]
    salt.answer("mx1", packed(overview("mx1", names)))
    told, page = salt.report("mx1", path=path)
    assert told["domains"] == 10_000
    assert 'id="d-d9999.example"' in page


def test_an_answer_that_salt_cut_is_unknown_and_says_what_to_raise(salt, path):
    salt.answer("mx1", {"format": 1, "packed": "A" * 2**21})
    told, page = salt.report("mx1", path=path)
    assert told["hosts"] == {"mx1": "unknown"}
    assert "larger than max_event_size" in page


def test_the_mine_serves_as_well_and_who_is_not_in_it_is_unknown(salt, path):
    salt.answer("mx1", overview("mx1", ["a.example"]))
    salt.call("mx1", "mine.update")
    told, page = salt.report("mx*", "mine=True", path=path)
    assert set(told["hosts"]) == {"mx1", "mx9"}
    assert "nothing of it is in the mine" in page
    assert re.search(r"as of <time [^>]*>2026-11-24 17:59 UTC</time>", page)


def test_without_any_minion_nothing_is_written_over_what_is_there(salt, path):
    path.write_text("old")
    done = salt.run("mailserver.report", "nobody*", f"output={path}")
    assert "no minion matches 'nobody*'" in done.stdout + done.stderr
    assert path.read_text() == "old"


def test_a_page_that_cannot_be_written_is_an_error(salt):
    salt.answer("mx1", overview("mx1", ["a.example"]))
    done = salt.run("mailserver.report", "mx1", "output=/nowhere/page.html")
    assert "/nowhere/page.html: could not be written" in done.stdout + done.stderr


def test_a_pillar_is_validated_on_the_master_before_a_minion_sees_it(salt):
    wrong = "mailserver: {hostname: mx1.a.example, domains: {a.example: {}}, dovecot: {protocolls: []}}"
    salt.give(mx1=wrong, db1="other: 1")
    done = salt.run("mailserver.validate")
    assert done.data["problems"]["mx1"] == ["mailserver:dovecot:protocolls: unknown key; did you mean 'protocols'?"]
    assert "has no grains" in done.data["problems"][AWAY][0]
    assert set(done.data["problems"]) == {"mx1", AWAY}
    assert done.returncode == 1
    assert "mailserver" not in salt.call("mx1", "pillar.raw")


def test_a_pillar_that_a_highstate_would_take_has_no_problem(salt):
    salt.give(mx1="mailserver: {hostname: mx1.a.example, domains: {a.example: {}}}")
    done = salt.run("mailserver.validate", "mx1")
    assert (done.data["problems"], done.returncode) == ({"mx1": []}, 0)


def test_a_pillar_that_does_not_render_is_named_with_salts_words(salt):
    salt.give(mx1="mailserver: {{ pillar.nothing.there }}")
    done = salt.run("mailserver.validate", "mx1")
    assert "does not render" in done.data["problems"]["mx1"][0]
    assert "has no attribute 'nothing'" in done.data["problems"]["mx1"][0]
    assert done.returncode == 1


def test_the_keys_of_all_hosts_are_a_table_and_data_for_programs(salt):
    salt.answer("mx1", {"a.example": {"now": KEY}, "b.example": {"now": KEY, "new": NEW}})
    shown = salt.terminal("mailserver.keys", "timeout=20").splitlines()
    assert shown[:2] == ["3 keys of 2 domains on 1 host, 1 needs attention", "! mx9: no answer within 20 s"]
    assert shown[2].split() == ["domain", "host", "selector", "stage", "since", "signs", "next"]
    assert [line[2:].split()[:3] for line in shown[3:]] == [
        ["b.example", "mx1", "new"],
        ["a.example", "mx1", "now"],
        ["b.example", "mx1", "now"],
    ]
    assert salt.run("mailserver.keys", "[mx1, db1]", "list").data == {
        "domains": {"a.example": {"mx1": {"now": KEY}}, "b.example": {"mx1": {"now": KEY, "new": NEW}}},
        "unanswered": {},
    }


def test_a_host_whose_keys_cannot_be_read_is_named_with_its_own_words(salt):
    salt.answer("mx1", None)
    told = salt.run("mailserver.keys", "mx1").data
    assert told["domains"] == {}
    assert "No such file or directory" in told["unanswered"]["mx1"]
    salt.answer("mx1", {"a.example": ["what?"]})
    assert "what?" in salt.run("mailserver.keys", "mx1").data["unanswered"]["mx1"]


def test_a_host_on_which_no_highstate_ran_has_no_keys_to_show(salt):
    with pytest.raises(SettingsError) as said:
        applied_settings("/nowhere/dkim.json")
    salt.answer("mx1", f"ERROR: {said.value}")
    assert salt.run("mailserver.keys", "mx1").data == {"domains": {}, "unanswered": {}}


def test_keys_of_no_minion_are_an_error(salt):
    done = salt.run("mailserver.keys", "nobody*")
    assert "no minion matches 'nobody*'" in done.stdout + done.stderr
