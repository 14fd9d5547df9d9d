"""Records: their text, split and escaped, and what is said of every way in which DNS can show them wrong."""

import base64
import re

import dns.zone
import pytest
from hypothesis import given
from hypothesis import strategies as st
from octodns.provider.yaml import YamlProvider
from octodns.record import Record as OctodnsRecord
from octodns.zone import Zone

from mailhost.pillar.settings import resolve
from mailhost.records import dmarc as records_dmarc
from mailhost.records import hosts as records_hosts
from mailhost.records import key, tags
from mailhost.records import record as records
from mailhost.records import spf as records_spf
from mailhost.records.nsupdate import nsupdate
from mailhost.records.record import Record

GRAINS = {"fqdn": "mx1.example.com", "ipv4": ["192.0.2.25"], "ipv6": ["2001:db8::25"]}
RSA = base64.b64encode(
    bytes.fromhex("30820122300d06092a864886f70d01010105000382010f00") + bytes(range(256)) + b"end"
).decode()
OTHER = base64.b64encode(
    bytes.fromhex("30820122300d06092a864886f70d01010105000382010f00") + bytes(range(255, -1, -1))
).decode()
ED25519 = base64.b64encode(bytes(range(32))).decode()
ED25519_SPKI = base64.b64encode(bytes.fromhex("302a300506032b6570032100") + bytes(range(32))).decode()
KEY = f"v=DKIM1; k=rsa; p={RSA}"


def domain(**pillar):
    name = "example.com"
    return resolve({"domains": {name: pillar}}, {"postfix": {"version": "3.7"}}, GRAINS)["domains"][name]


SPF = [
    ({}, "v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 -all"),
    (
        {"include": ["spf.news.example"], "all": "~all"},
        "v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 include:spf.news.example ~all",
    ),
    ({"addresses": ["198.51.100.7"]}, "v=spf1 ip4:198.51.100.7 -all"),
    ({"addresses": []}, "v=spf1 -all"),
    ({"record": "v=spf1 +mx ~all"}, "v=spf1 +mx ~all"),
]


@pytest.mark.parametrize(("spf", "text"), SPF)
def test_spf_record_says_what_the_pillar_says(spf, text):
    assert records_spf.spf_record("example.com", domain(spf=spf)) == Record("example.com", 3600, "TXT", text)


DMARC = [
    ({}, "v=DMARC1; p=none"),
    ({"rua": ["mailto:a@b.example", "https://c.example/r;s,t"]}, "v=DMARC1; p=none; rua=mailto:a@b.example,https://c.example/r%3Bs%2Ct"),
    (
        {"t": "y", "ruf": ["mailto:f@b.example"], "fo": "1:d", "aspf": "s", "adkim": "s", "psd": "n", "np": "reject",
         "sp": "quarantine", "p": "reject", "rua": ["mailto:a@b.example"]},
        "v=DMARC1; p=reject; sp=quarantine; np=reject; psd=n; adkim=s; aspf=s; fo=1:d; rua=mailto:a@b.example; "
        "ruf=mailto:f@b.example; t=y",
    ),
    ({"record": "v=DMARC1;p=reject"}, "v=DMARC1;p=reject"),
]  # fmt: skip


@pytest.mark.parametrize(("dmarc", "text"), DMARC)
def test_dmarc_record_has_the_tags_that_were_given_in_a_fixed_order(dmarc, text):
    assert records_dmarc.dmarc_record("example.com", domain(dmarc=dmarc, ttl=60)) == Record(
        "_dmarc.example.com", 60, "TXT", text
    )


def test_a_policy_that_is_not_enabled_has_no_record():
    off = domain(spf={"enabled": False}, dmarc={"enabled": False})
    assert records_spf.spf_record("example.com", off) is None
    assert records_dmarc.dmarc_record("example.com", off) is None


@pytest.mark.parametrize(
    ("hostname", "types"),
    [
        ("mx1.example.com", ["A", "AAAA", "MX", "TXT", "TXT"]),
        ("example.com", ["A", "AAAA", "MX", "TXT", "TXT"]),
        ("mx1.example.net", ["MX", "TXT", "TXT"]),
        ("mx1.notexample.com", ["MX", "TXT", "TXT"]),
    ],
)
def test_a_domain_emits_the_hosts_addresses_only_if_the_host_is_within_it(hostname, types):
    found = records_hosts.domain_records("example.com", domain(), hostname, ["192.0.2.25", "2001:db8::25"])
    assert [record.rdtype for record in found] == types


