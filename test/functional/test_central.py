"""Central publishing with a real BIND: what one host asks for, another publishes, and nothing beyond its domains."""

import base64
import re
import threading

import pytest

from mailhost.central import owners
from mailhost.central.keys import domains_of, publish_rows, read_row
from mailhost.central.owners import turn
from mailhost.dns import lookup
from mailhost.errors import PublishError
from mailhost.schema import Wrong
from name_server import NameServer, zone

AUTHORITY, RESOLVER = "127.54.0.1", "127.54.0.53"
KEY = "publisher"
SECRET = base64.b64encode(b"the publisher's own secret, long").decode()
PUBLIC, OTHER = (base64.b64encode(bytes([number]) * 294).decode() for number in (1, 2))
OURS, THEIRS, REVOKED = (f"v=DKIM1; k=rsa; p={public}" for public in (PUBLIC, OTHER, ""))
DOMAINS = {"alpha.test", "beta.test"}
POLICY = f"update-policy {{ grant {KEY} wildcard *._domainkey.%s. TXT; }};"
BETA = "cname._domainkey CNAME elsewhere._domainkey.alpha.test."
ALPHA = """
old._domainkey CNAME v._domainkey.beta.test.
hop._domainkey CNAME hop.gamma.test.
apex._domainkey CNAME beta.test.
policy._domainkey CNAME _dmarc.beta.test.
sub._domainkey CNAME v._domainkey.shop.alpha.test.
own._domainkey CNAME other._domainkey.alpha.test.
hosted._domainkey CNAME hosted.keys.gamma.test.
shared._domainkey CNAME shared.keys.gamma.test.
*.d._domainkey CNAME v._domainkey.beta.test.
d2._domainkey.moved DNAME _domainkey.beta.test.
"""


@pytest.fixture
def dns(tmp_path, monkeypatch):
    """The publisher's settings; its system's resolver is the test's own."""
    root = zone(["ns.test"], f"test NS ns.test.\nns.test. A {AUTHORITY}")
    test = zone(["ns.test"], f"ns A {AUTHORITY}\nalpha NS ns\nbeta NS ns\ngamma NS ns")
    zones = {"": root, "test": test, "alpha.test": zone(["ns.test"], ALPHA), "beta.test": zone(["ns.test"], BETA)}
    zones["gamma.test"] = zone(["ns.test"], "hop CNAME v._domainkey.beta.test.")
    options = {name: POLICY % name for name in ("alpha.test", "beta.test")}
    options["keys.gamma.test"] = f"update-policy {{ grant {KEY} zonesub TXT; }};"
    zones["keys.gamma.test"] = zone(["ns.test"])
    zones["gamma.test"] += "keys NS ns.test.\n"
    (tmp_path / "key").write_text(f'key "{KEY}" {{ algorithm hmac-sha256; secret "{SECRET}"; }};')
    (tmp_path / "key").chmod(0o600)
    for_good = lookup.ask
    monkeypatch.setattr(lookup, "ask", lambda asked, options: for_good(asked, options, (RESOLVER,)))
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


ALIASES = {
    "old": "v._domainkey.beta.test",
    "hop": "v._domainkey.beta.test",
    "apex": "beta.test",
    "policy": "_dmarc.beta.test",
    "sub": "v._domainkey.shop.alpha.test",
    "hosted": "hosted.keys.gamma.test",
}


@pytest.mark.parametrize(("selector", "end"), ALIASES.items())
def test_an_alias_that_leads_out_of_a_hosts_domains_is_no_way_to_anybody_elses_key(dns, selector, end):
    victim = row("v._domainkey.beta.test", THEIRS)
    assert publish_rows([victim], {"beta.test"}, dns)["sent"] == [victim["name"]]
    for wanted, expected in ((OURS, ()), (REVOKED, (THEIRS, REVOKED)), (None, (THEIRS, REVOKED)), (None, (REVOKED,))):
        asked = row(f"{selector}._domainkey.alpha.test", wanted, expected)
        told = publish_rows([asked], {"alpha.test"}, dns)
        assert (told["sent"], told["already"], told["unknown"]) == ([], [], [])
        assert f"it is an alias (CNAME) of {end}, which is no key of the host's domains" in told["refused"][0]
        assert "mailserver:dns:alias_zones" in told["refused"][0]
    assert shown(dns, "v._domainkey.beta.test") == [THEIRS]
    assert not any(one.startswith("v=DKIM1") for one in shown(dns, end) if end != victim["name"])


