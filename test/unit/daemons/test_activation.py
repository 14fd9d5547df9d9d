"""A configuration is put in force as a whole, or taken back: whatever the daemon does, wherever a run is cut off."""

import contextlib
from types import SimpleNamespace

import pytest

from mailhost.daemons import activation
from mailhost.daemons.activation import Configuration, activate, is_cut_short, needs_restart, stage
from mailhost.daemons.daemon import DaemonState, address_of_socket
from mailhost.errors import ConfigurationRefused, DaemonError, NotServing


class Daemon:
    """A daemon that serves with what ``good`` takes: the texts of its files, in the order of their names."""

    def __init__(self, paths, good, active=True):
        self.paths, self.good, self.active = paths, good, active
        self.loaded, self.took, self.parser = None, [], ""

    def texts(self):
        return [path.read_text() if path.exists() else None for path in self.paths]

    def refused(self, staged):
        return self.parser

    def is_active(self):
        return self.active

    def seen(self):
        return DaemonState(self.active, {})

    def before(self, delivers):
        return self.seen()

    def moment(self):
        return ("cursor", 0)

    def words(self, since):
        return ["fatal: in the daemon's own words"]

    def take(self, how):
        self.took.append(how)
        self.active = self.good(self.texts())
        if not self.active:
            raise DaemonError("`systemctl restart it`: it failed")

    def settled(self, before, since):
        return [] if self.active else ["it: failed"]

    def stop(self):
        self.active = False
        self.took.append("stop")


@pytest.fixture
def world(tmp_path):
    """Two files of one daemon that serves with them, and what is staged in their stead: one of them differs."""
    paths = [tmp_path / "etc" / name for name in ("main.cf", "master.cf")]
    paths[0].parent.mkdir()
    for path, text in zip(paths, ("old main\n", "old master\n"), strict=True):
        path.write_text(text)
        path.chmod(0o640)
    made = Configuration("it", tuple(map(str, paths)), {str(paths[0]): ["interfaces"]}, str(tmp_path / "var"))

    def staged(*texts):
        for path, text in zip(paths, texts, strict=True):
            stage(path, made.state).write_text(text)

    daemon = Daemon(paths, lambda texts: not any("bad" in (text or "") for text in texts))
    return SimpleNamespace(paths=paths, configuration=made, stage=staged, daemon=daemon)


def texts(world):
    return world.daemon.texts()


def test_files_that_are_in_place_already_are_not_touched_and_nothing_is_reloaded(world):
    world.stage("old main\n", "old master\n")
    assert activate(world.configuration, world.daemon).how == ""
    assert world.daemon.took == []


def test_a_change_is_put_in_place_with_the_mode_that_was_staged_and_reloaded(world):
    world.stage("new main\n", "old master\n")
    outcome = activate(world.configuration, world.daemon)
    assert outcome.changed == (str(world.paths[0]),)
    assert (outcome.how, world.daemon.took) == ("reloaded", ["reload"])
    assert texts(world) == ["new main\n", "old master\n"]
    assert world.paths[0].stat().st_mode & 0o777 == 0o640
    assert not is_cut_short(world.configuration)


def test_what_the_parser_refuses_is_not_put_in_place(world):
    world.stage("new main\n", "new master\n")
    world.daemon.parser = "line 1: no such word"
    with pytest.raises(ConfigurationRefused, match="line 1: no such word"):
        activate(world.configuration, world.daemon)
    assert texts(world) == ["old main\n", "old master\n"]
    assert world.daemon.took == []


@pytest.mark.parametrize("staged", [("bad main\n", "old master\n"), ("new main\n", "bad master\n")])
def test_a_change_that_does_not_serve_is_taken_back_as_a_whole_with_the_daemons_words(world, staged):
    world.stage(*staged)
    with pytest.raises(NotServing, match="in the daemon's own words") as caught:
        activate(world.configuration, world.daemon)
    assert "is active again" in str(caught.value)
    assert texts(world) == ["old main\n", "old master\n"]
    assert world.daemon.active
    assert not is_cut_short(world.configuration)


def test_where_the_former_files_do_not_serve_either_those_that_were_last_seen_to_do_are_put_back(world):
    world.stage("good main\n", "old master\n")
    activate(world.configuration, world.daemon)
    world.paths[0].write_text("bad by hand\n")
    world.stage("bad main\n", "old master\n")
    with pytest.raises(NotServing, match="served before is active"):
        activate(world.configuration, world.daemon)
    assert texts(world) == ["good main\n", "old master\n"]


