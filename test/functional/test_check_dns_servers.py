"""What a check finds in real name servers, with the records evaluated by pyspf through a real resolver."""

from functools import partial

import dns.resolver
import pytest

from mailhost.check.dns.answers import Means
from mailhost.check.dns.area import findings
from mailhost.check.findings import CheckedHost
from mailhost.clock import utc
from mailhost.dkim import keystore
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.dns.lookup import Options, Question, ask
from mailhost.pillar.settings import resolve
from mailhost.receiver import spf as receiver_spf
from name_server import NameServer, running, signed_zone, zone

# pyspf calls dnspython by an old name.
pytestmark = pytest.mark.filterwarnings("ignore:please use dns.resolver.resolve:DeprecationWarning")

ONE, TWO, RESOLVER = "127.56.0.1", "127.56.0.2", "127.56.0.53"
NS1, NS2, CACHE = "ns1.lab.test", "ns2.lab.test", "cache.lab.test"
HOST, ADDRESS, OTHER = "mx1.alpha.test", "192.0.2.25", "192.0.2.77"
NOW = utc(1790000000)
PUBLIC = "MIIB" + "A" * 388
KEY = KeyRow("now", "rsa", 2048, PUBLIC, NOW, NOW, NOW)

ALPHA = f"""
mx1 A {ADDRESS}
@ MX 10 mx1
@ TXT "v=spf1 ip4:{ADDRESS} include:alpha.lab.test -all"
@ TXT "another's"
now._domainkey TXT "v=DKIM1; k=rsa; p={PUBLIC[:200]}" "{PUBLIC[200:]}"
_dmarc TXT "v=DMARC1; p=reject; rua=mailto:alpha@reports.test"
_smtp._tls TXT "v=TLSRPTv1; rua=mailto:tls@alpha.test"
_25._tcp.mx1 TLSA 3 1 1 {"ab" * 32}
@ CAA 0 issue "letsencrypt.org"
"""
BETA = f"""
@ MX 10 mx1.alpha.test.
@ MX 20 alias
alias CNAME mx1.alpha.test.
@ TXT "v=spf1 include:many.lab.test ip4:{ADDRESS} ip4:{OTHER} -all"
now._domainkey TXT "v=DKIM1; k=rsa; p={PUBLIC[:200]}"
_dmarc TXT "v=DMARC1; p=reject; rua=mailto:beta@reports.test"
_mta-sts TXT "v=STSv1; id=1"
_mta-sts TXT "v=STSv1; id=2"
"""
LAB = "\n".join(
    [
        f"ns1 A {ONE}\nns2 A {TWO}\ncache A {RESOLVER}",
        'alpha TXT "v=spf1 a:a1.lab.test -all"',
        f'many TXT "v=spf1 {" ".join(f"a:a{number}.lab.test" for number in range(14))} -all"',
        *(f"a{number} A 198.51.100.{number}" for number in range(14)),
    ]
)
REVERSE = f"""
25 PTR {HOST}.
77 CNAME 77.64-27
77.64-27 PTR relay.beta.test.
"""
TOP = f"""
lab NS {NS1}.
ns1.lab A {ONE}
alpha NS {NS1}.
alpha NS {NS2}.
beta NS {NS1}.
lame NS {NS1}.
lame NS {CACHE}.
reports NS {NS1}.
"""
ZONES = {
    ONE: {
        "": zone([NS1], f"test NS {NS1}.\narpa NS {NS1}.\n{NS1}. A {ONE}"),
        "test": zone([NS1], TOP),
        "lab.test": zone([NS1], LAB),
        "alpha.test": zone([NS1, NS2], ALPHA),
        "beta.test": zone([NS1], f"{BETA}\nrelay A {OTHER}"),
        "lame.test": zone([NS1, CACHE], f"@ MX 10 {HOST}."),
        "reports.test": zone([NS1], 'alpha.test._report._dmarc TXT "v=DMARC1"'),
        "arpa": zone([NS1], f"2.0.192.in-addr NS {NS1}."),
        "2.0.192.in-addr.arpa": zone([NS1], REVERSE),
    },
    TWO: {"alpha.test": zone([NS1, NS2], ALPHA)},
}
PILLAR = {
    "hostname": HOST,
    "domain": "alpha.test",
    "addresses": [ADDRESS],
    "dns": {"root_servers": [ONE]},
    "domains": {
        "alpha.test": {
            "spf": {"include": ["alpha.lab.test"]},
            "dmarc": {"p": "reject", "rua": ["mailto:alpha@reports.test"]},
        },
        "beta.test": {
            "addresses": [ADDRESS, OTHER],
            "mx": [HOST, "alias.beta.test"],
            "spf": {"include": ["many.lab.test"]},
            "dmarc": {"p": "reject", "rua": ["mailto:beta@reports.test"]},
        },
        "lame.test": {"dkim": {"enabled": False}},
    },
}


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dns")
    text, ds = signed_zone(folder, "alpha.test", ZONES[ONE]["alpha.test"])
    ZONES[ONE] |= {"alpha.test": text, "test": f"{ZONES[ONE]['test']}{ds}"}
    ZONES[TWO]["alpha.test"] = text
    started = {address: NameServer(folder, address, zones) for address, zones in ZONES.items()}
    started[RESOLVER] = NameServer(folder, RESOLVER, root_servers=[ONE])
    with running(started):
        yield started


