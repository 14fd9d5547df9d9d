"""What leaves the pillar goes from the host, if this formula had put it there; nothing else does."""

import pytest
from _states import mailserver as states

from mailhost.before import leaving
from mailhost.before.leaving import (
    left_aliases,
    left_open,
    left_users,
    lock,
    shadow,
    to_lock,
    to_open,
    unlock,
    with_users,
)
from mailhost.command import CommandResult
from mailhost.daemons import activation
from mailhost.daemons import firewall as daemons_firewall
from mailhost.errors import LeavingError

NOTE = leaving.EMPTY


def test_only_who_was_made_by_the_formula_leaves():
    here = {"carol"}
    note = with_users(NOTE, ["alice", "carol"], here.__contains__)
    assert left_users(note, ["alice", "carol"]) == []
    here.add("alice")
    assert left_users(note, []) == ["alice"]
    note = with_users(note, ["bob"], here.__contains__)
    assert left_users(note, ["bob"]) == ["alice"]  # goes on being locked out
    assert "carol" not in note["users"]
    note = with_users(note, ["alice", "bob"], here.__contains__)
    assert note["users"]["alice"]["made"]  # comes back, and may leave again
    here.remove("alice")
    assert left_users(with_users(note, ["bob"], here.__contains__), ["bob"]) == []  # somebody deleted the user


class System:
    """A host whose usermod and chage change what shadow(5) says."""

    def __init__(self, rows):
        self.rows, self.ran = rows, []

    def __call__(self, words):
        self.ran.append(words[0])
        hash, day = self.rows.get(words[-1], ("", ""))
        if words[:2] == ("usermod", "--lock"):
            hash = f"!{hash}" if not hash.startswith("!") else hash
        elif words[:2] == ("usermod", "--unlock"):
            hash = hash.removeprefix("!")
        elif words[0] == "chage":
            day = "" if words[2] == "-1" else words[2]
        self.rows[words[-1]] = (hash, day)
        return CommandResult(0, "", "")


@pytest.mark.parametrize("before", [("$6$x", ""), ("$6$x", "21000"), ("!$6$x", ""), ("!", ""), ("*", "1")])
def test_a_login_that_is_opened_again_is_as_it_was_before_it_was_locked(before):
    host = System({"alice": before})
    note = lock(with_users(NOTE, ["alice"], lambda name: False), "alice", host.rows["alice"], host)
    assert to_lock(["alice"], host.rows.get) == []
    assert host.rows["alice"][1] == "1"
    assert "doveadm" in host.ran
    # Cut short in the middle, it is done once more, and what was before is still known.
    note = lock(note, "alice", host.rows["alice"], host)
    assert to_open(note, ["alice", "bob"]) == ["alice"]
    note = unlock(note, "alice", host.rows["alice"], host)
    assert host.rows["alice"] in (before, (f"!{before[0]}", before[1]) if before[0] == "*" else before)
    assert to_open(note, ["alice"]) == []


def test_what_somebody_else_locked_is_not_opened():
    note = with_users(NOTE, ["alice"], lambda name: True)
    assert to_open(note, ["alice"]) == []


def test_a_user_who_is_kept_elsewhere_is_an_error_and_a_tool_that_refuses_another():
    with pytest.raises(LeavingError, match="lock it where it is kept"):
        lock(NOTE, "ldap", None, System({}))
    with pytest.raises(LeavingError, match="`usermod --lock alice`: cannot lock"):
        lock(NOTE, "alice", ("x", ""), lambda words: CommandResult(1, "", "cannot lock"))


def test_shadow_is_read_as_it_is(tmp_path):
    file = tmp_path / "shadow"
    file.write_text("root:*:1:0:99999:7:::\nalice:$6$x:1:0:99999:7::21000:\nbroken\n")
    assert shadow("alice", file) == ("$6$x", "21000")
    assert shadow("root", file) == ("*", "")
    assert shadow("nobody", file) is None


@pytest.mark.parametrize(
    ("given", "present", "left"),
    [
        ({}, {"sales": "sales: alice,\n  bob\n"}, ["sales"]),
        ({"sales": ["carol"]}, {"sales": "sales: alice, bob\n"}, []),
        ({"Sales": "x"}, {"sales": "sales: alice, bob\n"}, []),
        ({}, {"sales": "sales: alice, eve\n"}, []),  # somebody changed it since
        ({}, {}, []),
    ],
)
def test_an_alias_that_left_goes_unless_somebody_changed_it(given, present, left):
    note = {**NOTE, "aliases": {"sales": {"targets": ["alice", "bob"], "former": ""}}}
    assert left_aliases(note, given, present) == left


