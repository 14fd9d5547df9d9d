"""Records on TLS between mail servers: what the pillar makes of them, and what is said where DNS shows them wrong."""

import ipaddress

import dns.zone
import pytest

from mailhost.pillar.settings import resolve
from mailhost.records import mta_sts, transport
from mailhost.records import record as mail_records
from mailhost.records.nsupdate import nsupdate
from mailhost.records.record import Record

GRAINS = {"fqdn": "mx1.example.com", "ipv4": ["192.0.2.25"], "ipv6": ["2001:db8::25"]}
NAME = "example.com"


def settings(domain, **more):
    return resolve({"domains": {NAME: {"ttl": 60, **domain}}, **more}, {"postfix": {"version": "3.7"}}, GRAINS)


def made(domain, tlsa=None, **more):
    """Return the records of a domain that are on TLS, as lines of a zone."""
    host = settings(domain, **more)
    found = transport.records_of(NAME, host["domains"][NAME], host["hostname"], host["addresses"], tlsa)
    return mail_records.zone(found).splitlines()


POINTERS = [
    "; 25.2.0.192.in-addr.arpa. 60 IN PTR mx1.example.com.",
    f"; {ipaddress.ip_address('2001:db8::25').reverse_pointer}. 60 IN PTR mx1.example.com.",
]
STS = {"mta_sts": {"mode": "testing", "max_age": "1d"}}
STS_ID = mta_sts.policy_id("version: STSv1\nmode: testing\nmx: mx1.example.com\nmax_age: 86400\n")
SERVED = {"mta_sts": {"serve": "nginx", "certificate": "/c", "key": "/k"}}
CAA = ['0 issue "letsencrypt.org"', "128 IssueWild ;", "0 iodef mailto:ca@example.com"]


@pytest.mark.parametrize(
    ("domain", "more", "lines"),
    [
        ({}, {}, []),
        (STS, {}, [f'_mta-sts.example.com. 60 IN TXT "v=STSv1; id={STS_ID}"']),
        (
            STS,
            SERVED,
            [
                f'_mta-sts.example.com. 60 IN TXT "v=STSv1; id={STS_ID}"',
                "mta-sts.example.com. 60 IN A 192.0.2.25",
                "mta-sts.example.com. 60 IN AAAA 2001:db8::25",
            ],
        ),
        ({}, SERVED, []),
        (
            {"tls_rpt": {"rua": ["mailto:tls@example.com", "https://r.example/a,b;c!d"]}},
            {},
            [
                '_smtp._tls.example.com. 60 IN TXT "v=TLSRPTv1; rua=mailto:tls@example.com,'
                'https://r.example/a%2Cb%3Bc%21d"'
            ],
        ),
        (
            {"caa": CAA},
            {},
            [
                'example.com. 60 IN CAA 0 issue "letsencrypt.org"',
                'example.com. 60 IN CAA 128 issuewild ";"',
                'example.com. 60 IN CAA 0 iodef "mailto:ca@example.com"',
            ],
        ),
        ({}, {"tlsa": "ab" * 32}, [f"_25._tcp.mx1.example.com. 60 IN TLSA 3 1 1 {'ab' * 32}"]),
    ],
)
def test_what_the_pillar_asks_for_is_emitted_and_dnspython_reads_it(domain, more, lines):
    found = made(domain, **more)
    assert found == [*lines, *POINTERS]
    text = "\n".join([f"{NAME}. 60 IN SOA ns. root. 1 1 1 1 1", f"{NAME}. 60 IN NS ns.", *found])
    zone = dns.zone.from_text(text + "\n", f"{NAME}.")
    assert sum(len(rdatas) for _, rdatas in zone.iterate_rdatasets()) == len(lines) + 2


def test_a_host_elsewhere_and_private_addresses_have_no_pointer_here():
    assert made({}, hostname="mx1.other.example") == []
    assert made({}, addresses=["10.0.0.25", "fd00::25"]) == []


def test_the_id_changes_with_the_policy_and_with_nothing_else():
    def id_of(domain, **more):
        return transport.mta_sts_record(NAME, settings(domain, **more)["domains"][NAME]).value

    two = {"mx": ["mx1.example.com", "mx2.example.com"], **STS}
    other_preference = {"mx": ["mx2.example.com", "mx1.example.com"], **STS}
    assert id_of(two) == id_of(other_preference) == id_of(two, **SERVED) == id_of({**two, "ttl": 3600})
    different = [two, STS, {"mta_sts": {"mode": "enforce", "max_age": "1d"}}, {"mta_sts": {"mode": "testing"}}]
    assert len({id_of(one) for one in different}) == len(different)
    assert mta_sts.record_problem(id_of(STS).encode()) is None