ZONE_LINES = [
    (Record("a.example", 60, "A", "192.0.2.1"), "a.example. 60 IN A 192.0.2.1"),
    (Record("a.example", 60, "MX", "10 mx1.a.example"), "a.example. 60 IN MX 10 mx1.a.example."),
    (Record("a.example", 60, "TXT", "v=spf1; -all"), 'a.example. 60 IN TXT "v=spf1; -all"'),
    (Record("a.example", 60, "TXT", 'a"b\\c\u00e9'), r'a.example. 60 IN TXT "a\"b\\c\195\169"'),
    (Record("a.example", 60, "TXT", "x" * 300), f'a.example. 60 IN TXT ( "{"x" * 255}" "{"x" * 45}" )'),
    (Record("a.example", 60, "TXT", ""), 'a.example. 60 IN TXT ""'),
]


@pytest.mark.parametrize(("record", "line"), ZONE_LINES)
def test_zone_line_is_split_and_quoted(record, line):
    assert records.zone_line(record) == line
    assert records.zone([record, record]) == f"{line}\n{line}\n"


@given(st.text(max_size=1200))
def test_strings_are_short_enough_and_join_to_the_value(value):
    strings = records.txt_strings(value)
    assert "".join(strings) == value
    assert all(len(string.encode()) <= 255 for string in strings)


@given(st.text(max_size=600))
def test_dnspython_reads_back_from_a_zone_line_what_was_written(value):
    line = records.zone_line(Record("sel._domainkey.a.example", 60, "TXT", value))
    zone = dns.zone.from_text(
        f"$ORIGIN a.example.\n{line}\n", origin="a.example.", check_origin=False, relativize=False
    )
    (rdata,) = zone.get_rdataset("sel._domainkey.a.example.", "TXT")
    assert b"".join(rdata.strings).decode() == value


def test_data_has_the_strings_beside_the_value():
    assert records.as_data([Record("a.example", 60, "TXT", "x" * 256), Record("a.example", 60, "A", "192.0.2.1")]) == [
        {"name": "a.example", "ttl": 60, "type": "TXT", "value": "x" * 256, "strings": ["x" * 255, "x"]},
        {"name": "a.example", "ttl": 60, "type": "A", "value": "192.0.2.1"},
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("v=DKIM1; k=rsa; p=AB", {"v": "DKIM1", "k": "rsa", "p": "AB"}),
        ("v = DKIM1 ;p= A B ;", {"v": "DKIM1", "p": "A B"}),
        ("p=", {"p": ""}),
        ("p=A=B=", {"p": "A=B="}),
    ],
)
def test_tag_list_is_read(text, found):
    assert tags.tags(text) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "'' is not tag=value"),
        ("hello", "'hello' is not tag=value"),
        ("v=DKIM1;;p=A", "'' is not tag=value"),
        ("1v=DKIM1", "is not tag=value"),
        ("p=A; p=B", "the tag p= is there twice"),
        ("n=\u201cquoted\u201d", "the tag n= has a character that is not allowed"),
    ],
)
def test_what_is_no_tag_list_is_refused_with_the_reason(text, reason):
    with pytest.raises(ValueError, match=reason.replace("(", r"\(")):
        tags.tags(text)


RIGHT_KEYS = [
    KEY,
    f"p={RSA}",
    f"v=DKIM1;p={RSA};",
    f"v=DKIM1; h=sha256; k=rsa; s=email; t=y; n=a note; p={RSA}",
    f"v=DKIM1; h=sha1:sha256; s=*; p={RSA}",
    f"v=DKIM1; p={RSA[:100]} {RSA[100:200]}\t{RSA[200:]}",
]


@pytest.mark.parametrize("text", RIGHT_KEYS)
def test_a_key_record_that_verifiers_take_for_our_key_is_right(text):
    assert key.check_key((text.encode(),), RSA) is None


