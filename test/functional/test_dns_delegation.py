"""Who serves a zone, by its parent and by itself, from a real root down; and what DNSSEC says of its answers."""

import dns.flags
import pytest

from mailhost.dns.lookup import LONGEST_CHAIN, Options, Question, ask, judge
from name_server import NameServer, running, signed_zone, zone

ROOT, TLD, TLD2 = "127.61.0.1", "127.61.0.2", "127.61.0.3"
OLD, NEW, RESOLVER, INSIDE, NOBODY = "127.61.0.11", "127.61.0.12", "127.61.0.53", "127.61.0.54", "127.61.0.99"
NS_OLD, NS_NEW = "old.lab.test", "new.lab.test"
BY = {OLD: NS_OLD, NEW: NS_NEW}
KEY = 'sel._domainkey TXT "v=DKIM1; p=AAAA"'
VALUE = b"v=DKIM1; p=AAAA"
QUICK = {"timeout": 1.5, "lifetime": 20}
CHAIN = [f"c{number} CNAME c{number + 1}" for number in range(1, 20)]


def to(*servers, glue=""):
    """Return a delegation as lines of the zone ``test``."""
    return lambda name: "\n".join([*(f"{name} NS {server}." for server in servers), glue])


# Zone: its delegation by each server of "test" (the second as the first, if left out), and its text at each server.
ZONES = {
    "agreed.test": ([to(NS_OLD, NS_NEW)], {OLD: zone([NS_OLD, NS_NEW], KEY), NEW: zone([NS_OLD, NS_NEW], KEY)}),
    "moving.test": ([to(NS_OLD)], {OLD: zone([NS_NEW]), NEW: zone([NS_NEW], KEY)}),
    "moved.test": ([to(NS_OLD)], {OLD: zone([NS_NEW], KEY), NEW: zone([NS_NEW], KEY)}),
    "unaware.test": ([to(NS_OLD, NS_NEW)], {OLD: zone([NS_OLD], KEY), NEW: zone([NS_OLD])}),
    "third.test": ([to(NS_OLD)], {OLD: zone([NS_OLD, NS_NEW], KEY), NEW: zone([NS_NEW])}),
    "parents.test": ([to(NS_OLD), to(NS_NEW)], {OLD: zone([NS_OLD, NS_NEW]), NEW: zone([NS_OLD, NS_NEW], KEY)}),
    "late.test": ([to(NS_NEW), lambda name: ""], {NEW: zone([NS_NEW], KEY)}),
    "lame.test": ([to(NS_OLD, NS_NEW)], {NEW: zone([NS_OLD, NS_NEW], KEY)}),
    "inside.test": (
        [to("ns.inside.test", glue=f"ns.inside A {NEW}")],
        {NEW: zone(["ns.inside.test"], f"ns A {NEW}\n{KEY}")},
    ),
    "glue.test": (
        [to("ns.glue.test", glue=f"ns.glue A {OLD}")],
        {OLD: zone(["ns.glue.test"], f"ns A {NEW}"), NEW: zone(["ns.glue.test"], f"ns A {NEW}\n{KEY}")},
    ),
    "dname.test": (
        [to(NS_OLD)],
        {OLD: zone([NS_OLD], "_domainkey DNAME _domainkey.agreed.test.")},
    ),
    "deep.test": ([to(NS_OLD)], {OLD: zone([NS_OLD], KEY.replace("_domainkey", "_domainkey.a.b"))}),
    "cut.test": ([to(NS_OLD)], {OLD: zone([NS_OLD], f"_domainkey NS {NS_NEW}.")}),
    "_domainkey.cut.test": (
        [lambda name: ""],
        {NEW: zone([NS_NEW], 'sel TXT "v=DKIM1; p=AAAA"')},
    ),
    "hidden.test": ([to(NS_OLD)], {OLD: zone([NS_OLD], f"_domainkey NS {NS_OLD}.\n_domainkey NS {NS_NEW}.")}),
    "_domainkey.hidden.test": (
        [lambda name: ""],
        {OLD: zone([NS_OLD, NS_NEW], 'sel TXT "v=DKIM1; p=AAAA"'), NEW: zone([NS_OLD, NS_NEW])},
    ),
    "one.test": ([to("ns.two.test")], {}),
    "two.test": ([to("ns.one.test")], {}),
    "crowd.test": ([to(NS_NEW)], {NEW: zone([NS_NEW, *(f"n{n}.lab.test" for n in range(60))], KEY)}),
    "split.test": ([to(NS_OLD)], {OLD: zone([NS_OLD])}),
    "chain.test": ([to(NS_OLD)], {OLD: zone([NS_OLD], "\n".join([*CHAIN, f'c20 TXT "{VALUE.decode()}"']))}),
    "astray.test": (
        [to(NS_OLD)],
        {
            OLD: zone(
                [NS_OLD],
                'twice._domainkey.astray.test TXT "v=DKIM1; p=AAAA"\nbare TXT "v=DKIM1; p=AAAA"\n'
                'short._domainkey TXT "v=DKIM1; p=AAAA"\nother TXT "v=DKIM1; p=BBBB"',
            )
        },
    ),
    "decades.test": ([to(NS_OLD)], {OLD: zone([NS_OLD], ttl=2**31 - 1, negative_ttl=2**31 - 1)}),
}
# Of 40 names of a zone, one is delegated to another server, and one to both, of which one lacks the record.
for many, here, there in (("many.test", NEW, OLD), ("many-minimal.test", OLD, NEW)):
    own = "\n".join(KEY.replace("_domainkey", f"_domainkey.d{number}") for number in range(38))
    cuts = f"d38 NS {BY[there]}.\nd39 NS {BY[here]}.\nd39 NS {BY[there]}."
    ZONES[many] = ([to(BY[here])], {here: zone([BY[here]], f"{own}\n{cuts}")})
    ZONES[f"d38.{many}"] = ([lambda name: ""], {there: zone([BY[there]], KEY)})
    ZONES[f"d39.{many}"] = ([lambda name: ""], {here: zone([NS_OLD, NS_NEW], KEY), there: zone([NS_OLD, NS_NEW])})
