"""The reflector on booted hosts: who writes to it gets a true report, and nobody can have it write to somebody else."""

import base64
import email
import email.policy
import uuid

import dkim
import pytest
from messages import arrived, judge

from conftest import ADDRESS, DOMAIN, MAIL_HOSTS, pillar
from mailhost.dkim import keystore
from mailhost.records import record as mail_records

ON = "both"
CLIENT = "198.18.0.31"
LANGUAGE = {"mx1": "en", "mx2": "ja"}
RATE = 3
PILLAR = """  reflector:
    address: check@{{ domain }}
    language: {{ {'mx1': 'en', 'mx2': 'ja'}[grains['id']] }}
    rate: 3
"""
SAYS = {
    "en": {
        "right": "All is right: SPF, DKIM and DMARC pass.",
        "own": "SPF was not, as the message did not come from outside.",
        "unsigned": "the message is not signed with DKIM",
        "address": "Connecting address: {}",
        "domain": "Signing domain: {}",
        "selector": "Selector: {}",
        "policy": "Policy: {}",
        "fail": "DKIM is fail",
        "spf": "SPF is fail",
    },
    "ja": {
        "right": "問題ありません。SPF、DKIM、DMARC のすべてに合格しています。",
        "own": "外部から届いたメールではないため判定していません",
        "unsigned": "DKIM 署名がありません",
        "address": "接続元の IP アドレス: {}",
        "domain": "署名ドメイン: {}",
        "selector": "セレクタ: {}",
        "policy": "ポリシー: {}",
        "fail": "DKIM の結果は fail です",
        "spf": "SPF の結果は fail です",
    },
}
TRICKY = (
    "日本語の本文\r\n.dot\r\n..two dots\r\nFrom here\r\n trailing \t \r\n\ttab\r\n".encode()
    + b"long " * 900
    + b"\r\n\xff\xfe not UTF-8\r\n\r\nend\r\n\r\n\r\n"
)
"""What a mail system may be tempted to change, and a signature over the body as it is does not forgive."""

SEND = """
import base64, smtplib, sys
server, sender, *recipients = sys.argv[1:]
message = base64.b64decode(sys.stdin.read())
with smtplib.SMTP(server, 25, "client.lab.test", timeout=300) as client:
    client.ehlo()
    client.sendmail("" if sender == "<>" else sender, recipients, message, ["BODY=8BITMIME"])
"""


class Outside:
    """The rest of the world: it writes to check@ of a mail host, and looks what comes back."""

    def __init__(self, lab):
        self.lab = lab
        (self.pem,) = keystore.generate([2048])

    def publish(self):
        text = f"v=DKIM1; p={keystore.public_half(self.pem, 'the key')[0]}"
        strings = " ".join(f'"{one}"' for one in mail_records.txt_strings(text))
        self.lab.update_dns(
            "server 198.18.0.11\n"
            "update delete s1._domainkey.outside.test. TXT\nupdate delete _dmarc.outside.test. TXT\n"
            f"update add s1._domainkey.outside.test. 5 TXT {strings}\n"
            'update add _dmarc.outside.test. 5 TXT "v=DMARC1; p=quarantine"\nsend\n'
        )
        self.lab.wait_for_secondary(("outside.test",))
        self.lab.run("ns1", "systemctl", "restart", "lab-resolver")

    def message(self, token, sender, *fields, body=b"hello\r\n", signed=True, author=None):
        header = [f"From: World <{author or sender}>", f"Subject: {token}", f"Message-ID: <{token}@outside.test>"]
        header += ["Date: Wed, 25 Nov 2026 00:00:00 +0000", "To: check@lab.test", *fields]
        text = "".join(f"{line}\r\n" for line in header).encode() + b"\r\n" + body
        if not signed:
            return text
        return dkim.sign(text, b"s1", b"outside.test", self.pem.encode(), canonicalize=(b"simple", b"simple")) + text

    def send(self, host, message, sender, source="client"):
        words = ("python3", "-c", SEND, ADDRESS[host], sender, f"check@{DOMAIN[host]}")
        self.lab.run(source, *words, stdin=base64.b64encode(message).decode())

    def ask(self, host, *fields, sender=None, source="client", **options):
        """Write to check@ of ``host`` as a sender of its own; (token, sender)."""
        token = uuid.uuid4().hex
        sender = sender or f"u{token}@outside.test"
        author = None if sender != "<>" else f"u{token}@outside.test"
        self.send(host, self.message(token, sender, *fields, author=author, **options), sender, source)
        return token, sender

    def answer(self, host, *fields, **options):
        """What comes back, as (message, text of the report, source)."""
        token, sender = self.ask(host, *fields, **options)
        source = arrived(self.lab, f"Re: {token}")
        message = email.message_from_string(source, policy=email.policy.default)
        assert message["To"] == sender
        return message, message.get_content(), source

    def silence(self, host, token, sender):
        """See that ``host`` answered nobody about ``token``, bounced nothing, and said why; the reason."""
        sender = "" if sender == "<>" else sender

        def logged():
            shown = self.lab.sh(host, "journalctl -q -o cat -t mailserver-reflector")
            return [line for line in shown.splitlines() if f"from=<{sender}>" in line and "not answered" in line]

        (*_, line) = self.lab.until(logged, f"{host}: no line of the reflector's about {sender}")
        self.lab.until(lambda: self.lab.run(host, "postqueue", "-j").out == "", f"{host}: the queue is not empty")
        found = self.lab.run("client", "grep", "-rl", token, "/home/world/Maildir", check=False).out
        assert found == "", "somebody got an answer, or a bounce"
        return line.partition("not answered: ")[2]