WRONG_KEYS = [
    ((), "no key record"),
    ((KEY, KEY.replace("rsa", "rsa ")), "2 TXT records at this name; .* each of them holds our key: keep one"),
    ((KEY, f"v=DKIM1; p={OTHER}"), "2 TXT records .*keep ours and take away 'v=DKIM1; p=MII"),
    ((f"p={OTHER}", "hello"), "2 TXT records .*none is ours: take away .*, 'hello' and publish ours"),
    (("google-site-verification=x",), "not a key record: .*google-site-verification"),
    (("v=spf1 -all",), "not a key record, having no p=: 'v=spf1 -all'"),
    (("hello",), "not a key record: 'hello' is not tag=value"),
    ((f"p={RSA}; v=DKIM1",), "v= must be DKIM1, in capitals, and the first tag"),
    ((f"v=dkim1; p={RSA}",), "v= must be DKIM1"),
    ((f"v=DKIM1\\; k=rsa\\; p={RSA}",), r"backslashes .*`\\;`.* zone file"),
    ((f'"v=DKIM1; k=rsa; p={RSA[:200]}" "{RSA[200:]}"',), "quotation marks"),
    ((KEY[:255],), r"key is cut: p= has 237 of \d+ characters.* 255 bytes, .*split into several strings"),
    ((KEY[:-3],), "key is cut"),
    ((f"v=DKIM1; k=rsa; p={OTHER}",), "different key: from character 33 on p= is .*, ours is .*publish ours"),
    ((f"v=DKIM1; k=rsa; p={RSA.lower()}",), "different key"),
    ((f"v=DKIM1; k=rsa; p={RSA[:50]}!{RSA[50:]}",), "p= is damaged: .* no base64"),
    ((f"v=DKIM1; k=ed25519; p={ED25519}",), "says k=ed25519, but our key is k=rsa"),
    (("v=DKIM1; k=rsa; p=",), "p= is empty, which says that the key is revoked"),
    ((f"v=DKIM1; h=sha1; p={RSA}",), "only h=sha1, but we sign with sha256"),
    ((f"v=DKIM1; s=tlsrpt; p={RSA}",), "for s=tlsrpt only, which not every verifier takes"),
]


@pytest.mark.parametrize(("values", "sentence"), WRONG_KEYS)
def test_a_wrong_key_record_is_named_for_what_it_is(values, sentence):
    found = key.check_key(tuple(value.encode() for value in values), RSA)
    assert re.search(sentence, found or "right")


def test_ed25519_keys_are_bare_and_their_wrapped_form_is_named():
    right = key.key_record("example.com", "sel", ED25519, 60, "ed25519").value
    assert key.check_key((right.encode(),), ED25519, "ed25519") is None
    wrapped = f"v=DKIM1; k=ed25519; p={ED25519_SPKI}".encode()
    assert "wrapped (MCow" in key.check_key((wrapped,), ED25519, "ed25519")


def test_a_revoked_key_is_right_only_with_an_empty_p():
    revoked = key.key_record("example.com", "sel", "", 60)
    assert revoked == Record("sel._domainkey.example.com", 60, "TXT", "v=DKIM1; k=rsa; p=")
    assert key.check_key((revoked.value.encode(),), "") is None
    assert "still holds a key" in key.check_key((KEY.encode(),), "")


@given(st.integers(1, len(RSA) - 1))
def test_a_key_cut_anywhere_is_called_cut(length):
    assert f"p= has {length} of {len(RSA)} characters" in key.check_key((f"p={RSA[:length]}".encode(),), RSA)


SPF_WANTED = "v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 include:spf.news.example -all"
RIGHT_SPF = [
    (SPF_WANTED,),
    ("other=1", SPF_WANTED),
    ("V=SPF1  IP4:192.0.2.25 +ip6:2001:DB8:0::25  include:SPF.news.example  -ALL ",),
    ("v=spf1 include:spf.news.example ip6:2001:db8::25/128 ip4:192.0.2.25/32 -all",),
]


@pytest.mark.parametrize("values", RIGHT_SPF)
def test_spf_records_that_verifiers_read_alike_are_equal(values):
    assert records_spf.check_spf(tuple(value.encode() for value in values), SPF_WANTED) is None


WRONG_SPF = [
    (("other",), "none of the 1 TXT records there is an SPF record$"),
    (("v=spf10 -all",), "'v=spf10 -all' is none$"),
    ((f'"{SPF_WANTED}"',), "none of the 1 .*quotation marks"),
    ((SPF_WANTED, "v=spf1 -all"), "2 SPF records, .*permerror"),
    (("v=spf1 ip4:192.0.2.25 -all",), "lacks ip6:2001:db8::25 include:spf.news.example$"),
    ((SPF_WANTED.replace("-all", "~all"),), "lacks -all and has ~all, which is not wanted"),
    ((SPF_WANTED.replace("ip4:192.0.2.25", "ip4:192.0.2.25 a:x.example"),), "SPF record has a:x.example, which"),
    ((SPF_WANTED.replace(" -all", "").replace("v=spf1", "v=spf1 -all"),), "terms in another order"),
    ((SPF_WANTED + "\\;",), "backslashes"),
]


@pytest.mark.parametrize(("values", "sentence"), WRONG_SPF)
def test_a_wrong_spf_record_is_named_for_what_it_is(values, sentence):
    found = records_spf.check_spf(tuple(value.encode() for value in values), SPF_WANTED)
    assert re.search(sentence, found or "right")


