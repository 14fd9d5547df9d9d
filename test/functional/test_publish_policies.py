"""SPF, DMARC, MTA-STS and TLS-RPT are published to a real BIND: ours, beside what others have, and never over it."""

import base64
import json

import dns.query
import dns.tsig
import dns.update
import pytest

from mailhost.dns import lookup
from mailhost.errors import PublishError
from mailhost.pillar.settings import resolve
from mailhost.publish import remembered as publish_remembered
from mailhost.publish.policies import by_result, changes_of, publish, seen
from mailhost.publish.rfc2136 import read_present
from name_server import LIMIT, NameServer, zone

AUTHORITY, RESOLVER = "127.56.0.1", "127.56.0.53"
KEY, OPERATOR = "mx1", "operator"
SECRETS = {name: base64.b64encode(name.encode() * 8).decode() for name in (KEY, OPERATOR)}
GRANTS = " ".join(
    f"grant {KEY} name {prefix}alpha.test. TXT;" for prefix in ("", "_dmarc.", "_mta-sts.", "_smtp._tls.")
)
POLICY = f"update-policy {{ {GRANTS} grant {OPERATOR} zonesub ANY; }};"
GRAINS = {"fqdn": "mx1.alpha.test", "ipv4": ["192.0.2.25"], "ipv6": []}
DOMAIN = {"ttl": 60, "mta_sts": {"mode": "testing"}, "tls_rpt": {"rua": ["mailto:tls@alpha.test"]}}
NAMES = ("alpha.test", "_dmarc.alpha.test", "_mta-sts.alpha.test", "_smtp._tls.alpha.test")
SPF, DMARC = "v=spf1 ip4:192.0.2.25 -all", "v=DMARC1; p=none"
OTHERS = ("google-site-verification=1", "another's")


class World:
    """The zone alpha.test at its primary server, and a host that publishes its policies there."""

    def __init__(self, server, folder):
        self.server, self.path = server, publish_remembered.path_of(folder)
        self.dns = {"timeout": 2, "lifetime": 10, "in_flight": 10, "ignore_servers": [], "resolvers": []}
        self.dns["rfc2136"] = {"server": AUTHORITY, "port": 53, "key_file": str(folder / "key"), "timeout": LIMIT}

    def publish(self, domain=None, test=False, read=None, **more):
        pillar = {"domains": {"alpha.test": {**DOMAIN, **(domain or {}), **more}}}
        settings = resolve(pillar, {"postfix": {"version": "3.7"}}, GRAINS)
        return publish(changes_of(settings["domains"]), self.path, self.dns, test, read)

    def put(self, name, *texts, ttl=300):
        """Have the operator put TXT records at a name, in the place of all others."""
        message = dns.update.UpdateMessage("alpha.test", keyring=dns.tsig.Key(OPERATOR, SECRETS[OPERATOR]))
        message.delete(f"{name}.", "TXT")
        for text in texts:
            message.add(f"{name}.", ttl, "TXT", f'"{text}"')
        assert dns.query.tcp(message, AUTHORITY, timeout=LIMIT).rcode() == 0

    def held(self, name):
        answer = self.server.query(name, "TXT").answer
        return {b"".join(rdata.strings).decode(): one.ttl for one in answer for rdata in one if rdata.rdtype == 16}

    def remembered(self):
        return publish_remembered.read_texts(self.path)


@pytest.fixture
def world(tmp_path, monkeypatch):
    root = zone(["ns.test"], f"test NS ns.test.\nns.test. A {AUTHORITY}")
    test = zone(["ns.test"], f"ns A {AUTHORITY}\nalpha NS ns")
    zones = {"": root, "test": test, "alpha.test": zone(["ns.test"])}
    (tmp_path / "key").write_text(f'key "{KEY}" {{ algorithm hmac-sha256; secret "{SECRETS[KEY]}"; }};')
    (tmp_path / "key").chmod(0o600)
    for_good = lookup.ask
    monkeypatch.setattr(lookup, "ask", lambda asked, options: for_good(asked, options, (RESOLVER,)))
    with (
        NameServer(tmp_path, AUTHORITY, zones, zone_options={"alpha.test": POLICY}, keys=SECRETS) as server,
        NameServer(tmp_path, RESOLVER, root_servers=(AUTHORITY,)),
    ):
        yield World(server, tmp_path)


