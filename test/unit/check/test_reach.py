"""What a user can reach, and what OpenDKIM takes for safe, by owner, group and mode alone, whoever runs the tests."""

import grp
import pwd
import stat
from types import SimpleNamespace

import pytest

from mailhost.check.config.dkim import _others_in, _writable
from mailhost.check.reach import PASS, READ, WRITE, Who, may, resolve, socket_problem

ME = Who("opendkim", 110, frozenset({110, 200}))
FILE, FOLDER = stat.S_IFREG, stat.S_IFDIR


def node(uid, gid, mode):
    """What ``os.stat`` says of a file or folder."""
    return SimpleNamespace(st_uid=uid, st_gid=gid, st_mode=mode)


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "rights", "allowed"),
    [
        (110, 0, 0o400, READ, True),
        (110, 0, 0o044, READ, False),  # an owner has the owner's rights alone
        (0, 200, 0o040, READ, True),
        (0, 200, 0o004, READ, False),
        (0, 0, 0o004, READ, True),
        (0, 0, 0o600, READ, False),
        (0, 0, 0o001, PASS, True),
        (0, 0, 0o004, READ | WRITE, False),
        (0, 0, 0o006, READ | WRITE, True),
    ],
)
def test_rights_are_those_of_owner_group_or_others(uid, gid, mode, rights, allowed):
    assert may(node(uid, gid, FILE | mode), ME, rights) is allowed


def test_root_may_do_everything():
    assert may(node(110, 110, FILE), Who("root", 0, frozenset({0})), READ | WRITE)


@pytest.mark.parametrize(
    ("uid", "gid", "mode", "is_safe"),
    [
        (0, 0, 0o755, True),
        (110, 110, 0o700, True),
        (0, 0, 0o1777, False),  # not even the sticky bit helps
        (0, 200, 0o775, False),
        (0, 300, 0o775, True),
        (1000, 0, 0o755, False),
        (1000, 0, 0o555, True),
    ],
)
def test_a_folder_is_safe_if_only_root_and_opendkim_can_write_to_it(monkeypatch, uid, gid, mode, is_safe):
    users = [SimpleNamespace(pw_name="opendkim", pw_uid=110, pw_gid=300)]
    monkeypatch.setattr(pwd, "getpwall", lambda: users)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: SimpleNamespace(gr_mem=["alice"] if gid == 200 else []))
    assert (_writable(node(uid, gid, FOLDER | mode), ME) == "") is is_safe


def test_others_in_a_group_are_its_members_and_those_whose_first_group_it_is(monkeypatch):
    users = [("root", 0, 200), ("opendkim", 110, 200), ("bob", 1001, 200), ("eve", 1002, 1002)]
    rows = [SimpleNamespace(pw_name=name, pw_uid=uid, pw_gid=gid) for name, uid, gid in users]
    monkeypatch.setattr(pwd, "getpwall", lambda: rows)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: SimpleNamespace(gr_mem=["root", "opendkim", "postfix"]))
    assert _others_in(200, ME) == ["bob", "postfix"]


def test_a_path_is_followed_as_a_process_in_the_chroot_sees_it(tmp_path):
    (tmp_path / "run/sasl").mkdir(parents=True)
    (tmp_path / "run/sasl/mux").touch()
    (tmp_path / "back").symlink_to("/run")  # the chroot's own /run
    (tmp_path / "run/up").symlink_to("../run/sasl")
    wanted = [tmp_path, tmp_path / "run", tmp_path / "run/sasl", tmp_path / "run/sasl/mux"]
    for path in ("/run/sasl/mux", "run/sasl/mux", "/back/sasl/mux", "/back/up/mux", "/../../run/sasl/mux"):
        assert resolve(path, tmp_path) == wanted, path


def test_a_loop_of_links_ends(tmp_path):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert "too many symbolic links" in socket_problem("/a", ME, tmp_path)
