"""Text of strangers reaches people as one line of what can be printed, by whatever way it comes."""

import pytest

from mailhost.central import keys as central_keys
from mailhost.check import areas as check_areas
from mailhost.check.findings import Finding
from mailhost.daemons.talk import short
from mailhost.dkim import report as dkim_report
from mailhost.dns import lookup
from mailhost.dns.lookup import Answers, Question, ServerAnswer
from mailhost.errors import DkimError, NotServing, ProbeError, PublishError, WireError
from mailhost.page import fleet as page_fleet
from mailhost.receiver import dkim as receiver_dkim
from mailhost.receiver import dmarc as receiver_dmarc
from mailhost.receiver import spf as receiver_spf
from mailhost.receiver.header import Header
from mailhost.records import dmarc as records_dmarc
from mailhost.records import key, nsupdate
from mailhost.records import record as mail_records
from mailhost.records import spf as records_spf
from mailhost.records import transport as transport_records
from mailhost.records import wants as records_wants
from mailhost.records.mta_sts import PolicyError, parse
from mailhost.reflector import report as reflector_report
from mailhost.reflector.message import plain as in_mail
from mailhost.reflector.message import subject
from mailhost.wording import LONGEST, is_seen, lines, plain, shown, told

HOSTILE = {
    "escape sequences": "a\x1b[2J\x1b]0;title\x07b",
    "a line of its own": "a\rAll is right.\r\nok: True\n",
    "backspaces": "bad\b\b\bgood\x7f\x7f",
    "C1 controls": "a\x9b2Jb\x90c\x85d\x9d",
    "line separators": "a\u2028All is right.\u2029\x0b\x0c\x1c\x1d\x1e",
    "bidirectional overrides": "a\u202egood\u202c\u2066x\u2069\u200f\u061c",
    "what nobody sees": "a\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u3164\ufe0f\u115f\U000e0041\U000e0101",
    "half a pair": "a\ud800b\udfff",
    "marks in a heap": "a" + "\u0301" * 500,
    "NUL": "a\0b",
    "private use, unassigned": "a\ue000\U0010ffff\u0378",
    "without end": "a" * 300_000,
    "blanks that are none": "a\u00a0\u3000\u2007b",
}
OCTETS = {
    **{name: text.encode("utf-8", "surrogatepass") for name, text in HOSTILE.items()},
    "no UTF-8": b"a\xff\xfe\xc3(\x9b2J\xed\xa0\x80\xf0\x9f",
}
PLACE = "a.example"


def verdict(value):
    seen = ServerAnswer("ns1.\x1b[1m", "192.0.2.53", "answer", (value,), 60)
    broken = ServerAnswer("ns2", "192.0.2.54", "unknown", detail=value.decode("utf-8", "replace"))
    answers = Answers(Question(PLACE, "TXT"), PLACE, PLACE, 60, (seen, broken))
    for check in (
        lambda values: records_spf.check_spf(values, "v=spf1 -all"),
        lambda values: records_dmarc.check_dmarc(values, "v=DMARC1; p=none"),
        lambda values: key.check_key(values, "MIIB", "rsa"),
        lambda values: transport_records.check_tls_rpt(values, "v=TLSRPTv1; rua=mailto:a@b.example"),
        lambda values: transport_records.check_mta_sts(values, "v=STSv1; id=1"),
    ):
        yield from lookup.judge(answers, check).findings


def records(value):
    """What records of each kind say in the checks, in a highstate's warnings and as input for nsupdate."""
    for begin in (b"", b"v=spf1 ", b"v=DMARC1; p=", b"v=DKIM1; p=", b"v=TLSRPTv1; rua=", b"v=STSv1; id="):
        yield from verdict(begin + value[:4000])
    record = mail_records.Record("_dmarc.a.example", 60, "TXT", "v=DMARC1; p=none")
    yield from nsupdate.nsupdate([record], {("_dmarc.a.example", "TXT"): (value[:4000],)}).splitlines()
    alias = {("_dmarc.a.example", "CNAME"): (value.decode("utf-8", "replace")[:300],)}
    yield from nsupdate.nsupdate([record], alias).splitlines()