@pytest.fixture(scope="module")
def outside(lab):
    lab.forget_pillar()
    lab.set_pillar(pillar("default", PILLAR))
    for result in lab.highstate(test=True).values():
        result.must_succeed()
    lab.apply("default", PILLAR)
    for host in MAIL_HOSTS:
        lab.publish(host)
    for result in lab.highstate().values():
        result.must_succeed()
    world = Outside(lab)
    world.publish()
    return world


def test_a_right_message_gets_the_report_in_the_hosts_language(outside, host):
    message, report, _ = outside.answer(host)
    says = SAYS[LANGUAGE[host]]
    assert says["right"] in report
    for name, value in (("address", CLIENT), ("domain", "outside.test"), ("selector", "s1"), ("policy", "quarantine")):
        assert says[name].format(value) in report
    assert message["From"] == f"check@{DOMAIN[host]}"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["In-Reply-To"].endswith("@outside.test>")
    assert message["Return-Path"] == "<>"


def test_the_answer_is_signed_itself(lab, outside, host):
    _, _, source = outside.answer(host)
    judged = judge(lab, source)
    assert [one["domain"] for one in judged["signatures"]] == [DOMAIN[host]]
    assert (judged["dkimpy"], judged["mail_dkim"]) == (True, "pass")


def test_not_one_byte_is_changed_on_the_way_to_the_verifier(outside, host):
    _, report, _ = outside.answer(host, body=TRICKY)
    assert SAYS[LANGUAGE[host]]["right"] in report


def test_what_is_wrong_is_said(outside, host):
    says = SAYS[LANGUAGE[host]]
    _, report, _ = outside.answer(host, signed=False)
    assert says["unsigned"] in report
    token, sender = uuid.uuid4().hex, f"u{uuid.uuid4().hex}@outside.test"
    changed = outside.message(token, sender).replace(b"hello", b"hullo")
    outside.send(host, changed, sender)
    report = email.message_from_string(arrived(outside.lab, f"Re: {token}"), policy=email.policy.default).get_content()
    assert says["fail"] in report


def test_a_signature_alone_establishes_the_sender_and_spf_is_told_to_fail(outside, host):
    other = next(one for one in MAIL_HOSTS if one != host)
    _, report, _ = outside.answer(host, source=other)
    assert SAYS[LANGUAGE[host]]["spf"] in report
    assert ADDRESS[other] in report


def test_an_own_user_gets_an_answer_that_does_not_judge_by_spf(lab, outside, host):
    token, _ = lab.submit(host, to=f"check@{DOMAIN[host]}")
    source = lab.delivered(host, "alice", f"Re: {token}")
    report = email.message_from_string(source, policy=email.policy.default).get_content()
    assert SAYS[LANGUAGE[host]]["own"] in report


UNANSWERED = (
    (None, (), {"signed": False, "source": "other"}, "neither SPF nor DKIM passes"),
    ("victim1@gamma.test", (), {"signed": False}, "neither SPF nor DKIM passes"),
    ("victim2@gamma.test", (), {}, "neither SPF nor DKIM passes"),
    ("<>", (), {}, "no sender"),
    ("talk-owner@outside.test", (), {}, "nobody reads"),
    ("x@nowhere.outside.test", (), {}, "nowhere to go"),
    (None, ("List-Id: <talk.outside.test>",), {}, "mailing list"),
    (None, ("Precedence: bulk",), {}, "Precedence: bulk"),
    (None, ("Auto-Submitted: auto-replied",), {}, "a program sent it"),
    (None, ("Content-Type: multipart/report; boundary=x",), {}, "report of a mail system"),
    (None, (), {"body": (b"x" * 70 + b"\r\n") * 20000}, "more than 1048576 bytes"),
)


@pytest.fixture(scope="module")
def unanswered(outside):
    """What was sent to each host that is to get no answer: a list of (token, sender), as in the table."""
    sent = {}
    for host in MAIL_HOSTS:
        other = next(one for one in MAIL_HOSTS if one != host)
        for sender, fields, options, _ in UNANSWERED:
            source = {"source": other} if options.get("source") else {}
            asked = outside.ask(host, *fields, sender=sender, **{**options, **source})
            sent.setdefault(host, []).append(asked)
    return sent


