"""The reflector: what it says in both languages, whom it answers, and that nobody can have it write to others."""

import email
import email.policy
import io
import json
import re
import string
from pathlib import Path

import authheaders
import dkim
import pytest
from authres import DKIMAuthenticationResult, SPFAuthenticationResult
from hypothesis import given, settings
from hypothesis import strategies as st
from salt.utils.stringutils import check_include_exclude

from house import HOUSE, imports
from mailhost.dkim import keystore
from mailhost.receiver import dmarc as receiver_dmarc
from mailhost.receiver import dmarc_suffix
from mailhost.receiver.dmarc import Unanswered
from mailhost.receiver.header import Header, author_domains
from mailhost.reflector import main as reflector_main
from mailhost.reflector import message as reflector_message
from mailhost.reflector import report as reflector_report
from mailhost.reflector.main import World, reflect
from mailhost.reflector.message import Envelope
from mailhost.reflector.rate import WINDOW, Ledger
from mailhost.reflector.texts import TEXTS

TOP = Path(__file__).resolve().parents[3]
NOW = 1_795_000_000
SENDER = "user@outside.example"
OURS = "check@a.example"
CLIENT = "192.0.2.9"
SETTINGS = {
    "address": OURS,
    "hostname": "mx1.a.example",
    "language": "en",
    "networks": ["127.0.0.0/8", "[::1]/128", "10.1.0.0/16", "hash:/etc/postfix/x"],
}
PLAIN = (
    b"From: User <user@outside.example>\r\nTo: check@a.example\r\nSubject: x\r\nMessage-ID: <1@o.example>\r\n\r\nhi\r\n"
)
RIGHT_DNS = {
    "outside.example": [f"v=spf1 ip4:{CLIENT} -all"],
    "_dmarc.outside.example": ["v=DMARC1; p=reject"],
}


@pytest.fixture(scope="module")
def signer():
    """A function that signs a message, and the text of its key record."""
    (pem,) = keystore.generate([1024])
    record = f"v=DKIM1; k=rsa; p={keystore.public_half(pem, 'the key')[0]}"

    def sign(message, domain="outside.example", **options):
        return dkim.sign(message, b"s1", domain.encode(), pem.encode(), **options) + message

    return sign, record


class Zone:
    """DNS as a test wants it: texts by name (``None``: no answer), and SPF by what the record of the domain says."""

    def __init__(self, zone, without_mail=()):
        self.zone, self.without_mail, self.asked = zone, without_mail, []

    def texts(self, name):
        self.asked.append(name)
        found = self.zone.get(name.lower(), [])
        if found is None:
            raise Unanswered(f"DNS gave no answer for {name} TXT: timed out")
        return found

    def takes_mail(self, domain):
        return domain not in self.without_mail

    def spf(self, address, sender, helo):
        try:
            records = self.texts(sender.rpartition("@")[2])
        except Unanswered as err:
            return "temperror", str(err)
        if not records:
            return "none", ""
        if records[0].endswith("+all"):
            return "pass", ""
        return ("pass", "") if f"ip4:{address} " in f"{records[0]} " else ("fail", "")

    @property
    def world(self):
        return World(self.spf, self.texts, self.takes_mail)


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path, 10, 100)


def handled(ledger, message=PLAIN, sender=SENDER, client=CLIENT, login="", zone=None, now=NOW, **more):
    dns = zone if isinstance(zone, Zone) else Zone({**RIGHT_DNS, **(zone or {})})
    return reflect(message, Envelope(sender, client, "h.example", login), {**SETTINGS, **more}, dns.world, ledger, now)


def read(outcome):
    assert outcome.answer, outcome
    answer = email.message_from_bytes(outcome.answer, policy=email.policy.default)
    return answer, answer.get_content()


def with_field(*lines):
    return b"".join(f"{line}\r\n".encode() for line in lines) + PLAIN


# Who gets an answer, and who does not


