"""One domain's key signs mail from names below it and from other domains: from the first key on, through rotations."""

from functools import partial
from pathlib import Path

import pytest

from mailhost.dkim import sign as dkim_sign
from mailhost.errors import ProbeError
from mailhost.opendkim import probe as opendkim_probe
from mailhost.opendkim import tables as opendkim_tables
from mailhost.pillar import settings as pillar_settings

SENDERS = {"alpha.test": "alpha.test", "a.news.alpha.test": "alpha.test", "beta.test": "alpha.test"}
SENDERS["x.beta.test"] = "alpha.test"


def signs_for_others(world, **domains):
    """Give the world a pillar in which alpha.test signs for names below it, and for beta.test as told."""
    names = {"alpha.test": {"ttl": 300, "dkim": {"subdomains": True}}, "beta.test": {"ttl": 300}, **domains}
    pillar = {"domain": "alpha.test", "domains": names, "dkim": {"rotate_after": 0, "soak": 0}}
    world.settings = pillar_settings.resolve(pillar, {"postfix": {"version": "3.7"}}, {"fqdn": "mx1.lab.test"})
    tables = world.paths.tables
    tables = opendkim_tables.tables(tables.key_table, tables.signing_table, world.domains)
    world.paths = type(world.paths)(world.paths.keys, tables, world.paths.owner)


def domain_of(world, sender):
    """The d= that mail from a domain is signed with."""
    message = world._signed(sender)
    return message.partition(b"d=")[2].partition(b";")[0].decode() if b"d=" in message else None


def advance(world, hours, **more):
    world.publish(hours=hours)
    world.make(hours, **more)
    world.publish(hours=hours)
    world.check_dns(hours)
    report = world.sign(hours)
    assert report.errors == []
    return report


@pytest.mark.parametrize("form", ["file", "refile"])
def test_what_others_sign_for_is_signed_from_the_first_key_on_and_through_a_rotation(world, form):
    signs_for_others(world, **{"beta.test": {"dkim": {"sign_as": "alpha.test", "subdomains": True}}})
    advance(world, 0)
    if form == "refile":
        world.milter.stop()
        tables = world.paths.tables
        started = {"KeyTable": f"file:{tables.key_table}", "SigningTable": f"refile:{tables.signing_table}"}
        world.milter.start(world.milter.socket, **started)
    assert {sender: domain_of(world, sender) for sender in SENDERS} == SENDERS
    assert not Path(world.paths.keys, "beta.test").exists(), "it needs no key of its own"
    first = world.signs("beta.test")
    advance(world, 1, also=["alpha.test"])
    assert {sender: domain_of(world, sender) for sender in SENDERS} == SENDERS
    assert world.signs("beta.test") == world.verified("alpha.test") != first
    assert world.sign(2).changes == {}
    assert opendkim_tables.is_written(world.paths.tables, opendkim_tables.signers_in_force(world.paths.tables))


def test_the_nearest_name_with_a_key_signs_and_until_then_the_domain_above_it(world):
    signs_for_others(world, **{"beta.alpha.test": {"ttl": 300}})
    advance(world, 0)
    assert domain_of(world, "beta.alpha.test") == "alpha.test", "its own key waits for DNS"
    signers = opendkim_tables.signers_in_force(world.paths.tables)
    key = world.key("beta.alpha.test")
    path = f"{world.paths.keys}/beta.alpha.test/{key.selector}.private"
    more = {**signers, "beta.alpha.test": opendkim_tables.Signer(key.selector, path)}
    opendkim_tables.cutover(world.paths.tables, signers, more, world.milter.reload, lambda *_: None)
    await_signer = opendkim_tables.patient(lambda *_: _must_be(domain_of(world, "beta.alpha.test"), "beta.alpha.test"))
    await_signer("beta.alpha.test", None)
    assert domain_of(world, "x.beta.alpha.test") == "alpha.test"
    assert opendkim_tables.signers_in_force(world.paths.tables) == more


def _must_be(seen, wanted):
    if seen != wanted:
        raise ProbeError(f"{seen} and not {wanted}")


def test_turning_it_on_and_off_is_proven_and_needs_no_new_key(world):
    world.advance()
    asked = []
    assert domain_of(world, "news.alpha.test") is None
    signs_for_others(world)
    world.check_dns()

    probe = partial(opendkim_probe.probe, world.milter.socket)

    def seen(*which, **more):
        asked.append((which[0], more.get("sender")))
        return probe(*which, **more)

    report = dkim_sign.sign(world.run(), world.milter.reload, seen)
    assert report.errors == []
    assert asked[-1] == ("alpha.test", "dkim-probe.alpha.test")
    assert domain_of(world, "news.alpha.test") == "alpha.test"
    assert [key.stage for key in world.manifest().keys] == ["signing"]
    signs_for_others(world, **{"alpha.test": {"ttl": 300}})
    world.sign()
    gone = opendkim_tables.patient(lambda *_: _must_be(domain_of(world, "news.alpha.test"), None))
    gone("alpha.test", None)
    assert world.verified()


def test_a_domain_goes_on_signing_until_the_one_that_is_to_sign_for_it_can(world):
    world.settings = pillar_settings.resolve(
        {"domain": "beta.test", "domains": {"beta.test": {"ttl": 300}}, "dkim": {"soak": 0, "rotate_after": 0}},
        {"postfix": {"version": "3.7"}},
        {"fqdn": "mx1.lab.test"},
    )
    world.make()
    own = world.key("beta.test").selector
    shown = world.settings
    world.settings = {**shown, "domains": {**shown["domains"], "alpha.test": shown["domains"]["beta.test"]}}
    world.publish()
    world.settings = shown
    world.check_dns()
    world.sign()
    assert world.signs("beta.test") == own
    signs_for_others(world, **{"beta.test": {"ttl": 300, "dkim": {"sign_as": "alpha.test"}}})
    world.make()
    world.check_dns()
    assert world.sign().errors == []
    assert (domain_of(world, "beta.test"), world.signs("beta.test")) == ("beta.test", own)
    advance(world, 1)
    assert domain_of(world, "beta.test") == "alpha.test"
    assert domain_of(world, "alpha.test") == "alpha.test"