def of_domain(value):
    text = value.decode("utf-8", "replace")
    yield from receiver_dmarc.judge(PLACE, None, [text], lambda name: [f"v=DMARC1; p=reject; x={text}"]).values()

    def nothing(name):
        raise receiver_dmarc.Unanswered(text)

    yield from receiver_dmarc.judge(PLACE, None, [], nothing).values()
    fields = f"v=1; a={text}; d={text}; s={text}; b=x; bh=y; h=from".replace("\n", " ").replace("\r", " ")
    message = f"DKIM-Signature: {fields}\r\nFrom: a@a.example\r\n\r\nx\r\n".encode("utf-8", "replace")
    for one in receiver_dkim.dkim_results(message, lambda name: [text]):
        yield from one.values()
    wants = records_wants.Want(PLACE, "SPF", (), None)
    yield from records_wants.Comparison(wants, "different", (text,)).sentences


def errors(value):
    text = value.decode("utf-8", "surrogateescape")
    for kind in (DkimError, ProbeError, PublishError, WireError):
        yield str(kind(f"it said: {text}"))
    yield from str(NotServing(f"it said: {text}")).split("\n")
    try:
        parse(f"version: STSv1\nmode: {text}\n")
    except PolicyError as err:
        yield Finding("dns.mta_sts", "fail", PLACE, "x", str(err)).seen


def findings(value):
    text = value.decode("utf-8", "surrogateescape")
    found = Finding("x", "warn", text, text, text, text)
    yield from (found.about, found.wanted, found.seen, found.remedy)
    for one in check_areas.summary([found])["findings"]:
        yield from one.values()
    yield page_fleet.unusable("mx1", text).remedy or "none"
    yield page_fleet.unusable("mx1", text).seen


def reports(value):
    text = value.decode("utf-8", "surrogateescape").replace("\n", " ")
    yield from dkim_report.brief([text])
    yield from told({"refused": [text], text: {"now": (text,)}})["refused"]
    yield from central_keys.domains_of([])


def wire(value):
    text = value.decode("utf-8", "replace")
    yield short(text)
    yield short(repr(text))
    yield shown(text)
    yield shown([text[:100]])
    yield shown(value)


def mail(value):
    text = value.decode("utf-8", "replace")
    yield in_mail(text)
    yield subject(Header(f"Subject: {text}\n\n".encode("utf-8", "replace")))
    yield from reflector_report._shown({"helo": text, "domain": text}).values()


ROUTES = {one.__name__: one for one in (records, of_domain, errors, findings, reports, wire, mail)}


@pytest.mark.parametrize("octets", OCTETS)
@pytest.mark.parametrize("route", ROUTES)
def test_what_a_stranger_wrote_is_one_line_of_what_can_be_printed(route, octets):
    for said in ROUTES[route](OCTETS[octets]):
        text = str(said)
        assert all(is_seen(one) for one in text), (route, ascii(text[:300]))
        assert "\u0301" * 3 not in text or route == "mail"
        assert len(text) < 40_000


def test_pyspfs_words_are_plain(monkeypatch):
    import spf

    monkeypatch.setattr(spf.query, "check", lambda self: ("fail", 550, HOSTILE["a line of its own"]))
    found = receiver_spf.evaluator(1)("192.0.2.1", "a@a.example", "mx.a.example")
    assert found.explanation == r"a\rAll is right.\r\nok: True\n"


@pytest.mark.parametrize("name", OCTETS)
def test_one_place_makes_a_text_plain(name):
    for text in (OCTETS[name], OCTETS[name].decode("utf-8", "surrogateescape")):
        once = plain(text)
        assert all(map(is_seen, once))
        assert len(once) <= LONGEST
        assert plain(once) == once
        assert all(map(is_seen, plain(text, 10)))
        assert len(plain(text, 10)) <= 10


@pytest.mark.parametrize(
    "text",
    [
        *("", "v=spf1 ip4:192.0.2.1 -all", "\u65e5\u672c\u8a9e\u306e\u6587", "Gr\u00fc\u00dfe", "e\u0301te\u0301"),
        *("\u0928\u092e\u0938\u094d\u0924\u0947", '"\\" ; p=x', "\U0001f44d", "\u05e9\u05dc\u05d5\u05dd", "1\u20ac"),
    ],
)  # fmt: skip
def test_what_people_write_stays_as_it_is(text):
    assert plain(text) == text
    assert lines(f"{text}\n{text}") == f"{text}\n{text}"


def test_what_cannot_be_printed_is_seen_for_what_it_is():
    assert plain(b"a\x1b[2J\r\n\xff\t\xe2\x80\xaeb") == r"a\x1b[2J\r\n\xff \u202eb"
