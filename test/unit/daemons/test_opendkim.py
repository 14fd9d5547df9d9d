"""How OpenDKIM is told of new tables: by a signal, or anew once it has lost many sockets."""

import os
import socket
import subprocess

import pytest

from mailhost.daemons import opendkim as daemon
from mailhost.errors import CutoverError


@pytest.fixture
def systemctl(tmp_path, monkeypatch):
    """A systemctl that tells of this process as the daemon's, and notes what else it is asked; ``fails`` is a file."""
    script, asked, fails = tmp_path / "systemctl", tmp_path / "asked", tmp_path / "fails"
    script.write_text(
        f'#!/bin/sh\n[ "$1" = show ] && echo {os.getpid()} && exit 0\necho "$@" >>{asked}\n'
        f'test ! -e {fails} || {{ echo "Unit is not loaded" >&2; exit 1; }}\n'
    )
    script.chmod(0o755)
    asked.touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return asked


@pytest.fixture
def pairs():
    """Make so many pairs of sockets without a name, as a resolver has two."""
    made = []

    def make(count):
        made.extend(one for _ in range(count) for one in socket.socketpair())

    yield make
    for one in made:
        one.close()


def test_sockets_without_a_name_are_counted_and_connections_of_a_milter_are_not(tmp_path, pairs):
    before = daemon.lost_sockets(os.getpid())
    pairs(3)
    inet = socket.create_server(("127.0.0.1", 0))
    named = socket.socket(socket.AF_UNIX)
    named.bind(str(tmp_path / "socket"))
    named.listen()
    clients = [socket.create_connection(inet.getsockname()), socket.socket(socket.AF_UNIX)]
    clients[1].connect(str(tmp_path / "socket"))
    taken = [inet.accept()[0], named.accept()[0]]
    # The end of this process as a client of the named socket has no name of its own.
    assert daemon.lost_sockets(os.getpid()) == before + 6 + 1
    for one in (inet, named, *clients, *taken):
        one.close()


def test_a_process_that_has_ended_has_lost_nothing():
    ended = subprocess.Popen(["true"])
    ended.wait()
    assert daemon.lost_sockets(ended.pid) == 0


def test_tables_are_read_at_a_signal(systemctl):
    daemon.reload_service("opendkim")
    assert systemctl.read_text() == "kill --signal=USR1 --kill-who=main opendkim\n"


def test_opendkim_is_restarted_before_the_sockets_that_it_lost_reach_the_limit_of_open_files(
    systemctl, pairs, monkeypatch
):
    monkeypatch.setattr(daemon, "MOST_LOST", daemon.lost_sockets(os.getpid()) + 8)
    pairs(3)
    assert daemon.reload_service("opendkim") is None
    pairs(1)
    assert f"restarted and not reloaded: it held {daemon.MOST_LOST} sockets" in daemon.reload_service("opendkim")
    assert systemctl.read_text() == "kill --signal=USR1 --kill-who=main opendkim\nrestart opendkim\n"


@pytest.mark.parametrize(("files", "most"), [("64", 32), ("8192", daemon.MOST_LOST), ("unlimited", daemon.MOST_LOST)])
def test_half_of_a_low_limit_of_open_files_may_be_lost(files, most, monkeypatch):
    limits = f"Limit   Soft Limit   Hard Limit   Units\nMax open files   {files}   {files}   files\n"
    monkeypatch.setattr(daemon.Path, "read_text", lambda self, **how: limits)
    assert daemon.most_lost(1) == most


def test_the_limit_of_a_process_that_runs_is_read():
    words = ["sh", "-c", "ulimit -n 64; echo ready; read _"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as one:
        one.stdout.readline()
        assert daemon.most_lost(one.pid) == 32
        one.stdin.close()
    assert daemon.most_lost(one.pid) == daemon.MOST_LOST


@pytest.mark.parametrize("lost", [0, 10**6])
def test_what_systemd_refused_is_told(systemctl, monkeypatch, lost):
    monkeypatch.setattr(daemon, "lost_sockets", lambda pid: lost)
    (systemctl.parent / "fails").touch()
    with pytest.raises(CutoverError, match=r"systemctl (kill|restart) .*opendkim: Unit is not loaded"):
        daemon.reload_service("opendkim")


def test_no_systemctl_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CutoverError, match="systemctl show"):
        daemon.reload_service("opendkim")