def test_where_nothing_serves_the_message_says_so_and_the_next_run_tries_again(world):
    world.daemon.good = lambda texts: False
    world.stage("new main\n", "old master\n")
    with pytest.raises(NotServing, match="does not serve either"):
        activate(world.configuration, world.daemon)
    assert is_cut_short(world.configuration)
    world.daemon.good = lambda texts: True
    world.stage("new main\n", "old master\n")
    assert activate(world.configuration, world.daemon).how == "restarted"
    assert texts(world) == ["new main\n", "old master\n"]


def test_a_daemon_that_did_not_run_before_is_stopped_again(world):
    world.daemon.active = False
    world.stage("bad main\n", "old master\n")
    with pytest.raises(NotServing, match="did not run before"):
        activate(world.configuration, world.daemon)
    assert world.daemon.took == ["restart", "stop"]
    assert texts(world) == ["old main\n", "old master\n"]


def test_a_new_file_that_does_not_serve_goes_away_again(world):
    world.paths[1].unlink()
    world.stage("old main\n", "bad master\n")
    with pytest.raises(NotServing):
        activate(world.configuration, world.daemon)
    assert not world.paths[1].exists()


class Cut(BaseException):
    """The run is killed."""


@pytest.mark.parametrize("next_main", ["bad main\n", "new main\n", "old main\n"])
@pytest.mark.parametrize("at", range(1, 12))
def test_a_run_that_is_killed_anywhere_is_completed_or_undone_by_the_next(world, monkeypatch, at, next_main):
    steps = iter(range(1, 100))
    real = activation.replace_file

    def replace_file(*words):
        if next(steps) == at:
            raise Cut
        real(*words)

    world.stage("bad main\n", "new master\n")
    monkeypatch.setattr(activation, "replace_file", replace_file)
    with contextlib.suppress(Cut, NotServing):
        activate(world.configuration, world.daemon)
    monkeypatch.setattr(activation, "replace_file", real)
    master = "old master\n" if next_main.startswith("old") else "new master\n"
    world.stage(next_main, master)
    wanted = [next_main, master]
    if next_main.startswith("bad"):
        with pytest.raises(NotServing, match="is active again"):
            activate(world.configuration, world.daemon)
        wanted = ["old main\n", "old master\n"]
    else:
        activate(world.configuration, world.daemon)
    assert texts(world) == wanted
    assert world.daemon.active
    assert not is_cut_short(world.configuration)


def test_copies_are_for_root_alone(world):
    world.stage("new main\n", "old master\n")
    activate(world.configuration, world.daemon)
    for name in ("staged", "kept", "kept/it"):
        assert (world.configuration.mark.parents[2] / name).stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("names", "old", "new", "restarts"),
    [
        (["inet_interfaces"], "inet_interfaces = all", "inet_interfaces = localhost", True),
        (["inet_interfaces"], "inet_interfaces = all", "inet_interfaces=all", False),
        (["inet_interfaces"], "a = 1", "a = 2", False),
        (["inet_interfaces"], "a = 1", "a = 1\ninet_interfaces = all", True),
        (["Socket"], "Socket   inet:8891@localhost", "Socket inet:8892@localhost", True),
        (True, "a = 1", "a = 2", True),
        (True, "a = 1", "a = 1", False),
    ],
)
def test_a_restart_is_for_settings_that_a_reload_does_not_change(names, old, new, restarts):
    former, wanted = ({"/f": activation.File(text.encode(), 0o644, 0, 0)} for text in (old, new))
    assert needs_restart({"/f": names}, former, wanted) is restarts


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("inet:8891@127.0.0.1", ("127.0.0.1", 8891)),
        ("inet:8891@localhost", ("localhost", 8891)),
        ("443", ("127.0.0.1", 443)),
        ("[::]:443", ("::1", 443)),
        ("192.0.2.1:8443", ("192.0.2.1", 8443)),
        ("*:443", ("127.0.0.1", 443)),
    ],
)
def test_the_address_of_a_socket_is_one_to_connect_to(text, address):
    assert address_of_socket(text) == address