def test_policies_are_planned_then_published_then_there_already(world):
    plan = [one.as_data() for one in world.publish(test=True)]
    assert [(row["name"], row["record"], row["result"], row["now"]) for row in plan] == [
        (name, record, "due", []) for name, record in zip(NAMES, ("SPF", "DMARC", "MTA-STS", "TLS-RPT"), strict=True)
    ]
    assert not world.path.exists()
    assert all(world.held(name) == {} for name in NAMES)
    nothing = {"refused": [], "unknown": []}
    assert by_result(world.publish()) == {"sent": list(NAMES), "already": [], **nothing}
    for row in plan:
        assert world.held(row["name"]) == {row["wanted"]: 60}
        assert world.remembered()[f"{row['name']} {row['record']}"] == [row["wanted"]]
    assert by_result(world.publish()) == {"sent": [], "already": list(NAMES), **nothing}


def test_texts_of_others_at_the_apex_stay_with_their_ttl(world):
    world.put("alpha.test", *OTHERS, ttl=3600)
    for addresses in (["192.0.2.25"], ["192.0.2.26"]):
        text = f"v=spf1 ip4:{addresses[0]} -all"
        assert world.publish(addresses=addresses)[0].result == "sent"
        assert world.held("alpha.test") == {**dict.fromkeys(OTHERS, 3600), text: 3600}


FOREIGN = [
    (
        "alpha.test",
        "v=spf1 include:_spf.provider.test ~all",
        'A record for both is "v=spf1 ip4:192.0.2.25 include:_spf.provider.test ~all"',
    ),
    ("_dmarc.alpha.test", "v=DMARC1; p=reject; rua=mailto:dmarc@provider.test", "Have the pillar say what is there"),
    ("_mta-sts.alpha.test", "v=STSv1; id=20240101000000", "Have the pillar say what is there"),
    ("_smtp._tls.alpha.test", "v=TLSRPTv1; rua=mailto:tls@provider.test", "Have the pillar say what is there"),
]


@pytest.mark.parametrize(("name", "text", "said"), FOREIGN, ids=[name for name, *_ in FOREIGN])
def test_a_record_that_was_not_published_from_here_is_left_alone_and_holds_up_no_other(world, name, text, said):
    world.put(name, text)
    for test in (True, False):
        outcomes = {one.change.name: one for one in world.publish(test=test)}
        refused = outcomes.pop(name)
        assert (refused.result, refused.now) == ("refused", (text,))
        assert f'was not published from here, "{text}"' in refused.detail
        assert said in refused.detail
        assert {one.result for one in outcomes.values()} == {"due" if test else "sent"}
    assert world.held(name) == {text: 300}
    assert not [key for key in world.remembered() if key.startswith(f"{name} ")]


def test_a_record_that_says_what_is_wanted_becomes_ours_and_follows_the_pillar_from_then_on(world):
    world.put("alpha.test", "v=spf1 +ip4:192.0.2.25  -ALL", *OTHERS)
    assert world.publish()[0].result == "already"
    assert world.publish(addresses=["192.0.2.26"])[0].result == "sent"
    assert set(world.held("alpha.test")) == {"v=spf1 ip4:192.0.2.26 -all", *OTHERS}


def test_ours_that_somebody_changed_is_somebody_elses(world):
    world.publish()
    world.put("_dmarc.alpha.test", "v=DMARC1; p=quarantine")
    assert world.publish(dmarc={"p": "reject"})[1].result == "refused"
    assert world.held("_dmarc.alpha.test") == {"v=DMARC1; p=quarantine": 300}


def test_ours_beside_somebody_elses_of_the_same_kind_is_left_as_it_is(world):
    world.publish()
    world.put("alpha.test", SPF, "v=spf1 include:_spf.provider.test -all")
    assert world.publish(addresses=["192.0.2.26"])[0].result == "refused"
    assert set(world.held("alpha.test")) == {SPF, "v=spf1 include:_spf.provider.test -all"}


