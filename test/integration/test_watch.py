"""The watch on booted hosts: a fault and its end are one event and one mail each, also without master or Postfix."""

import json

import pytest
from messages import WORLD, judge
from prometheus_client.parser import text_string_to_metric_families
from streaming import bring_master_back

from conftest import DOMAIN, MAIL_HOSTS

TEXTFILE = "/var/lib/prometheus/node-exporter/mailserver.prom"
WATCH = f"  watch: {{mail: [{WORLD}], prometheus: true%s}}\n"
BY_HAND, BY_SCHEDULE = WATCH % "", WATCH % ", every: 15, splay: 1"
EVENTS = "/run/events-of-watch"
INBOX = "/home/world/Maildir/new"


@pytest.fixture(scope="module", autouse=True)
def _watched(lab):
    for host in MAIL_HOSTS:
        lab.sh(host, f"mkdir -p $(dirname {TEXTFILE})")  # the node exporter's package brings it
    lab.apply("default", BY_HAND)
    for host in MAIL_HOSTS:
        lab.publish(host)
    for result in lab.highstate().values():
        result.must_succeed()
    for host, told in lab.salt(MAIL_HOSTS, "mailserver.watch").items():
        assert (told["status"], told["troubles"]) == ("ok", []), (host, told)
    listen_to_the_master(lab, "events-of-watch")
    yield
    lab.run("master", "systemctl", "stop", "events-of-watch", check=False)


def listen_to_the_master(lab, unit):
    """Have all events of a watch written down from now on."""
    listen = f"exec salt-run state.event 'mailserver/watch/*' count=-1 >>{EVENTS}"
    lab.run("master", "systemd-run", "--quiet", "--collect", f"--unit={unit}", "sh", "-c", listen)
    lab.until(lambda: _is_heard(lab), "the master's events are not seen")


def _is_heard(lab):
    lab.run("master", "salt-run", "event.send", "mailserver/watch/heard", "{}")
    return "watch/heard" in lab.sh("master", f"cat {EVENTS}")


@pytest.fixture(autouse=True)
def _nothing_told_yet(lab):
    lab.sh("client", f"rm -f {INBOX}/*")
    lab.sh("master", f"truncate -s 0 {EVENTS}")


def events(lab, host):
    """What the master heard of a host's watch: the data of each event."""
    lines = lab.sh("master", f"cat {EVENTS}").replace("\0", "").splitlines()
    heard = [json.loads(line.partition("\t")[2]) for line in lines if line.startswith("mailserver/watch/changed")]
    return [one["data"] for one in heard if one["id"] == host]


def subjects(lab, host):
    """The subjects of the mails that a host's watch sent, in the order of their arrival."""
    out = lab.sh("client", f"ls -tr {INBOX}/* 2>/dev/null | xargs -r grep -h '^Subject: {host}.lab.test'", check=False)
    return [line.removeprefix(f"Subject: {host}.lab.test: ") for line in out.splitlines()]


def kinds(groups):
    return {(one["id"], one["change"]) for one in groups}


def all_is_right(lab, host):
    lab.until(lambda: lab.salt(host, "mailserver.check")[host]["status"] == "ok", f"{host} does not mend")


def broken_and_mended(lab, host, breaks, mends, meanwhile=lambda told: None):
    """Have the watch tell of a fault and of its end; what both runs returned, when both mails are there."""
    lab.sh(host, breaks)
    try:
        told = lab.salt(host, "mailserver.watch")[host]
        meanwhile(told)
    finally:
        lab.sh(host, mends)
    all_is_right(lab, host)
    mended = lab.salt(host, "mailserver.watch")[host]
    assert (mended["status"], mended["troubles"]) == ("ok", [])
    lab.until(lambda: len(subjects(lab, host)) >= 2, f"{host}: the mails do not arrive")
    return told, mended


