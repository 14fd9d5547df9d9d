"""Who may be signed as whom, as the pillar says it: the table and the rules of OpenDKIM's script."""

import re

import pytest

from mailhost.errors import PillarError
from mailhost.opendkim.authors import lines
from mailhost.pillar.settings import resolve
from mailhost.postfix.needs import LOCAL

SYSTEM = {"postfix": {"version": "3.7.11", "service": "postfix"}, "accounts": {"user": "vmail"}}
GRAINS = {"fqdn": "mx1.a.example", "ipv4": ["203.0.113.5"], "ipv6": []}
HASH = "$6$salt$" + "x" * 86
DOMAINS = {"domain": "a.example", "domains": {"a.example": {}, "b.example": {}, "out.example": {"receive": False}}}
VIRTUAL = {
    "type": "virtual",
    "virtual": {
        "users": {
            "alice@a.example": {"password": HASH, "aliases": ["team@b.example"]},
            "bob@b.example": {"password": HASH},
        },
        "aliases": {"info@a.example": ["alice@a.example"]},
        "catch_all": {"b.example": "alice@a.example"},
    },
}


def settled(**more):
    return resolve({**DOMAINS, **more}, more.pop("system", SYSTEM), GRAINS)


def rows(**more):
    return settled(**more)["authors"]["rows"]


def rules(**more):
    return settled(**more)["authors"]["rules"]


def test_a_user_of_the_system_writes_as_that_name_in_each_received_domain_and_as_aliases_that_lead_there():
    aliases = {
        "info": "alice",
        "sales": ["info", "bob", "carol"],
        "loop": "pool",
        "pool": "loop",
        "out": "x@elsewhere.example",
    }
    own = ["= @a.example", "= @b.example", "= @mx1.a.example"]
    assert rows(accounts={"aliases": aliases}) == [*own, "alice info", "alice sales", "bob sales", "carol sales"]


def test_a_virtual_account_writes_as_its_own_addresses_domains_and_not_as_those_whose_mail_it_gets():
    wanted = [
        "= @mx1.a.example",
        "alice@a.example @a.example",
        "alice@a.example @b.example",
        "bob@b.example @b.example",
    ]
    assert rows(accounts=VIRTUAL) == wanted


def test_the_pillar_adds_authors_and_the_rows_are_in_the_order_of_their_bytes():
    given = {"opendkim": {"authors": {"News@a.example": ["*"], "desk": ["Office@b.example", "@out.example"]}}}
    found = rows(**given)
    assert {"news@a.example *", "desk office@b.example", "desk @out.example"} < set(found)
    assert found == sorted(found, key=str.encode)


@pytest.mark.parametrize(
    "authors", [{"desk": ["b.example"]}, {"de sk": ["*"]}, {"desk": ["a b@c.example"]}, {"desk": []}]
)
def test_authors_that_no_message_could_have_are_refused(authors):
    with pytest.raises(PillarError, match="mailserver:opendkim:authors"):
        settled(opendkim={"authors": authors})


OWN_MAP = {"postfix": {"main": {"smtpd_sender_login_maps": "hash:/etc/postfix/owners"}}}
UNSAFE = {"postfix": {"submission": {"safe_options": False}}}
NAMED = {"postfix": {"submission": {"safe_options": False, "options": {"milter_macro_daemon_name": "ORIGINATING"}}}}
RESTRICTIONS = "permit_mynetworks, reject_sender_login_mismatch"
OPEN = {"postfix": {"submission": {"options": {"smtpd_sender_restrictions": RESTRICTIONS}}}}
OFF = {"postfix": {"submission": {"enabled": False, "safe_options": False}}}
RULES = [
    ({}, (True, False, False)),
    ({"accounts": VIRTUAL}, (True, False, True)),
    (OWN_MAP, (True, False, True)),
    (UNSAFE, (True, True, False)),
    (NAMED, (False, True, False)),
    (OPEN, (False, False, False)),
    (OFF, (True, False, False)),
]


@pytest.mark.parametrize(("pillar", "wanted"), RULES)
def test_the_envelope_counts_where_postfix_compares_it_with_the_login(pillar, wanted):
    found = rules(**pillar)
    assert (found["is_bound"], found["is_free"], found["by_domain"]) == wanted


def test_a_map_of_the_operators_own_stands_for_ours():
    assert rows(**OWN_MAP) == []


WITHOUT = [
    {"opendkim": {"enabled": False}},
    {"opendkim": {"mode": "v"}},
    {"opendkim": {"settings": {"SetupPolicyScript": "/etc/own.lua"}}},
]


@pytest.mark.parametrize("pillar", WITHOUT)
def test_there_is_no_script_where_opendkim_has_none_to_run(pillar):
    found = settled(**pillar)
    assert found["authors"] is None
    assert found["postfix"]["local"] == {}


def test_an_opendkim_without_lua_gets_no_script():
    assert resolve(DOMAINS, {**SYSTEM, "opendkim": {"lua": False}}, GRAINS)["authors"] is None


def test_what_is_handed_to_sendmail_has_a_service_of_its_own_and_the_operators_header_checks():
    found = settled(postfix={"main": {"header_checks": "regexp:/etc/postfix/mine"}})["postfix"]
    assert found["local"] == {
        "milter_macro_daemon_name": LOCAL,
        "header_checks": "regexp:/etc/postfix/mailserver_local_headers, regexp:/etc/postfix/mine",
    }
    (line,) = found["files"]["/etc/postfix/mailserver_local_headers"]
    pattern = line.partition("/ ")[0].removeprefix("/").replace("[[:space:]]", r"\s")
    field = "Received: by mx1.a.example (Postfix, from userid 1000)\n\tid 99B4919C831; Sun, 29 Nov 2026 21:58:22 +0000"
    assert re.match(pattern, field).groups() == ("1000", "99B4919C831")


@pytest.mark.parametrize(("kind", "login"), [("system", "="), ("virtual", "bob@b.example")])
def test_names_below_a_domain_are_written_as_where_its_key_signs_for_them(kind, login):
    found = settled(accounts=VIRTUAL if kind == "virtual" else {})
    found["domains"]["b.example"] = {"receive": True, "dkim": {"subdomains": True}}
    made = lines(found, {})
    assert f"{login} @.b.example" in made
    assert not [row for row in made if row.endswith("@.a.example")]