@pytest.mark.parametrize("mode", mta_sts.MODES)
def test_the_policy_is_read_back_as_what_the_pillar_says(mode):
    domain = settings({"mx": ["b.example", "a.example"], "mta_sts": {"mode": mode}})["domains"][NAME]
    read = mta_sts.parse(mta_sts.policy_text(domain))
    assert read == mta_sts.Policy(mode, 604800, ("a.example", "b.example"))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([b"v=STSv1; id=b2;"], None),
        ([b"other", b"v=STSv1;id=b2; ext=1"], None),
        ([b"v=STSv1; id=a1"], "the MTA-STS record lacks id=b2 and has id=a1, which is not wanted"),
        ([b"v=STSv1; id=a_1"], "the MTA-STS record 'v=STSv1; id=a_1': it needs one id= of 1 to 32 letters and digits"),
        ([b"v=STSv1; id=b2", b"v=STSv1; id=a1"], "there are 2 MTA-STS records, of which senders take none"),
        ([b"V=STSv1; id=b2"], "none of the 1 TXT records there is MTA-STS"),
    ],
)
def test_an_mta_sts_record_is_right_by_its_id(values, sentence):
    said = transport.check_mta_sts(values, "v=STSv1; id=b2")
    assert said is None if sentence is None else said.startswith(sentence)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([b"v=TLSRPTv1;rua=https://b.example/, mailto:a@a.example;"], None),
        ([b"v=TLSRPTv1; rua=mailto:a@a.example"], "the TLS-RPT record lacks https://b.example/"),
        (
            [b"v=TLSRPTv1; rua=mailto:a@a.example,https://b.example/,mailto:x@x.example"],
            "the TLS-RPT record has mailto:x",
        ),
        ([b"v=TLSRPTv1"], "the TLS-RPT record lacks mailto:a@a.example https://b.example/"),
        ([b"v=TLSRPTv1; rua=a", b"v=TLSRPTv1; rua=b"], "there are 2 TLS-RPT records"),
        ([b"other"], "none of the 1 TXT records there is TLS-RPT"),
    ],
)
def test_a_tls_rpt_record_is_right_by_its_addresses(values, sentence):
    said = transport.check_tls_rpt(values, "v=TLSRPTv1; rua=mailto:a@a.example,https://b.example/")
    assert said is None if sentence is None else said.startswith(sentence)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["3 1 1 ABCD ef"], None),
        (["3 1 1 0000", "3 1 1 abcdef"], None),
        (["3 1 1 0000"], "the TLSA record lacks 3 1 1 abcdef and has 3 1 1 0000, which is not wanted"),
    ],
)
def test_a_tlsa_record_may_have_others_beside_it(values, sentence):
    assert transport.check_tlsa(values, "3 1 1 abcdef") == sentence


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (['128 issuewild ";"', '0 ISSUE "letsencrypt.org"'], None),
        (['0 issue "letsencrypt.org"'], 'the CAA record lacks 128 issuewild ";"'),
        (
            ['0 issue "letsencrypt.org"', '128 issuewild ";"', '0 issue "evil.example"'],
            'the CAA record has 0 issue "evil.example", which is not wanted',
        ),
    ],
)
def test_caa_records_are_all_that_are_wanted_and_no_more(values, sentence):
    assert transport.check_caa(values, ['0 issue "letsencrypt.org"', '128 issuewild ";"']) == sentence


@pytest.mark.parametrize("value", ["v=STSv1; id=b2", "v=TLSRPTv1; rua=mailto:a@a.example"])
def test_nsupdate_replaces_an_older_record_of_the_kind_and_nothing_else_at_the_name(value):
    name = "_mta-sts.example.com" if "STS" in value else "_smtp._tls.example.com"
    record, version = Record(name, 60, "TXT", value), value.partition(";")[0]
    old = f"{version}; id=old; rua=mailto:old@a.example".encode()
    update = nsupdate([record], {(name, "TXT"): (old,)})
    assert update.splitlines()[:2] == [
        f'prereq yxrrset {name}. IN TXT "{old.decode()}"',
        f'update delete {name}. IN TXT "{old.decode()}"',
    ]
    assert nsupdate([record], {(name, "TXT"): (value.encode(),)}).endswith("in DNS as wanted\n")
    assert "another's record" in nsupdate([record], {(name, "TXT"): (old, b"other")})


def test_the_other_kinds_of_records_are_comments_for_nsupdate():
    host = settings({"caa": CAA, **STS}, **SERVED)
    found = transport.records_of(NAME, host["domains"][NAME], "mx1.example.com", host["addresses"], "ab")
    text = nsupdate([one for one in found if one.rdtype != "TXT"], {})
    assert all(line.startswith("; ") for line in text.splitlines())
    assert len(text.splitlines()) == 8


def test_each_record_is_one_string_by_name_and_type():
    host = settings({"caa": CAA[:2], **STS})
    found = transport.records_of(NAME, host["domains"][NAME], "mx1.example.com", ["192.0.2.25"])
    assert mail_records.as_strings(found) == {
        "_mta-sts.example.com TXT": f"v=STSv1; id={STS_ID}",
        "example.com CAA": ['0 issue "letsencrypt.org"', '128 issuewild ";"'],
        "25.2.0.192.in-addr.arpa PTR": "mx1.example.com",
    }
