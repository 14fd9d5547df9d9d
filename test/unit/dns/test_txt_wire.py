"""What is read from an answer's bytes is what dnspython reads there, and what is odd is left to it."""

import dns.flags
import dns.message
import dns.rrset
import pytest

from mailhost.dns.message import read_response
from mailhost.dns.sockets import question_wire
from mailhost.dns.txt_wire import read_texts

NAME = "S1._domainkey.alpha.test"
NS = ("alpha.test.", 300, "IN", "NS", "ns1.alpha.test.", "ns2.other.test.")


def response(*answers, authority=(), code=0, rdtype="TXT"):
    made = dns.message.make_response(dns.message.make_query(f"{NAME}.", rdtype, use_edns=0))
    made.flags |= dns.flags.AA
    made.set_rcode(code)
    made.answer = [dns.rrset.from_text(*one) for one in answers]
    made.authority = [dns.rrset.from_text(*one) for one in authority]
    return made.to_wire()


def txt(*texts, name=f"{NAME}.", ttl=60):
    return (name, ttl, "IN", "TXT", *texts)


@pytest.mark.parametrize(
    "wire",
    [
        response(txt('"v=DKIM1; k=rsa; p=AAAA"')),
        response(txt('"in " "two"'), authority=[NS]),
        response(txt('"one"', '"another"', '""'), authority=[NS]),
        response(txt('"below"'), authority=[("_domainkey.alpha.test.", 5, "IN", "NS", "ns.child.alpha.test.")]),
        response(txt(f'"{"a" * 255}" "{"b" * 140}"')),
    ],
)
def test_an_answer_says_the_same_as_by_dnspython(wire):
    ours = read_texts(dns, wire, question_wire(dns, NAME, "TXT"))
    assert ours is not None
    whole = dns.message.from_wire(wire)
    assert (ours.flags, ours.rcode()) == (whole.flags, whole.rcode())
    said = [read_response(one, NAME.lower(), "TXT", "alpha.test") for one in (ours, whole)]
    assert said[0] == said[1]
    assert said[0].status == "answer"


@pytest.mark.parametrize(
    ("wire", "rdtype"),
    [
        (response(), "TXT"),
        (response(code=3), "TXT"),
        (response(txt('"a"'), code=2), "TXT"),
        (response((f"{NAME}.", 60, "IN", "CNAME", "x.test."), txt('"a"', name="x.test.")), "TXT"),
        (response(txt('"a"', name="x.test.")), "TXT"),
        (response(txt('"a"'), authority=[("alpha.test.", 5, "IN", "SOA", "a.test. b.test. 1 2 3 4 5")]), "TXT"),
        (response((f"{NAME}.", 60, "IN", "MX", "10 x.test."), rdtype="MX"), "MX"),
    ],
)
def test_what_is_no_plain_answer_is_left_to_dnspython(wire, rdtype):
    assert read_texts(dns, wire, question_wire(dns, NAME, rdtype)) is None


def test_an_answer_that_is_cut_off_anywhere_is_left_to_dnspython():
    wire = response(txt('"v=DKIM1; k=rsa; p=AAAA" "more"'), authority=[NS])
    # Without the additional section, which is not read.
    whole = len(wire) - 11
    assert read_texts(dns, wire[:whole], question_wire(dns, NAME, "TXT")) is not None
    for size in range(12, whole):
        assert read_texts(dns, wire[:size], question_wire(dns, NAME, "TXT")) is None


def test_a_name_that_points_at_itself_is_left_to_dnspython():
    wire = response(txt('"a"'), authority=[NS])
    at = wire.index(b"\0\2\0\1")
    loop = wire[: at - 2] + (0xC000 | (at - 2)).to_bytes(2, "big") + wire[at:]
    assert read_texts(dns, loop, question_wire(dns, NAME, "TXT")) is None