@pytest.mark.parametrize(
    ("sender", "fields", "reason"),
    [
        ("", (), "no sender"),
        ("<>", (), "no sender"),
        ("MAILER-DAEMON", (), "no sender"),
        ("mailer-daemon@outside.example", (), "nobody reads"),
        ("double-bounce@outside.example", (), "nobody reads"),
        ("owner-talk@outside.example", (), "nobody reads"),
        ("talk-owner@outside.example", (), "nobody reads"),
        ("talk-request@outside.example", (), "nobody reads"),
        ("talk-bounces@outside.example", (), "nobody reads"),
        ("talk-bounces+user=a.example@outside.example", (), "nobody reads"),
        ("bounce-123@outside.example", (), "nobody reads"),
        ("no-reply@outside.example", (), "nobody reads"),
        ("noreply@outside.example", (), "nobody reads"),
        ("user", (), "ordinary form"),
        ("user@outside", (), "ordinary form"),
        ("user@@outside.example", (), "ordinary form"),
        ("a b@outside.example", (), "ordinary form"),
        ("user@outside.example\nBcc: v@b.example", (), "ordinary form"),
        ("user@outside.example,v@b.example", (), "ordinary form"),
        ("v@b.example user@outside.example", (), "ordinary form"),
        ("|cmd@outside.example, x", (), "ordinary form"),
        ("user@[192.0.2.9]", (), "ordinary form"),
        ("üser@outside.example", (), "ordinary form"),
        ("user@-outside.example", (), "ordinary form"),
        (OURS, (), "own"),
        ("check+x@A.example", (), "own"),
        (SENDER, ("X-Loop: check@a.example",), "own"),
        (SENDER, ("Auto-Submitted: auto-replied",), "a program sent it"),
        (SENDER, ("Auto-Submitted: auto-generated; x=y",), "a program sent it"),
        (SENDER, ("Auto-Submitted: no", "Auto-Submitted: auto-notified"), "a program sent it"),
        (SENDER, ("Auto-Submitted:",), "a program sent it"),
        (SENDER, ("List-Id: <talk.outside.example>",), "mailing list"),
        (SENDER, ("list-unsubscribe: <mailto:x@outside.example>",), "mailing list"),
        (SENDER, ("Precedence: bulk",), "Precedence: bulk"),
        (SENDER, ("Precedence:  LIST ",), "Precedence: list"),
        (SENDER, ("precedence: junk",), "Precedence: junk"),
        (SENDER, ("Content-Type: multipart/report; report-type=delivery-status",), "report of a mail system"),
    ],
)
def test_these_get_no_answer_and_no_question_is_asked_for_them(ledger, sender, fields, reason):
    dns = Zone({**RIGHT_DNS, "b.example": [f"v=spf1 ip4:{CLIENT} -all"]})
    outcome = handled(ledger, with_field(*fields), sender, zone=dns)
    assert not outcome.answer
    assert reason in outcome.reason
    assert dns.asked == []


@pytest.mark.parametrize(
    "fields",
    [
        ("Auto-Submitted: no",),
        ("Auto-Submitted: No (by hand); x=y",),
        ("Precedence: normal",),
        ("X-Loop: other@a.example",),
        ("X-List-Id: x",),
        ("Content-Type: multipart/mixed; boundary=x",),
        ("a line that is no field",),
        (" a line that continues none",),
    ],
)
def test_what_people_write_gets_an_answer(ledger, fields):
    assert handled(ledger, with_field(*fields)).answer


def test_a_sender_whose_domain_takes_no_mail_gets_no_answer(ledger):
    outcome = handled(ledger, zone=Zone(RIGHT_DNS, without_mail=("outside.example",)))
    assert (outcome.answer, "nowhere to go" in outcome.reason) == (b"", True)


def test_a_huge_message_gets_no_answer(ledger):
    outcome = handled(ledger, PLAIN + b"x" * reflector_main.LARGEST)
    assert (outcome.answer, "more than" in outcome.reason) == (b"", True)


NO_SPF = {"outside.example": ["v=spf1 ip4:192.0.2.1 -all"]}
FORGED = "neither SPF nor DKIM passes"


@pytest.mark.parametrize(
    ("spf", "signed_for", "login", "answered"),
    [
        ("pass", None, "", True),
        ("fail", "outside.example", "", True),
        ("fail", "mail.outside.example", "", True),
        ("fail", None, "", False),
        ("open", None, "", False),
        ("open", "b.example", "", False),
        ("open", "outside.example", "", True),
        ("none", None, "", False),
        ("fail", "b.example", "", False),
        ("none", "b.example", "", False),
        ("fail", "example", "", False),
        ("fail", "", "", False),
        ("fail", None, "user", True),
    ],
)
def test_only_a_sender_that_is_established_gets_an_answer(ledger, signer, spf, signed_for, login, answered):
    sign, record = signer
    records = {
        "pass": {},
        "open": {"outside.example": ["v=spf1 +all"]},
        "fail": NO_SPF,
        "none": {"outside.example": []},
    }[spf]
    zone = {**records, f"s1._domainkey.{signed_for}": [record]}
    outcome = handled(ledger, sign(PLAIN, signed_for) if signed_for else PLAIN, zone=zone, login=login)
    assert bool(outcome.answer) is answered, outcome
    assert (FORGED in outcome.reason) is not answered


