"""Mail waits while OpenDKIM is restarted, whatever a hand-made main.cf or master.cf says, and in each of the forms."""

import errno
import io
import os

import pytest

from mailhost.command import CommandResult
from mailhost.daemons import milter_action
from mailhost.daemons.milter_action import PostfixInstance, lets_out, waiting_main, waiting_master
from mailhost.errors import MilterActionError

MAIN = [
    ("milter_default_action = accept", "milter_default_action = tempfail"),
    ("milter_default_action=accept", "milter_default_action = tempfail"),
    ("milter_default_action =\n  accept", "milter_default_action = tempfail"),
    ("milter_default_action =\n# why\n\n  accept\nx = y", "milter_default_action = tempfail\n# why\n\nx = y"),
    ("milter_default_action = $mine", "milter_default_action = tempfail"),
    ("milter_default_action = tempfail\nmilter_default_action = accept", "milter_default_action = tempfail"),
    ("smtpd_milters = { inet:h:1, default_action=accept }", "smtpd_milters = { inet:h:1, default_action=tempfail }"),
    ("mine = { unix:s, default_action = reject}", "mine = { unix:s, default_action = tempfail}"),
    (
        "smtpd_milters =\n  { inet:h:1, default_action=quarantine },\n  inet:h:2",
        "smtpd_milters =\n  { inet:h:1, default_action=tempfail },\n  inet:h:2",
    ),
]
MASTER = [
    ("smtp inet n - n - - smtpd -o milter_default_action=accept", "-o milter_default_action=tempfail"),
    ("smtp inet n - n - - smtpd\n  -o { milter_default_action = accept }", "-o { milter_default_action = tempfail }"),
    (
        "smtp inet n - n - - smtpd\n  -o { smtpd_milters = { inet:h:1, default_action=accept } }",
        "-o { smtpd_milters = { inet:h:1, default_action=tempfail } }",
    ),
]
LEFT_ALONE = [
    "# milter_default_action = accept",
    "milter_default_action_of_mine = accept",
    "smtpd_milters = { inet:h:1, default_action=shutdown }",
    "my_default_action = accept",
]


def without_note(text):
    return text.replace(f"{milter_action.NOTE}\n", "").rstrip("\n")


@pytest.mark.parametrize(("before", "after"), MAIN)
def test_main_cf_has_mail_wait(before, after):
    assert set(without_note(waiting_main(before)).splitlines()) == set(after.splitlines())


@pytest.mark.parametrize(("before", "after"), MASTER)
def test_master_cf_has_mail_wait(before, after):
    assert waiting_master(before).rstrip("\n").endswith(after)


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_what_lets_no_mail_out_is_left_alone(text):
    assert waiting_main(text) == f"{text}\n"


@pytest.mark.parametrize("text", [one for one, _ in MAIN])
def test_a_second_time_nothing_changes(text):
    once = waiting_main(text)
    assert without_note(waiting_main(once)) == without_note(once)


def shows(main, services="", status=0):
    def command(words):
        return CommandResult(status, services if "-P" in words else main, "broken" if status else "")

    return command


LETTING = [
    ("smtpd_milters = inet:h:1\nmilter_default_action = accept", "", ["milter_default_action = accept"]),
    ("non_smtpd_milters = inet:h:1\nmilter_default_action = Quarantine", "", ["milter_default_action = Quarantine"]),
    ("smtpd_milters = inet:h:1\nmilter_default_action = tempfail", "", []),
    ("smtpd_milters = inet:h:1", "", []),
    ("milter_default_action = accept", "", []),  # nobody signs
    ("smtpd_milters = ", "", []),
    (
        "smtpd_milters = inet:h:1",
        "submission/inet/milter_default_action = accept",
        ["submission/inet/milter_default_action = accept"],
    ),
    (
        "x = y",
        "smtp/inet/smtpd_milters = { inet:h:1, default_action=accept }",
        ["smtp/inet/smtpd_milters = { inet:h:1, default_action=accept }"],
    ),
]


@pytest.mark.parametrize(("main", "services", "expected"), LETTING)
def test_what_lets_mail_out_is_found(main, services, expected):
    assert lets_out(PostfixInstance(command=shows(main, services))) == expected


def test_a_table_by_address_that_lets_mail_out_is_found(tmp_path):
    table = tmp_path / "maps"
    table.write_text("192.0.2.0/24 { inet:h:1, default_action=accept }\n")
    found = lets_out(PostfixInstance(command=shows(f"smtpd_milter_maps = cidr:{table}")))
    assert found == [f"{table} (smtpd_milter_maps)"]


def test_what_postconf_cannot_read_is_an_error():
    with pytest.raises(MilterActionError, match="broken"):
        lets_out(PostfixInstance(command=shows("", status=1)))