DMARC_WANTED = "v=DMARC1; p=reject; sp=none; rua=mailto:a@b.example,mailto:c@d.example"
RIGHT_DMARC = [
    (DMARC_WANTED,),
    ("other", DMARC_WANTED),
    ("v=DMARC1;rua=mailto:c@d.example, mailto:a@b.example;sp=none;p=Reject;",),
    (DMARC_WANTED + "; adkim=r; pct=100; fo=0; np=none",),
]


@pytest.mark.parametrize("values", RIGHT_DMARC)
def test_dmarc_records_that_verifiers_read_alike_are_equal(values):
    assert records_dmarc.check_dmarc(tuple(value.encode() for value in values), DMARC_WANTED) is None


WRONG_DMARC = [
    (("other",), "none of the 1 TXT records there is a DMARC record"),
    (("v=dmarc1; p=none",), "is no DMARC record: it must begin with v=DMARC1, in capitals"),
    (("p=reject; v=DMARC1",), "is no DMARC record: it must begin with v=DMARC1"),
    ((f'"{DMARC_WANTED}"',), "quotation marks"),
    ((DMARC_WANTED, "v=DMARC1; p=none"), "2 DMARC records, so verifiers take none"),
    ((DMARC_WANTED.replace(";", "\\;"),), "backslashes"),
    (("v=DMARC1; p=reject; sp=none",), "lacks rua=mailto:a@b.example,mailto:c@d.example$"),
    ((DMARC_WANTED.replace("reject", "none"),), "lacks p=reject and has p=none, which"),
    ((DMARC_WANTED + "; pct=50",), "has pct=50, which is not wanted"),
    ((DMARC_WANTED + "; p",), "not as wanted: 'p' is not tag=value"),
]


@pytest.mark.parametrize(("values", "sentence"), WRONG_DMARC)
def test_a_wrong_dmarc_record_is_named_for_what_it_is(values, sentence):
    found = records_dmarc.check_dmarc(tuple(value.encode() for value in values), DMARC_WANTED)
    assert re.search(sentence, found or "right")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (((10, "mx1.example.com"), (20, "mx2.example.com")), None),
        (((5, "MX2.example.com."), (5, "mx1.example.com")), None),
        (((10, "mx1.example.com"),), "the MX record lacks mx2.example.com"),
        (((0, ""),), "null MX"),
        (((10, "old.example"),), "lacks mx1.example.com mx2.example.com and has old.example, which is not wanted"),
    ],
)
def test_mx_names_the_hosts_wanted_in_any_preference(values, sentence):
    found = records_hosts.check_mx(values, ["mx1.example.com", "mx2.example.com"])
    assert found is None if sentence is None else sentence in found


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (("192.0.2.2", "192.0.2.1"), None),
        (("192.0.2.1",), "the name lacks 192.0.2.2"),
        (("192.0.2.1", "192.0.2.2", "192.0.2.9"), "the name has 192.0.2.9, which is not wanted"),
    ],
)
def test_addresses_are_those_wanted_in_any_order(values, sentence):
    assert records_hosts.check_addresses(values, ["192.0.2.1", "192.0.2.2"]) == sentence


WANTED_SPF = Record("example.com", 60, "TXT", "v=spf1 -all")
WANTED_DMARC = Record("_dmarc.example.com", 60, "TXT", "v=DMARC1; p=reject")
WANTED_KEY = key.key_record("example.com", "sel", RSA, 60)
QUOTED_KEY = f'"{KEY[:255]}" "{KEY[255:]}"'


@pytest.mark.parametrize("record", [WANTED_SPF, WANTED_DMARC])
@pytest.mark.parametrize("present", [{}, {("example.com", "TXT"): (), ("_dmarc.example.com", "TXT"): ()}])
def test_nsupdate_of_a_new_record_is_refused_if_a_record_came_up_meanwhile(record, present):
    assert nsupdate([record], present).splitlines() == [
        f"prereq nxrrset {record.name}. IN TXT",
        f'update add {record.name}. 60 IN TXT "{record.value}"',
        "send",
    ]


def test_nsupdate_replaces_the_old_spf_record_alone_among_other_texts():
    present = {("example.com", "TXT"): (b"other=1", b"v=spf1 +all", b"V=spf1 mx -all")}
    assert nsupdate([WANTED_SPF], present).splitlines() == [
        'prereq yxrrset example.com. IN TXT "other=1"',
        'prereq yxrrset example.com. IN TXT "v=spf1 +all"',
        'prereq yxrrset example.com. IN TXT "V=spf1 mx -all"',
        'update delete example.com. IN TXT "v=spf1 +all"',
        'update delete example.com. IN TXT "V=spf1 mx -all"',
        'update add example.com. 60 IN TXT "v=spf1 -all"',
        "send",
    ]