def test_a_signature_for_the_domain_in_from_does_not_establish_another_sender(ledger, signer):
    sign, record = signer
    zone = {"s1._domainkey.outside.example": [record], "b.example": ["v=spf1 -all"]}
    outcome = handled(ledger, sign(PLAIN), sender="victim@b.example", zone=zone)
    assert (outcome.answer, FORGED in outcome.reason) == (b"", True)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"d=outside.example", b"d=outside.example; D=b.example"),
        (b"d=outside.example", b"D=b.example; d=outside.example"),
        (b"d=outside.example", b"d=outside.example; d=b.example"),
    ],
)
def test_a_signature_with_two_domains_is_that_of_the_one_that_is_verified(ledger, signer, old, new):
    sign, record = signer
    message = sign(PLAIN).replace(old, new, 1)
    zone = {**NO_SPF, "s1._domainkey.outside.example": [record], "s1._domainkey.b.example": [record]}
    zone["b.example"] = ["v=spf1 -all"]
    outcome = handled(ledger, message, sender="victim@b.example", zone=zone)
    assert not outcome.answer


@pytest.mark.parametrize("name", ["outside.example", "s1._domainkey.outside.example"])
def test_when_dns_does_not_say_who_sent_it_the_message_is_to_be_tried_again(ledger, signer, name):
    sign, _ = signer
    with pytest.raises(Unanswered):
        handled(ledger, sign(PLAIN), zone={**NO_SPF, name: None})


# The rate


def test_a_sender_gets_no_more_answers_than_its_rate_and_again_after_an_hour(tmp_path):
    ledger = Ledger(tmp_path, 3, 100)
    senders = ["user@outside.example", "USER@Outside.Example", "user+tag@outside.example", "user+other@outside.example"]
    answered = [bool(handled(ledger, sender=one, now=NOW + number).answer) for number, one in enumerate(senders)]
    assert answered == [True, True, True, False]
    assert handled(ledger, sender="other@outside.example", now=NOW + 4).answer
    assert "3 answers in the last hour" in handled(ledger, now=NOW + WINDOW - 1).reason
    assert handled(ledger, now=NOW + WINDOW).answer


def test_all_senders_together_get_no_more_answers_than_the_total(tmp_path):
    ledger = Ledger(tmp_path, 3, 5)
    answered = [bool(handled(ledger, sender=f"u{number}@outside.example").answer) for number in range(8)]
    assert answered == [True] * 5 + [False] * 3
    assert len(json.loads((tmp_path / "answers.json").read_text())) == 5


def test_who_is_over_the_rate_costs_no_question(tmp_path):
    dns = Zone(RIGHT_DNS)
    assert handled(Ledger(tmp_path, 1, 5), zone=dns).answer
    dns.asked.clear()
    assert not handled(Ledger(tmp_path, 1, 5), zone=dns).answer
    assert dns.asked == []


def test_a_message_without_an_answer_does_not_count(tmp_path):
    ledger = Ledger(tmp_path, 1, 1)
    assert not handled(ledger, zone=NO_SPF).answer
    assert handled(ledger).answer


@pytest.mark.parametrize("text", ["", "{", "[1]", "[[1]]", '{"a": 1}', '[["x", "y"]]', "null", "\x00"])
def test_a_damaged_ledger_is_begun_anew(tmp_path, text):
    (tmp_path / "answers.json").write_text(text)
    ledger = Ledger(tmp_path, 1, 5)
    assert handled(ledger).answer
    assert not handled(ledger).answer


def test_a_clock_that_was_set_back_blocks_nobody(tmp_path):
    ledger = Ledger(tmp_path, 1, 5)
    assert handled(ledger, now=NOW + 86400).answer
    assert handled(ledger, now=NOW).answer


# The answer


def test_the_answer_goes_to_the_sender_of_the_envelope_alone_and_is_no_letter_of_a_person(ledger):
    message = with_field("Reply-To: v@b.example", "Cc: w@b.example", "References: <0@o.example> x <y z> <2@o.example>")
    answer, _ = read(handled(ledger, message))
    assert answer["To"] == SENDER
    assert answer["From"] == OURS
    assert answer["Auto-Submitted"] == "auto-replied"
    assert answer["In-Reply-To"] == "<1@o.example>"
    assert answer["References"] == "<0@o.example> <2@o.example> <1@o.example>"
    assert answer["Subject"] == "Re: x"
    assert answer["X-Loop"] == OURS
    assert not {"cc", "bcc", "reply-to"} & {name.lower() for name in answer}
    assert "b.example" not in str(answer)


