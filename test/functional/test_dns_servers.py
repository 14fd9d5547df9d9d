"""What DNS shows, asked of real name servers that agree, are stale, lame, broken or gone."""

import asyncio
import re
import socket
import subprocess
from dataclasses import replace

import pytest

from mailhost.dns import lookup
from mailhost.dns.lookup import Options, Question, judge
from name_server import NameServer, running, zone

ONE, TWO, THREE, RESOLVER, NOBODY = "127.53.0.1", "127.53.0.2", "127.53.0.3", "127.53.0.53", "127.53.0.66"
NO_ROUTE = "2001:db8:53::1"
NS1, NS2, NS3, CACHE = "ns1.lab.test", "ns2.lab.test", "ns3.lab.test", "cache.lab.test"
DOWN, HALF, SIX, BOTH = "down.lab.test", "half.lab.test", "six.lab.test", "both.lab.test"
PATIENT = Options()
QUICK = Options(timeout=1.2)  # for questions to an address where nobody is

KEY = 'sel._domainkey 300 TXT "v=DKIM1; p=" "AAAA"'
KEY_VALUE = b"v=DKIM1; p=AAAA"
OTHER = KEY.replace("AAAA", "BBBB")
LONG = " ".join(f'"{letter * 255}"' for letter in "abcdefgh")
MANY = "\n".join(f'sel{number}._domainkey TXT "key {number}"' for number in range(200))

# Zone: what each server has of it. A server that is not listed does not have the zone.
ZONES = {
    "agree.test": {ONE: zone([NS1, NS2], KEY), TWO: zone([NS1, NS2], KEY)},
    "stale.test": {ONE: zone([NS1, NS2], KEY), TWO: zone([NS1, NS2])},
    "different.test": {ONE: zone([NS1, NS2], KEY), TWO: zone([NS1, NS2], OTHER)},
    "two.test": {ONE: zone([NS1], f"{KEY}\n{OTHER}")},
    "down.test": {ONE: zone([NS1, DOWN], KEY)},
    "half.test": {ONE: zone([NS1, HALF], KEY), TWO: zone([NS1, HALF], KEY)},
    "servfail.test": {ONE: zone([NS1, NS2], KEY), TWO: "this is no zone file\n"},
    "refused.test": {ONE: zone([NS1, NS2], KEY)},
    "lame.test": {ONE: zone([NS1, CACHE], KEY)},
    "big.test": {ONE: zone([NS1], f"sel._domainkey TXT {LONG}")},
    "alias.test": {
        ONE: zone([NS1, NS2], "sel._domainkey CNAME s.alias\ns.alias CNAME sel._domainkey.provider.test."),
        TWO: zone([NS1, NS2], "sel._domainkey CNAME s.alias\ns.alias CNAME sel._domainkey.provider.test."),
    },
    "half-alias.test": {
        ONE: zone([NS1, NS2], "sel._domainkey CNAME sel._domainkey.provider.test."),
        TWO: zone([NS1, NS2]),
    },
    "provider.test": {THREE: zone([NS3], KEY, negative_ttl=77)},
    "loop.test": {ONE: zone([NS1], "sel._domainkey CNAME a\na CNAME b\nb CNAME sel._domainkey")},
    "cut.test": {ONE: zone([NS1], f"_domainkey NS {NS3}."), TWO: ""},
    "_domainkey.cut.test": {
        THREE: zone([NS3, NS2], 'sel TXT "v=DKIM1; p=AAAA"', negative_ttl=88),
        TWO: zone([NS3, NS2], negative_ttl=88),
    },
    "same.test": {ONE: zone([NS1], f"_domainkey NS {NS1}.\n_domainkey NS {NS3}.")},
    "_domainkey.same.test": {ONE: zone([NS1, NS3], 'sel TXT "v=DKIM1; p=AAAA"'), THREE: zone([NS1, NS3])},
    "v6.test": {ONE: zone([NS1, BOTH], KEY), TWO: zone([NS1, BOTH], KEY)},
    "v6only.test": {ONE: zone([NS1, SIX], KEY)},
    "many.test": {ONE: zone([NS1, NS2], MANY), TWO: zone([NS1, NS2], MANY)},
    "hosts.test": {
        ONE: zone([NS1], "@ MX 10 mx1\n@ MX 20 MX2\nmx1 A 192.0.2.1\nmx1 A 192.0.2.2\nmx1 AAAA 2001:db8:0::1")
    },
    "warm.test": {ONE: zone([NS1, NS2], KEY), TWO: zone([NS1, NS2], KEY)},
    "cold.test": {ONE: zone([NS1, NS2], KEY), TWO: zone([NS1, NS2])},
    "poison.test": {ONE: zone([NS1, NS2], KEY), TWO: zone([NS1, NS2])},
    "ignore.test": {ONE: zone([NS1, DOWN, HALF], KEY), TWO: zone([NS1, DOWN, HALF], KEY)},
}
LAB = f"""
ns1 A {ONE}
ns2 A {TWO}
ns3 A {THREE}
cache A {RESOLVER}
down A {NOBODY}
half A {TWO}
half A {NOBODY}
six AAAA {NO_ROUTE}
both A {TWO}
both AAAA {NO_ROUTE}
"""


