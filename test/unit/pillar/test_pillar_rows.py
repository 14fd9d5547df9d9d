"""Pillars that people write, as far as no host is needed: what main.cf becomes of each, and why others are refused."""

import copy

import pytest

from healthy_host import parameters
from mailhost.errors import PillarError
from mailhost.pillar.settings import resolve
from pillar_table import COMMON, REFUSED, WORKS, merged

GRAINS = {"fqdn": "mx1.a.example", "ipv4": ["127.0.0.1", "192.0.2.25"], "ipv6": ["::1"]}
RELEASES = ("Debian-12", "Debian-13")


def settings(pillar, release="Debian-12"):
    return resolve(copy.deepcopy(pillar), parameters("Debian", release), GRAINS)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("row", WORKS, ids=[row.name for row in WORKS])
def test_a_pillar_that_works_is_taken_and_makes_what_it_says(row, release):
    made = settings(row.whole, release)["postfix"]["main"]
    assert {name: made[name] for name in row.makes} == row.makes


@pytest.mark.parametrize("group", COMMON)
def test_parameters_that_are_in_force_make_the_same_settings_again(group):
    """A host without a file server goes by those of the last highstate."""
    pillar = merged(COMMON[group], {"reflector": {"address": "check@a.example"}})
    made = settings(pillar)
    assert resolve(copy.deepcopy(pillar), copy.deepcopy(made["os"]), GRAINS) == made


@pytest.mark.parametrize("group", COMMON)
def test_the_pillars_of_a_group_are_taken_together(group):
    assert settings(merged(COMMON[group], *(row.pillar for row in WORKS if row.group == group)))


@pytest.mark.parametrize(("pillar", "said"), REFUSED)
def test_a_pillar_that_cannot_work_is_refused_with_the_reason(pillar, said):
    with pytest.raises(PillarError) as caught:
        settings(pillar)
    assert any(said in one for one in caught.value.problems), caught.value.problems
    assert all(one.startswith("mailserver:") and one.isprintable() for one in caught.value.problems)


def test_the_table_is_long_and_each_row_that_works_is_seen_to():
    assert len(WORKS) + len(REFUSED) >= 60
    assert [row.name for row in WORKS if not row.seen] == []


MADE = [
    ({"smtpd_milters": "inet:localhost:11332"}, "smtpd_milters", "inet:localhost:11332, inet:127.0.0.1:8891"),
    ({"smtpd_milters": "inet:localhost:8891"}, "smtpd_milters", "inet:localhost:8891"),
    (
        {"smtpd_milters": ["{ inet:127.0.0.1:8891, connect_timeout = 5s }"]},
        "smtpd_milters",
        "{ inet:127.0.0.1:8891, connect_timeout = 5s }",
    ),
    ({"smtpd_milters": "$filters", "filters": "inet:127.0.0.1:8891"}, "smtpd_milters", "$filters"),
    ({"smtpd_milters": None}, "smtpd_milters", "inet:127.0.0.1:8891"),
    ({"non_smtpd_milters": "$smtpd_milters"}, "non_smtpd_milters", "$smtpd_milters"),
    (
        {"local_recipient_maps": "inline:{ {guest = x} }"},
        "local_recipient_maps",
        "inline:{ {guest = x} }, $alias_maps, inline:{ {mailprobe = x} }",
    ),
    ({"alias_maps": None}, "alias_maps", "hash:/etc/aliases"),
    ({"alias_database": "hash:/etc/postfix/more"}, "alias_database", "hash:/etc/postfix/more, hash:/etc/aliases"),
    ({"mydestination": None}, "mydestination", "$myhostname, localhost.$mydomain, localhost, $mydomain, a.example"),
    ({"mydestination": "$mydomain"}, "mydestination", "$mydomain"),
    (
        {"smtpd_relay_restrictions": "permit_mynetworks", "smtpd_recipient_restrictions": ""},
        "smtpd_relay_restrictions",
        "permit_mynetworks, reject_unauth_destination",
    ),
    ({"smtpd_relay_restrictions": "permit_mynetworks"}, "smtpd_relay_restrictions", "permit_mynetworks"),
    (
        {"smtpd_data_restrictions": "check_policy_service inet:127.0.0.1:10031, permit"},
        "smtpd_data_restrictions",
        "check_policy_service inet:127.0.0.1:10031, reject_unauth_pipelining, permit",
    ),
    (
        {"proxy_read_maps": "$virtual_alias_maps"},
        "proxy_read_maps",
        "$virtual_alias_maps, $local_recipient_maps",
    ),
    ({"virtual_mailbox_limit": "1GiB"}, "virtual_mailbox_limit", str(2**30)),
]


