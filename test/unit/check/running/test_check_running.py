"""What runs is checked: each thing that does not run as wanted turns its own finding, and no other."""

import os
import re
import time
from types import SimpleNamespace

import pytest

import healthy_host
from healthy_host import DOMAINS, TOP, filesystem, wrong
from mailhost.check.config import area as check_config
from mailhost.check.running import area as check_running
from mailhost.check.running import room as check_room
from mailhost.check.running.listeners import parse
from mailhost.check.running.signatures import MOST
from mailhost.command import CommandResult

A, B = DOMAINS
HOUR = 3600
ZONE = "firewall-cmd --zone=public --list-all"
PERMANENT = "firewall-cmd --permanent --zone=public --list-all"


def survey(machine, domains=DOMAINS):
    return check_running.findings(machine.host, list(domains))


def test_all_is_ok_on_a_host_that_runs_as_the_formula_made_it(machine):
    assert wrong(survey(machine)) == set()


def active(unit, state, status=3):
    return lambda m: m.says(f"systemctl is-active {unit}.service", f"{state}\n", status=status)


def enabled(unit, state, status=1):
    return lambda m: m.says(f"systemctl is-enabled {unit}.service", f"{state}\n", status=status)


def nobody_at(address):
    return lambda m: m.prints("ss -ltnH", address, "127.0.0.1:1")


def queue(*messages):
    """Put messages into the queue: (name of the queue, age in seconds, how many)."""

    def fill(m):
        m.says("postqueue -j", "".join(m.message(name, age) * count for name, age, count in messages))

    return fill


def disk(**left):
    return lambda m: setattr(check_room.os, "statvfs", lambda path: filesystem(**left))


def signed(m, selector, age=0):
    """Have the log say that a domain was last signed with another selector, so many seconds ago."""
    moment = time.time() - age
    line = f"{moment:.6f} mx1 opendkim[12]: 4XyZ: DKIM-Signature field added (s={selector}, d={A})\n"
    m.says(m.journal, line + m.answers[m.journal].out)


def tables_of(m, age):
    for name in ("key_table", "signing_table", "signing_table.domains"):
        os.utime(m.folder / "opendkim" / name, (time.time() - age,) * 2)


FAULTS = [
    ("Postfix down", active("postfix", "inactive"), "running.unit|postfix|fail"),
    ("the unit behind the wrapper down", active("postfix@-", "failed"), "running.unit|postfix@-|fail"),
    ("saslauthd down", active("saslauthd", "failed"), "running.unit|saslauthd|fail"),
    ("a unit that starts over and over", active("opendkim", "activating"), "running.unit|opendkim|warn"),
    ("a unit that does not start at boot", enabled("dovecot", "disabled"), "running.unit_enabled|dovecot|warn"),
    ("a unit that cannot start", enabled("opendkim", "masked"), "running.unit_enabled|opendkim|warn"),
    ("nobody at port 25", nobody_at("0.0.0.0:25 "), "running.listener|port 25, IPv4|fail"),
    ("nobody at port 25 by IPv6", nobody_at("[::]:25 "), "running.listener|port 25, IPv6|fail"),
    ("nobody at port 587", nobody_at("0.0.0.0:587"), "running.listener|port 587, IPv4|fail"),
    ("nobody at port 993", nobody_at("[::]:993"), "running.listener|port 993, IPv6|fail"),
    (
        "a port for the host alone",
        lambda m: m.prints("ss -ltnH", "0.0.0.0:465", "127.0.0.1:465"),
        "running.listener|port 465, IPv4|fail",
    ),
    ("no milter", nobody_at("127.0.0.1:8891"), "running.listener|inet:8891@127.0.0.1|fail"),
    (
        "a milter for all the world",
        lambda m: m.prints("ss -ltnH", "127.0.0.1:8891", "0.0.0.0:8891"),
        "running.listener|inet:8891@127.0.0.1|warn",
    ),
    (
        "a firewall that does not run",
        lambda m: [m.says(words, "", "FirewallD is not running\n", 252) for words in (ZONE, PERMANENT)],
        "running.firewall|public, running|fail running.firewall|public, permanent|fail",
    ),
    (
        "no such zone",
        lambda m: [m.says(words, "", "Error: INVALID_ZONE: public\n", 112) for words in (ZONE, PERMANENT)],
        "running.firewall|public, running|fail running.firewall|public, permanent|fail",
    ),
    (
        "a service shut out",
        lambda m: m.prints(ZONE, "imaps ", ""),
        "running.firewall|public, running|fail",
    ),
    (
        "a port open until the next reload",
        lambda m: m.prints(PERMANENT, "587/tcp", ""),
        "running.firewall|public, permanent|warn",
    ),
    (
        "a service that only runs",
        lambda m: m.prints(ZONE, "ssh", "ssh http"),
        "running.firewall_permanent|public|warn",
    ),
    (
        "a service that does not run yet",
        lambda m: m.prints(PERMANENT, "ssh", "ssh http"),
        "running.firewall_permanent|public|warn",
    ),
    ("a long queue", queue(("deferred", 60, 101)), "running.queue_length|mail queue|warn"),
    ("a very long queue", queue(("deferred", 60, 1001)), "running.queue_length|mail queue|fail"),
    ("a message deferred for long", queue(("deferred", 5 * HOUR, 1)), "running.queue_age|mail queue|warn"),
    ("a message deferred for days", queue(("deferred", 99 * HOUR, 1)), "running.queue_age|mail queue|warn"),
    ("a message that nobody tries", queue(("incoming", 2 * HOUR, 1)), "running.queue_age|mail queue|fail"),
    ("a full disk", disk(space=2), "running.disk_space|{}/queue|fail"),
    ("a disk that gets full", disk(space=9), "running.disk_space|{}/queue|warn"),
    ("no inodes", disk(inodes=2), "running.disk_inodes|{}/queue|fail"),
    ("few inodes", disk(inodes=9), "running.disk_inodes|{}/queue|warn"),
    (
        "an OpenDKIM that goes by old tables",
        lambda m: (tables_of(m, 2 * HOUR), signed(m, "old")),
        f"running.signature|{A}|warn",
    ),
    ("a clock that jumped", lambda m: m.set_clock(86400), "running.clock|clock|warn"),
    ("a damaged clock file", lambda m: m.write_anew("opendkim/keys/clock.json", "{"), "running.clock|clock|fail"),
]


