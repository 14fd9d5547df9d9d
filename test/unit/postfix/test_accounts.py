"""Virtual accounts: what Postfix is told of them, what is opened for them, and that settings hold no secret."""

import pytest

from mailhost.check.running.listeners import _wanted
from mailhost.pillar.settings import resolve

GRAINS = {"fqdn": "mx1.example.net", "ipv4": ["127.0.0.1", "192.0.2.25"]}
SYSTEM = {
    "postfix": {"version": "3.10", "service": "postfix"},
    "dovecot": {"service": "dovecot"},
    "accounts": {"mail": "/var/vmail"},
}
HASH = "$6$salt$secret-hash"
USERS = {
    "alice@a.example": {"password": HASH, "aliases": ["al@a.example"], "sieve": "keep;\n"},
    "bob@b.example": {"password": HASH, "quota": "1KiB", "enabled": False},
}


def settings(system=SYSTEM, more=None, **virtual):
    accounts = {"type": "virtual", "virtual": {"users": USERS, **virtual}}
    domains = {"a.example": {}, "b.example": {}, "sent.example": {"receive": False}}
    return resolve({"domain": "a.example", "domains": domains, "accounts": accounts, **(more or {})}, system, GRAINS)


def table(found, name):
    """The rows of a table as a mapping."""
    lines = found["postfix"]["files"][f"/etc/postfix/mailserver_{name}"]
    return dict(line.split(" ", 1) for line in lines)


def test_received_domains_are_virtual_and_the_hosts_own_name_stays_local():
    main = settings()["postfix"]["main"]
    assert main["virtual_mailbox_domains"] == "a.example, b.example"
    assert main["mydestination"] == "$myhostname, localhost.$mydomain, localhost"
    assert main["myorigin"] == "$myhostname"  # or `root: admin` in /etc/aliases would bounce


@pytest.mark.parametrize(
    ("kind", "parameter", "others"),
    [
        ("virtual", "virtual_mailbox_domains", ""),
        ("system", "mydestination", "$myhostname, localhost.$mydomain, localhost, $mydomain, "),
    ],
)
def test_more_than_100_domains_are_a_table_and_not_a_list_that_postfix_reads_from_top_to_bottom(
    kind, parameter, others
):
    names = [f"d{number}.example" for number in range(101)]

    def made(names):
        domains = {**{name: {} for name in names}, "sent.example": {"receive": False}}
        given = {"domain": names[0], "domains": domains, "accounts": {"type": kind}}
        return resolve(given, SYSTEM, GRAINS)["postfix"]

    assert made(names[1:])["main"][parameter] == others + ", ".join(names[1:])
    assert "/etc/postfix/mailserver_domains" not in made(names[1:])["files"]
    found = made(names)
    assert found["main"][parameter] == f"{others}texthash:/etc/postfix/mailserver_domains"
    assert found["files"]["/etc/postfix/mailserver_domains"] == [f"{name} x" for name in names]


@pytest.mark.parametrize(
    ("count", "version", "main", "proxy"),
    [
        (100, "3.10", {}, ""),
        (101, "3.10", {}, "proxy:"),
        (101, "2.10", {}, ""),
        (101, "3.10", {"proxy_read_maps": "$virtual_alias_maps"}, ""),
    ],
    ids=["few domains", "many", "an old Postfix", "a list of the operator's own"],
)
def test_of_many_domains_one_process_has_the_map_of_senders_and_not_each_smtpd(count, version, main, proxy):
    names = [f"d{number}.example" for number in range(count)]
    given = {"domain": names[0], "domains": {name: {} for name in names}, "postfix": {"main": main}}
    made = resolve(given, {**SYSTEM, "postfix": {"version": version, "service": "postfix"}}, GRAINS)["postfix"]
    assert made["main"]["smtpd_sender_login_maps"] == f"{proxy}regexp:/etc/postfix/sender_login"


def test_a_mailbox_and_a_sender_are_known_for_each_user_disabled_or_not():
    found = settings()
    assert set(table(found, "mailboxes")) == {"alice@a.example", "bob@b.example"}
    assert table(found, "senders") == {
        "alice@a.example": "alice@a.example",
        "al@a.example": "alice@a.example",
        "bob@b.example": "bob@b.example",
    }


ROWS = [
    ({}, "al@a.example", "alice@a.example"),
    ({}, "postmaster@b.example", "postmaster@mx1.example.net"),
    ({}, "root@a.example", "root@mx1.example.net"),
    ({}, "postmaster@sent.example", None),
    ({}, "alice@a.example", None),
    ({"aliases": {"postmaster@a.example": ["alice@a.example"]}}, "postmaster@a.example", "alice@a.example"),
    ({"aliases": {"all@a.example": ["bob@b.example", "x@c.example"]}}, "all@a.example", "bob@b.example, x@c.example"),
    ({"users": {**USERS, "root@a.example": {"password": HASH}}}, "root@a.example", None),
    ({"catch_all": {"a.example": "bob@b.example"}}, "@a.example", "bob@b.example"),
    ({"catch_all": {"a.example": "bob@b.example"}}, "alice@a.example", "alice@a.example"),
    ({"catch_all": {"a.example": "bob@b.example"}}, "postmaster@a.example", "postmaster@mx1.example.net"),
]


@pytest.mark.parametrize(("virtual", "address", "expected"), ROWS)
def test_an_address_leads_to_its_own_account_before_the_hosts_aliases_and_a_catch_all(virtual, address, expected):
    assert table(settings(**virtual), "aliases").get(address) == expected


def test_a_catch_all_leaves_the_reflector_its_mail():
    found = settings(more={"reflector": {"address": "check@a.example"}}, catch_all={"a.example": "alice@a.example"})
    assert "check@a.example" in table(found, "mailboxes")
    assert table(found, "aliases")["check@a.example"] == "check@a.example"


@pytest.mark.parametrize(("default", "expected"), [("5KiB", {5120, 1024}), (0, {0, 1024})])
def test_a_users_own_quota_comes_before_that_of_all(default, expected):
    users = settings(quota=default)["accounts"]["virtual"]["users"]
    assert {user["quota"] for user in users.values()} == expected


@pytest.mark.parametrize("kind", ["virtual", "system"])
def test_settings_hold_neither_hashes_nor_scripts(kind):
    found = settings(sieve="# of the pillar\nkeep;\n") if kind == "virtual" else resolve({}, SYSTEM, GRAINS)
    assert "secret-hash" not in str(found)
    assert "keep" not in str(found)
    assert found["accounts"]["virtual"]["sieve"] is (kind == "virtual")


@pytest.mark.parametrize("wanted", [True, False])
def test_managesieve_is_opened_and_looked_for_where_it_is_wanted(wanted):
    found = settings(managesieve=wanted)
    assert ("managesieve" in found["firewalld"]["services"]) is wanted
    assert (4190 in {port for port, *_ in _wanted(found, {4})}) is wanted


def test_users_of_the_system_have_none_of_this():
    found = resolve({"domains": {"a.example": {}}}, SYSTEM, GRAINS)
    assert found["sasl"]["type"] == "cyrus"
    assert list(found["postfix"]["files"]) == ["/etc/postfix/mailserver_local_headers"]
    assert "virtual_mailbox_domains" not in found["postfix"]["main"]
    assert "check_policy_service" not in found["postfix"]["main"]["smtpd_recipient_restrictions"]
    assert "managesieve" not in found["firewalld"]["services"]