def test_what_a_wildcard_makes_an_alias_is_published_at_the_name_itself(dns):
    publish_rows([row("v._domainkey.beta.test", THEIRS)], {"beta.test"}, dns)
    told = publish_rows([row("a.d._domainkey.alpha.test")], {"alpha.test"}, dns)
    assert told["sent"] == ["a.d._domainkey.alpha.test"]
    assert shown(dns, "v._domainkey.beta.test") == [THEIRS]


def test_an_alias_may_lead_where_the_masters_pillar_says_and_below_the_hosts_own_domains(dns, tmp_path):
    asked = [row("hosted._domainkey.alpha.test"), row("own._domainkey.alpha.test")]
    told = publish_rows(asked, {"alpha.test"}, dns, "mx1", {"keys.gamma.test"}, tmp_path / "publisher.json")
    assert told["sent"] == ["hosted.keys.gamma.test", "other._domainkey.alpha.test"]
    revoked = [row(one["name"], REVOKED, (OURS, REVOKED)) for one in asked]
    told = publish_rows(revoked, {"alpha.test"}, dns, "mx1", {"keys.gamma.test"}, tmp_path / "publisher.json")
    assert len(told["sent"]) == 2
    assert shown(dns, "hosted.keys.gamma.test") == [REVOKED]


def test_what_was_published_for_one_host_is_not_replaced_for_another(dns, tmp_path):
    path, name = tmp_path / "publisher.json", "twice._domainkey.beta.test"
    mine, asked = ({"beta.test"}, dns, "mx1", (), path), ({"beta.test"}, dns, "mx2", (), path)
    assert publish_rows([row(name)], *mine)["sent"] == [name]
    for wanted, expected in ((REVOKED, (OURS,)), (None, (REVOKED,)), (OURS, ())):
        told = publish_rows([row(name, wanted, expected)], *asked)
        assert "its record was published for mx1, and not for mx2" in told["refused"][0]
    assert shown(dns, name) == [OURS]
    assert publish_rows([row(name, REVOKED, (OURS,))], *mine)["sent"] == [name]
    assert publish_rows([row(name, None, (REVOKED,))], *mine)["sent"] == [name]
    assert publish_rows([row(name)], *asked)["sent"] == [name], "a name that is free again is for who comes first"


def test_in_a_zone_that_hosts_share_only_what_was_published_for_a_host_is_replaced_for_it(dns, tmp_path):
    zones, asked = {"keys.gamma.test"}, "shared._domainkey.alpha.test"
    assert publish_rows([row(asked, THEIRS)], {"alpha.test"}, dns, "mx2", zones)["sent"], "by an older version"
    for wanted, expected in ((THEIRS, ()), (REVOKED, (THEIRS, REVOKED)), (None, (REVOKED,))):
        told = publish_rows([row(asked, wanted, expected)], {"alpha.test"}, dns, "mx1", zones, tmp_path / "p.json")
        assert not told["sent"]
    assert shown(dns, "shared.keys.gamma.test") == [THEIRS]


def test_a_key_that_signs_is_never_taken_away_at_once(dns):
    name = "stays._domainkey.beta.test"
    publish_rows([row(name)], DOMAINS, dns)
    told = publish_rows([row(name, None, (OURS, REVOKED))], DOMAINS, dns)
    assert "it holds somebody else's record" in told["refused"][0]
    assert shown(dns, name) == [OURS]


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
    (row("a._domainkey.alpha.test", OURS, [THEIRS]), "a key would replace another record"),
    (row("a._domainkey.alpha.test", REVOKED, [OURS, THEIRS]), "2 keys would be revoked by one record"),
    (row("a._domainkey.alpha.test", "v=DKIM1; k=rsa; p=AAAA"), "is no key record"),
    (row("a._domainkey.alpha.test", f"v=DKIM1; k=ed25519; p={PUBLIC}"), "is no key record"),
    (row("a._domainkey.alpha.test", "v=DKIM1; k=rsa; p=%%%"), "is no key record"),
    ({**row("a._domainkey.alpha.test"), "ttl": 2**31 - 1}, "2147483647 is out of range"),
    ({**row("a._domainkey.alpha.test"), "ttl": True}, "is true or false, but a whole number of seconds is wanted"),
    (row("a._domainkey.alpha.test\n"), "a line break"),
    (row("*._domainkey.alpha.test"), "is not the name of a key record"),
    (row("a._domainkey.alpha.test."), "is not among the domains"),
    (row("a._domainkey.b._domainkey.alpha.test"), "is not among the domains"),
]


