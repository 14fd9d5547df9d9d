"""One run of the watch: whom it tells, in which form, and what it does when nobody can be told or nothing be kept."""

import email
import email.policy
import json
import socket
import stat
from datetime import datetime, timezone

import pytest
import yaml

from healthy_host import TOP
from mailhost import files as safe_files
from mailhost.check.findings import Finding, ok
from mailhost.errors import LockHeld, NotTold, SettingsError, WriteError
from mailhost.pillar.settings import resolve
from mailhost.watch import mail as watch_mail
from mailhost.watch import run as watch_run
from mailhost.watch.run import MOST_GROUPS, HostSurvey, anyone_listens, settings_in_force

OPS = ["ops@elsewhere.example", "night@elsewhere.example"]
DOWN = Finding("running.unit", "fail", "dovecot.service", "active", "inactive ü", "systemctl restart dovecot")
UP = ok("running.unit", "dovecot.service", "active")


def settings(**watch):
    system = yaml.safe_load((TOP / "mailserver/parameters/defaults.yaml").read_text())
    system["postfix"]["version"] = "3.7"
    pillar = {"domains": {"a.example": {}}, "opendkim": {"enabled": False}, "watch": watch}
    return resolve(pillar, system, {"fqdn": "mx1.a.example"})


class Host:
    """A host whose findings are given; events and mail end up in lists."""

    def __init__(self, folder, **watch):
        self.memory, self.settings = folder / "watch" / "memory.json", settings(**watch)
        self.events, self.mails, self.now = [], [], 1_764_000_000
        self.master_answers, self.postfix = True, lambda: ""

    def run(self, *findings):
        self.now += 3600
        survey = lambda settings: HostSurvey(list(findings), self.now, 2.5)  # noqa: E731 (a function that a run is given)
        return watch_run.watch(self.settings, str(self.memory), self.event, self.submit, survey)

    def event(self, data):
        if self.master_answers:
            self.events.append(json.loads(json.dumps(data)))
        return self.master_answers

    def submit(self, mail, sender, recipients):
        said = self.postfix()
        self.mails.append((mail.as_bytes(), sender, recipients))
        return said

    def texts(self):
        read = [email.message_from_bytes(octets, policy=email.policy.default) for octets, *_ in self.mails]
        return [(mail["Subject"], mail.get_content()) for mail in read]


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path, mail=OPS)


def refuses():
    raise NotTold("/usr/sbin/sendmail: exit 75: queue file write error")


def test_a_fault_and_its_end_are_told_once_each(host):
    returned = [host.run(one) for one in (UP, DOWN, DOWN, UP, UP)]
    assert [[group["change"] for group in one["changed"]] for one in returned] == [[], ["worse"], [], ["mended"], []]
    assert [(one["changed"][0]["status"], one["status"]) for one in host.events] == [("fail", "fail"), ("ok", "ok")]
    assert [subject for subject, _ in host.texts()] == ["mx1.a.example: fail (1 worse)", "mx1.a.example: ok (1 mended)"]
    assert all(one["troubles"] == [] for one in returned)


def test_a_mail_says_what_was_wanted_and_seen_and_what_to_do(host):
    host.run(DOWN)
    ((_, text),) = host.texts()
    for said in ("running.unit: fail (was ok)", "dovecot.service", "active", "inactive ü", "systemctl restart dovecot"):
        assert said in text
    assert "1 fail, 0 warn, 0 unknown, 0 ok" in text


def test_a_mail_is_from_the_hosts_domain_and_no_program_answers_it(host):
    host.run(DOWN)
    ((octets, sender, recipients),) = host.mails
    mail = email.message_from_bytes(octets, policy=email.policy.default)
    assert (sender, recipients) == ("postmaster@a.example", OPS)
    assert mail["From"].addresses[0].addr_spec == "postmaster@a.example"
    assert [one.addr_spec for one in mail["To"].addresses] == OPS
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime == datetime.fromtimestamp(host.now, timezone.utc)
    assert mail["Message-ID"].endswith("@mx1.a.example>")
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content_charset() == "utf-8"
    assert octets.isascii()
    assert max(len(line) for line in octets.splitlines()) <= 998


