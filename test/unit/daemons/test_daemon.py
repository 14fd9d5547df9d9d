"""A daemon is seen to serve, or said why not, in its own words; and what parsers overlook is seen before."""

import subprocess

import pytest

from mailhost.command import CommandResult
from mailhost.daemons import daemon as mail_daemon
from mailhost.daemons import overlooked
from mailhost.daemons.daemon import Daemon, DaemonState
from mailhost.errors import DaemonError

CURSOR = "last line\n-- cursor: s=1;i=2\n"


class Host:
    """A host that answers commands: whether the unit is active, what is in the journal, and who listens."""

    def __init__(self, active="active", journal="", short="", listening="", check=(0, ""), take=(0, "")):
        self.active, self.journal, self.short = active, journal, short
        self.listening, self.check, self.take, self.ran = listening, check, take, []

    def __call__(self, words):
        self.ran.append(" ".join(words))
        line = self.ran[-1]
        answers = {
            "systemctl is-active": CommandResult(0, f"{self.active}\n", ""),
            "systemctl show": CommandResult(0, "", ""),
            "systemctl restart": CommandResult(self.take[0], "", self.take[1]),
            "postfix reload": CommandResult(self.take[0], "", self.take[1]),
            "checker": CommandResult(self.check[0], "", self.check[1]),
            "ss -Hltnp": CommandResult(0, self.listening, ""),
        }
        if words[0] == "journalctl":
            if "--show-cursor" in words:
                return CommandResult(0, CURSOR, "")
            return CommandResult(0, self.journal if "-u" in words else self.short if "short" in words else "", "")
        return next((done for begin, done in answers.items() if line.startswith(begin)), CommandResult(0, "", ""))


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def pause(self, seconds):
        self.now += seconds


def daemon(host, **more):
    clock = Clock()
    made = Daemon("postfix", "checker {staged}", "postfix reload", command=host, clock=clock, pause=clock.pause, **more)
    return made, clock


BEFORE = DaemonState(True, {})


def test_a_daemon_that_stays_active_and_says_nothing_fatal_serves():
    made, clock = daemon(Host())
    assert made.settled(BEFORE, made.moment()) == []
    assert clock.now >= mail_daemon.STEADY


def test_a_unit_that_is_not_active_is_waited_for_and_then_named():
    made, clock = daemon(Host(active="failed"))
    assert made.settled(BEFORE, made.moment()) == ["postfix: failed"]
    assert clock.now >= mail_daemon.LIMIT


@pytest.mark.parametrize(
    "line",
    [
        "fatal: bind 192.0.2.99 port 25: Cannot assign requested address",
        "warning: /usr/lib/postfix/sbin/smtpd: bad command startup -- throttling",
        "panic: myfree: corrupt or unallocated memory block",
        "imap-login: Fatal: Error reading configuration",
    ],
)
def test_what_is_fatal_in_the_log_is_told_at_once(line):
    made, clock = daemon(Host(journal=f"{line}\n"))
    assert made.settled(BEFORE, made.moment()) == [line]
    assert clock.now == 0


def test_a_log_file_of_its_own_is_read_from_where_it_ended(tmp_path):
    log = tmp_path / "error.log"
    log.write_text("[emerg] long ago\n")
    made, _ = daemon(Host(), log=str(log))
    since = made.moment()
    assert made.settled(BEFORE, since) == []
    with log.open("a") as file:
        file.write("2026/11/25 [emerg] 1#1: bind() to 0.0.0.0:443 failed\n")
    assert made.settled(BEFORE, since) == ["2026/11/25 [emerg] 1#1: bind() to 0.0.0.0:443 failed"]


def test_a_port_that_was_shut_before_is_not_held_against_the_change():
    made, _ = daemon(Host(), sockets=(("127.0.0.1", 1),))
    before = made.seen()
    assert list(before.problems) == ["127.0.0.1 port 1"]
    assert made.settled(before, made.moment()) == []
    assert made.settled(BEFORE, made.moment()) == ["127.0.0.1 port 1 refused the connection"]


def test_the_words_of_a_process_that_ended_at_once_are_found_by_its_name():
    short = "Nov 25 09:01:03 mx1 postfix/master[98]: open lock file: no such file\nNov 25 09:01:03 mx1 cron[1]: other\n"
    made, _ = daemon(Host(short=short))
    assert made.words(made.moment()) == ["open lock file: no such file"]


def test_of_many_words_those_that_sound_like_trouble_are_told():
    made, _ = daemon(
        Host(journal="Starting x\n" + "connect from a\n" * 1 + "".join(f"line {n}\n" for n in range(20)) + "fatal: y\n")
    )
    assert made.words(made.moment()) == ["fatal: y"]