@pytest.mark.parametrize("arrived", ["v=spf1 -all", "verification=2"])
def test_what_arrives_at_the_name_between_reading_and_update_is_left_alone(world, arrived):
    world.publish()
    world.put("alpha.test", SPF, *OTHERS)

    def overtaken(server, changes):
        found = read_present(server, changes)
        world.put("alpha.test", SPF, *OTHERS, arrived)
        return found

    spf, *others = world.publish(addresses=["192.0.2.26"], read=overtaken)
    assert spf.result == "refused"
    assert "NXRRSET: the record was changed by somebody else while this ran" in spf.detail
    assert {one.result for one in others} == {"already"}
    assert set(world.held("alpha.test")) == {SPF, *OTHERS, arrived}
    assert world.remembered()["alpha.test SPF"] == [SPF]
    again = "refused" if arrived.startswith("v=spf1") else "sent"
    assert world.publish(addresses=["192.0.2.26"])[0].result == again


class PowerCut(Exception):
    """The run ends here, whatever it was about to do."""


@pytest.mark.parametrize("is_done", [False, True], ids=["before the update", "after it"])
def test_a_run_that_is_cut_short_is_safely_repeated(world, is_done):
    world.publish()

    def cut(server, changes):
        if is_done:
            world.put("alpha.test", "v=spf1 ip4:192.0.2.26 -all")
        raise PowerCut

    with pytest.raises(PowerCut):
        world.publish(addresses=["192.0.2.26"], read=cut)
    assert world.publish(addresses=["192.0.2.27"])[0].result == "sent"
    assert world.held("alpha.test") == {"v=spf1 ip4:192.0.2.27 -all": 60}
    assert world.remembered()["alpha.test SPF"] == ["v=spf1 ip4:192.0.2.27 -all"]


def test_an_alias_is_left_to_whose_record_it_leads_to(world):
    message = dns.update.UpdateMessage("alpha.test", keyring=dns.tsig.Key(OPERATOR, SECRETS[OPERATOR]))
    message.add("_dmarc.alpha.test.", 60, "CNAME", "elsewhere.alpha.test.")
    assert dns.query.tcp(message, AUTHORITY, timeout=LIMIT).rcode() == 0
    outcome = world.publish()[1]
    assert outcome.result == "refused"
    assert "it is an alias (CNAME) of elsewhere.alpha.test" in outcome.detail
    assert world.held("elsewhere.alpha.test") == {}


def test_what_the_servers_policy_does_not_allow_is_told_and_not_remembered(world):
    world.server.serve(**{"alpha.test": zone(["ns.test"])})
    pillar = {"domains": {"sub.alpha.test": DOMAIN}}
    settings = resolve(pillar, {"postfix": {"version": "3.7"}}, GRAINS)
    outcomes = publish(changes_of(settings["domains"]), world.path, world.dns)
    assert {one.result for one in outcomes} == {"refused"}
    assert "its update-policy or allow-update does not let the key mx1 change it" in outcomes[0].detail
    assert world.remembered() == {}


def test_without_a_server_it_is_not_known_what_is_there_and_nothing_is_remembered(world):
    world.server.stop()
    outcomes = world.publish()
    assert {one.result for one in outcomes} == {"unknown"}
    assert "its zone could not be found out" in outcomes[0].detail
    world.server.start()


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": 2, "records": {}}', '{"format": 1, "records": {"a SPF": "x"}}']
)
def test_a_damaged_memory_stops_everything_and_is_left_as_it_is(world, text):
    world.path.write_text(text)
    for test in (True, False):
        with pytest.raises(PublishError, match=r"damaged .*nothing was published. Restore it; or remove it"):
            world.publish(test=test)
    assert world.path.read_text() == text
    assert world.held("alpha.test") == {}


def test_what_is_remembered_for_one_minion_is_not_anothers(tmp_path):
    paths = {publish_remembered.path_of(tmp_path, minion) for minion in (None, "mx1", "mx2", "../mx1", "mx1/x")}
    assert len(paths) == 5
    assert {path.parent for path in paths} == {tmp_path}


