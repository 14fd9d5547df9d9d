"""The text for nsupdate: what a server makes of it, whatever the names hold (RFC 2136 section 2.4, RFC 1035)."""

import re

import dns.name
import dns.rdata
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost.dns.message import Split, values
from mailhost.dns.txt_wire import Records, TxtData
from mailhost.records import key
from mailhost.records.nsupdate import nsupdate
from mailhost.records.record import Record

NAME = "example.com"
PUBLIC = "MIIB" + "a" * 388
KEY = key.key_record(NAME, "sel", PUBLIC, 60)
SPF = Record(NAME, 3600, "TXT", "v=spf1 -all")
DMARC = Record(f"_dmarc.{NAME}", 300, "TXT", "v=DMARC1; p=reject")
TXT = 16
LINE = re.compile(r"(prereq yxrrset|prereq nxrrset|update delete|update add) (\S+)\.( \d+)? IN TXT( .+)?")


def update(record, *shown):
    """Return the lines that publish a record at whose name DNS shows these TXT values."""
    return nsupdate([record], {(record.name.lower(), "TXT"): shown}).splitlines()


def strings(rdata):
    """Return the strings of a record as a server reads them."""
    return dns.rdata.from_text("IN", "TXT", rdata).strings


def asked(lines):
    """Return what an update asks of the server: ``[(what, name, TTL, strings)]``, without the last line."""
    found = [LINE.fullmatch(line) for line in lines[:-1]]
    assert all(found), lines
    assert lines[-1] == "send"
    return [(one[1], one[2], one[3] and int(one[3]), strings(one[4]) if one[4] else ()) for one in found]


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("", (b"",)),
        ("x" * 255, (b"x" * 255,)),
        ("x" * 256, (b"x" * 255, b"x")),
        ("x" * 600, (b"x" * 255, b"x" * 255, b"x" * 90)),
        ("\u00e9" * 128, (b"\xc3\xa9" * 127 + b"\xc3", b"\xa9")),
        ('a"b\\c;d', (b'a"b\\c;d',)),
        ("a\nsend\x00\x7f", (b"a\nsend\x00\x7f",)),
        ("$ORIGIN @ ( )", (b"$ORIGIN @ ( )",)),
        (" a  b ", (b" a  b ",)),
    ],
)
@pytest.mark.parametrize("ttl", [0, 60, 2**31 - 1])
def test_a_value_is_added_in_strings_of_255_bytes_with_its_ttl(value, wanted, ttl):
    lines = update(Record(NAME, ttl, "TXT", value))
    assert all(line.isascii() and line.isprintable() for line in lines)
    assert asked(lines) == [("prereq nxrrset", NAME, None, ()), ("update add", NAME, ttl, wanted)]


SPLIT = [
    (b"v=spf1 ", b"mx -all"),
    (b"v=spf1", b" mx -all"),
    (b"v=spf1 mx -all", b""),
    (b"", b"v=spf1 mx -all"),
    (b"v=spf1 ip4:192.0.2.1 " * 12 + b"a:x", b" -all"),
    (b"v=spf1 " + b"x" * 248, b"y" * 255, b" -all"),
]


@pytest.mark.parametrize("parts", SPLIT)
def test_an_older_record_is_named_in_the_very_strings_that_dns_shows(parts):
    (shown,) = values(Records(dns.name.from_text(NAME), TXT, 60, (TxtData(parts),)))
    assert shown == b"".join(parts)
    assert asked(update(SPF, b"other", shown)) == [
        ("prereq yxrrset", NAME, None, (b"other",)),
        ("prereq yxrrset", NAME, None, parts),
        ("update delete", NAME, None, parts),
        ("update add", NAME, 3600, (b"v=spf1 -all",)),
    ]


STRINGS = st.lists(st.binary(max_size=255), min_size=1, max_size=4)


@given(st.lists(STRINGS, min_size=1, max_size=3))
def test_whatever_a_name_holds_it_is_guarded_byte_by_byte_or_left_alone(records):
    shown = [Split(parts) if len(parts) > 1 else parts[0] for parts in records]
    lines = update(SPF, *shown)
    assert all(line.isascii() and line.isprintable() for line in lines)
    guards = [("prereq yxrrset", NAME, None, tuple(parts)) for parts in records]
    assert asked(lines) == [*guards, ("update add", NAME, 3600, (b"v=spf1 -all",))]


@given(STRINGS, st.sampled_from([KEY, DMARC]))
def test_at_a_name_of_one_record_alone_another_text_is_told_on_one_line(parts, record):
    lines = update(record, Split(parts))
    assert len(lines) == 1
    assert lines[0].startswith(f"; {record.name} TXT: DNS shows another's record, ")
    assert lines[0].isprintable()
    assert len(lines[0]) < 300