@pytest.fixture
def check(servers, tmp_path, monkeypatch):
    """Check domains by these servers; what is not as wanted, by id and what it is about, and all that is as wanted."""

    def own_resolver():
        dns.resolver.default_resolver = dns.resolver.Resolver(configure=False)
        dns.resolver.default_resolver.nameservers = [RESOLVER]

    monkeypatch.setattr(dns.resolver, "reset_default_resolver", own_resolver)
    tables = {"key_table": str(tmp_path / "KeyTable"), "signing_table": str(tmp_path / "SigningTable")}
    system = {
        "postfix": {"version": "3.7"},
        "opendkim": {"keys": str(tmp_path), "user": "root", "group": "root", **tables},
        "tls": {"certificate": "/nowhere/certificate.pem"},
    }
    for name in ("alpha.test", "beta.test"):
        (tmp_path / name).mkdir()
        keystore.write_manifest(tmp_path, Manifest(name, (KEY,)))
    rows = (
        f"{KEY.selector}._domainkey.{name} {name}:{KEY.selector}:{tmp_path}/{name}/key\n" for name in PILLAR["domains"]
    )
    (tmp_path / "KeyTable").write_text("".join(rows))
    rows = (f"*@{name} {KEY.selector}._domainkey.{name}\n" for name in PILLAR["domains"])
    (tmp_path / "SigningTable").write_text("".join(rows))

    def checked(*domains, **changes):
        settings = resolve({**PILLAR, **changes}, system, {"fqdn": HOST})
        means = Means(partial(ask, recursive=(RESOLVER,)), receiver_spf.evaluator, None, lambda run: run.now)
        found = findings(CheckedHost(settings, None), domains, means)
        return {(one.id, one.about): one for one in found if one.status != "ok"}, [
            one for one in found if one.status == "ok"
        ]

    return checked


def test_a_domain_whose_records_are_right_is_found_so(check):
    bad, good = check("alpha.test")
    # Its certificate cannot be read here, and that is all.
    assert {key: one.status for key, one in bad.items()} == {("dns.tlsa", HOST): "unknown"}
    assert "/nowhere/certificate.pem cannot be read" in bad["dns.tlsa", HOST].seen
    said = {one.id: one.seen for one in good}
    assert said["dns.reverse"] == f"{HOST} (at {NS1} ({ONE}))"
    assert said["dns.spf.lookups"] == "2 look-ups, 0 of them void, by this system's resolver"
    assert said["dns.spf.passes"] == f"pass for {ADDRESS}, by this system's resolver"
    assert said["dns.mx"] == f"so at {NS1} ({ONE}), {NS2} ({TWO})"
    assert said["dns.dkim"] == f"so at {NS1} ({ONE}), {NS2} ({TWO})"
    assert said["dns.dmarc.reports"] == "reports go to reports.test"
    assert said["dns.mta_sts"] == "not used"
    assert said["dns.caa"].startswith("letsencrypt.org may issue")


def test_what_is_wrong_with_a_domain_is_found_each_with_its_place(check):
    bad, _ = check("beta.test")
    bad.pop(("dns.tlsa", HOST))
    assert {key: one.status for key, one in bad.items()} == {
        ("dns.mx.target", "alias.beta.test"): "warn",
        ("dns.spf.passes", "beta.test"): "fail",
        ("dns.dkim", "now._domainkey.beta.test"): "fail",
        ("dns.dmarc.reports", "beta.test"): "warn",
        ("dns.mta_sts", "beta.test"): "warn",
    }
    assert f"alias (CNAME) of {HOST}" in bad["dns.mx.target", "alias.beta.test"].seen
    assert "Too many DNS lookups" in bad["dns.spf.passes", "beta.test"].seen
    cut = f"{NS1} ({ONE}): the key is cut: p= has 200 of 392 characters"
    assert bad["dns.dkim", "now._domainkey.beta.test"].seen.startswith(cut)
    assert f'"v=DKIM1; k=rsa; p={PUBLIC[:237]}" "{PUBLIC[237:]}"' in bad["dns.dkim", "now._domainkey.beta.test"].remedy
    assert "beta.test._report._dmarc.reports.test" in bad["dns.dmarc.reports", "beta.test"].remedy