def test_an_answer_to_an_answer_is_not_written(ledger):
    outcome = handled(ledger)
    assert not handled(ledger, outcome.answer.replace(b"\n", b"\r\n")).answer


@pytest.mark.parametrize(
    ("field", "subject"),
    [
        ("Subject: =?utf-8?B?5pel5pys6Kqe?=", "Re: 日本語"),
        ("Subject: 日本語", "Re: 日本語"),
        ("Subject: =?utf-8?Q?a=0D=0ABcc:_v@b.example?=", "Re: a Bcc: v@b.example"),
        ("Subject: =?no-such?B?YWJj?=", "Re: abc"),
        ("Subject: =?utf-8?B?!?=", None),
        ("Subject: a\r\n folded", "Re: a folded"),
        ("Subject:", "Re:"),
        (f"Subject: {'long ' * 100}", None),
    ],
)
def test_the_subject_comes_back_on_one_line_and_brings_no_field_with_it(ledger, field, subject):
    answer, _ = read(handled(ledger, f"{field}\r\n".encode() + PLAIN.replace(b"Subject: x\r\n", b"")))
    assert subject is None or answer["Subject"] == subject
    assert answer["Bcc"] is None
    assert len(answer["Subject"]) <= 150


def test_the_answer_has_seven_bits_so_that_no_relay_breaks_its_signature(ledger):
    for language in TEXTS:
        assert handled(ledger, language=language).answer.isascii()


# The report


def found(spf="pass", dkim=("pass",), dmarc="pass", older=None, why="", left_out=0, is_open=False):
    policy = None if dmarc in ("none", "permerror", "temperror") else "reject"
    judged = {"result": dmarc, "domain": "o.example", "policy": policy, "reason": "the reason", "author": "o.example"}
    return {
        "spf": {
            "address": CLIENT,
            "helo": "h.example",
            "domain": "o.example",
            "result": spf,
            "why": why,
            "open": is_open,
            "explanation": "what pyspf says",
        },
        "dkim": [{"domain": "o.example", "selector": "s1", "result": one, "reason": "why so"} for one in dkim],
        "left_out": left_out,
        "dmarc": judged,
        "older": {**judged, "result": older or dmarc},
    }


CASES = [
    (found(), "right", ()),
    (found(spf="unjudged", why="login"), "own", ("spf.unjudged.login",)),
    (found(spf="unjudged", why="network"), "own", ("spf.unjudged.network",)),
    (
        found(spf="unjudged", why="network", dkim=(), dmarc="fail"),
        "wrong",
        ("spf.unjudged.network", "dkim.none", "dmarc.fail"),
    ),
    (found(spf="fail"), "wrong", ("spf.fail",)),
    (found(spf="softfail"), "wrong", ("spf.softfail",)),
    (found(spf="neutral"), "wrong", ("spf.neutral",)),
    (found(spf="none"), "wrong", ("spf.none",)),
    (found(spf="permerror"), "wrong", ("spf.permerror", "what pyspf says")),
    (found(spf="temperror"), "unknown", ("spf.temperror", "what pyspf says")),
    (found(spf="temperror", dkim=("fail",)), "wrong", ("spf.temperror", "dkim.fail")),
    (found(dkim=()), "wrong", ("dkim.none",)),
    (found(dkim=("pass", "fail")), "wrong", ("dkim.fail", "why so")),
    (found(dkim=("neutral",)), "wrong", ("dkim.neutral",)),
    (found(dkim=("temperror",)), "unknown", ("dkim.temperror",)),
    (found(dmarc="fail"), "wrong", ("dmarc.fail", "the reason")),
    (found(dmarc="none"), "wrong", ("dmarc.none",)),
    (found(dmarc="permerror"), "wrong", ("dmarc.permerror",)),
    (found(dmarc="temperror"), "unknown", ("dmarc.temperror",)),
    (found(older="fail"), "wrong", ("dmarc.older", "fault.older")),
    (found(dmarc="fail", older="pass"), "wrong", ("dmarc.older", "dmarc.fail")),
    (found(is_open=True), "wrong", ("spf.open", "fault.open")),
    (found(left_out=3), "right", ("dkim.left_out",)),
]