@pytest.mark.parametrize(("given", "name", "wanted"), MADE)
def test_what_the_formula_needs_stands_beside_the_pillars(given, name, wanted):
    made = settings({"domains": {"a.example": {}}, "postfix": {"main": given}})
    assert made["postfix"]["main"][name] == wanted


OPTIONS = [
    ({"smtpd_milters": ""}, "smtpd_milters", "inet:127.0.0.1:8891"),
    ({"smtpd_sender_restrictions": ""}, "smtpd_sender_restrictions", ""),
    ({"smtpd_sender_restrictions": "permit"}, "smtpd_sender_restrictions", "reject_sender_login_mismatch, permit"),
    (
        {"smtpd_sender_restrictions": ["reject_known_sender_login_mismatch"]},
        "smtpd_sender_restrictions",
        "reject_known_sender_login_mismatch",
    ),
    (
        {"smtpd_relay_restrictions": "permit_mynetworks, reject"},
        "smtpd_relay_restrictions",
        "permit_sasl_authenticated, permit_mynetworks, reject",
    ),
]


@pytest.mark.parametrize(("given", "name", "wanted"), OPTIONS)
def test_submission_goes_on_to_bind_and_sign_whatever_its_options_say(given, name, wanted):
    made = settings({"domains": {"a.example": {}}, "postfix": {"submission": {"options": given}}})
    assert made["postfix"]["submission"]["options"][name] == wanted


@pytest.mark.parametrize(
    ("main", "trusted"),
    [
        ({}, []),
        ({"mynetworks": "127.0.0.0/8 [::1]/128 192.0.2.7"}, ["192.0.2.7"]),
        ({"mynetworks": ["198.51.100.0/24", "![2001:db8::5]", "[2001:db8::]/32"]},
         ["198.51.100.0/24", "!2001:db8::5", "2001:db8::/32"]),
        ({"mynetworks": "[::ffff:192.0.2.0]/120"}, ["192.0.2.0/24"]),
        ({"mynetworks": "$relays", "relays": "192.0.2.7"}, ["192.0.2.7"]),
        ({"mynetworks": "inline:{ {192.0.2.7 = x} } cidr:{ {198.51.100.0/24 OK} }"}, ["192.0.2.7", "198.51.100.0/24"]),
        ({"mynetworks": None}, ["192.0.2.25"]),
    ],
)  # fmt: skip
def test_opendkim_signs_for_whom_postfix_relays_for(main, trusted):
    made = settings({"domains": {"a.example": {}}, "postfix": {"main": main}})
    assert made["opendkim"]["trusted_hosts"] == ["127.0.0.1", "::1", "localhost", *trusted]


def test_hosts_that_the_pillar_trusts_itself_are_all():
    given = {"postfix": {"main": {"mynetworks": "192.0.2.7"}}, "opendkim": {"trusted_hosts": ["127.0.0.1"]}}
    assert settings({"domains": {"a.example": {}}, **given})["opendkim"]["trusted_hosts"] == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("main", "place"),
    [
        ({}, ("maildir", "~/Maildir", "")),
        ({"home_mailbox": "mail/in/"}, ("maildir", "~/mail/in", "")),
        ({"home_mailbox": "Mailbox"}, ("mbox", "~/mail", "~/Mailbox")),
        ({"home_mailbox": None}, ("mbox", "~/mail", "/var/mail/{user}")),
        ({"home_mailbox": "", "mail_spool_directory": "/srv/mail"}, ("mbox", "~/mail", "/srv/mail/{user}")),
    ],
)
def test_dovecot_looks_where_postfix_delivers(main, place):
    made = settings({"domains": {"a.example": {}}, "postfix": {"main": main}})["dovecot"]["mail"]
    assert (made["driver"], made["path"], made["inbox"]) == place


def test_a_name_of_the_host_in_main_cf_is_that_of_the_whole_formula():
    made = settings({"domains": {"a.example": {}}, "postfix": {"main": {"myhostname": "mail.$mydomain"}}}, "Debian-13")
    assert made["hostname"] == made["domains"]["a.example"]["mx"][0] == "mail.a.example"
    named = {"mydomain": "a.example", "myhostname": "mail.$mydomain"}
    assert settings({"domains": {"a.example": {}}, "postfix": {"main": named}})["hostname"] == "mail.a.example"