def test_a_fault_and_its_end_are_one_event_and_one_mail_each(lab, host):
    def nothing_new(told):
        assert lab.salt(host, "mailserver.watch")[host] == {**told, "changed": []}
        metrics = {one.name: one for one in text_string_to_metric_families(lab.sh(host, f"cat {TEXTFILE}"))}
        failing = {one.labels["id"]: one.value for one in metrics["mailserver_finding_status"].samples}
        assert failing["running.unit"] == 3
        assert metrics["mailserver_dkim_keys"].samples
        assert metrics["mailserver_certificate_not_after_timestamp_seconds"].samples

    told, mended = broken_and_mended(lab, host, "systemctl stop dovecot", "systemctl start dovecot", nothing_new)
    assert told["troubles"] == []
    assert {("running.unit", "worse"), ("protocol.imap.listens", "worse")} <= kinds(told["changed"])
    assert ("running.unit", "mended") in kinds(mended["changed"])
    assert [one.split()[0] for one in subjects(lab, host)] == ["fail", "ok"]
    assert [one["status"] for one in events(lab, host)] == ["fail", "ok"]
    assert [kinds(one["changed"]) for one in events(lab, host)] == [kinds(told["changed"]), kinds(mended["changed"])]


def test_a_mail_of_the_watch_is_signed_and_verified_elsewhere(lab, host):
    quiet = "2>/dev/null"
    told, _ = broken_and_mended(lab, host, f"systemctl disable dovecot {quiet}", f"systemctl enable dovecot {quiet}")
    assert kinds(told["changed"]) == {("running.unit_enabled", "worse")}
    message = lab.sh("client", f"cat $(grep -l 'warn (1 worse)' {INBOX}/*)")
    found = judge(lab, message)
    assert [one["domain"] for one in found["signatures"]] == [DOMAIN[host]]
    assert (found["dkimpy"], found["mail_dkim"]) == (True, "pass")
    assert "Auto-Submitted: auto-generated" in message
    assert "systemctl enable dovecot" in message


def test_while_postfix_is_down_the_event_goes_at_once_and_the_mail_when_postfix_is_back(lab, host):
    def only_the_event(told):
        assert ("running.unit", "worse") in kinds(told["changed"])
        assert told["troubles"] == []  # sendmail(1) takes it, without a word where Postfix once ran
        assert [one["status"] for one in events(lab, host)] == ["fail"]
        assert subjects(lab, host) == []

    broken_and_mended(lab, host, "systemctl stop postfix", "systemctl start postfix", only_the_event)
    assert sorted(one.split()[0] for one in subjects(lab, host)) == ["fail", "ok"]


def test_while_the_master_is_away_the_minions_own_schedule_mails_and_the_master_hears_of_it_later(lab):
    lab.apply("default", BY_SCHEDULE)
    lab.run("master", "systemctl", "stop", "salt-master")
    try:
        for host in MAIL_HOSTS:
            lab.sh(host, "systemctl stop dovecot")
        for host in MAIL_HOSTS:
            lab.until(lambda host=host: subjects(lab, host), f"{host}: no mail without the master")
            assert subjects(lab, host)[0].startswith("fail")
            assert events(lab, host) == []
            lab.run(host, "systemctl", "stop", "salt-minion")
    finally:
        lab.run("master", "systemctl", "start", "salt-master")
        listen_to_the_master(lab, "events-of-watch-later")
        bring_master_back(lab)
    try:
        for host in MAIL_HOSTS:
            lab.until(lambda host=host: events(lab, host), f"{host}: the master does not hear of it")
            assert ("running.unit", "worse") in kinds(events(lab, host)[0]["changed"])
            assert len(subjects(lab, host)) == 1
    finally:
        lab.run("master", "systemctl", "stop", "events-of-watch-later", check=False)
        for host in MAIL_HOSTS:
            lab.sh(host, "systemctl start dovecot")
        lab.apply("default", BY_HAND)