PARTS = ("SPF", "DKIM", "DMARC")
ALWAYS = (
    *("spf.address", "spf.helo", "spf.domain", "dkim.domain", "dkim.selector"),
    *("dmarc.author", "dmarc.domain", "dmarc.policy"),
)


def section(report, part):
    return report.partition(f"[{part}]\n")[2].partition("\n\n")[0]


def filled(text):
    """A pattern of a text, whatever is filled in."""
    return ".*".join(re.escape(part) for part, *_ in string.Formatter().parse(text))


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize(("results", "overall", "said"), CASES)
def test_the_report_says_what_was_found_and_what_to_do(results, overall, said, language):
    report = reflector_report.report(results, SENDER, "mx1.a.example", "2026-11-18", language)
    texts = TEXTS[language]
    assert reflector_report.overall(results) == overall
    assert re.search(filled(texts[f"overall.{overall}"]), report)
    for other in set(reflector_report.OVERALL) - {overall}:
        assert not re.search(filled(texts[f"overall.{other}"]), report), other
    for one in said:
        assert re.search(filled(texts.get(one, one)), report), one
    for name in set(texts) - {*said, *ALWAYS}:
        part = name.partition(".")[0].upper()
        assert part not in PARTS or not re.search(filled(texts[name]), section(report, part)), name
    for part in (texts["overall"], "[SPF]", "[DKIM]", "[DMARC]", CLIENT, "o.example", SENDER):
        assert part in report
    assert "{" not in report


def test_the_languages_say_the_same_things():
    english, japanese = TEXTS["en"], TEXTS["ja"]
    assert english.keys() == japanese.keys()
    for name, text in english.items():
        names = {field for _, field, _, _ in string.Formatter().parse(text) if field}
        assert names == {field for _, field, _, _ in string.Formatter().parse(japanese[name]) if field}, name


def test_a_right_message_is_told_so_in_full(ledger, signer):
    sign, record = signer
    zone = {"s1._domainkey.outside.example": [record]}
    _, report = read(handled(ledger, sign(PLAIN), zone=zone))
    assert report == (
        "Hello user@outside.example,\n"
        "\n"
        "This is how your message was seen by mx1.a.example (2026-11-18 11:06:40 UTC).\n"
        "\n"
        "[Overall]\n"
        "All is right: SPF, DKIM and DMARC pass.\n"
        "\n"
        "[SPF]\n"
        "Connecting address: 192.0.2.9\n"
        "Name in HELO: h.example\n"
        "Domain of the sender: outside.example\n"
        "Result: pass\n"
        "\n"
        "[DKIM]\n"
        "Signing domain: outside.example\n"
        "Selector: s1\n"
        "Result: pass\n"
        "\n"
        "[DMARC]\n"
        "Domain in From: outside.example\n"
        "Record of: outside.example\n"
        "Policy: reject\n"
        "Result: pass\n"
        "\n"
        "A program wrote this, and nobody reads answers to it.\n"
    )


@pytest.mark.parametrize(
    ("client", "login", "why"),
    [
        ("192.0.2.200", "user", "login"),
        ("127.0.0.1", "", "network"),
        ("::1", "", "network"),
        ("10.1.2.3", "", "network"),
        ("", "", "network"),
        ("unknown", "", "network"),
        ("10.2.0.1", "", ""),
        ("2001:db8::1", "", ""),
    ],
)
def test_an_address_that_spf_says_nothing_about_is_not_judged_by_it(signer, client, login, why):
    sign, record = signer
    zone = Zone({**RIGHT_DNS, "s1._domainkey.outside.example": [record]})
    envelope = Envelope(SENDER, client, "h.example", login)
    spf = reflector_main.judge(sign(PLAIN), envelope, SETTINGS, zone.world)["spf"]
    assert (spf["result"], spf["why"]) == ("unjudged" if why else "fail", why)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"From: User <user@outside.example>\r\n", b"", "no address in From"),
        (b"From: User <user@outside.example>", b"From: a@outside.example, b@b.example", "several domains"),
        (b"From: User", b"From: x@b.example\r\nFrom: User", "several domains"),
        (b"<user@outside.example>", b"<user@>", "no valid domain"),
        (b"User <user@outside.example>", b"undisclosed:;", "no"),
    ],
)
def test_a_message_without_one_author_is_not_judged_by_dmarc(ledger, old, new, reason):
    _, report = read(handled(ledger, PLAIN.replace(old, new)))
    assert "Result: permerror" in report
    assert reason in report