LAB = f"old A {OLD}\nnew A {NEW}\ntld A {TLD}"


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dns")
    served = {address: {n: t[address] for n, (_, t) in ZONES.items() if address in t} for address in (OLD, NEW)}
    signed = list(_signed(folder))
    for name, texts, _ in signed:
        for address, text in texts.items():
            served[address][name] = text
    for number, address in enumerate((TLD, TLD2)):
        own = [to(*(BY[one] for one in texts))(f"{name}.") + f"\n{ds}" for name, texts, ds in signed if ds is not None]
        own += [one[min(number, len(one) - 1)](f"{name}.") for name, (one, _) in ZONES.items()]
        lines = "\n".join(["lab NS tld.lab.test.", f"tld.lab A {TLD}", f"tld2.lab A {TLD2}", *own])
        served[address] = {"test": zone(["tld.lab.test", "tld2.lab.test"], lines)}
    served[TLD]["lab.test"] = zone(["tld.lab.test"], f"{LAB}\ntld2 A {TLD2}")
    top = f"test NS tld.lab.test.\ntest NS tld2.lab.test.\ntld.lab.test. A {TLD}\ntld2.lab.test. A {TLD2}"
    served[ROOT] = {"": zone(["root.lab.test"], f"{top}\nroot.lab.test. A {ROOT}")}
    started = {address: NameServer(folder, address, zones) for address, zones in served.items()}
    # As many providers' servers, one says no more than it was asked for.
    started[OLD] = NameServer(folder, OLD, served[OLD], options="minimal-responses yes;")
    inside = {"split.test": zone(["in.corp"], KEY), "corp": zone(["in.corp"], f"in A {INSIDE}\n{KEY}")}
    started[RESOLVER] = NameServer(folder, RESOLVER, root_servers=[ROOT])
    started[INSIDE] = NameServer(folder, INSIDE, inside, root_servers=[ROOT])
    with running(started):
        yield started


