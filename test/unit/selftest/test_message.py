"""The self-test: what is said about a message, and what happens to one that does not come back."""

import contextlib
import os
import pwd
import re
import smtplib
import socket

import dkim
import pytest
import spf
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailhost.errors import SelftestError
from mailhost.receiver import dkim as receiver_dkim
from mailhost.receiver import dmarc as receiver_dmarc
from mailhost.receiver.dmarc import Unanswered
from mailhost.receiver.judge import Queries
from mailhost.selftest import message as selftest_message

ADDRESS = "198.18.0.21"


def dns_of(zone):
    """A look-up in ``zone``, name to list of texts; ``None`` there stands for a server that does not answer."""

    def lookup(name):
        texts = zone.get(name, [])
        if texts is None:
            raise Unanswered(f"DNS gave no answer for {name} TXT: timed out")
        return texts

    return lookup


def dmarc_zone(**records):
    return {f"_dmarc.{name.replace('_', '.')}": [f"v=DMARC1; {record}"] for name, record in records.items()}


@pytest.mark.parametrize(
    ("domain", "asked"),
    [
        ("example.com", ["example.com", "com"]),
        ("a.mail.example.com", ["a.mail.example.com", "mail.example.com", "example.com", "com"]),
        (
            "a.b.c.d.e.f.g.h.i.j.mail.example.com",
            [
                "a.b.c.d.e.f.g.h.i.j.mail.example.com",
                "g.h.i.j.mail.example.com",
                "h.i.j.mail.example.com",
                "i.j.mail.example.com",
                "j.mail.example.com",
                "mail.example.com",
                "example.com",
                "com",
            ],
        ),
        ("1.2.3.4.5.6.7.8", [".".join("12345678"[start:]) for start in range(8)]),
    ],
)  # fmt: skip
def test_the_tree_walk_asks_at_most_eight_names(domain, asked):
    names = []
    receiver_dmarc.walk(domain, lambda name: names.append(name) or [])
    assert names == [f"_dmarc.{name}" for name in asked]
    assert len(names) <= 8


@pytest.mark.parametrize(
    ("domain", "zone", "organization"),
    [
        ("a.example.com", {}, "a.example.com"),
        ("a.example.com", dmarc_zone(example_com="p=none"), "example.com"),
        ("a.example.com", dmarc_zone(a_example_com="p=none", example_com="p=none"), "example.com"),
        ("a.example.com", dmarc_zone(a_example_com="p=none; psd=n", example_com="p=none"), "a.example.com"),
        ("a.example.co.test", dmarc_zone(co_test="p=none; psd=y"), "example.co.test"),
        ("a.b.example.co.test", dmarc_zone(co_test="p=none; psd=y", b_example_co_test="p=none"), "example.co.test"),
        ("co.test", dmarc_zone(co_test="p=none; psd=y"), "co.test"),
        ("a.example.com", {"_dmarc.example.com": ["v=DMARC1; p=none", "v=DMARC1; p=reject"]}, "a.example.com"),
        ("a.example.com", {"_dmarc.example.com": ["v=spf1 -all", "v=DMARC1;p=none"]}, "example.com"),
    ],
)
def test_the_organizational_domain_is_found_by_the_tree_walk(domain, zone, organization):
    found = receiver_dmarc.walk(domain, dns_of(zone))
    assert receiver_dmarc.organizational_domain(domain, found) == organization


ALPHA = dmarc_zone(alpha_test="p=quarantine; sp=reject")


