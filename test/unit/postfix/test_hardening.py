"""Limits for clients, postscreen and fail2ban: what each version of Postfix gets, and who is never shut out."""

import re
from pathlib import Path

import pytest

from mailhost.errors import PillarError
from mailhost.pillar.settings import resolve
from mailhost.postfix.hardening import ACCESS_FILE

TOP = Path(__file__).resolve().parents[3]
GRAINS = {"fqdn": "mx1.example.net", "ipv4": ["192.0.2.25"], "ipv6": ["2001:db8::25"], "master": "salt.example.net"}


def settings(pillar=None, version="3.7", **postfix):
    given = {"domains": {"example.net": {}}, **(pillar or {})}
    return resolve(given, {"postfix": {"version": version, **postfix}}, GRAINS)


def main(pillar=None, version="3.7", **postfix):
    return settings(pillar, version, **postfix)["postfix"]["main"]


LIMITS = [
    ("connections", "smtpd_client_connection_count_limit", 7),
    ("connection_rate", "smtpd_client_connection_rate_limit", 7),
    ("message_rate", "smtpd_client_message_rate_limit", 7),
    ("recipient_rate", "smtpd_client_recipient_rate_limit", 7),
    ("auth_rate", "smtpd_client_auth_rate_limit", 0),
    ("recipients", "smtpd_recipient_limit", 100),
    ("header_size", "header_size_limit", 4096),
]


@pytest.mark.parametrize(("key", "parameter", "value"), LIMITS)
def test_each_limit_is_a_parameter_of_postfix(key, parameter, value):
    assert main({"limits": {key: value}})[parameter] == str(value)
    assert int(main()[parameter]) > 0


def test_postfix_before_3_1_counts_no_login_attempts():
    assert "smtpd_client_auth_rate_limit" not in main(version="2.10.1")


def test_the_host_itself_mynetworks_and_who_has_leave_are_exempt():
    exempt = main({"limits": {"exempt": ["198.51.100.0/24", "2001:db8:1::/48"]}})["smtpd_client_event_limit_exceptions"]
    assert exempt == "$mynetworks, 192.0.2.25, [2001:db8::25], 198.51.100.0/24, [2001:db8:1::]/48"


def test_what_main_says_of_a_limit_wins():
    given = {"limits": {"connections": 5}, "postfix": {"main": {"smtpd_client_connection_count_limit": 9}}}
    assert main(given)["smtpd_client_connection_count_limit"] == "9"


def test_postscreen_is_off_until_asked_for():
    made = settings()
    assert not [name for name in made["postfix"]["main"] if name.startswith("postscreen")]
    assert ACCESS_FILE not in made["postfix"]["files"]


ON = {"postscreen": {"enabled": True, "lists": {"bl.example.org=127.0.0.2": 3}, "allow_threshold": -1}}
VERSIONS = [
    ("2.10.1", {"postscreen_blacklist_action"}, {"postscreen_denylist_action", "postscreen_dnsbl_whitelist_threshold"}),
    ("3.5.8", {"postscreen_blacklist_action", "postscreen_dnsbl_whitelist_threshold"}, {"postscreen_denylist_action"}),
    ("3.6.4", {"postscreen_denylist_action", "postscreen_dnsbl_allowlist_threshold"}, {"postscreen_blacklist_action"}),
]


@pytest.mark.parametrize(("version", "has", "lacks"), VERSIONS)
def test_postscreen_has_the_names_of_its_version(version, has, lacks):
    made = main(ON, version)
    assert has <= set(made)
    assert not lacks & set(made)
    assert made["postscreen_dnsbl_sites"] == "bl.example.org=127.0.0.2*3"


def test_postscreen_never_tells_a_first_time_sender_to_come_again():
    assert not [name for name in main(ON) if re.match(r"postscreen_(pipelining|non_smtp_command|bare_newline)_", name)]


def test_postscreen_keeps_its_cache_in_a_table_that_the_build_has():
    lmdb = main(ON, "3.8.5", database="lmdb", lacks=["hash", "btree"])["postscreen_cache_map"]
    assert lmdb == "lmdb:$data_directory/postscreen_cache"
    assert "postscreen_cache_map" not in main(ON)


def test_the_most_exact_network_of_the_access_list_comes_first():
    access = {
        "198.51.100.0/24": "reject",
        "198.51.100.7": "permit",
        "2001:db8:1::/48": "reject",
        "198.51.0.0/16": "dunno",
    }
    lines = settings({"postscreen": {"enabled": True, "access": access}})["postfix"]["files"][ACCESS_FILE]
    assert lines == [
        "192.0.2.25/32 permit",
        "198.51.100.7/32 permit",
        "198.51.100.0/24 reject",
        "198.51.0.0/16 dunno",
        "2001:db8::25/128 permit",
        "2001:db8:1::/48 reject",
    ]


