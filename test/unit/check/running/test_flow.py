"""Why mail waits: which of Postfix's words have their cause on this host, and which are another's or a stranger's."""

import json

import pytest

from healthy_host import wrong
from mailhost.check.running import flow
from mailhost.check.running.flow import complaints, local_cause

RELAYS = {"smtp.example.net"}
OURS = [
    ("mail transport unavailable", "a delivery agent"),
    ("unknown mail transport error", "a delivery agent"),
    ("connect to mx1.a.example[private/dovecot-lmtp]: Connection refused", "does not answer"),
    ("connect to 127.0.0.1[127.0.0.1]:10024: Connection refused", "does not answer"),
    ("connect to localhost[::1]:10024: Connection refused", "does not answer"),
    (
        "host mx1.a.example[private/dovecot-lmtp] said: 451 4.3.0 <a@a.example> Temporary internal error",
        "puts mail off",
    ),
    ("alias database unavailable", "a table"),
    ("canonical_maps map lookup problem for a@a.example -- message not accepted", "a table"),
    ("451 4.3.0 <a@a.example>: Temporary lookup failure", "a table"),
    ("Server configuration error", "a configuration"),
    ("maildir delivery failed: create maildir file /home/a/Maildir/tmp/1.2.mx1: Permission denied", "a mailbox"),
    ("cannot update mailbox /var/mail/a for user a. unable to create lock file: No space left on device", "a mailbox"),
    (
        "temporary failure. Command output: local: fatal: execvp /usr/bin/procmail: No such file or directory",
        "a program",
    ),
    ('Command died with status 127: "/usr/local/bin/ticket"', "a program"),
    ("SASL authentication failed; server smtp.example.net[192.0.2.1] said: 535 5.7.8", "a login"),
    (
        "Host or domain name not found. Name service error for name=smtp.example.net type=AAAA: Host not found",
        "the relay host smtp.example.net",
    ),
]
THEIRS = [
    "",
    "connect to mx.example.org[192.0.2.1]:25: Connection timed out",
    "connect to mx.example.org[192.0.2.127]:25: Connection refused",
    "host mx.example.org[192.0.2.1] said: 451 4.3.0 Temporary lookup failure (in reply to RCPT TO command)",
    "host mx.example.org[192.0.2.1] said: 452 4.2.2 Server configuration error (in reply to end of DATA command)",
    "host mx.example.org[192.0.2.1] refused to talk to me: 421 mail transport unavailable",
    "lost connection with mx.example.org[192.0.2.1] while sending mail transport unavailable",
    "conversation with mx.example.org[192.0.2.1] timed out: alias database unavailable",
    "Host or domain name not found. Name service error for name=example.org type=MX: Host not found, try again",
    "host mx1.a.example[private/dovecot-lmtp] said: 452 4.2.2 <a@a.example> Quota exceeded (mailbox is full)",
]


@pytest.mark.parametrize(("reason", "about"), OURS)
def test_what_this_host_is_the_cause_of_is_told_with_what_to_do(reason, about):
    cause, remedy = local_cause(reason, RELAYS)
    assert about in cause
    assert remedy


@pytest.mark.parametrize("reason", THEIRS)
def test_what_another_host_says_or_does_is_no_fault_of_this_one(reason):
    assert local_cause(reason, RELAYS) is None


@pytest.mark.parametrize(
    "shown",
    [
        "[smtp.example.net]:587\n\nsmtp\nrelay\n",
        "smtp.example.net\n\nsmtp\nrelay\n",
        "\n[a.example], [SMTP.example.net]:25\nsmtp\nrelay\n",
        "\n\nsmtp:[smtp.example.net]\nrelay\n",
    ],
)
def test_the_hosts_that_mail_goes_through_are_known_in_each_form(shown):
    assert "smtp.example.net" in flow._relays(shown)


def test_the_relay_host_that_is_in_force_counts_and_not_the_pillars(machine):
    machine.says(" ".join(flow.RELAYS), "[smtp.example.net]\n\nsmtp\nrelay\n")
    queue(machine, OURS[-1][0])
    assert [one.about for one in flow.findings(machine.host) if one.status == "fail"] == [
        "the relay host smtp.example.net, which DNS does not know"
    ]