def test_fifteen_look_ups_are_counted_where_our_own_address_comes_before_them(check, servers):
    text = ZONES[ONE]["beta.test"].replace(
        f"include:many.lab.test ip4:{ADDRESS} ip4:{OTHER}", f"ip4:{ADDRESS} ip4:{OTHER} include:many.lab.test"
    )
    servers[ONE].serve(**{"beta.test": text})
    try:
        # What the test before had the resolver remember is gone with it.
        servers[RESOLVER].stop()
        servers[RESOLVER].start()
        bad, _ = check("beta.test")
    finally:
        servers[ONE].serve(**{"beta.test": ZONES[ONE]["beta.test"]})
    assert ("dns.spf.passes", "beta.test") not in bad
    assert bad["dns.spf.lookups", "beta.test"].status == "warn"
    assert bad["dns.spf.lookups", "beta.test"].seen.startswith("15 look-ups, 0 of them void")


def test_a_name_of_an_address_is_found_through_a_reverse_zone_without_classes(check):
    _, good = check("beta.test")
    (relay,) = [one for one in good if (one.id, one.about) == ("dns.reverse", OTHER)]
    assert relay.seen.startswith("relay.beta.test")


def test_an_address_without_a_name_fails(check):
    bad, _ = check("lame.test", addresses=[ADDRESS, "192.0.2.99"])
    found = bad["dns.reverse", "192.0.2.99"]
    assert found.status == "fail"
    assert found.seen == f"{NS1} ({ONE}) shows no PTR at 99.2.0.192.in-addr.arpa (NXDOMAIN)"
    assert f"99.2.0.192.in-addr.arpa. 3600 IN PTR {HOST}." in found.remedy


def test_a_lame_server_leaves_what_it_should_have_said_unknown(check):
    bad, _ = check("lame.test")
    found = bad["dns.mx", "lame.test"]
    assert found.status == "unknown"
    assert f"{CACHE} ({RESOLVER})" in found.seen
    # The other server has no SPF record: that is known, and would be no different if this one answered.
    assert bad["dns.spf", "lame.test"].status == "warn"


def test_a_server_that_is_gone_makes_nothing_fail(check, servers):
    servers[TWO].stop()
    try:
        bad, _ = check("alpha.test", dns={"timeout": 1, "lifetime": 20, "root_servers": [ONE]})
    finally:
        servers[TWO].start()
    assert {one.status for one in bad.values()} == {"unknown"}
    assert {("dns.mx", "alpha.test"), ("dns.spf", "alpha.test"), ("dns.dkim", "now._domainkey.alpha.test")} <= {*bad}
    assert ("dns.spf.passes", "alpha.test") not in bad


def test_a_zone_below_a_parent_without_ds_has_its_tlsa_records_ignored(check, servers):
    servers[ONE].serve(test=zone([NS1], TOP))
    try:
        bad, _ = check("alpha.test")
    finally:
        servers[ONE].serve(test=ZONES[ONE]["test"])
    assert bad["dns.tlsa", HOST].status == "warn"
    assert "alpha.test has no DS record" in bad["dns.tlsa", HOST].seen


def test_records_of_other_kinds_are_values_to_read(servers):
    asked = {
        ("25.2.0.192.in-addr.arpa", "PTR"): (HOST,),
        ("_25._tcp.mx1.alpha.test", "TLSA"): (f"3 1 1 {'ab' * 32}",),
        ("alpha.test", "CAA"): ('0 issue "letsencrypt.org"',),
        ("alias.beta.test", "CNAME"): (HOST,),
    }
    found = ask([Question(*one) for one in asked], Options(), recursive=[RESOLVER])
    assert {(one.question.name, one.question.rdtype): one.seen[0].values for one in found.values()} == asked

    (ds,) = ask([Question("alpha.test", "DS")], Options(), recursive=[RESOLVER]).values()
    assert (ds.zone, ds.seen[0].values[0].split()[1:3]) == ("test", ["13", "2"])