class Host:
    """A Postfix whose master has children; they go as the test says."""

    def __init__(self, folder, stubborn=()):
        self.folder, self.stubborn, self.killed, self.now = folder, set(stubborn), [], 0
        self.proc = folder / "proc"
        (folder / "queue/pid").mkdir(parents=True)
        (folder / "queue/pid/master.pid").write_text("             10\n")
        (folder / "main.cf").write_text("smtpd_milters = inet:h:1\nmilter_default_action = accept\n")
        for pid, name in ((10, "master"), (11, "qmgr"), (12, "smtpd"), (13, "cleanup"), (14, "local")):
            self.child(pid, name)

    def child(self, pid, name):
        (self.proc / str(pid)).mkdir(parents=True)
        (self.proc / str(pid) / "comm").write_text(name)
        parent = 1 if pid == 10 else 10
        (self.proc / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} " + "0 " * 17 + f"{pid} 0\n")

    def ends(self, pid):
        for file in (self.proc / str(pid)).iterdir():
            file.unlink()
        (self.proc / str(pid)).rmdir()

    def command(self, words):
        if "queue_directory" in words:
            return CommandResult(0, f"{self.folder}/queue\n", "")
        if words[0] == "postfix":
            self.ends(11)
            self.child(21, "qmgr")
            self.child(22, "smtpd")
            for pid in {12, 13, 22} - self.stubborn:
                self.ends(pid)
            return CommandResult(0, "", "")
        text = (self.folder / words[2] / "main.cf").read_text() if "-n" in words else ""
        return CommandResult(0, text, "")

    def kill(self, pid, signal):
        self.killed.append((pid, signal))
        self.ends(pid)

    def postfix(self):
        def pause(seconds):
            self.now += seconds

        return PostfixInstance(str(self.folder), str(self.folder / "state"), self.command, str(self.proc), self.kill,
                       lambda: self.now, pause)  # fmt: skip


@pytest.mark.parametrize(("stubborn", "killed"), [((), []), ((12,), [12]), ((12, 13), [12, 13])])
def test_no_process_is_left_that_began_with_the_old_setting(tmp_path, monkeypatch, stubborn, killed):
    monkeypatch.setattr(milter_action.shutil, "which", lambda name: name)
    host = Host(tmp_path, stubborn)
    postfix = host.postfix()
    assert milter_action.make_wait(postfix) == ["milter_default_action = accept"]
    assert sorted(pid for pid, _ in host.killed) == killed
    assert "milter_default_action = tempfail" in (tmp_path / "main.cf").read_text()
    assert not postfix.mark.exists()


def test_a_process_that_ends_while_processes_are_listed_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(milter_action.shutil, "which", lambda name: name)
    host = Host(tmp_path)
    host.child(99, "smtpd")

    def gone(real):
        """A file of a process that has ended is still there, and cannot be asked (proc(5)): ESRCH."""

        def asked(path, *words, **options):
            if str(path).startswith(str(host.proc / "99")):
                raise ProcessLookupError(errno.ESRCH, "No such process", str(path))
            return real(path, *words, **options)

        return asked

    for name in ("stat", "open"):
        monkeypatch.setattr(os, name, gone(getattr(os, name)))
    monkeypatch.setattr(io, "open", gone(io.open))
    milter_action.make_wait(host.postfix())
    assert "milter_default_action = tempfail" in (tmp_path / "main.cf").read_text()


def test_what_cannot_be_had_leaves_the_files_as_they_were(tmp_path, monkeypatch):
    monkeypatch.setattr(milter_action.shutil, "which", lambda name: name)
    host = Host(tmp_path, (12,))
    host.kill = lambda pid, signal: None
    before = (tmp_path / "main.cf").read_text()
    with pytest.raises(MilterActionError, match="go on with the old setting: 12"):
        milter_action.make_wait(host.postfix())
    assert (tmp_path / "main.cf").read_text() == before


def test_the_pillars_own_choice_is_in_force_again_after_a_restart(tmp_path, monkeypatch):
    monkeypatch.setattr(milter_action.shutil, "which", lambda name: name)
    host = Host(tmp_path)
    text = "# Written by Salt (mailserver/postfix)\nsmtpd_milters = inet:h:1\nmilter_default_action = accept\n"
    (tmp_path / "main.cf").write_text(text)
    seen = []
    monkeypatch.setattr(milter_action, "take", lambda postfix: seen.append("taken"))
    monkeypatch.setattr(Host, "command", lambda self, words: CommandResult(0, text if "-n" in words else "", ""))
    monkeypatch.setattr(milter_action, "_edited", lambda postfix, former: {
        path: file and milter_action.activation.File(b"waits\n", file.mode, file.uid, file.gid)
        for path, file in former.items()
    })  # fmt: skip
    with milter_action.waiting(host.postfix()):
        seen.append((tmp_path / "main.cf").read_text())
    assert seen == ["taken", "waits\n"]
    assert (tmp_path / "main.cf").read_text() == text