def test_without_recipients_only_the_master_is_told(tmp_path):
    host = Host(tmp_path)
    host.run(DOWN)
    assert host.mails == []
    assert len(host.events) == 1


def test_what_sendmail_does_not_take_is_mailed_by_the_next_run_and_the_master_is_told_at_once(host):
    host.postfix = refuses
    told = host.run(DOWN)
    assert told["troubles"] == [
        "mail: /usr/sbin/sendmail: exit 75: queue file write error; it is kept for the next run"
    ]
    assert len(host.events) == 1
    host.postfix = lambda: ""
    assert host.run(DOWN) == {**told, "changed": [], "troubles": []}
    assert [subject for subject, _ in host.texts()] == ["mx1.a.example: fail (1 worse)"]
    assert len(host.events) == 1


def test_what_is_mended_before_anybody_could_be_told_is_not_told(host):
    host.postfix, host.master_answers = refuses, False
    host.run(DOWN)
    host.postfix, host.master_answers = lambda: "", True
    assert [group["change"] for group in host.run(UP)["changed"]] == ["mended"]
    assert (host.mails, host.events) == ([], [])


def test_a_master_that_is_away_is_told_when_it_is_back(host):
    host.run(UP)
    host.master_answers = False
    assert "event: the master did not take it; it is kept for the next run" in host.run(DOWN)["troubles"]
    host.run(DOWN)
    host.master_answers = True
    assert host.run(DOWN)["troubles"] == []
    assert [one["changed"][0]["status"] for one in host.events] == ["fail"]
    assert len(host.mails) == 1


def test_what_postfix_says_while_it_is_down_is_returned(host):
    host.postfix = lambda: "postdrop: warning: unable to look up public/pickup"
    told = host.run(DOWN)
    assert told["troubles"] == ["mail: Postfix took it, and says: postdrop: warning: unable to look up public/pickup"]
    host.postfix = lambda: ""
    host.run(DOWN)
    assert len(host.mails) == 1


def test_300_domains_that_fail_at_once_are_one_small_event_and_one_short_mail(host):
    ids = [f"dns.thing_{number}.published" for number in range(MOST_GROUPS + 10)]
    names = [f"d{number}.example" for number in range(300)]
    host.run(*(Finding(id, "fail", name, "w" * 900, "s" * 9000, "r" * 900) for id in ids for name in names))
    (event,) = host.events
    assert len(event["changed"]) == MOST_GROUPS
    assert event["more"] == 10
    assert event["counts"]["fail"] == 300 * len(ids)
    assert len(json.dumps(event)) < 150_000
    ((_, text),) = host.texts()
    assert "d0.example" in text
    assert "290 more" in text
    assert len(text) < 150_000


@pytest.mark.parametrize("left", ["{", "", '{"format": 9, "rows": []}', "\udcff"])
def test_a_damaged_memory_is_a_first_run_that_says_so(host, left):
    host.run(DOWN)
    host.memory.write_bytes(left.encode("utf-8", "surrogateescape"))
    told = host.run(DOWN)
    assert len(told["troubles"]) == 1
    assert "everything that is wrong was reported again" in told["troubles"][0]
    assert len(host.mails) == 2
    assert host.run(DOWN)["troubles"] == []
    assert len(host.mails) == 2