@pytest.mark.parametrize(("spoil", "expected"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_each_fault_turns_its_own_finding_and_no_other(machine, spoil, expected):
    spoil(machine)
    found = survey(machine)
    wanted = re.findall(r"(\S+?)\|([^|]+)\|(\w+)", expected.replace("{}", str(machine.folder)))
    assert wrong(found) == set(wanted)
    assert all(one.wanted and one.seen and one.remedy for one in found if one.status != "ok")


RIGHT = [
    ("enough of a queue", queue(("deferred", 60, 100))),
    ("an empty queue", queue()),
    ("a message on hold for days", queue(("hold", 99 * HOUR, 1))),
    ("just enough disk", disk(space=10, inodes=10)),
    ("a filesystem that counts no inodes", lambda m: no_inodes()),
    ("a unit that reloads", active("postfix", "reloading", 0)),
    ("a unit of an init script", enabled("saslauthd", "generated", 0)),
    ("listeners for both families", lambda m: m.says("ss -ltnH", both_families(m))),
    ("no IPv6 on the host", lambda m: (m.says("ip -6 -o addr show scope global"), only_ipv4(m))),
    ("mail signed with the old key before the change", lambda m: (tables_of(m, HOUR / 2), signed(m, "old", HOUR))),
    ("mail signed with the old key soon after it", lambda m: (tables_of(m, HOUR / 2), signed(m, "old"))),
    ("no mail in a week", lambda m: m.says(m.journal, "-- No entries --\n", "", 1)),
]


def no_inodes():
    check_room.os.statvfs = lambda path: SimpleNamespace(f_bavail=50, f_blocks=100, f_favail=0, f_files=0)


def both_families(m):
    text = m.answers["ss", "-ltnH"].out
    return re.sub(r".*\[::\].*\n", "", text).replace("0.0.0.0:2", "*:2").replace("  0.0.0.0:", "  *:")


def only_ipv4(m):
    m.says("ss -ltnH", re.sub(r".*\[::\].*\n", "", m.answers["ss", "-ltnH"].out))


@pytest.mark.parametrize("change", [row[1] for row in RIGHT], ids=[row[0] for row in RIGHT])
def test_what_is_no_fault_is_not_told_of(machine, change):
    change(machine)
    assert wrong(survey(machine)) == set()


def test_the_addresses_of_listeners_are_read_as_ss_prints_them():
    text = "LISTEN 0 4096 127.0.0.53%lo:53 0.0.0.0:*\nLISTEN 0 100 *:25 *:*\nLISTEN 0 128 [::1]:8891 [::]:*\n"
    assert parse(text) == {("127.0.0.53", "53"), ("0.0.0.0", "25"), ("::", "25"), ("::1", "8891")}


def test_components_that_the_pillar_turns_off_are_not_missed(tmp_path, pems, monkeypatch):
    off = {"enabled": False}
    machine = healthy_host.make(tmp_path, pems, monkeypatch, {"firewalld": off, "dovecot": off})
    machine.settings["opendkim"] = {**machine.settings["opendkim"], **off}
    machine.says(
        "ss -ltnH", "".join(f"LISTEN 0 100 {ip}:{p} *:*\n" for p in (25, 587, 465) for ip in ("0.0.0.0", "[::]"))
    )
    for unit in ("dovecot", "opendkim", "firewalld"):
        active(unit, "inactive")(machine)
        enabled(unit, "disabled")(machine)
    assert wrong(survey(machine)) == set()


def test_only_ports_of_the_pillar_are_missed(tmp_path, pems, monkeypatch):
    pillar = {"postfix": {"submissions": {"enabled": False}}, "dovecot": {"protocols": ["imap"]}}
    machine = healthy_host.make(tmp_path, pems, monkeypatch, pillar)
    text = "".join(
        line for line in machine.answers["ss", "-ltnH"].out.splitlines(True) if not re.search(r":(465|110|995) ", line)
    )
    machine.says("ss -ltnH", text)
    assert wrong(survey(machine)) == set()


def test_a_plain_unit_of_postfix_has_none_behind_it(machine):
    machine.says("systemctl show --property=ExecStart --value postfix.service", "{ path=/usr/sbin/postfix ; }\n")
    active("postfix@-", "inactive")(machine)
    assert wrong(survey(machine)) == set()


def test_homes_of_the_pillars_users_are_where_mail_is(tmp_path, pems, monkeypatch):
    users = {"accounts": {"users": {"alice": {}, "bob": {}}}}
    machine = healthy_host.make(tmp_path, pems, monkeypatch, users)
    home = tmp_path / "homes"
    home.mkdir()
    machine.says("getent passwd alice bob", f"alice:x:1001:1001::{home}:/bin/sh\n", status=2)
    (space,) = [one for one in survey(machine) if one.id == "running.disk_space"]
    assert str(home) in space.seen


def test_it_is_said_when_mail_was_last_signed(machine):
    told = {one.about: one.seen for one in survey(machine) if one.id == "running.signature"}
    assert set(told) == set(DOMAINS)
    assert all(re.fullmatch(r"last on \d{4}-\d\d-\d\d \d\d:\d\d UTC with one", seen) for seen in told.values())


def test_a_domain_that_sent_nothing_is_said_to_have_no_signature(machine):
    machine.says(machine.journal, "-- No entries --\n", "", 1)
    (told,) = [one for one in survey(machine) if one.id == "running.signature"]
    assert (told.about, told.status) == ("2 domains", "ok")
    assert "none in 7 days" in told.seen


def test_a_log_that_was_not_read_to_its_end_says_how_far(machine):
    machine.says(machine.journal, machine.answers[machine.journal].out.splitlines(True)[0] * MOST)
    told = {one.about: one.seen for one in survey(machine) if one.id == "running.signature"}
    assert f"none in the last {MOST} signatures" in told[B]


def test_what_cannot_be_run_is_unknown_and_no_failure(machine):
    spared = ("getent", "systemctl show")
    needed = "systemctl ss ip firewall-cmd postqueue journalctl".split()
    for words in [one for one in machine.answers if one[0] in needed and not " ".join(one).startswith(spared)]:
        before = machine.answers[words]
        for answer in (
            CommandResult(None, "", "took longer than 60 s"),
            CommandResult(1, "", "Failed to connect to bus"),
        ):
            machine.answers[words] = answer
            told = {status for _, _, status in wrong(survey(machine))}
            assert told == (set() if "enabled postfix@-" in " ".join(words) else {"unknown"}), words
        machine.answers[words] = before


def test_a_queue_that_cannot_be_read_is_unknown_and_shows_nobodys_mail(machine):
    machine.says("postqueue -j", '{"sender": "alice@a.example"}\n')
    found = survey(machine)
    assert wrong(found) == {("running.queue_length", "mail queue", "unknown")}
    assert "alice" not in repr(found)


def test_every_finding_is_explained_and_none_that_there_is_not(machine):
    machine.settings["postfix"]["files"][str(machine.write_anew("mailserver_domains"))] = []
    found = check_config.findings(machine.host, list(DOMAINS)) + survey(machine)
    page = (TOP / "docs/findings.md").read_text()
    assert set(re.findall(r"^\| `((?:config|running)\.[\w.]+)` \|", page, re.MULTILINE)) == {one.id for one in found}