@pytest.mark.parametrize(("asked", "said"), FOREIGN, ids=[said for _, said in FOREIGN])
def test_a_host_gets_nothing_but_key_records_of_its_own_domains_published(asked, said):
    with pytest.raises(Wrong, match=f"record 3.*{said}"):
        read_row(asked, DOMAINS, "record 3")


MANY = [row(f"s{number}._domainkey.gamma.test") for number in range(300)]
DEEP = []
for _ in range(900):
    DEEP = [DEEP]
HOSTILE = [
    (None, "is NoneType, but a list of records is wanted"),
    ("x" * 2**20, "is text, but a list of records is wanted"),
    ({"name": 1}, "is a mapping, but a list of records is wanted"),
    (7, "is int, but a list"),
    ([DEEP], "record 1 is a list, but a mapping is wanted"),
    ([{"name": DEEP}], "record 1: there is a list in it, where text or a whole number is wanted"),
    ([row("x" * 10**6)], "record 1: its name has 1000000 characters, 253 are allowed"),
    ([row("a._domainkey.alpha.test", "v" * 10**6)], "record 1: a text in it has 1000000 characters"),
    ([row("a._domainkey.alpha.test", OURS, ["a"] * 10**5)], "record 1: a list in it has 100000 entries"),
    ([{**row("a._domainkey.alpha.test"), "ttl": 10**5000}], "record 1: a number in it is out of range"),
    ([{**row("a._domainkey.alpha.test"), "ttl": 1.5}], "record 1: there is float in it"),
    ([{str(n): n for n in range(10**5)}], "record 1: it has 100000 keys"),
    ([{1: 2}], "record 1: one of its keys is no short text"),
    ([row("\ud800._domainkey.alpha.test")], "record 1: a text in it has half of a surrogate pair"),
    ([row("a\x1b[2J\r._domainkey.alpha.test")], "record 1:name: 'a.x1b"),
    ([row("a\u202e._domainkey.alpha.test")], "record 1:name: 'a.u202e"),
    ([None], "record 1 is NoneType, but a mapping is wanted"),
    (MANY, "'gamma.test' is not among the domains"),
]


@pytest.mark.parametrize(("given", "said"), HOSTILE, ids=[said for _, said in HOSTILE])
def test_whatever_is_in_the_mine_is_refused_by_itself_in_clear_words(dns, given, said):
    good = row("beside._domainkey.beta.test")
    told = publish_rows([*given, good] if isinstance(given, list) else given, {"beta.test", "alpha.test"}, dns)
    assert told["sent"] == ([good["name"]] if isinstance(given, list) else [])
    assert re.search(said, told["refused"][0])
    assert len(told["refused"]) <= 101
    assert all(one.isprintable() and len(one) < 500 for one in told["refused"])


def test_of_calls_for_one_minion_one_works_one_waits_and_the_others_are_left_to_that(tmp_path, monkeypatch):
    began, waits, go_on, results = threading.Event(), threading.Event(), threading.Event(), []
    for_good = owners.locked

    def locked(folder, wait, what):
        # Whoever wants to work while another one does has its place in the queue by now.
        if folder.name.endswith(".works") and began.is_set():
            waits.set()
        return for_good(folder, wait, what)

    monkeypatch.setattr(owners, "locked", locked)

    def call(number):
        with turn(tmp_path, "mx1") as is_ours:
            results.append((number, is_ours))
            began.set()
            assert go_on.wait(60)

    threads = [threading.Thread(target=call, args=(number,)) for number in (1, 2)]
    for thread, event in zip(threads, (began, waits), strict=True):
        thread.start()
        assert event.wait(60)
    with turn(tmp_path, "mx1") as is_ours:
        assert not is_ours
    go_on.set()
    for thread in threads:
        thread.join(60)
    assert results == [(1, True), (2, True)]


def test_domains_of_a_pillar_are_read_as_dns_has_them():
    assert domains_of(["Alpha.Test.", "münchen.example", "no domain"]) == {"alpha.test", "xn--mnchen-3ya.example"}