def test_no_more_signatures_are_verified_than_is_reasonable_and_the_report_says_so(ledger, signer):
    sign, record = signer
    message = PLAIN
    for _ in range(8):
        message = sign(message)
    dns = Zone({**RIGHT_DNS, "s1._domainkey.outside.example": [record]})
    _, report = read(handled(ledger, message, zone=dns))
    assert report.count("Selector: s1") == reflector_main.MOST_SIGNATURES
    assert "too many: 3" in report


def test_sha_1_and_a_monstrous_key_do_not_pass(ledger, signer):
    sign, record = signer
    zone = {"s1._domainkey.outside.example": [record]}
    _, report = read(handled(ledger, sign(PLAIN, signature_algorithm=b"rsa-sha1"), zone=zone))
    assert "SHA-1" in report
    _, report = read(handled(ledger, sign(PLAIN), zone={"s1._domainkey.outside.example": [record + "A" * 4000]}))
    assert "more than 2048 characters" in report


# DMARC by the older rules


SUFFIX = {
    "_dmarc.example.co.uk": ["v=DMARC1; p=quarantine; sp=reject; adkim=s"],
    "_dmarc.my-shop.com": ["v=DMARC1; p=none"],
    "_dmarc.several.com": ["v=DMARC1; p=none", "v=DMARC1; p=reject"],
    "_dmarc.broken.com": ["v=DMARC1; p"],
    "_dmarc.deep.part.com": ["v=DMARC1; p=reject"],
}


@pytest.mark.parametrize(
    ("author", "spf", "dkim", "result", "policy"),
    [
        ("example.co.uk", "example.co.uk", [], "pass", "quarantine"),
        ("example.co.uk", "mail.example.co.uk", [], "pass", "quarantine"),
        ("example.co.uk", None, ["mail.example.co.uk"], "fail", "quarantine"),
        ("news.example.co.uk", None, ["news.example.co.uk"], "pass", "reject"),
        ("example.co.uk", "other.co.uk", [], "fail", "quarantine"),
        ("my-shop.com", "my-shop.com", [], "pass", "none"),
        ("my-shop.com", "my-other.com", [], "fail", "none"),
        ("several.com", "several.com", [], "none", None),
        ("nothing.com", "nothing.com", [], "none", None),
        ("x.deep.part.com", "x.deep.part.com", [], "none", None),
    ],
)
def test_the_older_rules_go_by_the_public_suffix_list(author, spf, dkim, result, policy):
    judged = dmarc_suffix.judge(author, spf, dkim, Zone(SUFFIX).texts)
    assert (judged["result"], judged["policy"]) == (result, policy)


def test_the_rules_differ_where_a_record_is_at_neither_the_name_nor_the_organization():
    both = [judge.judge("x.deep.part.com", "x.deep.part.com", [], Zone(SUFFIX).texts)["result"]
            for judge in (receiver_dmarc, dmarc_suffix)]  # fmt: skip
    assert both == ["pass", "none"]


def test_dns_that_does_not_answer_is_a_temperror_and_a_broken_record_none():
    assert dmarc_suffix.judge("a.com", None, [], Zone({"_dmarc.a.com": None}).texts)["result"] == "temperror"
    assert dmarc_suffix.judge("broken.com", None, [], Zone(SUFFIX).texts)["result"] == "permerror"


@pytest.mark.parametrize("author", ["example.co.uk", "news.example.co.uk"])
@pytest.mark.parametrize("spf", [None, "mail.example.co.uk", "b.com"])
@pytest.mark.parametrize("signer_domain", [None, "example.co.uk", "b.com"])
def test_the_older_rules_are_concluded_as_authheaders_itself_concludes_them(author, spf, signer_domain):
    def record(name):
        return next(iter(SUFFIX.get(name, ())), None)

    results = (
        SPFAuthenticationResult(result="pass", smtp_mailfrom=f"x@{spf}") if spf else None,
        DKIMAuthenticationResult(result="pass", header_d=signer_domain) if signer_domain else None,
    )
    message = f"From: x@{author}\r\n\r\n".encode()
    theirs = authheaders.check_dmarc(message, *results, dnsfunc=record)
    ours = dmarc_suffix.judge(author, spf, [signer_domain] if signer_domain else [], Zone(SUFFIX).texts)
    assert ours["result"] == theirs.result


# Whatever comes in