@pytest.mark.parametrize("number", range(len(UNANSWERED)), ids=[reason for *_, reason in UNANSWERED])
def test_nobody_gets_an_answer_or_a_bounce_who_may_not_have_asked(outside, unanswered, host, number):
    token, sender = unanswered[host][number]
    assert UNANSWERED[number][-1] in outside.silence(host, token, sender)


def test_an_answer_that_comes_back_is_not_answered(outside, host):
    _, _, source = outside.answer(host)
    token = uuid.uuid4().hex
    sender = f"u{token}@outside.test"
    outside.send(host, source.replace("\n", "\r\n").encode(), sender)
    assert "own" in outside.silence(host, token, sender)


def test_a_sender_gets_no_more_answers_an_hour_than_the_pillar_says(outside, host):
    sender = f"u{uuid.uuid4().hex}@outside.test"
    for _ in range(RATE):
        outside.answer(host, sender=sender)
    token, _ = outside.ask(host, sender=sender.replace("@", "+tag@"))
    assert f"this sender got {RATE} answers" in outside.silence(host, token, sender.replace("@", "+tag@"))


def test_only_its_own_address_is_taken_and_only_users_beside_it(outside, host):
    for recipient, taken in ((f"CHECK+x@{DOMAIN[host]}", True), (f"check@{host}.lab.test", False),
                             (f"nobody-{host}@{DOMAIN[host]}", False), (f"alice@{DOMAIN[host]}", True)):  # fmt: skip
        done = outside.lab.swaks(
            host, "--from", "x@outside.test", "--to", recipient, "--quit-after", "RCPT", check=False
        )
        assert (done.status == 0) is taken, (recipient, done.out)


def test_it_runs_as_a_user_of_its_own_that_can_write_nothing_but_its_ledger(lab, outside, host):
    outside.answer(host)
    kept = lab.sh(host, "stat -c '%U %a' /var/lib/mailserver/reflector /var/lib/mailserver/reflector/answers.json")
    assert kept.split() == ["mailserver-reflector", "700", "mailserver-reflector", "600"]
    theirs = "find / -xdev -user mailserver-reflector -not -path '/proc/*' -not -path '/var/lib/mailserver/*'"
    assert lab.sh(host, theirs) == ""
    assert "can run" in lab.sh(
        host, "runuser -u mailserver-reflector -- /usr/local/libexec/mailserver/reflector --check"
    )


def test_a_message_waits_while_dns_does_not_answer_and_is_answered_then(lab, outside, host):
    lab.run("ns1", "systemctl", "stop", "lab-resolver")
    try:
        token, sender = outside.ask(host, signed=False)  # OpenDKIM refuses what it cannot verify now
        lab.until(
            lambda: sender in lab.sh(host, "journalctl -q -o cat -t mailserver-reflector | grep 'tried again' || true"),
            f"{host}: the reflector did not postpone its answer", 60,
        )  # fmt: skip
    finally:
        lab.run("ns1", "systemctl", "start", "lab-resolver")
    lab.run(host, "postqueue", "-f")
    assert arrived(lab, f"Re: {token}")


def test_the_hosts_are_still_found_to_be_all_right(lab, outside):
    found = lab.salt(MAIL_HOSTS, "mailserver.check", "everything=True")
    for host in MAIL_HOSTS:
        assert [one for one in found[host]["findings"] if one["status"] != "ok"] == [], host


def test_a_second_highstate_changes_nothing(lab, outside):
    for result in lab.highstate().values():
        assert result.must_succeed().changed == set()


def test_a_broken_program_bounces_nothing(lab, outside, host):
    module = "/usr/local/libexec/mailserver/reflector.d/mailhost/reflector/main.py"
    lab.run(host, "mv", module, f"{module}.away")
    try:
        token, _ = outside.ask(host)
        lab.until(lambda: "program ended with status" in lab.sh(host, "journalctl -q -o cat -t mailserver-reflector"),
                  f"{host}: no word of a program that does not run")  # fmt: skip
        lab.until(lambda: lab.run(host, "postqueue", "-j").out == "", f"{host}: the queue is not empty")
    finally:
        lab.run(host, "mv", f"{module}.away", module)
    assert lab.run("client", "grep", "-rl", token, "/home/world/Maildir", check=False).out == ""


def test_without_the_key_nothing_of_it_is_left(lab, outside):
    lab.apply("default")
    for host in MAIL_HOSTS:
        done = lab.swaks(host, "--from", "x@outside.test", "--to", f"check@{DOMAIN[host]}", "--quit-after", "RCPT",
                         check=False)  # fmt: skip
        assert done.status != 0
        assert lab.run(host, "id", "mailserver-reflector", check=False).status != 0
        assert lab.sh(host, "ls -d /usr/local/libexec/mailserver/refl* /var/lib/mailserver/refl* || true") == ""
        assert "reflector" not in lab.sh(host, "postconf -n; postconf -M")