@pytest.mark.parametrize(
    ("author", "passing_spf", "passing_dkim", "zone", "result", "policy", "domain"),
    [
        ("alpha.test", None, ["alpha.test"], ALPHA, "pass", "quarantine", "alpha.test"),
        ("alpha.test", "alpha.test", [], ALPHA, "pass", "quarantine", "alpha.test"),
        ("alpha.test", None, [], ALPHA, "fail", "quarantine", "alpha.test"),
        ("alpha.test", "beta.test", ["gamma.test"], ALPHA, "fail", "quarantine", "alpha.test"),
        ("alpha.test", None, ["mail.alpha.test"], ALPHA, "pass", "quarantine", "alpha.test"),
        ("news.alpha.test", None, ["alpha.test"], ALPHA, "pass", "reject", "alpha.test"),
        ("news.alpha.test", None, ["mail.alpha.test"], ALPHA, "pass", "reject", "alpha.test"),
        ("Alpha.Test", None, ["alpha.TEST"], ALPHA, "pass", "quarantine", "alpha.test"),
        ("alpha.test", None, ["x.alpha.test"], dmarc_zone(alpha_test="p=none; adkim=s"), "fail", "none", "alpha.test"),
        ("alpha.test", None, ["alpha.test"], dmarc_zone(alpha_test="p=none; adkim=s"), "pass", "none", "alpha.test"),
        ("alpha.test", "mail.alpha.test", [], dmarc_zone(alpha_test="p=none; aspf=s"), "fail", "none", "alpha.test"),
        ("alpha.test", "mail.alpha.test", [], dmarc_zone(alpha_test="p=none; adkim=s"), "pass", "none", "alpha.test"),
        ("x.alpha.test", None, ["beta.test"], dmarc_zone(test="p=reject; psd=y"), "fail", "reject", "test"),
        ("alpha.test", None, ["alpha.test"], {}, "none", None, "alpha.test"),
        ("alpha.test", None, ["alpha.test"], dmarc_zone(alpha_test="p=nonsense"), "permerror", None, "alpha.test"),
        (
            "alpha.test",
            None,
            ["alpha.test"],
            dmarc_zone(alpha_test="p=nonsense; rua=mailto:d@alpha.test"),
            "pass",
            "none",
            "alpha.test",
        ),
        ("alpha.test", None, ["alpha.test"], {"_dmarc.alpha.test": None}, "temperror", None, "alpha.test"),
        ("alpha.test", None, ["beta.test"], {**ALPHA, "_dmarc.beta.test": None}, "temperror", None, "alpha.test"),
        ("alpha.test", None, ["alpha.test"], {**ALPHA, "_dmarc.test": None}, "pass", "quarantine", "alpha.test"),
    ],
)  # fmt: skip
def test_dmarc_passes_only_for_an_aligned_domain(author, passing_spf, passing_dkim, zone, result, policy, domain):
    judged = receiver_dmarc.judge(author, passing_spf, passing_dkim, dns_of(zone))
    assert (judged["result"], judged["policy"], judged["domain"].lower()) == (result, policy, domain)
    assert judged["reason"]