FIELDS = ("From", "To", "Subject", "Message-ID", "References", "DKIM-Signature", "Received", "Content-Type", "Sender")
VALUES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([
        b"<user@outside.example>", b"a@b.example, c@d.example", b"=?utf-8?B?=?=", b"=?x?Q?=0D=0ABcc: v@b.example?=",
        b"v=1; a=rsa-sha256; d=outside.example; s=s1; h=from; bh=; b=", b"v=1; a=ed25519-sha256; d=b.example; s=x;",
        b"v=1; a=rsa-sha256; c=simple/simple; d=outside.example; s=s1; h=from; bh=AAAA; b=AAAA; l=-1; t=x",
        b"\xff\xfe\r\nBcc: v@b.example", b'"' * 50, b"(" * 50, b"<" * 50, b"x@[1", b"group: a@b.example;",
    ]),
)  # fmt: skip
MESSAGES = st.one_of(
    st.binary(max_size=300),
    st.builds(
        lambda fields, body, end: b"".join(name.encode() + b": " + value + end for name, value in fields) + end + body,
        st.lists(st.tuples(st.sampled_from(FIELDS), VALUES), max_size=8),
        st.binary(max_size=100),
        st.sampled_from([b"\n", b"\r\n", b"\r"]),
    ),
)
SENDERS = st.one_of(
    st.sampled_from([SENDER, "", "victim@b.example", "x@outside.example\r\nBcc: v@b.example", "-f@outside.example"]),
    st.text(max_size=40),
    st.from_regex(r"[a-z+=-]{1,10}@(outside|b)\.example", fullmatch=True),
)


@settings(max_examples=200, deadline=None)
@given(message=MESSAGES, sender=SENDERS, client=st.sampled_from([CLIENT, "", "x", "::1"]), helo=st.text(max_size=20))
def test_whatever_comes_in_is_answered_to_the_envelopes_sender_or_to_nobody(tmp_path_factory, message, sender, client, helo):  # fmt: skip  # noqa: E501
    ledger = Ledger(tmp_path_factory.getbasetemp(), 10**6, 10**6)
    zone = Zone({**RIGHT_DNS, "s1._domainkey.outside.example": ["v=DKIM1; p=AAAA"], "b.example": ["v=spf1 -all"]})
    outcome = reflect(message, Envelope(sender, client, helo), SETTINGS, zone.world, ledger, NOW)
    (tmp_path_factory.getbasetemp() / "answers.json").unlink(missing_ok=True)
    assert bool(outcome.answer) is not bool(outcome.reason)
    if outcome.answer:
        assert reflector_message.is_address(sender)
        assert sender.endswith("@outside.example")
        answer = email.message_from_bytes(outcome.answer)
        assert answer.get_all("To") == [sender]
        assert {name.lower() for name in answer} <= {
            "content-type", "mime-version", "content-transfer-encoding", "from", "to", "subject", "date", "message-id",
            "in-reply-to", "references", "auto-submitted", "x-auto-response-suppress", "x-loop",
        }  # fmt: skip


@given(message=st.binary(max_size=400))
def test_any_bytes_can_be_read(message):
    header = Header(message)
    author_domains(header)
    reflector_message.arrival(header)
    assert "\n" not in reflector_message.subject(header)


# The program


class Host:
    """What the program does on a host: log lines, and messages that it hands to sendmail(1)."""

    def __init__(self, folder, monkeypatch, world):
        self.logged, self.sent = [], []
        self.state = folder / "state"
        self.state.mkdir()
        written = {**SETTINGS, "rate": 10, "total": 100, "timeout": 1, "state": str(self.state)}
        (folder / "reflector.json").write_text(json.dumps(written))
        monkeypatch.setattr(reflector_main, "SETTINGS", str(folder / "reflector.json"))
        sendmail = folder / "sendmail"
        sendmail.write_text(f'#!/bin/sh\necho "$@" >{folder}/to\ncat >{folder}/sent\nexit $(cat {folder}/status)\n')
        sendmail.chmod(0o755)
        (folder / "status").write_text("0")
        self.folder = folder
        monkeypatch.setattr(reflector_main, "SENDMAIL", str(sendmail))
        monkeypatch.setattr(reflector_main, "_limit", lambda: None)
        monkeypatch.setattr(reflector_main.receiver_spf, "spf_check", lambda timeout: world.spf)
        monkeypatch.setattr(reflector_main.receiver_resolver, "Resolver", lambda timeout: world)
        monkeypatch.setattr(reflector_main.syslog, "syslog", lambda level, line: self.logged.append(line))
        monkeypatch.setattr(reflector_main.time, "time", lambda: NOW)
        self.monkeypatch = monkeypatch

    def take(self, message, sender=SENDER, client=CLIENT):
        stdin = type("Input", (), {"buffer": io.BytesIO(message)})
        self.monkeypatch.setattr(reflector_main.sys, "stdin", stdin)
        words = [f"--sender={sender}", f"--client={client}", "--helo=h.example", "--login=", "--queue-id=4Xq"]
        return reflector_main.main(words)

    def handed_over(self):
        sent = self.folder / "sent"
        return ((self.folder / "to").read_text().strip(), sent.read_bytes()) if sent.exists() else None


