"""SPF of a domain that others send for, too: what is printed to be published takes nothing from them."""

import pytest

from mailhost.errors import PillarError
from mailhost.pillar.settings import resolve
from mailhost.records.hosts import mx_records
from mailhost.records.shared import check_spf_beside, mx_beside, spf_beside
from mailhost.records.spf import spf_record
from mailhost.records.transport import mta_sts_record

OURS = "v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 -all"
OTHER = "ip4:192.0.2.9"
NOW = [
    ((), OURS),
    (("verification",), OURS),
    ((OURS,), OURS),
    (("v=spf1 ip6:2001:DB8::25 ip4:192.0.2.25/32 -all",), OURS),
    (("v=spf1 -all",), OURS),
    (("v=spf1 ip4:192.0.2.25 -all",), OURS),
    ((f"v=spf1 {OTHER} -all",), f"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 {OTHER} -all"),
    ((f"v=spf1 {OTHER} ~all",), f"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 {OTHER} ~all"),
    ((f"v=spf1 {OTHER} +all",), f"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 {OTHER} -all"),
    ((f"v=spf1 {OTHER} all",), f"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 {OTHER} -all"),
    ((f"v=spf1 {OTHER}",), f"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 {OTHER} -all"),
    (("v=spf1 mx a:x.example -all",), "v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 mx a:x.example -all"),
    (("v=spf1 -ip4:192.0.2.25 mx -all",), "v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 -ip4:192.0.2.25 mx -all"),
    (("v=spf1 redirect=_spf.example.com",), "v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 redirect=_spf.example.com"),
    (("v=spf1 include:_spf.x.example ?all",), "v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 include:_spf.x.example -all"),
    ((f"v=spf1 {OTHER} ipv4:1.2.3.4 -all",), f"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 {OTHER} -all"),
    (
        (f"v=spf1 {OTHER} ip4:300.1.2.3 ip6:192.0.2.1 ?ip4:1.2 -all",),
        f"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 {OTHER} -all",
    ),
    ((f"v=spf1 {OTHER} -all", OURS), f"v=spf1 {OTHER} ip4:192.0.2.25 ip6:2001:db8::25 -all"),
    (("v=spf1 mx ~all", f"v=spf1 {OTHER} -all"), f"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 mx {OTHER} ~all"),
]


@pytest.mark.parametrize(("values", "wanted"), NOW)
def test_what_others_have_in_the_record_stays_in_it(values, wanted):
    found = spf_beside(OURS, tuple(value.encode() for value in values))
    assert found == wanted
    assert spf_beside(OURS, (found.encode(),)) == found, "published as told, it is as wanted"
    assert check_spf_beside((found.encode(),), OURS) is None


@pytest.mark.parametrize("end", ["-all", "~all"])
def test_a_record_that_has_ours_and_others_is_as_wanted_and_kept_as_it_is(end):
    text = f"v=spf1 {OTHER} ip6:2001:db8::25 include:_spf.x.example ip4:192.0.2.25 {end}"
    assert spf_beside(OURS, (text.encode(),)) == text
    assert check_spf_beside((text.encode(),), OURS) is None


def settings(host, **domain):
    grains = {"fqdn": host, "ipv4": [f"192.0.2.{host[2]}"], "ipv6": []}
    pillar = {"domains": {"a.example": {"mta_sts": {"mode": "enforce"}, **domain}}}
    return resolve(pillar, {"postfix": {"version": "3.7"}}, grains)["domains"]["a.example"]


def test_hosts_with_the_same_list_want_the_same_records():
    hosts = ["mx1.a.example", "mx2.a.example"]
    one, two = (settings(host, hosts=hosts) for host in hosts)
    for make in (spf_record, mx_records, mta_sts_record):
        assert make("a.example", one) == make("a.example", two)
    assert spf_record("a.example", one).value == "v=spf1 a:mx1.a.example a:mx2.a.example -all"
    assert one["mx"] == hosts


def test_what_the_pillar_gives_outright_is_the_whole_record():
    assert settings("mx1.a.example")["spf"]["exact"] is False
    for given in ({"addresses": ["192.0.2.1"]}, {"record": "v=spf1 mx -all"}, {"exact": True}):
        assert settings("mx1.a.example", spf=given)["spf"]["exact"] is True
    assert settings("mx1.a.example", hosts=["mx1.a.example"], addresses=["192.0.2.7"])["spf"]["addresses"] == [
        "192.0.2.7"
    ]


def test_a_list_of_hosts_without_this_one_is_refused():
    with pytest.raises(PillarError, match=r"a\.example:hosts: mx2\.a\.example and not this host, mx1\.a\.example"):
        settings("mx1.a.example", hosts=["mx2.a.example"])


MX = [
    ((), ["10 mx1.a.example"]),
    (((10, "mx1.a.example"),), ["10 mx1.a.example"]),
    (((0, ""),), ["10 mx1.a.example"]),
    (((10, "old.b.example"),), ["10 old.b.example", "20 mx1.a.example"]),
    (((5, "mx1.a.example"), (20, "old.b.example")), ["5 mx1.a.example", "20 old.b.example"]),
    (((65535, "old.b.example"),), ["65535 mx1.a.example", "65535 old.b.example"]),
]


@pytest.mark.parametrize(("values", "wanted"), MX)
def test_a_host_that_is_not_in_the_mx_records_yet_is_printed_behind_those_that_are(values, wanted):
    records = mx_records("a.example", settings("mx1.a.example"))
    assert [record.value for record in mx_beside(records, values)] == wanted