@pytest.fixture(scope="module")
def signed():
    """A message from alpha.test signed by dkimpy, and the text of its key record."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    body = b"From: Self <selftest@alpha.test>\r\nTo: a@selftest.invalid\r\nSubject: x\r\n\r\nhello\r\n"
    message = dkim.sign(body, b"new", b"alpha.test", pem) + body
    return message, f"v=DKIM1; k=rsa; p={''.join(public.decode().splitlines()[1:-1])}"


KEY = "new._domainkey.alpha.test"


@pytest.mark.parametrize(
    ("record", "result", "reason"),
    [
        ("right", "pass", ""),
        ([], "fail", "there is no TXT record at new._domainkey.alpha.test"),
        (["v=DKIM1; k=rsa; p="], "fail", "could not parse"),
        (["v=DKIM1; p=AAAA", "v=DKIM1; p="], "fail", "there are 2 TXT records"),
        (None, "temperror", "timed out"),
    ],
)
def test_each_signature_is_judged_by_what_dns_shows(signed, record, result, reason):
    message, text = signed
    zone = {KEY: [text] if record == "right" else record}
    (judged,) = receiver_dkim.dkim_results(message, dns_of(zone))
    assert (judged["domain"], judged["selector"], judged["result"]) == ("alpha.test", "new", result)
    assert reason in judged["reason"]


def test_a_changed_message_fails(signed):
    message, text = signed
    (judged,) = receiver_dkim.dkim_results(message.replace(b"hello", b"hullo"), dns_of({KEY: [text]}))
    assert judged["result"] == "fail"
    assert "body hash" in judged["reason"]


@pytest.fixture
def judged(signed, monkeypatch):
    """Judge the signed message (or another) with pyspf and dkimpy against a zone of TXT records."""
    message, text = signed

    def judge(zone=(), sent=message, addresses=(ADDRESS,)):
        right = {"alpha.test": [f"v=spf1 ip4:{ADDRESS} -all"], KEY: [text], "_dmarc.alpha.test": ["v=DMARC1; p=none"]}
        lookup = dns_of({**right, **dict(zone)})

        def spf_lookup(name, rdtype, *_):
            try:
                return [((name, rdtype), (one.encode(),)) for one in lookup(name)] if rdtype == "TXT" else []
            except Unanswered as err:
                raise spf.TempError(f"DNS {err}") from err

        monkeypatch.setattr(spf, "DNSLookup", spf_lookup)

        def check_spf(address, sender, hostname):
            return spf.check2(i=address, s=sender, h=hostname)

        return selftest_message.judge(
            sent, "selftest@alpha.test", addresses, "mx1.alpha.test", Queries(check_spf, lookup)
        )

    return judge


def test_a_right_domain_passes_and_the_report_says_all_of_it(judged):
    found = judged()
    assert found["result"] is True
    assert found["report"] == (
        "Self-test of mail from selftest@alpha.test\n"
        "\n"
        "[Overall]\n"
        "All is right: SPF, DKIM and DMARC pass.\n"
        "\n"
        "[SPF]\n"
        "Connecting address: 198.18.0.21\n"
        "Result: pass\n"
        "\n"
        "[DKIM]\n"
        "Signing domain: alpha.test (selector new)\n"
        "Result: pass\n"
        "\n"
        "[DMARC]\n"
        "Domain: alpha.test\n"
        "Policy: none\n"
        "Result: pass\n"
    )


@pytest.mark.parametrize(
    ("zone", "results", "said"),
    [
        ({"alpha.test": ["v=spf1 -all"]}, ("fail", "pass", "pass"), "SPF is fail for 198.18.0.21"),
        ({"alpha.test": []}, ("none", "pass", "pass"), "SPF is none for 198.18.0.21"),
        ({"alpha.test": ["v=spf1 -all", "v=spf1 ~all"]}, ("permerror", "pass", "pass"), "SPF is permerror"),
        ({"alpha.test": None}, ("temperror", "pass", "pass"), "SPF is temperror"),
        ({KEY: []}, ("pass", "fail", "pass"), "DKIM is fail (d=alpha.test, s=new)"),
        ({KEY: None}, ("pass", "temperror", "pass"), "DKIM is temperror"),
        ({"_dmarc.alpha.test": []}, ("pass", "pass", "none"), "DMARC is none"),
        ({"_dmarc.alpha.test": None}, ("pass", "pass", "temperror"), "DMARC is temperror"),
        ({KEY: [], "alpha.test": []}, ("none", "fail", "fail"), "DMARC is fail"),
    ],
)
def test_whatever_does_not_pass_is_named(judged, zone, results, said):
    found = judged(zone)
    assert (found["spf"][0]["result"], found["dkim"][0]["result"], found["dmarc"]["result"]) == results
    assert found["result"] is False
    assert said in found["overall"]
    assert found["overall"] in found["report"]


def test_an_unsigned_message_is_called_unsigned(judged, signed):
    found = judged(sent=signed[0].partition(b"\r\nFrom:")[2].join([b"From:", b""]))
    assert (found["result"], found["dkim"], found["dmarc"]["result"]) == (False, [], "pass")
    assert "not signed" in found["overall"]
    assert "none (no signature)" in found["report"]


@pytest.mark.parametrize("addresses", [(ADDRESS, "198.18.0.99"), ()])
def test_spf_must_pass_for_every_address_of_the_domain(judged, addresses):
    found = judged(addresses=addresses)
    assert found["result"] is False
    assert "SPF" in found["overall"]
    assert found["dmarc"]["reason"].startswith("DKIM passes")


class Queue:
    """A Postfix that says of each message what a test wants it to say, and delivers it if it is to."""

    def __init__(self, port, states, deliver=False):
        self.port, self.states, self.deliver = port, list(states), deliver
        self.deleted = []

    def submit(self, sender, recipient, message):
        if self.deliver:
            with smtplib.SMTP("127.0.0.1", self.port) as client:
                client.sendmail("old@alpha.test", ["selftest+old@selftest.invalid"], b"Subject: left over\r\n\r\n")
                client.sendmail(
                    sender, [recipient], message.replace(b"\n\n", b"\n\n..\n.dot\n", 1).replace(b"\n", b"\r\n")
                )

    def queued(self, recipient):
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return [dict(one) for one in state]

    def delete(self, queue_id, queue_name):
        self.deleted.append((queue_id, queue_name))

    def log(self, sender, recipient):
        return [f"postfix/cleanup: milter-reject: 4.7.1 Service unavailable; to=<{recipient}>"]


@pytest.fixture
def port(monkeypatch):
    monkeypatch.setattr(selftest_message, "_LOOK_EVERY", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    return free


def test_a_message_arrives_as_it_was_sent_and_older_ones_are_dropped(port):
    message = selftest_message.send("selftest@alpha.test", port, Queue(port, [[]], deliver=True))
    assert message.startswith(b"From: selftest@alpha.test\r\nTo: selftest+")
    assert b"\r\n\r\n..\r\n.dot\r\n" in message


HELD_BACK = {"id": "8Yq", "queue": "maildrop", "reason": ""}


class Beset(Queue):
    """A Postfix on a host where another user sends forged messages to the port before the real one, and after it."""

    def __init__(self, port, forge, deliver=True):
        super().__init__(port, [[HELD_BACK], []], deliver)
        self.forge, self.log_of = forge, []

    def submit(self, sender, recipient, message):
        self.log_of.append(self.forge(self.port, sender, recipient))
        super().submit(sender, recipient, message)


def by_another_user(port, sender, recipient):
    """A forged message by a connection of another user's own; return what became of it."""
    told, tells = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setgid(pwd.getpwnam("daemon").pw_gid)
            os.setuid(pwd.getpwnam("daemon").pw_uid)
            os.write(tells, through_postfix(port, sender, recipient))
        os._exit(0)
    os.waitpid(child, 0)
    os.close(tells)
    with os.fdopen(told, "rb") as file:
        return file.read()