def test_what_the_formula_opened_is_closed_when_it_leaves_or_the_zone_is_another():
    note = leaving.with_opened(NOTE, "public", {"permanent": ["pop3", "smtp"], "running": ["pop3"]})
    assert left_open(note, "public", {"pop3", "smtp"}) == {}
    assert left_open(note, "public", {"smtp"}) == {"public": {"permanent": ["pop3"], "running": ["pop3"]}}
    other = left_open(note, "work", {"smtp", "pop3"})
    assert other == {"public": {"permanent": ["pop3", "smtp"], "running": ["pop3"]}}
    closed = leaving.with_closed(note, left_open(note, "public", {"smtp"}))
    assert closed["firewall"] == {"public": {"permanent": ["smtp"], "running": []}}
    assert leaving.with_closed(note, other)["firewall"] == {}


def test_the_note_is_for_root_alone_and_a_damaged_one_is_never_overwritten(tmp_path):
    assert leaving.read(tmp_path) == NOTE
    leaving.write({**NOTE, "aliases": {"a": {"targets": "b", "former": ""}}}, tmp_path)
    file = leaving.path(tmp_path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert "a" in leaving.read(tmp_path)["aliases"]
    file.write_text("{")
    with pytest.raises(LeavingError, match="damaged"):
        leaving.write(NOTE, tmp_path)
    assert file.read_text() == "{"
    file.write_text('{"format": 1, "aliases": {"a": "b"}}')
    with pytest.raises(LeavingError, match="damaged"):
        leaving.read(tmp_path)
    file.write_text('{"format": 99}')
    with pytest.raises(LeavingError, match="another version"):
        leaving.read(tmp_path)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host without Postfix, whose notes are in a folder of its own."""
    monkeypatch.setattr(activation, "STATE", str(tmp_path))
    monkeypatch.setattr(states, "__opts__", {"test": False}, raising=False)
    return tmp_path


def test_a_dry_run_tells_which_aliases_go_and_the_run_takes_these_and_no_others(host, monkeypatch):
    file = host / "aliases"
    file.write_text("# By hand\nroot: admin\nsales: alice, bob\nours: alice\n")
    states.aliases_left(str(file), {"sales": ["alice", "bob"], "ours": "alice"})
    before = file.read_text()
    monkeypatch.setattr(states, "__opts__", {"test": True})
    told = states.aliases_left(str(file), {"ours": "alice"})
    assert (told["result"], told["changes"]) == (None, {"sales": "removed"})
    assert file.read_text() == before
    monkeypatch.setattr(states, "__opts__", {"test": False})
    assert states.aliases_left(str(file), {"ours": "alice"})["changes"] == {"sales": "removed"}
    assert file.read_text() == "# By hand\nroot: admin\nours: alice\n"
    assert states.aliases_left(str(file), {"ours": "alice"})["changes"] == {}
    assert leaving.read()["aliases"] == {"ours": {"targets": "alice", "former": ""}}


def test_an_alias_that_left_has_again_what_it_had_before(host):
    file = host / "aliases"
    file.write_text("sales: root,\n  carol\npostmaster: admin\n")
    states.aliases_left(str(file), {"sales": "alice", "postmaster": "root", "new": "bob"})
    file.write_text("sales: alice\npostmaster: root\nnew: bob\n")
    states.aliases_left(str(file), {"sales": "alice", "postmaster": "root", "new": "bob"})
    states.aliases_left(str(file), {})
    assert file.read_text() == "sales: root,\n  carol\npostmaster: admin\n"
    assert leaving.read()["aliases"] == {}


def test_a_host_is_never_without_a_postmaster(host):
    file = host / "aliases"
    file.write_text("postmaster: root\n")
    states.aliases_left(str(file), {"postmaster": "root"})
    assert states.aliases_left(str(file), {})["result"] is True
    assert file.read_text() == "postmaster: root\n"


class Zone:
    """A zone of firewalld, permanent and running."""

    def __init__(self, *items):
        self.items = {"permanent": [*items], "running": [*items]}

    def missing(self, zone, services, ports, run=None):
        return {where: [one for one in (*services, *ports) if one not in here] for where, here in self.items.items()}

    def change(self, verb, zone, items, run=None):
        for where, names in items.items():
            for name in names:
                (self.items[where].append if verb == "add" else self.items[where].remove)(name)


def test_a_port_that_left_is_closed_and_one_that_was_open_before_stays(host, monkeypatch):
    zone = Zone("ssh", "imap")
    for name in ("missing", "change"):
        monkeypatch.setattr(daemons_firewall, name, getattr(zone, name))
    states.firewall_open("public", ["imap", "pop3"], ["587/tcp"])
    monkeypatch.setattr(states, "__opts__", {"test": True})
    told = states.firewall_open("public", [], ["587/tcp"])
    assert (told["result"], told["changes"]) == (None, {"closed": ["zone public: pop3"]})
    monkeypatch.setattr(states, "__opts__", {"test": False})
    assert states.firewall_open("public", [], ["587/tcp"])["changes"] == {"closed": ["zone public: pop3"]}
    assert zone.items == {"permanent": ["ssh", "imap", "587/tcp"], "running": ["ssh", "imap", "587/tcp"]}
    assert states.firewall_open("public", [], ["587/tcp"])["changes"] == {}