@pytest.mark.parametrize(
    "damaged",
    [KEY[:255], KEY.replace(";", "\\;"), QUOTED_KEY, f"v=DKIM1; k=rsa; h=sha1; p={RSA}", "v=DKIM1; k=rsa; p="],
)
def test_nsupdate_replaces_our_own_key_record_however_damaged(damaged):
    text = nsupdate([WANTED_KEY], {(WANTED_KEY.name, "TXT"): (damaged.encode(),)})
    assert text.count("update delete") == text.count("prereq yxrrset") == text.count("send") == 1
    assert f'update add sel._domainkey.example.com. 60 IN TXT "{KEY[:255]}" "{KEY[255:]}"' in text


@pytest.mark.parametrize(
    ("record", "values"),
    [
        (WANTED_KEY, (f"p={OTHER}",)),
        (WANTED_KEY, (KEY[:255], f"p={OTHER}")),
        (WANTED_KEY, ("hello\nupdate delete example.com",)),
        (WANTED_DMARC, ("not ours",)),
    ],
)
def test_nsupdate_never_takes_away_what_may_be_anothers(record, values):
    text = nsupdate([record], {(record.name, "TXT"): tuple(value.encode() for value in values)})
    assert all(line.startswith(";") for line in text.splitlines())
    assert "another's record" in text


def test_nsupdate_leaves_alone_what_is_as_wanted():
    present = {("example.com", "TXT"): (b"v=spf1  -ALL", b"x"), (WANTED_KEY.name, "TXT"): (KEY.encode(),)}
    text = nsupdate([WANTED_SPF, WANTED_KEY, Record("example.com", 60, "MX", "10 mx1.example.com")], present)
    assert text.splitlines() == [
        "; example.com TXT: in DNS as wanted",
        "; sel._domainkey.example.com TXT: in DNS as wanted",
        "; example.com. 60 IN MX 10 mx1.example.com.",
    ]


def test_nsupdate_revokes_a_key():
    revoked = key.key_record("example.com", "sel", "", 60)
    text = nsupdate([revoked], {(revoked.name, "TXT"): (KEY.encode(),)})
    assert 'update add sel._domainkey.example.com. 60 IN TXT "v=DKIM1; k=rsa; p="' in text
    assert "update delete" in text


def test_nsupdate_does_not_write_beside_an_alias():
    present = {(WANTED_KEY.name, "CNAME"): ("sel.provider.example",)}
    text = nsupdate([WANTED_KEY], present)
    assert text.startswith("; sel._domainkey.example.com TXT: the name is an alias (CNAME) of sel.provider.example; ")


OCTODNS = [
    [("20261124-mx1", RSA), ("20261124-mx10", OTHER), ("20261124-mx9", "")],
    [("b", RSA), ("B2", ""), ("a.b", OTHER), ("a10b1", ""), ("a9", ""), ("1", ""), ("01x", "")],
    [("yes", ""), ("007", RSA + "A" * 400), ("1e3", ""), ("~", "")],
    [],
]


@pytest.fixture
def octodns(tmp_path):
    """Have octoDNS itself read its form of records, validated as strictly as it can, and return its records."""

    def load(wanted):
        OctodnsRecord.enable_validators({"strict"})
        (tmp_path / "example.com.yaml").write_text(records.octodns(wanted, "example.com"))
        zone = Zone("example.com.", [])
        YamlProvider("made", str(tmp_path), escaped_semicolons=True).populate(zone)
        return zone.records

    return load


@pytest.mark.parametrize("keys", OCTODNS)
def test_octodns_loads_its_form_and_has_the_same_texts(octodns, keys):
    wanted = [key.key_record("example.com", selector, public, 600) for selector, public in keys]
    found = octodns(wanted)
    loaded = {
        record.fqdn.rstrip("."): (record.ttl, record._type, [value.to_raw_text() for value in record.values])
        for record in found
    }
    assert loaded == {record.name.lower(): (600, "TXT", [record.value]) for record in wanted}
    for record in found:
        wire = b"".join(dns.rdata.from_text("IN", "TXT", record.chunked_values[0]).strings)
        assert [wire.decode()] == [one.value for one in wanted if one.name.lower() == record.fqdn.rstrip(".")]


def test_octodns_gets_several_texts_at_a_name_and_quotation_marks(octodns):
    texts = ["it's; one", "another"]
    (record,) = octodns([Record("x.example.com", 60, "TXT", text) for text in texts])
    assert sorted(value.to_raw_text() for value in record.values) == sorted(texts)