OLDER = [
    (KEY, f"v=DKIM1; k=rsa; p={PUBLIC[:100]}", True),
    (KEY, f"v=DKIM1; k=rsa; h=sha1; p={PUBLIC[:100]} {PUBLIC[100:]}", True),
    (KEY, f'"v=DKIM1; k=rsa; " "p={PUBLIC}"', True),
    (KEY, f"v=DKIM1\\; k=rsa\\; p={PUBLIC}", True),
    (KEY, "v=DKIM1; p=", True),
    (KEY, "p=;v=DKIM1", True),
    (KEY, f"v=DKIM1; k=rsa; p={PUBLIC}b", False),
    (KEY, f"v=DKIM1; k=rsa; p=b{PUBLIC}", False),
    (KEY, f"v=DKIM1; k=rsa; P={PUBLIC}", False),
    (KEY, f"v=DKIM1; k=rsa; n=p={PUBLIC}", False),
    (key.key_record(NAME, "sel", "", 60), f"v=DKIM1; k=rsa; p={PUBLIC}", True),
    (key.key_record(NAME, "sel", "", 60), "hello", False),
    (DMARC, "v=DMARC1; p=none", True),
    (DMARC, "v=DMARC1\\; p=none", True),
    (DMARC, "v=dmarc1; p=none", False),
    (Record(f"_mta-sts.{NAME}", 60, "TXT", "v=STSv1; id=2"), "v=STSv1; id=1", True),
    (Record(f"_mta-sts.{NAME}", 60, "TXT", "v=STSv1; id=2"), "v=STSv2; id=1", False),
    (Record(f"_smtp._tls.{NAME}", 60, "TXT", "v=TLSRPTv1; rua=mailto:a@b.example"), "v=TLSRPTv1; rua=x:y", True),
    (Record(f"_smtp._tls.{NAME}", 60, "TXT", "v=TLSRPTv1; rua=mailto:a@b.example"), "v=spf1 -all", False),
]


@pytest.mark.parametrize(("record", "shown", "is_ours"), OLDER)
def test_only_an_older_version_of_the_record_itself_is_taken_away(record, shown, is_ours):
    lines = update(record, shown.encode())
    assert ("update delete" in "".join(lines)) is is_ours
    assert lines[0].startswith("prereq yxrrset" if is_ours else "; ")


@pytest.mark.parametrize(
    ("record", "shown"),
    [
        (KEY, f"v=DKIM1; k=rsa; t=s; p={PUBLIC}"),
        (KEY, f"p={PUBLIC[:200]} {PUBLIC[200:]}"),
        (key.key_record(NAME, "sel", "", 60), "v=DKIM1; p="),
        (DMARC, "v=DMARC1;p=reject;sp=reject;pct=100"),
        (SPF, "V=SPF1  -all"),
    ],
)
def test_what_verifiers_read_alike_is_left_as_it_is(record, shown):
    assert update(record, shown.encode()) == [f"; {record.name} TXT: in DNS as wanted"]


def test_two_of_a_kind_are_both_taken_away_even_if_one_is_as_wanted():
    lines = update(DMARC, DMARC.value.encode(), b"v=DMARC1; p=none")
    assert [one[0] for one in asked(lines)] == ["prereq yxrrset"] * 2 + ["update delete"] * 2 + ["update add"]


def test_a_name_is_found_whatever_its_spelling():
    record = key.key_record(NAME, "SEL", PUBLIC, 60)
    (line,) = update(record, record.value.encode())
    assert line == f"; SEL._domainkey.{NAME} TXT: in DNS as wanted"


def test_each_record_is_an_update_of_its_own_in_the_order_given():
    text = nsupdate([KEY, DMARC, SPF], {})
    added = [line.split()[2] for line in text.splitlines() if line.startswith("update add")]
    assert added == [f"{one.name}." for one in (KEY, DMARC, SPF)]
    assert text.count("send\n") == text.count("prereq nxrrset ") == 3
    assert text.endswith("send\n")
    assert nsupdate([], {}) == ""


@pytest.mark.parametrize(
    ("present", "said"),
    [
        ({("_dmarc.example.com", "CNAME"): ("d.b.example",)}, "the name is an alias (CNAME) of d.b.example; publish"),
        ({("_dmarc.example.com", "CNAME"): ("d\nsend",)}, r"the name is an alias (CNAME) of d\nsend; publish"),
        (
            {("_dmarc.example.com", "CNAME"): ("d.b.example",), ("_dmarc.example.com", "TXT"): (b"v=DMARC1; p=none",)},
            "the name is an alias (CNAME) of d.b.example; publish",
        ),
        (
            {("_dmarc.example.com", "CNAME"): ("d.b.example",), ("_dmarc.example.com", "TXT"): (DMARC.value.encode(),)},
            "in DNS as wanted",
        ),
    ],
)
def test_an_alias_is_never_written_beside_or_to(present, said):
    (line,) = nsupdate([DMARC], present).splitlines()
    assert line.startswith(f"; _dmarc.example.com TXT: {said}")


@pytest.mark.parametrize(
    ("rdtype", "value"),
    [("A", "192.0.2.1"), ("AAAA", "2001:db8::1"), ("MX", "10 mx1.example.com"), ("PTR", "mx1.example.com")],
)
def test_what_is_no_text_is_a_comment_whatever_dns_shows(rdtype, value):
    (line,) = nsupdate([Record(NAME, 60, rdtype, value)], {(NAME, rdtype): (value,)}).splitlines()
    assert line.startswith(f"; {NAME}. 60 IN {rdtype} {value}")