def test_a_full_disk_keeps_nobody_from_being_told(host, monkeypatch):
    def full(*_):
        raise WriteError("memory.json: could not be written: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(safe_files, "replace_file", full)
        (trouble,) = host.run(DOWN)["troubles"]
    assert "No space left on device" in trouble
    assert (len(host.mails), len(host.events)) == (1, 1)
    assert host.run(DOWN)["troubles"] == []


def test_a_host_that_goes_down_while_the_master_is_awaited_does_not_mail_again(host):
    host.run(UP)

    class PowerCut(BaseException):
        pass

    def cut(_):
        raise PowerCut

    host.event, for_good = cut, host.event
    with pytest.raises(PowerCut):
        host.run(DOWN)
    host.event = for_good
    host.run(DOWN)
    assert (len(host.mails), len(host.events)) == (1, 1)


def test_the_file_for_prometheus_is_written_where_the_pillar_says_and_never_left_behind(host, tmp_path):
    paths = [tmp_path / name for name in ("a.prom", "b.prom")]
    for here, elsewhere in (paths, reversed(paths)):
        host.settings["watch"]["prometheus"] = str(here)
        assert host.run(DOWN)["troubles"] == []
        assert f"mailserver_check_timestamp_seconds {host.now}\n" in here.read_text()
        assert stat.S_IMODE(here.stat().st_mode) == 0o644
        assert not elsewhere.exists()
    host.settings["watch"]["prometheus"] = False
    assert host.run(DOWN)["troubles"] == []
    assert not [path for path in paths if path.exists()]


def test_without_the_folder_for_prometheus_everybody_else_is_told(host, tmp_path):
    host.settings["watch"]["prometheus"] = str(tmp_path / "gone" / "a.prom")
    (trouble,) = host.run(DOWN)["troubles"]
    assert trouble.startswith(f"prometheus: {tmp_path}/gone/a.prom: could not be written: No such file or directory")
    assert (len(host.mails), len(host.events)) == (1, 1)
    host.settings["watch"]["prometheus"] = False
    assert host.run(DOWN)["troubles"] == []


def test_a_master_is_reached_at_one_address_of_several():
    with socket.create_server(("127.0.0.1", 0)) as master, socket.create_server(("127.0.0.1", 0)) as other:
        here, gone = (f"tcp://127.0.0.1:{one.getsockname()[1]}" for one in (master, other))
        other.close()
        assert anyone_listens([gone, here])
        assert not anyone_listens([gone])
    assert not anyone_listens([None])
    assert not anyone_listens(["tcp://[::1"])


def test_two_runs_at_once_do_not_tell_the_same_twice(host, monkeypatch):
    host.run(UP)
    monkeypatch.setattr(watch_run, "LOCK_WAIT", 0)
    with safe_files.locked(host.memory.parent), pytest.raises(LockHeld, match="has worked on the watch for"):
        host.run(DOWN)
    assert host.events == []


def test_only_root_can_read_what_is_remembered(host):
    host.run(DOWN)
    assert stat.S_IMODE(host.memory.stat().st_mode) == 0o600


def test_sendmail_gets_sender_recipients_and_message(tmp_path):
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/words; cat >{tmp_path}/mail; echo a warning >&2\n')
    program.chmod(0o755)
    counts = {"ok": 1, "unknown": 0, "warn": 0, "fail": 0}
    mail = watch_mail.message("mx1.a.example", "a.example", OPS, [], counts, datetime.now(timezone.utc))
    assert watch_mail.submit(mail, "postmaster@a.example", ["-x@a.example"], str(program)) == "a warning"
    words = (tmp_path / "words").read_text().split()
    assert words == ["-i", "-f", "postmaster@a.example", "--", "-x@a.example"]
    assert b"\r" not in (tmp_path / "mail").read_bytes()


@pytest.mark.parametrize(
    ("script", "said"), [("echo full >&2; exit 75", "exit 75: full"), ("exit 1", "no reason given"), (None, "No such")]
)
def test_a_sendmail_that_fails_is_said_with_its_own_words(tmp_path, script, said):
    program = tmp_path / "sendmail"
    if script:
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
    counts = {"ok": 1, "unknown": 0, "warn": 0, "fail": 0}
    mail = watch_mail.message("mx1.a.example", "a.example", OPS, [], counts, datetime.now(timezone.utc))
    with pytest.raises(NotTold, match=said):
        watch_mail.submit(mail, "postmaster@a.example", OPS, str(program))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "no highstate has put settings in force on this host yet; run a highstate"),
        ("{", "damaged"),
        ('{"format": 1}', "damaged"),
        (json.dumps({**settings(), "format": 99}), "another version of the formula wrote it"),
    ],
)
def test_without_settings_in_force_nothing_is_watched_and_the_reason_is_said(tmp_path, text, said):
    path = tmp_path / "settings.json"
    if text:
        path.write_text(text)
    with pytest.raises(SettingsError, match=said):
        settings_in_force(str(path))