def _signed(folder):
    """Return each signed zone, its text at each of its servers, and its DS records."""
    for name, both in (
        ("signed.test", ({},)),
        ("expired.test", (PAST,)),
        ("future.test", (FUTURE,)),
        ("stale.test", ({}, PAST)),
    ):
        servers = [OLD, NEW][: len(both)]
        text, texts = (
            zone([BY[one] for one in servers], f'{KEY}\n*.wild TXT "{VALUE.decode()}"\nd DNAME signed.test.'),
            {},
        )
        for address, when in zip(servers, both, strict=True):
            texts[address], ds = signed_zone(folder, name, text, keys=folder / f"keys-{name}", **when)
        yield name, texts, ds
    # Zones below signed ones at the same servers: signed by keys of their own, or not signed.
    for name, address in (("low.test", OLD), ("lower.test", NEW)):
        own = zone([BY[address]], 'sel TXT "v=DKIM1; p=AAAA"')
        text, ds = signed_zone(folder, f"_domainkey.{name}", own)
        cuts = f"_domainkey NS {BY[address]}.\n_domainkey.plain NS {BY[address]}."
        above, its = signed_zone(folder, name, zone([BY[address]], f"{cuts}\n{ds}"))
        yield name, {address: above}, its
        yield f"_domainkey.{name}", {address: text}, None
        yield f"_domainkey.plain.{name}", {address: own}, None
    plain = zone([NS_OLD], KEY)
    yield "stripped.test", {OLD: plain}, f"stripped.test. DS 12345 13 2 {'ab' * 32}"
    yield "unknown-algorithm.test", {OLD: plain}, f"unknown-algorithm.test. DS 12345 253 2 {'ab' * 32}"
    yield "unknown-digest.test", {OLD: plain}, f"unknown-digest.test. DS 12345 13 250 {'ab' * 32}"
    aliases = zone([NS_OLD], "sel._domainkey CNAME sel._domainkey.expired.test.\nvia CNAME sel._domainkey.signed.test.")
    yield "aliases.test", {OLD: aliases}, ""


PAST, FUTURE = {"start": "20200101000000", "end": "20200201000000"}, {"start": "now+10d", "end": "now+30d"}


def is_key(values):
    return None if values == (VALUE,) else f"shows {values}"


def verdict(name, rdtype="TXT", roots=(ROOT,), recursive=(RESOLVER,), **bounds):
    question = Question(name, rdtype)
    answers = ask([question], Options(root_servers=roots, **bounds), recursive)[question]
    return judge(answers, is_key), answers


def key(domain):
    return f"sel._domainkey.{domain}"


@pytest.mark.parametrize(
    ("domain", "value", "finding", "remark"),
    [
        ("agreed.test", "published", "", ""),
        (
            "moving.test",
            "absent",
            f"{NS_OLD} ({OLD}) shows no TXT",
            f"delegated to {NS_OLD}, but {NS_OLD} ({OLD}) names {NS_NEW}",
        ),
        ("moved.test", "published", "", f"moved.test is delegated to {NS_OLD}, but {NS_OLD} ({OLD}) names {NS_NEW}"),
        ("unaware.test", "absent", f"{NS_NEW} ({NEW}) shows no TXT", "unaware.test is delegated to"),
        ("third.test", "absent", f"{NS_NEW} ({NEW}) shows no TXT", f"names {NS_NEW}, {NS_OLD}"),
        ("parents.test", "absent", f"{NS_OLD} ({OLD}) shows no TXT", ""),
        ("late.test", "absent", f"({TLD2}) shows no TXT at sel._domainkey.late.test (NXDOMAIN", ""),
        ("lame.test", "unknown", f"{NS_OLD} ({OLD}) gave no usable answer", ""),
        ("inside.test", "published", "", ""),
        ("glue.test", "absent", f"ns.glue.test ({OLD}) shows no TXT", ""),
        ("dname.test", "published", "", ""),
        ("a.b.deep.test", "published", "", ""),
        ("cut.test", "published", "", ""),
        ("hidden.test", "absent", f"{NS_NEW} ({NEW}) shows no TXT", ""),
        ("one.test", "unknown", "only be looked up with each other's help", ""),
        ("crowd.test", "unknown", "crowd.test has 61 name servers, of which 32 at most are asked", ""),
        ("nowhere.test", "absent", "shows no TXT at sel._domainkey.nowhere.test (NXDOMAIN)", ""),
    ],
)
def test_servers_by_the_parent_and_by_the_zone_are_all_asked(servers, domain, value, finding, remark):
    found, answers = verdict(key(domain))
    assert found.value == value, answers
    assert finding in "\n".join(found.findings)
    assert remark in "\n".join(answers.remarks)
    assert bool(answers.remarks) == bool(remark)