def test_what_the_parser_refuses_is_told_in_its_words_and_the_logs():
    made, _ = daemon(Host(check=(1, "no such word"), journal="fatal: in the log alone\n"))
    assert made.refused("/staged") == "no such word\nfatal: in the log alone"
    assert "checker /staged" in made.command.ran


def test_a_refusal_without_words_has_its_exit_status():
    made, _ = daemon(Host(check=(3, "")))
    assert made.refused("/staged") == "checker: exit status 3"


def test_a_restart_is_not_counted_as_one_too_many():
    made, _ = daemon(Host())
    made.take("restart")
    assert made.command.ran[-2:] == ["systemctl reset-failed postfix", "systemctl restart postfix"]
    made.take("reload")
    assert made.command.ran[-1] == "postfix reload"


def test_a_refused_restart_is_an_error_with_its_words():
    made, _ = daemon(Host(take=(1, "Job for postfix.service failed")))
    with pytest.raises(DaemonError, match=r"systemctl restart postfix.*Job for postfix.service failed"):
        made.take("restart")


def test_a_port_that_another_daemon_has_is_named(monkeypatch):
    listening = (
        'LISTEN 0 100 0.0.0.0:465 0.0.0.0:* users:(("nginx",pid=71,fd=3))\n'
        'LISTEN 0 100 [::]:25 [::]:* users:(("master",pid=70,fd=3))\n'
    )
    monkeypatch.setattr(overlooked, "_is_of", lambda pid, unit: pid == "70")
    places = [("192.0.2.1", 25), ("192.0.2.1", 465), ("192.0.2.1", 587)]
    found = overlooked.port_problems(places, "postfix", Host(listening=listening))
    assert found == ["port 465 is in use by nginx (process 71), so that postfix could not listen there"]


@pytest.mark.parametrize(
    ("group", "unit", "is_of"),
    [
        ("0::/system.slice/postfix.service\n", "postfix", True),
        ("0::/system.slice/system-postfix.slice/postfix@-.service\n", "postfix", True),
        ("0::/system.slice/nginx.service\n", "postfix", False),
        ("0::/system.slice/postfix-policyd.service\n", "postfix", False),
        ("1:name=systemd:/system.slice/dovecot.service\n", "dovecot", True),
    ],
)
def test_whose_a_process_is_says_its_control_group(tmp_path, group, unit, is_of):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(group)
    assert overlooked._is_of("7", unit, tmp_path) is is_of


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Two certificates with their keys, as files."""
    top = tmp_path_factory.mktemp("pairs")
    for name in ("one", "two"):
        command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=mx"
        where = ("-keyout", top / f"{name}.key", "-out", top / f"{name}.pem")
        subprocess.run([*command.split(), *where], check=True, capture_output=True)
    (top / "empty.pem").write_text("")
    return top


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("one.pem", "one.key", None),
        ("one.pem", "two.key", "two.key is not the key of"),
        ("none.pem", "one.key", "none.pem: the certificate cannot be read: No such file"),
        ("empty.pem", "one.key", "empty.pem: there is no certificate in it"),
        ("one.pem", "none.key", "none.key: the key cannot be read: No such file"),
        ("one.pem", "empty.pem", "empty.pem: the key cannot be read"),
    ],
)
def test_a_certificate_that_is_missing_or_of_another_key_is_named(pairs, certificate, key, said):
    found = overlooked.pair_problems(pairs / certificate, pairs / key)
    assert [said in one for one in found] == ([True] if said else [])


@pytest.mark.parametrize(
    ("main_cf", "found"),
    [
        ("smtpd_tls_chain_files = /k, /c\n", [("/c", "/k")]),
        ("smtpd_tls_chain_files = /k1, /c1, /k2, /c2\n", [("/c1", "/k1"), ("/c2", "/k2")]),
        ("smtpd_tls_chain_files = /both\n", [("/both", "/both")]),
        ("smtpd_tls_chain_files = $other, /c\n", []),
        ("smtpd_tls_cert_file = /c\nsmtpd_tls_key_file = /k\n", [("/c", "/k")]),
        ("smtpd_tls_cert_file = /c\n", [("/c", "/c")]),
        ("smtpd_tls_cert_file = none\n", []),
        ("myhostname = mx\n", []),
    ],
)
def test_the_certificates_of_a_main_cf_are_found_with_their_keys(main_cf, found):
    assert overlooked.chain_pairs(main_cf) == found


def test_a_staged_main_cf_with_a_certificate_that_is_not_there_is_refused(tmp_path):
    (tmp_path / "etc/postfix").mkdir(parents=True)
    (tmp_path / "etc/postfix/main.cf").write_text("smtpd_tls_chain_files = /no/key, /no/certificate\n")
    made, _ = daemon(Host(), main_cf="/etc/postfix/main.cf")
    assert made.refused(tmp_path) == "/no/certificate: the certificate cannot be read: No such file or directory"
