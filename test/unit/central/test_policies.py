"""What a mail host may have published for its domains: the records that this formula writes there, and nothing else."""

import pytest

from mailhost.central.policies import read_row, read_rows, rows
from mailhost.pillar.settings import resolve
from mailhost.publish.change import Change
from mailhost.publish.policies import changes_of
from mailhost.schema import Wrong

GRAINS = {"fqdn": "mx1.a.example", "ipv4": ["192.0.2.25"], "ipv6": ["2001:db8::25"]}
RICH = {
    "spf": {"addresses": ["2001:db8::7", "192.0.2.7"], "include": ["_spf.x.example", "y.example"], "all": "~all"},
    "dmarc": {"p": "reject", "sp": "none", "adkim": "s", "fo": "1:d", "rua": ["mailto:a@a.example", "https://x/a,b"]},
    "tls_rpt": {"rua": ["mailto:t@a.example", "https://x.example/a!b"]},
    "mta_sts": {"mode": "enforce"},
}
EXACT = {"spf": {"record": "v=spf1 mx a -all"}, "dmarc": {"record": "v=DMARC1;p=none;x=y"}}


def wanted(domain):
    return changes_of(resolve({"domains": {"a.example": domain}}, {"postfix": {"version": "3.7"}}, GRAINS)["domains"])


@pytest.mark.parametrize("domain", [{}, RICH, {**RICH, "spf": {}}])
@pytest.mark.parametrize("is_known", [False, True], ids=["by its form", "by the pillar"])
def test_all_records_that_this_formula_writes_are_taken(domain, is_known):
    changes = wanted(domain)
    assert read_rows(rows(changes), {"a.example": domain if is_known else None}) == (changes, [])


def test_an_exact_text_is_taken_where_the_pillar_has_it():
    changes = wanted(EXACT)
    assert read_rows(rows(changes), {"a.example": EXACT}) == (changes, [])
    for pillar in (None, {}, RICH):
        kept, refused = read_rows(rows(changes), {"a.example": pillar})
        assert (kept, len(refused)) == ([], 2)


def row(kind="SPF", name="a.example", wanted="v=spf1 ip4:192.0.2.25 -all", ttl=60):
    return {"name": name, "kind": kind, "ttl": ttl, "wanted": wanted}


FORM = "is no (SPF|DMARC|MTA-STS|TLS-RPT) record as this formula writes it for a.example"
NAME = "is not the name of the (SPF|DMARC|MTA-STS|TLS-RPT) record of a domain of the host that asks"
BAD = [
    (row(name="b.example"), NAME),
    (row(name="www.a.example"), NAME),
    (row(name="_dmarc.a.example"), NAME),
    (row("DMARC", "a.example", "v=DMARC1; p=none"), NAME),
    (row("DMARC", "_mta-sts.a.example", "v=DMARC1; p=none"), NAME),
    (row("DMARC", "x._domainkey.a.example", "v=DMARC1; p=none"), NAME),
    (row(wanted="v=spf1 +all"), FORM),
    (row(wanted="v=spf1 ip4:0.0.0.0/0 -all"), FORM),
    (row(wanted="v=spf1 ip6:192.0.2.25 -all"), FORM),
    (row(wanted="v=spf1 include:evil.example ip4:192.0.2.25 -all"), FORM),
    (row(wanted="v=spf1 redirect=evil.example"), FORM),
    (row(wanted="v=spf1"), FORM),
    (row(wanted="v=spf1 exists:%{i}.evil.example -all"), FORM),
    (row(wanted="verification=1"), FORM),
    (row(wanted="v=DMARC1; p=none"), FORM),
    (row("DMARC", "_dmarc.a.example", "v=DMARC1; p=nothing"), FORM),
    (row("DMARC", "_dmarc.a.example", "v=DMARC1; p=none; x=y"), FORM),
    (row("DMARC", "_dmarc.a.example", "p=none; v=DMARC1"), FORM),
    (row("DMARC", "_dmarc.a.example", "v=DMARC1; p=none; p=none"), FORM),
    (row("MTA-STS", "_mta-sts.a.example", "v=STSv1; id=1"), FORM),
    (row("TLS-RPT", "_smtp._tls.a.example", "v=TLSRPTv1; rua=tls@a.example"), FORM),
    (row("TLS-RPT", "_smtp._tls.a.example", "v=TLSRPTv1"), FORM),
    (row("DKIM"), "'DKIM' is not one of SPF, DMARC, MTA-STS, TLS-RPT"),
    ({"name": "a.example"}, "name, kind, ttl or wanted is missing"),
    ({**row(), "ttl": "60"}, "'60' is text, but a whole number of seconds is wanted"),
    ({**row(), "expected": []}, "expected: unknown key"),
    ([], "is a list, but a mapping is wanted"),
]


@pytest.mark.parametrize(("asked", "said"), BAD, ids=[str(one) for one, _ in BAD])
def test_nothing_else_is_taken(asked, said):
    with pytest.raises(Wrong, match=f"record 3.*{said}"):
        read_row(asked, {"a.example": None}, "record 3")


HOSTILE = [
    row("DMARC", "_dmarc.a.example", "v=DMARC1; p=none"),
    row("DMARC", "_dmarc.a.example", "v=DMARC1; p=reject; rua=mailto:x@evil.example"),
    row("TLS-RPT", "_smtp._tls.a.example", "v=TLSRPTv1; rua=mailto:x@evil.example"),
    row("MTA-STS", "_mta-sts.a.example", f"v=STSv1; id={'0' * 20}"),
    row(wanted="v=spf1 ip4:198.51.100.66 -all"),
    row(wanted="v=spf1 ip4:192.0.2.7 include:evil.example -all"),
    row(wanted="v=spf1 ip4:192.0.2.7 ?all"),
]


@pytest.mark.parametrize("asked", HOSTILE, ids=str)
def test_a_host_that_others_got_hold_of_cannot_contradict_its_pillar(asked):
    pillar = {"spf": {"addresses": ["192.0.2.7"]}, "dmarc": {"p": "reject"}, "tls_rpt": None, "mta_sts": None}
    assert isinstance(read_row(asked, {"a.example": None}, "record 1"), Change)
    with pytest.raises(Wrong, match=FORM):
        read_row(asked, {"a.example": pillar}, "record 1")