def test_no_internal_view_of_a_zone_counts(servers):
    assert verdict(key("split.test"), roots=(), recursive=(INSIDE,))[0].value == "published"
    found, answers = verdict(key("split.test"), recursive=(INSIDE,))
    assert (found.value, answers.seen[0].address) == ("absent", OLD)


@pytest.mark.parametrize(
    ("roots", "why"),
    [
        ((NOBODY,), f"root server {NOBODY}: no answer in 1.5 s"),
        ((RESOLVER,), f"root server {RESOLVER}: it does not answer as a root server does; is port 53 redirected"),
        ((OLD,), f"root server {OLD}: REFUSED"),
    ],
)
def test_where_the_root_is_out_of_reach_the_resolver_is_believed_and_that_is_told(servers, roots, why):
    found, answers = verdict(key("agreed.test"), roots=roots, **QUICK)
    assert found.value == "published", answers
    (remark,) = answers.remarks
    assert remark.startswith(f"The delegation could not be followed from the root ({why}")
    assert "mailserver:dns:resolvers" in remark


def test_one_root_server_that_is_gone_holds_nothing_up(servers):
    found, answers = verdict(key("agreed.test"), roots=(NOBODY, ROOT), **QUICK)
    assert (found.value, answers.remarks) == ("published", ())


def test_a_root_out_of_reach_is_waited_for_once_a_run(servers):
    questions = [Question(key(name), "TXT") for name in ("agreed.test", "moved.test", "dname.test", "deep.test")]
    found = ask(questions, Options(timeout=3, lifetime=5, root_servers=(NOBODY,)), (RESOLVER,))
    assert judge(found[questions[0]], is_key).value == "published"
    assert judge(found[questions[1]], is_key).value == "published"


def test_names_below_a_top_that_the_root_does_not_have_are_internal_ones(servers):
    found, answers = verdict(key("corp"), recursive=(INSIDE,))
    assert found.value == "published", answers
    assert answers.remarks[0].startswith("The root of DNS has no corp, so its names are internal ones: ")


def test_a_parent_is_asked_once_however_many_names_and_questions_its_zones_have(servers):
    before = {address: len(servers[address].queries()) for address in (ROOT, TLD, TLD2)}
    questions = [Question(f"s{number}._domainkey.agreed.test", "TXT") for number in range(100)]
    ask([*questions, Question("agreed.test", "MX")], Options(root_servers=(ROOT,)), (RESOLVER,))
    since = {address: servers[address].queries()[count:] for address, count in before.items()}
    assert all(name in ("", ".", "test") for name, _, _ in since[ROOT])
    assert len(since[ROOT]) <= 4
    tld = [one[:2] for address in (TLD, TLD2) for one in since[address]]
    assert (tld.count(("agreed.test", "NS")), tld.count(("agreed.test", "DS"))) == (2, 1)
    assert len(tld) <= 12
    assert {recursion for asked in since.values() for _, _, recursion in asked} == {False}


