"""Central publishing with a real BIND: what one host asks for, another publishes, and nothing beyond its domains."""

import base64

import pytest

import mailserver_dns
from mailserver_central import domains_of, publish_rows, read_row
from mailserver_errors import PublishError
from mailserver_schema import Wrong
from name_server import NameServer, zone

AUTHORITY, RESOLVER = "127.54.0.1", "127.54.0.53"
KEY = "publisher"
SECRET = base64.b64encode(b"the publisher's own secret, long").decode()
PUBLIC, OTHER = (base64.b64encode(bytes([number]) * 294).decode() for number in (1, 2))
OURS, THEIRS, REVOKED = (f"v=DKIM1; k=rsa; p={public}" for public in (PUBLIC, OTHER, ""))
DOMAINS = {"alpha.test", "beta.test"}
POLICY = f"update-policy {{ grant {KEY} wildcard *._domainkey.%s. TXT; }};"
BETA = "cname._domainkey CNAME elsewhere._domainkey.alpha.test."


@pytest.fixture
def dns(tmp_path, monkeypatch):
    """The publisher's settings; its system's resolver is the test's own."""
    root = zone(["ns.test"], f"test NS ns.test.\nns.test. A {AUTHORITY}")
    test = zone(["ns.test"], f"ns A {AUTHORITY}\nalpha NS ns\nbeta NS ns\ngamma NS ns")
    zones = {"": root, "test": test, "alpha.test": zone(["ns.test"]), "beta.test": zone(["ns.test"], BETA)}
    zones["gamma.test"] = zone(["ns.test"])
    options = {name: POLICY % name for name in ("alpha.test", "beta.test")}
    (tmp_path / "key").write_text(f'key "{KEY}" {{ algorithm hmac-sha256; secret "{SECRET}"; }};')
    (tmp_path / "key").chmod(0o600)
    for_good = mailserver_dns.ask
    monkeypatch.setattr(mailserver_dns, "ask", lambda asked, options: for_good(asked, options, (RESOLVER,)))
    with (
        NameServer(tmp_path, AUTHORITY, zones, zone_options=options, keys={KEY: SECRET}) as server,
        NameServer(tmp_path, RESOLVER, root_servers=(AUTHORITY,)),
    ):
        rfc2136 = {"server": AUTHORITY, "port": 53, "key_file": str(tmp_path / "key"), "timeout": 5}
        yield {"server": server, "timeout": 2, "lifetime": 10, "in_flight": 10, "ignore_servers": [], "resolvers": [],
               "rfc2136": rfc2136}  # fmt: skip


def row(name, wanted=OURS, expected=()):
    return {"name": name, "ttl": 60, "wanted": wanted, "expected": list(expected)}


def shown(dns, name):
    answer = dns["server"].query(name, "TXT").answer
    return [b"".join(rdata.strings).decode() for one in answer for rdata in one if rdata.rdtype == 16]


def test_a_key_lives_its_life_in_dns_through_another_host(dns):
    name = "20261124-mx1._domainkey.alpha.test"
    for wanted, expected in ((OURS, ()), (REVOKED, (OURS, REVOKED)), (None, (OURS, REVOKED))):
        asked = [row(name, wanted, expected)]
        assert publish_rows(asked, DOMAINS, dns) == {"sent": [name], "already": [], "refused": [], "unknown": []}
        assert shown(dns, name) == ([wanted] if wanted else [])
        assert publish_rows(asked, DOMAINS, dns)["already"] == [name]


def test_a_record_behind_a_cname_is_published_where_it_lies(dns):
    told = publish_rows([row("cname._domainkey.beta.test")], DOMAINS, dns)
    assert told["sent"] == ["elsewhere._domainkey.alpha.test"]
    assert shown(dns, "elsewhere._domainkey.alpha.test") == [OURS]


def test_one_record_that_is_refused_holds_up_no_other(dns):
    good = "good._domainkey.beta.test"
    asked = [
        row("a._domainkey.gamma.test"),
        row("b._domainkey.gamma.test"),
        row(good),
        row("cname._domainkey.beta.test", THEIRS),
    ]
    publish_rows([row("elsewhere._domainkey.alpha.test")], DOMAINS, dns)
    told = publish_rows(asked, {"beta.test", "gamma.test"}, dns, zones=("alpha.test",))
    assert told["sent"] == [good]
    assert len(told["refused"]) == 3
    assert "update-policy or allow-update does not let the key publisher change it" in told["refused"][0]
    assert "it holds somebody else's record" in told["refused"][2]
    assert shown(dns, "elsewhere._domainkey.alpha.test") == [OURS]


def test_what_dns_does_not_know_is_unknown_and_not_refused(dns):
    told = publish_rows([row("a._domainkey.nowhere.invalid")], {"nowhere.invalid"}, dns)
    assert not told["sent"]
    assert not told["refused"]
    assert told["unknown"][0].startswith("a._domainkey.nowhere.invalid: its zone could not be found out: ")


def test_a_publisher_without_a_server_says_which_key_is_missing(dns):
    dns["rfc2136"]["server"] = None
    with pytest.raises(PublishError, match="mailserver:dns:rfc2136:server: not given"):
        publish_rows([row("a._domainkey.alpha.test")], DOMAINS, dns)


FOREIGN = [
    (row("a._domainkey.gamma.test"), "'gamma.test' is not among the domains of the host that asks"),
    (row("a._domainkey.www.alpha.test"), "'www.alpha.test' is not among the domains"),
    (row("www.alpha.test"), "is not the name of a key record"),
    (row("_dmarc.alpha.test"), "is not the name of a key record"),
    (row("a._domainkey.alpha.test", "v=spf1 +all"), "is no key record"),
    (row("a._domainkey.alpha.test", f"{OURS}; t=y"), "is no key record"),
    (row("a._domainkey.alpha.test", f"v=DKIM1; k=rsa; p={'A' * 9000}"), "is no key record"),
    (row("a._domainkey.alpha.test", OURS, ["v=spf1 -all"]), "is no key record"),
    (row("a._domainkey.alpha.test", 7), "is no key record"),
    ({**row("a._domainkey.alpha.test"), "ttl": "60"}, "'60' is text, but a whole number of seconds is wanted"),
    ({**row("a._domainkey.alpha.test"), "zone": "test"}, "zone: unknown key"),
    ({"wanted": OURS}, "name or ttl is missing"),
    (["a._domainkey.alpha.test"], "is a list, but a mapping is wanted"),
]


@pytest.mark.parametrize(("asked", "said"), FOREIGN, ids=[said for _, said in FOREIGN])
def test_a_host_gets_nothing_but_key_records_of_its_own_domains_published(asked, said):
    with pytest.raises(Wrong, match=f"record 3.*{said}"):
        read_row(asked, DOMAINS, "record 3")


def test_domains_of_a_pillar_are_read_as_dns_has_them():
    assert domains_of(["Alpha.Test.", "münchen.example", "no domain"]) == {"alpha.test", "xn--mnchen-3ya.example"}
