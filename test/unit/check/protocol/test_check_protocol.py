"""What is found out about mail ports by talking to them, whether they say what is right, what is wrong, or nothing."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from mail_peers import (
    ADDRESS,
    ANSWERS,
    CLOSE,
    GARBAGE,
    HANG,
    NAME,
    TRICKLE,
    Issued,
    context_of,
    host_of,
    peers_stopped,
    service_of,
    settings_of,
    write,
)

from mailhost.check.protocol import area as check_protocol
from mailhost.check.protocol import relay as check_relay
from mailhost.command import CommandResult
from mailhost.daemons import services as daemons_services
from mailhost.daemons.talk import Budget

IMPATIENT = 0.3
"""Seconds; long for a server that answers, and for one that does not as short as a test can wait."""


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return context_of(*write(tmp_path_factory.mktemp("tls"), [Issued()]))


@pytest.fixture
def survey(peers, context):
    """Check a service with ``changes`` to its answers, and return the findings."""

    def survey(name, changes=(), answer=5, host=None, tls=context):
        peer = peers(name, tls, changes)
        service = service_of(name, peer.server_address[1])
        return check_protocol.look_at(host or host_of(settings_of()), [service], Budget(answer))

    return survey


def turned(findings):
    """What is not as wanted: pairs of id and status."""
    return [(one.id, one.status) for one in findings if one.status != "ok"]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_healthy_server_is_ok_in_all(survey, name):
    found = survey(name)
    assert turned(found) == []
    steps = [f".{step.name}" for step in check_protocol.STEPS[name]]
    assert [one.id[one.id.rindex(".") :] for one in found[: len(steps)]] == steps
    assert all(one.about.startswith(f"{NAME} port ") for one in found)


SMTP_CASES = [
    ("smtp", {"greeting": "220 mail.other.example ESMTP"}, "banner", "warn", "mailserver:hostname"),
    ("smtp", {"greeting": f"220 {NAME} ESMTP Postfix (Debian/GNU)"}, "banner", "warn", "smtpd_banner"),
    ("submission", {"greeting": f"220 {NAME} ESMTP Postfix 3.7.11"}, "banner", "warn", "smtpd_banner"),
    ("submissions", {"greeting": "554 5.3.2 no"}, "banner", "fail", "journalctl"),
    ("submission", {"greeting": "421 4.3.2 later"}, "banner", "unknown", "journalctl"),
    ("submission", {"plain EHLO": "250-other.example\r\n250 STARTTLS"}, "ehlo_name", "warn", "mailserver:hostname"),
    ("submission", {"plain EHLO": "502 5.5.1 no"}, "ehlo_name", "fail", "journalctl"),
    ("submission", {"plain EHLO": "421 4.3.2 later"}, "ehlo_name", "unknown", "journalctl"),
    ("smtp", {"plain EHLO": f"250-{NAME}\r\n250-AUTH PLAIN\r\n250 STARTTLS"}, "auth_before_tls", "fail", "postfix"),
    ("submission", {"plain EHLO": f"250-{NAME}\r\n250-AUTH=LOGIN\r\n250 STARTTLS"}, "auth_before_tls", "fail", ""),
    ("smtp", {"plain EHLO": f"250-{NAME}\r\n250 PIPELINING"}, "starttls", "fail", "mailserver:tls"),
    ("submission", {"plain EHLO": f"250-{NAME}\r\n250 PIPELINING"}, "starttls", "fail", "mailserver:tls"),
    ("submission", {"STARTTLS": "454 4.7.0 TLS not available"}, "starttls", "fail", "journalctl"),
    ("submission", {"STARTTLS": "451 4.7.1 Service unavailable"}, "starttls", "unknown", "journalctl"),
    ("submission", {"STARTTLS": "454 4.3.0 Try again later"}, "starttls", "unknown", "journalctl"),
    ("submission", {"tls EHLO": f"250-{NAME}\r\n250 PIPELINING"}, "auth_after_tls", "fail", "saslauthd"),
    ("submissions", {"EHLO": f"250-{NAME}\r\n250 PIPELINING"}, "auth_after_tls", "fail", "saslauthd"),
    ("smtp", {"VRFY": f"252 2.0.0 postmaster@{NAME}"}, "vrfy", "warn", "disable_vrfy_command: true"),
    ("smtp", {"VRFY": "550 5.1.1 User unknown"}, "vrfy", "warn", "disable_vrfy_command: true"),
    ("smtp", {"VRFY": "450 4.3.2 later"}, "vrfy", "unknown", "Check again"),
    ("smtp", {"EXPN": "250 2.1.5 root@localhost"}, "expn", "warn", "ss -ltnp"),
    ("submission", {"RCPT": "250 2.1.5 Ok"}, "login_required", "fail", "postfix:submission:safe_options: true"),
    ("submissions", {"RCPT": "250 2.1.5 Ok"}, "login_required", "fail", "postfix:submissions:safe_options: true"),
    ("submission", {"MAIL": "451 4.3.0 later"}, "login_required", "unknown", "Check again"),
    ("smtp", {"pipelined": f"250-{NAME}\r\n250 STARTTLS\r\n250 Ok"}, "pipelining", "warn", "forbid_unauth_pipelining"),
]
MAILBOX_CASES = [
    ("imap", {"greeting": "* BYE no"}, "greeting", "fail", "journalctl -u 'dovecot*'"),
    ("pop3", {"greeting": "-ERR no"}, "greeting", "fail", "journalctl -u 'dovecot*'"),
    ("imap", {"plain a1 CAPABILITY": "* CAPABILITY IMAP4rev1 STARTTLS\r\na1 OK done"}, "auth_before_tls", "fail", ""),
    (
        "imap",
        {"plain a1 CAPABILITY": "* CAPABILITY STARTTLS LOGINDISABLED AUTH=PLAIN\r\na1 OK done"},
        "auth_before_tls",
        "fail",
        "doveadm reload",
    ),
    ("pop3", {"plain CAPA": "+OK\r\nSTLS\r\nUSER\r\n."}, "auth_before_tls", "fail", "doveadm reload"),
    ("pop3", {"plain CAPA": "+OK\r\nSTLS\r\nSASL PLAIN\r\n."}, "auth_before_tls", "fail", "doveadm reload"),
    ("imap", {"plain a1 CAPABILITY": "* CAPABILITY LOGINDISABLED\r\na1 OK done"}, "starttls", "fail", "mailserver:tls"),
    ("imap", {"a1 STARTTLS": "a1 NO not now"}, "starttls", "fail", "journalctl -u 'dovecot*'"),
    ("pop3", {"plain CAPA": "+OK\r\nSASL\r\n."}, "starttls", "fail", "mailserver:tls"),
    ("pop3", {"STLS": "-ERR not now"}, "starttls", "fail", "journalctl -u 'dovecot*'"),
    ("imap", {"tls a1 CAPABILITY": "* CAPABILITY LOGINDISABLED\r\na1 OK"}, "auth_after_tls", "fail", "auth_mechanisms"),
    ("imaps", {"tls a1 CAPABILITY": "* CAPABILITY LOGINDISABLED\r\na1 OK"}, "auth_after_tls", "fail", "auth_mech"),
    ("pop3", {"tls CAPA": "+OK\r\nTOP\r\n."}, "auth_after_tls", "fail", "auth_mechanisms"),
    ("pop3s", {"tls CAPA": "+OK\r\nTOP\r\n."}, "auth_after_tls", "fail", "auth_mechanisms"),
]


@pytest.mark.parametrize(("name", "changes", "step", "status", "remedy"), [*SMTP_CASES, *MAILBOX_CASES])
def test_what_a_server_says_wrong_turns_one_finding(survey, name, changes, step, status, remedy):
    found = survey(name, changes)
    protocol = service_of(name, 0).protocol
    assert turned(found) == [(f"protocol.{protocol}.{step}", status)]
    (one,) = (one for one in found if one.status != "ok")
    assert remedy in one.remedy
    assert one.seen.startswith(f"{ADDRESS} port ")
    assert one.wanted


@pytest.mark.parametrize(
    ("name", "pillar", "key"),
    [
        ("smtp", {"postfix": {"main": {"smtpd_tls_auth_only": False}}}, "mailserver:postfix:main"),
        (
            "submission",
            {"postfix": {"submission": {"options": {"smtpd_tls_auth_only": False}}}},
            "mailserver:postfix:submission:options",
        ),
        ("imap", {"dovecot": {"allow_cleartext_auth": True}}, "mailserver:dovecot:allow_cleartext_auth: false"),
        ("pop3", {"dovecot": {"allow_cleartext_auth": True}}, "mailserver:dovecot:allow_cleartext_auth: false"),
        ("submission", {}, "salt-call state.apply mailserver.postfix sync_mods=all, then postfix reload"),
    ],
)
def test_the_remedy_for_logins_in_the_clear_names_the_key_that_allows_them(survey, name, pillar, key):
    plain = {
        "EHLO": f"250-{NAME}\r\n250-STARTTLS\r\n250 AUTH PLAIN",
        "a1 CAPABILITY": "* CAPABILITY STARTTLS AUTH=PLAIN\r\na1 OK done",
        "CAPA": "+OK\r\nSTLS\r\nUSER\r\n.",
    }
    changes = {f"plain {verb}": answer for verb, answer in plain.items()}
    (one,) = (one for one in survey(name, changes, host=host_of(settings_of(pillar))) if one.status != "ok")
    assert one.id.endswith(".auth_before_tls")
    assert one.status == "fail"
    assert key in one.remedy


def test_no_logins_at_all_names_the_key_that_turns_them_on(survey):
    host = host_of(settings_of({"postfix": {"submission": {"safe_options": False}}}))
    found = survey("submission", {"tls EHLO": f"250-{NAME}\r\n250 PIPELINING"}, host=host)
    (one,) = (one for one in found if one.status != "ok")
    assert "mailserver:postfix:submission:safe_options: true" in one.remedy


def test_dovecot_asked_from_its_own_address_is_no_proof_of_logins_in_the_clear(peers, context):
    changes = {"plain a1 CAPABILITY": "* CAPABILITY STARTTLS AUTH=PLAIN\r\na1 OK done"}
    peer = peers("imap", context, changes)
    service = replace(service_of("imap", peer.server_address[1]), source=ADDRESS)
    found = check_protocol.look_at(host_of(settings_of()), [service], Budget())
    assert turned(found) == [("protocol.imap.auth_before_tls", "unknown")]


@pytest.mark.parametrize("name", ANSWERS)
def test_a_refused_connection_fails_and_names_the_unit(name):
    with socket.socket() as bound:
        bound.bind((ADDRESS, 0))  # and not listening, so that nobody else can
        service = service_of(name, bound.getsockname()[1])
        found = check_protocol.look_at(host_of(settings_of()), [service], Budget())
    assert turned(found) == [(f"protocol.{service.protocol}.listens", "fail")]
    assert f"systemctl restart {service.unit}" in found[0].remedy
    assert "refused the connection" in found[0].seen


HANGS = [
    *((name, "greeting") for name in ANSWERS if name != "imaps"),
    ("imaps", "tls greeting"),
    ("smtp", "plain EHLO"),
    ("smtp", "STARTTLS"),
    ("smtp", "VRFY"),
    ("smtp", "EXPN"),
    ("smtp", "RCPT"),
    ("smtp", "pipelined"),
    ("submission", "tls EHLO"),
    ("submission", "MAIL"),
    ("imap", "plain a1 CAPABILITY"),
    ("imap", "a1 STARTTLS"),
    ("pop3", "plain CAPA"),
    ("pop3", "tls CAPA"),
]


@pytest.fixture(scope="module")
def silent(context):
    """What is found of servers that fall silent, and the seconds that it took; several wait at the same time."""
    cases = [(*case, silence) for case in HANGS for silence in (HANG, TRICKLE)]
    with peers_stopped() as start, ThreadPoolExecutor(6) as threads:

        def survey(case):
            name, when, silence = case
            service = service_of(name, start(name, context, {when: silence}).server_address[1])
            began = time.monotonic()
            found = check_protocol.look_at(host_of(settings_of()), [service], Budget(IMPATIENT))
            return found, time.monotonic() - began

        return dict(zip(cases, threads.map(survey, cases), strict=True))


@pytest.mark.parametrize("silence", [HANG, TRICKLE], ids=["hangs", "trickles"])
@pytest.mark.parametrize(("name", "when"), HANGS)
def test_a_server_that_falls_silent_is_unknown_within_the_limits(silent, name, when, silence):
    found, took = silent[name, when, silence]
    # Six conversations at most meet the silence; the rest is room for a busy machine.
    assert took < 6 * IMPATIENT + 5
    assert {status for _, status in turned(found)} == {"unknown"}
    for one in found:
        assert one.status == "ok" or ("no answer to" in one.seen and one.remedy)


def test_a_server_that_does_not_say_goodbye_is_ok(survey):
    assert turned(survey("submissions", {"QUIT": HANG}, 1)) == []


@pytest.mark.parametrize(("name", "when"), [("smtp", "greeting"), ("submission", "plain EHLO"), ("imap", "greeting")])
@pytest.mark.parametrize("trouble", [CLOSE, "?", "x" * 10000], ids=["closes", "nonsense", "endless"])
def test_a_server_in_trouble_never_fails(survey, name, when, trouble):
    assert {status for _, status in turned(survey(name, {when: trouble}, IMPATIENT))} == {"unknown"}


def test_all_conversations_together_end_with_the_budget(peers, context):
    names = [*ANSWERS] * 3
    peer_of = [peers(name, context, {"greeting": TRICKLE, "tls greeting": TRICKLE}) for name in names]
    asked = [service_of(name, peer.server_address[1]) for name, peer in zip(names, peer_of, strict=True)]
    began = time.monotonic()
    found = check_protocol.look_at(host_of(settings_of()), asked, Budget(answer=IMPATIENT, total=1))
    assert time.monotonic() - began < 1 + 5
    assert {status for _, status in turned(found)} == {"unknown"}


@pytest.mark.parametrize(
    ("name", "step"), [("submissions", "listens"), ("submission", "starttls"), ("imaps", "listens")]
)
@pytest.mark.parametrize(("tls", "status"), [(GARBAGE, "fail"), (HANG, "unknown")], ids=["no TLS", "silence"])
def test_tls_that_cannot_be_had_fails_and_tls_that_hangs_does_not(survey, name, step, tls, status):
    found = survey(name, (), IMPATIENT if tls is HANG else 5, tls=tls)
    assert turned(found) == [(f"protocol.{service_of(name, 0).protocol}.{step}", status)]


FORMS = check_relay.forms(NAME, "example.com", ADDRESS)


@pytest.mark.parametrize("form", FORMS, ids=" ".join)
def test_every_form_of_relaying_that_is_taken_is_an_open_relay(survey, form):
    sender, recipient = form
    before = {f"MAIL FROM:<{sender}>": "250 2.1.0 Ok", "MAIL FROM:<>": "250 2.1.0 Ok", "MAIL": "554 5.7.1 no"}
    found = survey("smtp", {**before, f"RCPT TO:<{recipient}>": "250 2.1.5 Ok"})
    assert turned(found) == [("protocol.smtp.open_relay", "fail")]
    (one,) = (one for one in found if one.status != "ok")
    assert f"RCPT TO:<{recipient}>" in one.seen
    assert one.remedy.startswith("Stop it now")


OPEN = {"RCPT": "250 2.1.5 Ok"}
PERCENT = f"RCPT TO:<relaytest%outside.example@{NAME}>"
STRANGERS_REFUSED = {f"RCPT TO:<postmaster@{NAME}>": "554 5.7.1 Client host rejected"}
ANY_USER = {f"RCPT TO:<no-such-user-relaytest@{NAME}>": "250 2.1.5 Ok", PERCENT: "250 2.1.5 Ok"}


@pytest.mark.parametrize(
    ("changes", "parameters", "words"),
    [
        (OPEN, {"mynetworks": "127.0.0.0/8"}, "is in mynetworks"),
        (OPEN, {"mynetworks": "!127.57.0.9, 127.57.0.0/24"}, "is in mynetworks"),
        (OPEN, {"mynetworks": "10.0.0.0/8, hash:/etc/postfix/network"}, "mynetworks has tables"),
        (OPEN, {"mynetworks": CommandResult(None, "", "no postconf")}, "is in mynetworks"),
        (STRANGERS_REFUSED, {}, "a refusal proves nothing"),
        (ANY_USER, {}, "any user name is taken here"),
        ({"RCPT TO:<relaytest@": "450 4.1.2 Domain not found"}, {}, "450 4.1.2"),
        ({PERCENT: CLOSE}, {}, "hung up after"),
        ({PERCENT: "421 4.7.0 too many errors"}, {}, "hung up after"),
    ],
)
def test_what_proves_nothing_about_relaying_is_unknown_and_says_how_to_look(survey, changes, parameters, words):
    found = survey("smtp", changes, host=host_of(settings_of(), **parameters))
    assert turned(found) == [("protocol.smtp.open_relay", "unknown")]
    (one,) = (one for one in found if one.status != "ok")
    assert words in one.seen
    assert f"swaks --server {NAME}" in one.remedy


def test_a_host_outside_mynetworks_by_exclusion_is_a_stranger(survey):
    found = survey("smtp", OPEN, host=host_of(settings_of(), mynetworks="!127.57.0.1, 127.0.0.0/8"))
    assert ("protocol.smtp.open_relay", "fail") in turned(found)


def test_tables_in_mynetworks_are_no_doubt_where_everything_is_refused(survey):
    assert turned(survey("smtp", host=host_of(settings_of(), mynetworks="hash:/etc/postfix/network"))) == []


def test_relaying_is_asked_in_tls_where_port_25_demands_it(survey):
    host = host_of(settings_of({"postfix": {"main": {"smtpd_tls_security_level": "encrypt"}}}))
    demands = {"plain MAIL": "530 5.7.0 Must issue a STARTTLS command first"}
    assert turned(survey("smtp", demands, host=host)) == []


@pytest.mark.parametrize(
    ("value", "changes", "status", "remedy"),
    [
        ("normalize", {}, None, ""),
        ("yes", {}, None, ""),
        ("reject", {"bare NOOP": "550 5.5.2 Error: bare <LF> received"}, None, ""),
        ("reject", {"bare NOOP": "521 5.5.2 Error: bare <LF> received"}, None, ""),
        ("reject", {"bare NOOP": "250 2.0.0 Ok"}, "fail", "postfix reload"),
        ("reject", {"bare NOOP": HANG}, "unknown", "Check again"),
        ("no", {}, "fail", "mailserver:postfix:main:smtpd_forbid_bare_newline: normalize"),
        (CommandResult(0, "", "postconf: warning: unknown parameter"), {}, "warn", "updates"),
        (CommandResult(None, "", "No such file: postconf"), {}, "unknown", "Run as root"),
        (CommandResult(1, "", "postconf: fatal: main.cf, line 9: missing '='"), {}, "unknown", "postconf -n"),
    ],
)
def test_bare_newlines_are_judged_by_the_configuration_and_by_what_reject_does(survey, value, changes, status, remedy):
    found = survey("smtp", changes, 1, host_of(settings_of(), smtpd_forbid_bare_newline=value))
    assert turned(found) == ([("protocol.smtp.bare_newline", status)] if status else [])
    (one,) = (one for one in found if one.id == "protocol.smtp.bare_newline")
    assert remedy in one.remedy


@pytest.mark.parametrize(
    ("pillar", "names"),
    [
        ({}, ["smtp", "submission", "submissions", "imap", "imaps", "pop3", "pop3s"]),
        ({"postfix": {"submissions": {"enabled": False}}, "dovecot": {"protocols": ["imap"]}}, None),
        ({"postfix": {"submission": {"enabled": False}}, "dovecot": {"enabled": False}}, ["smtp", "submissions"]),
    ],
)
def test_only_services_that_are_asked_for_are_looked_at(pillar, names):
    found = [one.name for one in daemons_services.services(settings_of(pillar))]
    assert found == (names or ["smtp", "submission", "imap", "imaps"])


@pytest.mark.parametrize(
    ("inet_interfaces", "address"),
    [("all", "own"), ("loopback-only", "127.0.0.1"), ("127.57.0.7, ::1", "127.57.0.7"), ("$myhostname", "own")],
)
def test_postfix_is_asked_where_it_listens(monkeypatch, inet_interfaces, address):
    monkeypatch.setattr(daemons_services, "own_address", lambda addresses: "own")
    monkeypatch.setattr(daemons_services, "_other_source", lambda address: None)
    settings = settings_of({"postfix": {"main": {"inet_interfaces": inet_interfaces}}})
    assert daemons_services.services(settings)[0].address == address


def test_an_address_that_is_not_the_hosts_own_is_not_connected_to(monkeypatch):
    monkeypatch.setattr(daemons_services, "_routed", lambda: [])
    assert daemons_services.own_address(["203.0.113.77", "2001:db8::77"]) == "127.0.0.1"


def test_dovecot_is_asked_from_another_address_than_its_own():
    assert {one.source for one in daemons_services.services(settings_of()) if one.unit == "dovecot"} <= {
        "127.0.0.1",
        "127.0.0.2",
    }