def test_nobody_bans_the_host_its_networks_or_the_master():
    given = {
        "fail2ban": {"enabled": True, "ignore": ["office.example.net", "203.0.113.0/24"]},
        "postfix": {"main": {"mynetworks": "127.0.0.0/8 [::1]/128, 10.0.0.0/8 cidr:/etc/postfix/more"}},
        "opendkim": {"trusted_hosts": ["127.0.0.1"]},
    }
    ignore = settings(given)["fail2ban"]["ignore"]
    own = {"127.0.0.0/8", "::1", "192.0.2.25", "2001:db8::25", "10.0.0.0/8", "salt.example.net"}
    assert own | {"office.example.net", "203.0.113.0/24"} <= set(ignore)
    assert not [one for one in ignore if "[" in one or "cidr" in one]


BAD = [
    (
        {"fail2ban": {"enabled": True}, "firewalld": {"enabled": False}},
        "fail2ban:enabled: true, but mailserver:firewalld",
    ),
    ({"postscreen": {"lists": {"bl.example.org": 3}}}, "postscreen:lists: given, but nobody asks them"),
    ({"limits": {"recipients": 10}}, "limits:recipients: 10 is out of range"),
    ({"limits": {"exempt": ["10.0.0.1/8"]}}, "limits:exempt:0: '10.0.0.1/8' is not an IP address or network"),
    ({"postscreen": {"access": {"10.0.0.0/8": "allow"}}}, "postscreen:access:10.0.0.0/8: 'allow' is not one of"),
    ({"postscreen": {"action": "tempfail"}}, "postscreen:action: 'tempfail' is not one of"),
]


@pytest.mark.parametrize(("pillar", "said"), BAD)
def test_a_pillar_that_cannot_be_is_refused(pillar, said):
    with pytest.raises(PillarError) as caught:
        settings(pillar)
    assert [one for one in caught.value.problems if said in one]


def failregex(daemon):
    text = (TOP / f"mailserver/fail2ban/files/filter-{daemon}.jinja").read_text()
    return re.compile(re.search(r"^failregex = (.*)$", text, re.MULTILINE)[1].replace("<ADDR>", r"(?P<ip>[0-9a-f.:]+)"))


FAILED = [
    ("postfix", "mx1 postfix/submission/smtpd[9]: warning: unknown[192.0.2.7]: SASL PLAIN authentication failed: x"),
    ("postfix", "mx1 postfix/smtpd[9]: warning: h.example[192.0.2.7]:4711: SASL LOGIN authentication failed: (reason)"),
    ("dovecot", "mx1 dovecot[9]: imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): "
                "user=<bob>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.25, TLS, session=<x>"),
    ("dovecot", "mx1 dovecot[9]: pop3-login: Login aborted: Connection closed (auth failed, 3 attempts in 9 secs) "
                "(auth_failed): user=<bob>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.25, TLS, session=<x>"),
    ("dovecot", "mx1 dovecot[9]: imap-login: Aborted login (auth failed, 1 attempts in 2 secs): "
                "user=<a, rip=198.51.100.1, lip=192.0.2.25, >, method=PLAIN, rip=192.0.2.7, lip=192.0.2.25, TLS"),
]  # fmt: skip


@pytest.mark.parametrize(("daemon", "line"), FAILED)
def test_a_failed_login_is_blamed_on_its_client_and_never_on_whom_a_user_name_names(daemon, line):
    assert failregex(daemon).search(line)["ip"] == "192.0.2.7"


OTHERS = [
    ("postfix", "mx1 postfix/smtpd[9]: warning: unknown[192.0.2.7]: SASL PLAIN authentication failed: "
                "Connection lost to authentication server"),
    ("postfix", "mx1 postfix/cleanup[9]: A1: id=<warning: unknown[192.0.2.7]: SASL PLAIN authentication failed:"),
    ("dovecot", "mx1 dovecot[9]: imap-login: Login: user=<bob>, method=PLAIN, rip=192.0.2.7, lip=192.0.2.25, TLS"),
    ("dovecot", "mx1 dovecot[9]: imap-login: Disconnected (no auth attempts in 0 s): user=<>, rip=192.0.2.7, lip=::1"),
]  # fmt: skip


@pytest.mark.parametrize(("daemon", "line"), OTHERS)
def test_what_is_no_failed_login_bans_nobody(daemon, line):
    assert not failregex(daemon).search(line)