def and_gone(port, sender, recipient):
    """As :func:`by_another_user`, by a client that says all at once and closes before it is looked at."""
    with socket.create_connection(("127.0.0.1", port)) as client:
        text = (
            f"EHLO x\r\nMAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n{FORGED.format(sender)}.\r\nQUIT\r\n"
        )
        client.sendall(text.encode())


FORGED = "From: {}\r\nMessage-ID: <forged@alpha.test>\r\nSubject: Self-test\r\n\r\nforged\r\n"


def through_postfix(port, sender, recipient):
    """A forged message to the recipient, which anybody can see, by way of Postfix."""
    try:
        with smtplib.SMTP("127.0.0.1", port, timeout=10) as client:
            client.sendmail(sender, [recipient], FORGED.format(sender).encode())
        return b"taken"
    except (OSError, smtplib.SMTPException):
        return b"refused"


@pytest.mark.parametrize(
    ("forge", "became"), [(by_another_user, b"refused"), (through_postfix, b"taken"), (and_gone, None)]
)
def test_a_forged_message_is_never_taken_for_the_one_that_was_sent(port, forge, became):
    if forge is by_another_user and os.geteuid() != 0:
        pytest.skip("only root can be another user")
    postfix = Beset(port, forge)
    message = selftest_message.send("selftest@alpha.test", port, postfix)
    assert b"forged" not in message
    assert postfix.log_of == [became]
    with pytest.raises(SelftestError, match="bounced or discarded"):
        selftest_message.send("selftest@alpha.test", port, Beset(port, forge, deliver=False))


def test_what_proves_a_message_is_not_in_sight_of_other_users(port):
    seen = []

    class Seen(Queue):
        def submit(self, sender, recipient, message):
            seen.append((sender, recipient, message))
            super().submit(sender, recipient, message)

    selftest_message.send("selftest@alpha.test", port, Seen(port, [[]], deliver=True))
    ((sender, recipient, message),) = seen
    (proof,) = re.findall(rb"^Message-ID: <(\w{32})@", message, re.MULTILINE)
    assert proof.decode() not in f"{sender} {recipient}"


DEFERRED = {"id": "4Xq", "queue": "deferred", "reason": "451 4.7.1 try later"}


@pytest.mark.parametrize(
    ("states", "limit", "said", "deleted"),
    [
        ([[HELD_BACK], [DEFERRED]], 60, r"could not deliver.*451 4\.7\.1 try later", [("4Xq", "deferred")]),
        ([[HELD_BACK]], 0.05, r"still waits.*\(maildrop\).*milter-reject: 4\.7\.1", [("8Yq", "maildrop")]),
        ([[HELD_BACK], []], 60, r"bounced or discarded.*milter-reject", []),
    ],
)
def test_a_message_that_does_not_come_back_is_explained_and_deleted(port, states, limit, said, deleted):
    postfix = Queue(port, states)
    with pytest.raises(SelftestError, match=rf"(?s){said}"):
        selftest_message.send("selftest@alpha.test", port, postfix, limit)
    assert postfix.deleted == deleted


def test_a_port_in_use_is_said_to_be(port):
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(
            SelftestError, match=rf"port {port} .*user \w+ does.*another self-test may be under way.*selftest:port"
        ),
    ):
        selftest_message.send("selftest@alpha.test", port, Queue(port, [[]]))


def test_only_our_own_message_is_found_in_the_queue():
    listing = (
        '{"queue_name": "deferred", "queue_id": "A1", "recipients": [{"address": "x@outside.test"}]}\n'
        '{"queue_name": "deferred", "queue_id": "A2", "recipients": '
        '[{"address": "selftest+aa@selftest.invalid", "delay_reason": "connect: refused"}]}\n'
        '{"queue_name": "active", "queue_id": "A3", "recipients": [{"address": "selftest+bb@selftest.invalid"}]}\n'
    )
    assert selftest_message.waiting(listing, "selftest+aa@selftest.invalid") == [
        {"id": "A2", "queue": "deferred", "reason": "connect: refused"}
    ]
    assert selftest_message.waiting("", "selftest+aa@selftest.invalid") == []