def test_a_host_without_a_credential_sees_what_is_due(world):
    world.put("_dmarc.alpha.test", DMARC)
    world.put("alpha.test", "v=spf1 -all", *OTHERS)
    settings = resolve({"domains": {"alpha.test": DOMAIN}}, {"postfix": {"version": "3.7"}}, GRAINS)
    found = seen(changes_of(settings["domains"]), world.dns)
    assert [(one.result, one.now) for one in found] == [
        ("due", ("v=spf1 -all",)),
        ("already", (DMARC,)),
        ("due", ()),
        ("due", ()),
    ]
    assert json.dumps([one.as_data() for one in found])


def test_what_is_shown_by_a_wildcard_is_in_nobodys_way(world):
    world.put("*.alpha.test", "v=spf1 -all", OTHERS[0])
    assert world.held("_dmarc.alpha.test") == {"v=spf1 -all": 300, OTHERS[0]: 300}
    assert {one.result for one in world.publish(test=True)} == {"due"}
    assert {one.result for one in world.publish()} == {"sent"}
    assert world.held("_dmarc.alpha.test") == {DMARC: 60}
    assert set(world.held("_smtp._tls.alpha.test")) == {"v=TLSRPTv1; rua=mailto:tls@alpha.test"}
    assert world.held("www.alpha.test") == {"v=spf1 -all": 300, OTHERS[0]: 300}


def test_what_is_at_the_name_as_well_as_at_the_wildcard_stays_there(world):
    world.put("*.alpha.test", OTHERS[0])
    world.put("_dmarc.alpha.test", OTHERS[0])
    assert world.publish()[1].result == "sent"
    assert set(world.held("_dmarc.alpha.test")) == {OTHERS[0], DMARC}


TWO = ["mx1.alpha.test", "mx2.alpha.test"]


def of_two(world, folder, host, hosts=None, test=False):
    """What comes of it when one of two hosts publishes by itself, each with a memory and an address of its own."""
    pillar = {"domains": {"alpha.test": {**DOMAIN, **({"hosts": hosts} if hosts else {})}}}
    grains = {"fqdn": host, "ipv4": [f"192.0.2.{host[2]}"], "ipv6": []}
    settings = resolve(pillar, {"postfix": {"version": "3.7"}}, grains)
    path = publish_remembered.path_of(folder / host)
    path.parent.mkdir(exist_ok=True)
    return [one.result for one in publish(changes_of(settings["domains"]), path, world.dns, test)]


def test_a_domain_moves_from_one_host_to_another_as_the_operations_page_says(world, tmp_path):
    old, new = TWO
    assert of_two(world, tmp_path, old) == ["sent"] * 4
    assert set(world.held("alpha.test")) == {"v=spf1 ip4:192.0.2.1 -all"}
    # Whoever forgets the list breaks nothing: the new host leaves the old one's records alone.
    assert of_two(world, tmp_path, new) == ["refused", "already", "refused", "already"]
    assert set(world.held("alpha.test")) == {"v=spf1 ip4:192.0.2.1 -all"}
    # Both have the list: whoever published before goes on, and the other one agrees.
    assert of_two(world, tmp_path, old, TWO) == ["sent", "already", "sent", "already"]
    assert set(world.held("alpha.test")) == {"v=spf1 a:mx1.alpha.test a:mx2.alpha.test -all"}
    assert of_two(world, tmp_path, new, TWO) == ["already"] * 4
    # The old one is gone from the pillar, and the new one from then on has it alone.
    assert of_two(world, tmp_path, new, [new]) == ["sent", "already", "sent", "already"]
    assert set(world.held("alpha.test")) == {"v=spf1 a:mx2.alpha.test -all"}


def test_a_record_that_allows_others_besides_serves_and_is_never_made_narrower(world, tmp_path):
    both = "v=spf1 ip4:192.0.2.2 ip4:192.0.2.1 include:_spf.provider.test ~all"
    world.put("alpha.test", both)
    for host in TWO:
        assert of_two(world, tmp_path, host)[0] == "already"
    assert set(world.held("alpha.test")) == {both}