@pytest.fixture
def program(tmp_path, monkeypatch):
    return lambda zone=None: Host(tmp_path, monkeypatch, Zone({**RIGHT_DNS, **(zone or {})}))


def received(seconds_ago):
    return f"Received: by mx1 id 4Xq; {email.utils.formatdate(NOW - seconds_ago)}\r\n".encode() + PLAIN


def test_an_answer_is_handed_to_sendmail_from_nobody_and_logged(program):
    host = program()
    assert host.take(PLAIN) == 0
    words, answer = host.handed_over()
    assert words == f"-i -N never -f  -- {SENDER}"
    assert b"\nTo: user@outside.example\n" in answer
    (line,) = host.logged
    assert line.startswith(f"4Xq: from=<{SENDER}> client=[{CLIENT}] spf=pass dkim=none dmarc=pass: answered")


@pytest.mark.parametrize(
    ("message", "sender", "reason"),
    [
        (PLAIN, "", "no sender"),
        (PLAIN, "victim@b.example", "may be forged"),
        (b"Precedence: bulk\r\n" + PLAIN, SENDER, "Precedence: bulk"),
        (PLAIN + b"x" * reflector_main.LARGEST * 2, SENDER, "more than"),
        (b"\xff" * 1000, "x\ny@b.example", "ordinary form"),
    ],
)
def test_silence_is_logged_in_one_line_with_its_reason_and_nobody_gets_a_bounce(program, message, sender, reason):
    host = program()
    assert host.take(message, sender) == 0
    assert host.handed_over() is None
    (line,) = host.logged
    assert "not answered" in line
    assert reason in line
    assert line.isprintable()


@pytest.mark.parametrize(
    ("message", "status", "said"),
    [
        (received(10), 75, "to be tried again: Unanswered"),
        (received(3599), 75, "to be tried again"),
        (received(3601), 0, "not answered: Unanswered"),
        (received(-86400), 0, "not answered"),
        (PLAIN, 0, "not answered"),
        (b"Received: x; yesterday\r\n" + PLAIN, 0, "not answered"),
    ],
)
def test_while_dns_does_not_answer_a_message_is_tried_again_but_never_until_it_would_bounce(program, message, status, said):  # fmt: skip  # noqa: E501
    host = program({"outside.example": None})
    assert host.take(message) == status
    assert host.handed_over() is None
    assert said in host.logged[0]


def test_a_message_that_sendmail_does_not_take_is_tried_again(program, tmp_path):
    host = program()
    (tmp_path / "status").write_text("75")
    assert host.take(received(10)) == 75
    assert "sendmail" in host.logged[0]


def test_a_fault_of_the_program_is_logged_and_bounces_nothing(program, monkeypatch):
    host = program()
    monkeypatch.setattr(reflector_main, "judge", lambda *_: 1 // 0)
    assert host.take(received(10)) == 0
    assert "ZeroDivisionError" in host.logged[0]


def imported(path, seen):
    """The files of the package that a file imports, with what these import, and the packages around them."""
    if path not in seen:
        seen.add(path)
        around = {parent / "__init__.py" for parent in path.parents if parent.is_relative_to(HOUSE)}
        for other in {*around, *(other for other, _ in imports(path))}:
            imported(other, seen)
    return {str(one.relative_to(HOUSE)) for one in seen}


def test_the_folders_that_are_installed_are_those_that_the_program_imports_from():
    files = imported(HOUSE / "reflector/main.py", set())
    folders = sorted({path.rpartition("/")[0] for path in files} - {""})
    pattern = f"E@^(({'|'.join(folders)})/)?[a-z0-9_]+[.]py$"
    assert f"    - include_pat: '{pattern}'\n" in (TOP / "mailserver/reflector/config.sls").read_text()
    assert [path for path in files if not check_include_exclude(path, pattern)] == []