def line(message, name="postfix/smtpd"):
    return f"1764482836.123456 mx1 {name}[123]: {message}"


LOUD = [
    (
        "fatal: main.cf configuration error: mailbox_size_limit is smaller than message_size_limit",
        "main.cf configuration",
    ),
    ("fatal: unsupported dictionary type: hahs", "unsupported dictionary type"),
    ("panic: myfree: corrupt or unallocated memory block", "myfree"),
    ("error: open database /etc/postfix/x.db: No such file or directory", "open database"),
    (
        "warning: hash:/etc/postfix/x is unavailable. open database /etc/postfix/x.db: No such file",
        "hash:/etc/postfix/x",
    ),
    ('warning: unknown smtpd restriction: "reject_all"', "unknown smtpd restriction"),
    ("warning: relayhost configuration problem", "configuration problem"),
    ('warning: hash:/etc/aliases lookup error for "a@a.example"', "hash:/etc/aliases"),
    (
        "NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 451 4.3.5 Server configuration error; from=<a@b> to=<c@d>",
        "mail is answered with 451 4.3.5",
    ),
]
QUIET = [
    "connect from unknown[192.0.2.7]",
    "warning: hostname x.example does not resolve to address 192.0.2.7: Name or service not known",
    "warning: unknown[192.0.2.7]: SASL LOGIN authentication failed: authentication failure",
    "warning: Illegal address syntax from unknown[192.0.2.7] in RCPT command: <fatal: open database x>",
    "NOQUEUE: reject: RCPT from unknown[192.0.2.7]: 554 5.7.1 <451 4.3.5 Server configuration error>: Relay denied",
    "4XyZ: to=<a@a.example>, status=deferred (fatal: open database)",
]


@pytest.mark.parametrize(("message", "about"), LOUD)
def test_what_postfix_complains_of_itself_is_told_once_with_how_often(message, about):
    ((told, (count, last)),) = complaints([line(message), line(message)]).items()
    assert about in told
    assert (count, last) == (2, message[:200])


@pytest.mark.parametrize("message", QUIET)
def test_what_a_stranger_brings_about_is_no_complaint(message):
    assert complaints([line(message)]) == {}


def test_what_was_before_postfix_took_its_configuration_anew_is_over():
    fatal = line(LOUD[0][0])
    for began in ("reload -- version 3.7.11, configuration /etc/postfix", "daemon started -- version 3.10.13"):
        assert complaints([line(began, "postfix/master"), fatal]) == {}
        assert complaints([fatal, line(began, "postfix/master")])


def test_a_log_file_is_read_from_its_end_as_far_as_the_last_hours_go(tmp_path):
    log = tmp_path / "postfix.log"
    log.write_text(
        "Nov 30 03:00:00 mx1 postfix/local[1]: fatal: long ago\n"
        "Nov 30 05:00:00 mx1 postfix/local[1]: fatal: not long ago\n"
        "no line of a log\n"
    )
    moment = flow.datetime(2026, 11, 30, 6, 0).timestamp()
    assert list(complaints(flow._tail(str(log), lambda: moment))) == ["not long ago"]
    assert flow._tail(str(tmp_path / "nothing")) == []


def queue(machine, *reasons):
    text = "".join(
        json.dumps({"queue_name": "deferred", "recipients": [{"address": "a@b.example", "delay_reason": reason}]})
        + "\n"
        for reason in reasons
    )
    machine.says("postqueue -j", text)


def test_each_cause_is_one_finding_however_many_messages_wait_for_it(machine):
    queue(machine, *[OURS[0][0]] * 3, OURS[6][0], THEIRS[1])
    found = flow.findings(machine.host)
    assert wrong(found) == {("running.deferred", found[0].about, "fail"), ("running.deferred", found[1].about, "fail")}
    assert "3 recipients" in found[0].seen


def test_a_log_that_cannot_be_read_is_unknown(machine):
    machine.says(machine.postfix_log, "", "Failed to open journal", 1)
    assert wrong(flow.findings(machine.host)) == {("running.log", "Postfix's log", "unknown")}


def test_complaints_in_the_log_are_failures(machine):
    machine.says(machine.postfix_log, line(LOUD[0][0]) + "\n")
    (found,) = (one for one in flow.findings(machine.host) if one.id == "running.log")
    assert found.status == "fail"
