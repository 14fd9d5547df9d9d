"""Messages in pieces: code between backticks, and records that people copy."""

import pytest

from mailhost.page.message import names_records, prose, remedy
from mailhost.records.record import Record, zone_line

PROSE = [
    ("", "words:"),
    ("no code", "words:no code"),
    ("`ls`", "code:ls"),
    ("`ls -l`: no; run `id`, then again", "code:ls -l|words:: no; run |code:id|words:, then again"),
    ("one ` alone", "words:one ` alone"),
    ("``", "words:``"),
]


def told(pieces):
    return "|".join(f"{kind}:{text}" for kind, text in pieces)


@pytest.mark.parametrize(("text", "pieces"), PROSE)
def test_what_stands_between_backticks_is_code(text, pieces):
    assert told(prose(text)) == pieces
    assert told(remedy(text)) == pieces


RECORDS = [
    Record("a.example", 3600, "TXT", "v=spf1; -all"),
    Record("a.example", 60, "TXT", 'a"b\\c) IN TXT "'),
    Record("x._domainkey.a.example", 3600, "TXT", "x" * 600),
    Record("a.example", 60, "TXT", ""),
    Record("a.example", 60, "MX", "10 mx1.a.example"),
    Record("1.2.0.192.in-addr.arpa", 60, "PTR", "mx1.a.example"),
    Record("mx1.a.example", 60, "A", "192.0.2.1"),
    Record("mx1.a.example", 60, "AAAA", "2001:db8::1"),
    Record("_25._tcp.mx1.a.example", 60, "TLSA", f"3 1 1 {'ab' * 32}"),
    Record("a.example", 60, "CAA", '0 issue "ca.example"'),
    Record("a.example", 60, "CAA", '0 issue "ca.example; validationmethods=dns-01"'),
]
AFTER = ["", " (docs/dns.md: `how`)", "; b.example. 60 IN A 192.0.2.9 (or not)"]


@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize("record", RECORDS, ids=lambda record: f"{record.rdtype}-{len(record.value)}")
def test_a_record_in_a_remedy_is_found_as_it_was_written(record, after):
    line = zone_line(record)
    pieces = remedy(f"Publish: {line}{after}")
    assert pieces[:2] == [("words", "Publish:"), ("record", line)]
    assert (
        told(pieces[2:])
        == {
            AFTER[0]: "",
            AFTER[1]: "words:(docs/dns.md: |code:how|words:)",
            AFTER[2]: "record:b.example. 60 IN A 192.0.2.9|words:(or not)",
        }[after]
    )


@pytest.mark.parametrize(
    "text",
    [
        'Publish: a.example 60 IN TXT "no dot"',
        'Publish: a.example. x IN TXT "no time to live"',
        "Publish: a.example. 60 IN TXT no quotation marks",
        'Publish: a.example. 60 IN TXT ( "not closed"',
        "Publish: a.example. 60 IN MX 10",
        "Publish: a.example. 60 IN SOA x",
        "Publish: 60 IN A 192.0.2.1",
        "Ask salt 'a.example. 60 IN A 192.0.2.1' for it: a.example. 60 IN A 192.0.2.1",
    ],
)
def test_what_is_no_whole_record_stays_words(text):
    assert remedy(text) == [("words", text)]
    assert not names_records(text)


def test_a_record_that_another_has_to_publish_is_found_too():
    text = "Whoever has the zone can publish: 1.2.0.192.in-addr.arpa. 3600 IN PTR NAME. (NAME, its name)"
    assert told(remedy(text)).split("|")[1] == "record:1.2.0.192.in-addr.arpa. 3600 IN PTR NAME."


def test_a_remedy_names_a_record_or_it_does_not():
    assert names_records("Publish: a. 60 IN A 192.0.2.1")
    assert not names_records("Make room.")