def _root():
    return zone([NS1], f"test NS {NS1}.\n{NS1}. A {ONE}")


def _test():
    lines = [f"lab NS {NS1}.", f"ns1.lab A {ONE}"]
    for name, texts in ZONES.items():
        if not name.startswith("_"):
            apex = re.findall("^@ NS .*", texts.get(ONE) or texts[THREE], re.MULTILINE)
            lines += [line.replace("@", name.removesuffix(".test")) for line in apex]
    return zone([NS1], "\n".join(lines))


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dns")
    served = {address: {n: t[address] for n, t in ZONES.items() if t.get(address)} for address in (ONE, TWO, THREE)}
    served[ONE] |= {"": _root(), "test": _test(), "lab.test": zone([NS1], LAB)}
    started = {address: NameServer(folder, address, zones) for address, zones in served.items()}
    started[RESOLVER] = NameServer(folder, RESOLVER, root_servers=[ONE])
    with running(started):
        yield started


@pytest.fixture
def no_route():
    """An IPv6 address to which no route leads, on hosts with IPv6 too."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        if probe.connect_ex((NO_ROUTE, 53)) != 0:
            yield
            return
    route = [f"{NO_ROUTE}/128", "dev", "lo"]
    subprocess.run(["ip", "-6", "route", "add", "unreachable", *route], check=True)
    yield
    subprocess.run(["ip", "-6", "route", "del", "unreachable", *route], check=True)


class Way:
    """How the tests find zones: from the root down, or by a resolver that is believed."""

    root_servers = (ONE,)


@pytest.fixture(autouse=True, params=["from the root", "by a resolver"])
def way(request, monkeypatch):
    roots = (ONE,) if request.param == "from the root" else ()
    monkeypatch.setattr(Way, "root_servers", roots)
    return bool(roots)


def ask(questions, options, recursive):
    return lookup.ask(questions, replace(options, root_servers=Way.root_servers), recursive)


def key(name):
    return Question(f"sel._domainkey.{name}", "TXT")


def seek(question, options=PATIENT):
    return ask([question], options, recursive=[RESOLVER])[question]


def is_key(values):
    if len(values) != 1:
        return f"{len(values)} records"
    return None if values[0] == KEY_VALUE else f"shows {values[0]!r}"


def verdict(domain, options=PATIENT):
    answers = seek(key(domain), options)
    return judge(answers, is_key), answers


@pytest.mark.parametrize(
    ("domain", "value", "finding"),
    [
        ("agree.test", "published", ""),
        ("stale.test", "absent", f"{NS2} ({TWO}) shows no TXT at sel._domainkey.stale.test (NXDOMAIN)."),
        ("different.test", "different", f"{NS2} ({TWO}): shows b'v=DKIM1; p=BBBB'"),
        ("two.test", "different", f"{NS1} ({ONE}): 2 records"),
        ("down.test", "unknown", f"{DOWN} ({NOBODY}) gave no usable answer"),
        ("half.test", "unknown", f"{HALF} ({NOBODY}) gave no usable answer"),
        (
            "servfail.test",
            "unknown",
            f"{NS2} ({TWO}) gave no usable answer for sel._domainkey.servfail.test: SERVFAIL.",
        ),
        ("refused.test", "unknown", f"{NS2} ({TWO}) gave no usable answer for sel._domainkey.refused.test: REFUSED."),
        ("half-alias.test", "absent", f"{NS2} ({TWO}) shows no TXT"),
        ("loop.test", "unknown", "CNAME chain without an end"),
        ("v6only.test", "unknown", f"{SIX} gave no usable answer"),
        ("nowhere.test", "absent", f"{NS1} ({ONE}) shows no TXT at sel._domainkey.nowhere.test (NXDOMAIN)."),
    ],
)
def test_every_authoritative_server_counts_at_every_address(servers, no_route, domain, value, finding):
    found, answers = verdict(domain, QUICK if NOBODY in finding else PATIENT)
    assert found.value == value, answers
    assert finding in "\n".join(found.findings)
    assert bool(found.findings) == (value != "published")


def test_server_that_answers_from_a_cache_is_lame(servers):
    servers[RESOLVER].query("sel._domainkey.lame.test", "TXT", recursion=True)
    found, _ = verdict("lame.test")
    assert found.value == "unknown"
    assert found.findings == (
        f"{CACHE} ({RESOLVER}) gave no usable answer for sel._domainkey.lame.test: not authoritative (lame).",
    )


def test_answer_too_long_for_udp_comes_by_tcp(servers):
    (seen,) = seek(key("big.test")).seen
    assert seen.status == "answer"
    assert seen.values == (b"".join(letter * 255 for letter in (b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h")),)


def test_strings_of_a_record_are_joined_and_its_ttl_is_told(servers):
    answers = seek(key("agree.test"))
    assert [(seen.values, seen.ttl) for seen in answers.seen] == [((KEY_VALUE,), 300)] * 2
    assert (answers.zone, answers.negative_ttl, answers.left_out) == ("agree.test", 60, ())


def test_two_records_at_a_name_are_both_seen(servers):
    (seen,) = seek(key("two.test")).seen
    assert seen.values == (b"v=DKIM1; p=AAAA", b"v=DKIM1; p=BBBB")


def test_cname_is_followed_into_another_zone(servers):
    found, answers = verdict("alias.test")
    assert found.value == "published", answers
    assert (answers.target, answers.zone) == ("sel._domainkey.provider.test", "provider.test")
    assert [(seen.server, seen.address) for seen in answers.seen] == [(NS3, THREE)]
    assert answers.negative_ttl == 77


def test_servers_of_a_delegated_zone_are_asked_those_that_only_the_zone_itself_names_included(servers):
    found, answers = verdict("cut.test")
    assert {(seen.server, seen.status) for seen in answers.seen} == {(NS3, "answer"), (NS2, "absent")}
    assert (found.value, answers.zone, answers.negative_ttl) == ("absent", "_domainkey.cut.test", 88)


def test_zone_below_is_noticed_when_a_server_has_parent_and_child(servers):
    found, answers = verdict("same.test")
    assert {(seen.server, seen.status) for seen in answers.seen} == {(NS1, "answer"), (NS3, "absent")}
    assert (found.value, answers.zone) == ("absent", "_domainkey.same.test")


def test_address_without_a_route_is_left_out_and_reported(servers, no_route):
    found, answers = verdict("v6.test")
    assert found.value == "published", answers
    assert answers.left_out == (f"{NO_ROUTE} ({BOTH}): no route to IPv6",)


def test_ignored_names_and_addresses_are_left_out_and_reported(servers):
    options = Options(ignore_servers=("DOWN.lab.test.", NOBODY))
    found, answers = verdict("ignore.test", options)
    assert found.value == "published", answers
    assert answers.left_out == (
        f"{DOWN}: ignored by mailserver:dns:ignore_servers",
        f"{NOBODY} ({HALF}): ignored by mailserver:dns:ignore_servers",
    )


def test_nothing_is_published_when_every_server_is_ignored(servers):
    found, answers = verdict("agree.test", Options(ignore_servers=(NS1, TWO)))
    assert (found.value, answers.seen) == ("unknown", ())


def test_no_resolver_is_asked_for_a_name_that_may_not_exist(servers, way):
    before = len(servers[RESOLVER].queries())
    questions = [key("poison.test"), Question("_dmarc.poison.test", "TXT"), Question("mx9.poison.test", "A")]
    ask(questions, Options(resolvers=(RESOLVER,)), recursive=[RESOLVER])
    since = servers[RESOLVER].queries()[before:]
    asked = {(name, rdtype) for name, rdtype, _ in since if name.endswith("poison.test")}
    assert asked == (set() if way else {("poison.test", rdtype) for rdtype in ("SOA", "NS", "DS")})


def test_resolvers_are_asked_once_every_authoritative_server_has_the_record(servers):
    found, answers = verdict("warm.test", Options(resolvers=(RESOLVER,)))
    assert found.value == "published", answers
    assert [(seen.server, seen.address, seen.status) for seen in answers.seen][2:] == [("resolver", RESOLVER, "answer")]
    found, answers = verdict("cold.test", Options(resolvers=(RESOLVER,)))
    assert len(answers.seen) == 2
    assert (key("cold.test").name, "TXT", True) not in servers[RESOLVER].queries()


def test_resolver_that_is_behind_holds_a_record_up(servers):
    found, answers = verdict("agree.test", Options(timeout=1.2, resolvers=(RESOLVER, NOBODY)))
    assert (found.value, answers.seen[-1].status) == ("unknown", "unknown")
    assert found.findings[0].startswith(f"resolver ({NOBODY}) gave no usable answer")


def test_authoritative_servers_are_asked_without_recursion(servers):
    before = len(servers[TWO].queries())
    seek(key("agree.test"))
    assert {recursion for _, _, recursion in servers[TWO].queries()[before:]} == {False}


def test_200_names_are_asked_at_once_and_their_zone_is_looked_up_once(servers, way):
    before = len(servers[RESOLVER].queries()), len(servers[ONE].queries())
    questions = [Question(f"sel{number}._domainkey.many.test", "TXT") for number in range(200)]
    found = ask(questions, Options(in_flight=20), recursive=[RESOLVER])
    values = {question: {(seen.server, seen.values) for seen in answers.seen} for question, answers in found.items()}
    wanted = {
        question: {(server, (f"key {number}".encode(),)) for server in (NS1, NS2)}
        for number, question in enumerate(questions)
    }
    assert values == wanted
    asked = [(name, rdtype) for name, rdtype, _ in servers[RESOLVER].queries()[before[0] :] if name == "many.test"]
    assert asked == ([] if way else [("many.test", "SOA"), ("many.test", "NS"), ("many.test", "DS")])
    # Its delegation, at two of ".test"; its servers by itself; whether it is signed; how long it may be denied.
    since = [(name, rdtype) for name, rdtype, _ in servers[ONE].queries()[before[1] :] if name == "many.test"]
    assert since.count(("many.test", "NS")) <= 3
    assert len(since) <= 5


def test_dead_server_does_not_use_up_the_time_of_other_questions(servers):
    dead = [Question(f"sel{number}._domainkey.down.test", "TXT") for number in range(100)]
    found = ask([*dead, key("agree.test")], Options(timeout=1.5, lifetime=20, in_flight=5), recursive=[RESOLVER])
    assert judge(found[key("agree.test")], is_key).value == "published"
    assert {seen.status for question in dead for seen in found[question].seen if seen.address == NOBODY} == {"unknown"}


def test_what_the_lifetime_does_not_suffice_for_is_unknown(servers):
    found, answers = verdict("down.test", Options(timeout=60, lifetime=2))
    assert found.value == "unknown"
    assert [(seen.server, seen.status) for seen in answers.seen] == [(DOWN, "unknown"), (NS1, "answer")]
    found, answers = verdict("agree.test", Options(lifetime=0))
    assert (found.value, bool(answers.trouble)) == ("unknown", True)


def test_everything_is_unknown_when_the_systems_resolver_is_gone_and_it_is_to_be_believed(servers, way):
    question = key("agree.test")
    if way:
        assert ask([question], QUICK, recursive=[NOBODY])[question].seen[0].status == "answer"
        return
    answers = ask([question], QUICK, recursive=[NOBODY])[question]
    assert judge(answers, is_key).value == "unknown"
    assert answers.trouble.startswith(
        "The system's resolver has no answer for agree.test SOA (127.53.0.66: no answer in"
    )
    assert ask([question], QUICK, recursive=[NOBODY, RESOLVER])[question].seen[0].status == "answer"


def test_addresses_and_mail_exchangers_are_values_to_compare(servers):
    asked = [("mx1.hosts.test", "A"), ("mx1.hosts.test", "AAAA"), ("hosts.test", "MX"), ("hosts.test", "A")]
    found = ask([Question(*one) for one in asked], PATIENT, recursive=[RESOLVER])
    assert [(one.seen[0].status, one.seen[0].values, one.seen[0].detail) for one in found.values()] == [
        ("answer", ("192.0.2.1", "192.0.2.2"), ""),
        ("answer", ("2001:db8::1",), ""),
        ("answer", ((10, "mx1.hosts.test"), (20, "mx2.hosts.test")), ""),
        ("absent", (), "no A record"),
    ]


def test_questions_can_be_asked_where_an_event_loop_runs(servers):
    async def caller():
        return seek(key("agree.test"))

    assert judge(asyncio.run(caller()), is_key).value == "published"


def test_name_server_of_these_tests_serves_what_it_is_given_later(tmp_path, servers):
    late = NameServer(tmp_path, "127.53.0.4", {"late.test": zone([NS1])})
    with late:
        assert not late.query("sel._domainkey.late.test", "TXT").answer
        late.serve(**{"late.test": zone([NS1], KEY)})
        assert late.query("sel._domainkey.late.test", "TXT").answer