@pytest.mark.parametrize(("many", "most"), [("many.test", 8), ("many-minimal.test", 41)])
def test_whom_a_zone_delegates_its_servers_say_however_many_names_lie_in_it(servers, many, most):
    """Of each name it is not asked by itself, unless the servers leave out of their answers which zone they are of."""
    server = NEW if many == "many.test" else OLD
    before = len(servers[server].queries())
    questions = {number: Question(key(f"d{number}.{many}"), "TXT") for number in range(40)}
    found = ask(questions.values(), Options(root_servers=(ROOT,)), (RESOLVER,))
    values = {number: judge(found[question], is_key).value for number, question in questions.items()}
    assert values == {**dict.fromkeys(range(39), "published"), 39: "absent"}
    assert [found[questions[number]].zone for number in (37, 38, 39)] == [many, f"d38.{many}", f"d39.{many}"]
    asked = [(name, rdtype) for name, rdtype, _ in servers[server].queries()[before:]]
    assert sum(name.startswith("d") and rdtype == "NS" for name, rdtype in asked) <= most
    assert sum(rdtype == "TXT" for _, rdtype in asked) <= 42


@pytest.mark.parametrize("roots", [(ROOT,), ()], ids=["from the root", "by a resolver"])
@pytest.mark.parametrize(
    ("name", "value", "finding"),
    [
        (key("signed.test"), "published", ""),
        ("any.wild.signed.test", "published", ""),
        (key("d.signed.test"), "published", ""),
        ("none.signed.test", "absent", "NXDOMAIN"),
        (key("low.test"), "published", ""),
        (key("plain.low.test"), "published", ""),
        (key("lower.test"), "published", ""),
        (key("plain.lower.test"), "published", ""),
        (key("expired.test"), "different", "the DNSKEY records of expired.test: its signature expired on 2020-02-01"),
        (key("future.test"), "different", "by this host's clock"),
        (key("stripped.test"), "different", "stripped.test is signed by its DS record, but shows no DNSKEY record"),
        (key("stale.test"), "different", f"{NS_NEW} ({NEW}): its answer for"),
        (key("unknown-algorithm.test"), "published", ""),
        (key("unknown-digest.test"), "published", ""),
        (key("aliases.test"), "different", "expired on 2020-02-01"),
        ("via.aliases.test", "published", ""),
    ],
)
def test_an_answer_of_a_signed_zone_has_to_be_valid(servers, roots, name, value, finding):
    found, answers = verdict(name, roots=roots)
    assert found.value == value, answers
    assert finding in "\n".join(found.findings)


@pytest.mark.parametrize("number", [20 - LONGEST_CHAIN - 1, 20 - LONGEST_CHAIN, 20 - LONGEST_CHAIN + 1])
def test_a_chain_of_aliases_is_followed_as_far_as_bind_follows_it(servers, number):
    name = f"c{number}.chain.test"
    bind = servers[RESOLVER].query(name, "TXT", recursion=True)
    reached = any(one.rdtype == 16 for one in bind.answer)
    assert bind.flags & dns.flags.RA
    assert (verdict(name)[0].value == "published") == reached


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (key("astray.test").replace("sel", "twice"), "It is at twice._domainkey.astray.test.astray.test instead."),
        (key("astray.test").replace("sel", "bare"), "It is at bare.astray.test instead."),
        (key("mail.astray.test").replace("sel", "short"), "It is at short._domainkey.astray.test instead."),
        (key("astray.test").replace("sel", "other"), ""),
    ],
)
def test_a_record_that_is_off_by_a_label_is_found(servers, name, said):
    found, answers = verdict(name)
    assert found.value == "absent", answers
    assert said in "\n".join(found.findings)
    assert len(found.findings) == 1 + bool(said)
    if said:
        assert f"wants only {name.removesuffix('.astray.test')} as the name" in found.findings[1]


def test_a_zone_is_denied_no_longer_than_resolvers_do(servers):
    assert verdict(key("decades.test"))[1].negative_ttl == 86400


@pytest.mark.parametrize(
    "name", ["SEL._domainkey.Agreed.TEST", "sel._domainkey.agreed.test.", r"s\101l._domainkey.agreed.test"]
)
def test_names_are_equal_however_they_are_spelled(servers, name):
    found, answers = verdict(name)
    assert found.value == "published", answers
    assert answers.question == Question(key("agreed.test"), "TXT")
