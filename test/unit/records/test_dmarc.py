"""DMARC's record: how its tags are written, and which differences of what DNS shows count (RFC 9989, RFC 7489)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost.pillar.settings import resolve
from mailhost.records import dmarc
from mailhost.records.tags import tags

NAME = "example.com"


HOST = resolve({"domains": {NAME: {}}}, {"postfix": {"version": "3.7"}}, {"fqdn": "mx1.example.com"})
DOMAIN = HOST["domains"][NAME]


def made(**section):
    """Return the text of the record of a domain whose settings differ from the defaults in this."""
    return dmarc.dmarc_record(NAME, {**DOMAIN, "dmarc": {**DOMAIN["dmarc"], **section}}).value


def check(shown, wanted):
    values = (shown,) if isinstance(shown, str) else shown
    return dmarc.check_dmarc([one if isinstance(one, bytes) else one.encode() for one in values], wanted)


URIS = [
    ("mailto:a@b.example", "mailto:a@b.example"),
    ("mailto:a;b!c@b.example", "mailto:a%3Bb%21c@b.example"),
    ("mailto:a!10@b.example", "mailto:a%2110@b.example"),
    ("mailto:a%2Cb@b.example", "mailto:a%2Cb@b.example"),
    ("https://r.example/x,y;z", "https://r.example/x%2Cy%3Bz"),
    ("https://r.example/!x!10m", "https://r.example/%21x!10m"),
    ("https://r.example/x!50", "https://r.example/x!50"),
    ("https://r.example/x!50K", "https://r.example/x%2150K"),
    ("https://r.example/x!", "https://r.example/x%21"),
]


@pytest.mark.parametrize(("uri", "written"), URIS)
@pytest.mark.parametrize("tag", ["rua", "ruf"])
def test_what_would_end_a_report_uri_is_escaped_and_a_size_at_its_end_is_not(tag, uri, written):
    assert made(**{tag: [uri, "mailto:c@d.example"]}) == f"v=DMARC1; p=none; {tag}={written},mailto:c@d.example"


@pytest.mark.parametrize(
    "pillar",
    [
        {"rua": [], "ruf": []},
        {"sp": None, "np": None, "psd": None, "adkim": None, "aspf": None, "fo": None, "t": None},
    ],
)
def test_an_empty_tag_is_left_out(pillar):
    assert made(**pillar) == "v=DMARC1; p=none"


def test_a_text_that_is_given_is_taken_to_the_letter_and_nothing_beside_it_counts():
    text = "v=DMARC1;p=reject ; x-own=1;"
    assert made(record=text, p="quarantine", rua=["mailto:a@b.example"]) == text


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        ("v=DMARC1", True),
        ("v=DMARC1;", True),
        ("v = DMARC1 ;p=none", True),
        ("v\t=\tDMARC1; p=none", True),
        ("v=DMARC1\\; p=none", True),
        (b"v=DMARC1; p=none; x=\xff", True),
        ("", False),
        (" v=DMARC1; p=none", False),
        ("V=DMARC1; p=none", False),
        ("v=dmarc1; p=none", False),
        ("v=DMARC1 p=none", False),
        ("v=DMARC1\n", False),
        ("v=DMARC10; p=none", False),
        ("v=DMARC1,p=none", False),
        ("p=none; v=DMARC1", False),
        ('"v=DMARC1; p=none"', False),
        ("\ufeffv=DMARC1; p=none", False),
        ("v=spf1 -all", False),
    ],
)
def test_a_record_counts_by_its_version_which_stands_first(value, counts):
    assert dmarc.is_dmarc(value if isinstance(value, bytes) else value.encode()) is counts


FULL = "v=DMARC1; p=reject; sp=quarantine; np=none; fo=0:d; adkim=s; rua=mailto:a@b.example; t=y; psd=n"
ALIKE = [
    ("v=DMARC1; p=none", "v=DMARC1;p=none"),
    ("v=DMARC1; p=none", "v = DMARC1 ; p = none ;"),
    ("v=DMARC1; p=none", "v=DMARC1; p=NONE"),
    ("v=DMARC1; p=none", "v=DMARC1; p=none; sp=none; np=none"),
    ("v=DMARC1; p=none", "v=DMARC1; p=none; psd=u; t=n; adkim=R; aspf=r; fo=0; pct=100; rf=afrf; ri=86400"),
    ("v=DMARC1; p=reject; sp=none", "v=DMARC1; p=reject; sp=none; np=none"),
    ("v=DMARC1; p=reject; np=reject", "v=DMARC1; p=reject; sp=reject"),
    ("v=DMARC1; p=none; fo=1:d", "v=DMARC1; p=none; fo=d : 1"),
    ("v=DMARC1; p=none; rua=mailto:a@b.example,mailto:c@d.example",
     "v=DMARC1; p=none; rua=mailto:c@d.example , mailto:a@b.example"),
    (FULL, "v=DMARC1;psd=n;t=y;rua=mailto:a@b.example;adkim=s;fo=d:0;np=none;sp=quarantine;p=reject"),
    ("v=DMARC1; x=y y", "v=DMARC1;  x=y  y"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), ALIKE)
def test_records_that_verifiers_read_alike_are_equal_whichever_of_them_is_wanted(one, other):
    assert check(other, one) is None
    assert check(one, other) is None


UNLIKE = [
    ("v=DMARC1; p=none", "v=DMARC1", "lacks p=none"),
    ("v=DMARC1; p=none", "v=DMARC1; p=none; sp=reject", "has sp=reject, which is not wanted"),
    ("v=DMARC1; p=none; sp=reject", "v=DMARC1; p=none", "lacks sp=reject"),
    ("v=DMARC1; p=reject; sp=none", "v=DMARC1; p=reject; sp=none; np=reject", "has np=reject, which is not wanted"),
    ("v=DMARC1; p=reject; np=reject", "v=DMARC1; p=reject; sp=none", "lacks np=reject and has sp=none, which is not"),
    ("v=DMARC1; p=none; t=y", "v=DMARC1; p=none", "lacks t=y"),
    ("v=DMARC1; p=none; t=y", "v=DMARC1; p=none; t=n", "lacks t=y and has t=n, which is not wanted"),
    ("v=DMARC1; p=none", "v=DMARC1; p=none; psd=y", "has psd=y, which is not wanted"),
    ("v=DMARC1; p=none", "v=DMARC1; p=none; pct=0", "has pct=0, which is not wanted"),
    ("v=DMARC1; p=none; fo=1", "v=DMARC1; p=none; fo=0:1", "lacks fo=1 and has fo=0:1, which is not wanted"),
    ("v=DMARC1; p=none; rua=mailto:a@b.example", "v=DMARC1; p=none; rua=mailto:A@b.example", "lacks rua=mailto:a@"),
    ("v=DMARC1; p=none; rua=mailto:a@b.example", "v=DMARC1; p=none; rua=mailto:a@b.example!9m", "!9m, which is not w"),
    ("v=DMARC1; p=none; rua=mailto:a@b.example", "v=DMARC1; p=none; ruf=mailto:a@b.example", "lacks rua=mailto:a@b.e"),
    ("v=DMARC1; p=none", "v=DMARC1; P=none", "lacks p=none and has P=none"),
    ("v=DMARC1; p=none", "v=DMARC1; p=none; p=none", "is not as wanted: the tag p= is there twice"),
    ("v=DMARC1; p=none", "v=DMARC1; p=none;; sp=none", "is not as wanted: '' is not tag=value"),
    ("v=DMARC1; p=none", "v=DMARC1; p=none, sp=none", "lacks p=none and has p=none, sp=none"),
    ("v=DMARC1; p=none", b"v=DMARC1; p=none; x=\xff", "the tag x= has a character that is not allowed"),
    ("v=DMARC1; p=none", "v=DMARC1\\; p=none", "the value has backslashes in it"),
]


@pytest.mark.parametrize(("wanted", "shown", "said"), UNLIKE)
def test_a_difference_that_counts_is_named_by_its_tags(wanted, shown, said):
    assert said in check([b"v=spf1 -all", shown], wanted)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((), "none of the 0 TXT records there is a DMARC record"),
        (("v=spf1 -all", "x"), "none of the 2 TXT records there is a DMARC record"),
        (
            ("x", " v=DMARC1; p=none"),
            "' v=DMARC1; p=none' is no DMARC record: it must begin with v=DMARC1, in capitals",
        ),
        (("V=DMARC1; p=none",), "'V=DMARC1; p=none' is no DMARC record"),
        (("v=DMARC1 p=none",), "'v=DMARC1 p=none' is no DMARC record"),
        (('"v=DMARC1; " "p=none"',), "the value has quotation marks in it"),
        (("v=DMARC1; p=none",) * 3, "there are 3 DMARC records, so verifiers take none (RFC 9989 section 4.10)"),
        (("v=DMARC1", "v=DMARC1\\; p=none"), "there are 2 DMARC records"),
        (("v=dmarc1\x1b[2J\n" + "x" * 5000,), r"'v=dmarc1\x1b[2J\nxxx"),
    ],
)
def test_without_one_record_that_counts_it_is_said_what_is_there(values, said):
    found = check(values, "v=DMARC1; p=none")
    assert found.startswith(said) or said in found
    assert found.isprintable()
    assert len(found) < 200


TAG = {
    "p": st.sampled_from(["none", "quarantine", "reject"]),
    "sp": st.sampled_from(["none", "quarantine", "reject"]),
    "np": st.sampled_from(["none", "quarantine", "reject"]),
    "psd": st.sampled_from("ynu"),
    "t": st.sampled_from("yn"),
    "adkim": st.sampled_from("rs"),
    "aspf": st.sampled_from("rs"),
    "fo": st.sampled_from(["0", "1", "d", "s", "1:d:s"]),
    "rua": st.lists(st.sampled_from(["mailto:a@b.example", "mailto:c!d@b.example"]), max_size=2, unique=True),
    "ruf": st.lists(st.sampled_from(["mailto:f;g@b.example"]), max_size=1),
}
SECTION = st.fixed_dictionaries({}, optional=TAG)


@given(SECTION, st.randoms(use_true_random=False))
def test_a_record_is_as_wanted_in_any_order_of_its_tags(pillar, random):
    wanted = made(**pillar)
    version, *rest = wanted.split("; ")
    random.shuffle(rest)
    assert check(";".join([version, *rest, ""]), wanted) is None
    assert tags(wanted)["v"] == "DMARC1"
    assert all(re.fullmatch(r"[^,;!]+", uri) for uri in tags(wanted).get("rua", "x").split(","))


@given(SECTION, SECTION)
def test_one_record_is_right_for_the_other_exactly_if_the_other_is_for_it(one, other):
    first, second = made(**one), made(**other)
    assert (check(first, second) is None) is (check(second, first) is None)
