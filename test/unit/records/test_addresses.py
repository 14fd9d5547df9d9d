"""Which addresses of a host go into SPF, A and AAAA by themselves, and what is wanted where none does."""

import pytest

from mailhost.check.dns import hosts as check_hosts
from mailhost.check.dns.answers import Survey
from mailhost.pillar.settings import resolve
from mailhost.postfix.hardening import access_lines, limits
from mailhost.records import spf as records_spf
from mailhost.records import wants as records_wants
from mailhost.records.addresses import NAME_THEM, families, is_private, lasting, no_public, outward_addresses

SYSTEM = {"postfix": {"version": "3.10", "service": "postfix"}}
FOUR, SIX = "198.51.100.25", "2a01:4f8::25"
DOMAIN = "a.example"


def settings(pillar=None, **grains):
    grains = {"fqdn": "mx1.a.example", **grains}
    return resolve({"domains": {DOMAIN: {}}, **(pillar or {})}, SYSTEM, grains)


def spf(found):
    record = records_spf.spf_record(DOMAIN, found["domains"][DOMAIN])
    return record and record.value


def wanted(found):
    host = (found["hostname"], found["addresses"])
    wants = records_wants.wants(found["domains"], *host, families=found["families"])
    return {want.label: [one.value for one in want.publish] for want in wants if want.label in ("A", "AAAA")}


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.5", "172.16.0.1", "172.17.0.1", "172.31.255.254", "192.168.1.5", "100.64.0.1", "100.127.255.254"),
        *("127.0.0.1", "127.8.8.8", "169.254.7.7", "0.0.0.0", "0.1.2.3", "192.0.0.8", "224.0.0.1", "240.0.0.1"),
        *("255.255.255.255", "fd00::1", "fc00::1", "fe80::1", "fec0::1", "::1", "::", "::ffff:198.51.100.25"),
        *("64:ff9b::1", "100::1", "ff02::1", "::10.0.0.1"),
    ],
)
def test_an_address_that_nobody_outside_sees_goes_nowhere(address):
    assert is_private(address)
    kind = "ipv6" if ":" in address else "ipv4"
    grains = {"ipv4": [FOUR], "ipv6": [], kind: [*([FOUR] if kind == "ipv4" else []), address]}
    found = settings(**grains)
    assert found["addresses"] == [FOUR]
    assert spf(found) == f"v=spf1 ip4:{FOUR} -all"


@pytest.mark.parametrize(
    "address",
    [
        *("198.51.100.25", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "11.0.0.1", "192.0.1.1"),
        # Laboratories use these, and no router or container network gives them by itself.
        *("192.0.2.25", "203.0.113.5", "198.18.0.21", "198.19.255.1", "2001:db8::25"),
        *("2a01:4f8::25", "2600::1", "2002:c633:6419::1"),
    ],
)
def test_an_address_that_others_see_is_taken(address):
    assert not is_private(address)
    assert outward_addresses({"ipv6" if ":" in address else "ipv4": [address]}) == [address]


def test_a_bridge_of_containers_is_no_place_that_mail_leaves_from_whatever_its_address():
    bridges = {"docker0": ["198.51.100.1"], "br-0123456789ab": ["198.51.100.2"], "veth12ab": [], "virbr0": [FOUR]}
    four = {"eth0": [FOUR], "lo": ["127.0.0.1"], **bridges}
    six = {"eth0": [SIX], "docker0": ["2a01:4f8:0:1::1"]}
    grains = {
        "ipv4": ["127.0.0.1", FOUR, "198.51.100.1", "198.51.100.2"],
        "ipv6": ["::1", SIX, "2a01:4f8:0:1::1"],
        "ip4_interfaces": four,
        "ip6_interfaces": six,
    }
    assert outward_addresses(grains) == [FOUR, SIX]
    # A bridge of the host's own, and a tunnel, may well be where its mail leaves from.
    assert "198.51.100.1" in outward_addresses({**grains, "ip4_interfaces": {"br0": [FOUR], "wg0": ["198.51.100.1"]}})


@pytest.mark.parametrize(
    ("flags", "kept"),
    [*((one, True) for one in ("00", "80", "40")), *((one, False) for one in ("01", "20", "21", "08", "a1"))],
)
def test_an_ipv6_address_that_passes_is_not_taken(flags, kept):
    line = f"2a0104f8000000000000000000000025 02 40 00 {flags}     eth0\n"
    text = f"00000000000000000000000000000001 01 80 10 80       lo\n{line}"
    assert lasting(["::1", SIX], text) == ["::1", *([SIX] if kept else [])]


@pytest.mark.parametrize(
    ("protocols", "addresses", "labels"),
    [
        ("all", [FOUR, SIX], {"A", "AAAA"}),
        ("ipv4, ipv6", [FOUR, SIX], {"A", "AAAA"}),
        ("ipv4", [FOUR], {"A"}),
        ("ipv6", [SIX], {"AAAA"}),
        (None, [FOUR, SIX], {"A", "AAAA"}),
    ],
)
def test_a_family_that_postfix_does_not_use_is_left_out_of_spf_records_and_checks(protocols, addresses, labels):
    main = {} if protocols is None else {"inet_protocols": protocols}
    found = settings({"postfix": {"main": main}}, ipv4=[FOUR], ipv6=[SIX])
    assert found["addresses"] == found["domains"][DOMAIN]["addresses"] == addresses
    assert spf(found) == " ".join(
        ["v=spf1", *(f"ip{6 if ':' in one else 4}:{one}" for one in addresses), "-all"],
    )
    assert set(wanted(found)) == labels
    assert families({"inet_protocols": protocols}) == [{"A": 4, "AAAA": 6}[one] for one in sorted(labels)]


def test_what_the_pillar_names_is_taken_as_it_is():
    named = ["10.0.0.5", "fd00::5"]
    found = settings({"addresses": named, "postfix": {"main": {"inet_protocols": "ipv4"}}}, ipv4=[FOUR])
    assert found["addresses"] == named
    assert set(wanted(found)) == {"A", "AAAA"}
    assert not no_public(found)
    domain = {"domains": {DOMAIN: {"addresses": ["172.17.0.1"]}}}
    assert spf(settings(domain, ipv4=["10.0.0.5"])) == "v=spf1 ip4:172.17.0.1 -all"


@pytest.mark.parametrize(
    ("main", "addresses"),
    [
        ({"smtp_bind_address": "198.51.100.77"}, ["198.51.100.77"]),
        ({"smtp_bind_address6": "[2a01:4f8::77]"}, ["2a01:4f8::77"]),
        ({"proxy_interfaces": "198.51.100.78, 198.51.100.77"}, ["198.51.100.77", "198.51.100.78"]),
        ({"proxy_interfaces": ["198.51.100.77"]}, ["198.51.100.77"]),
        ({"smtp_bind_address": "10.0.0.5"}, []),
        ({"smtp_bind_address": "$myaddress"}, []),
    ],
)
def test_where_postfix_is_told_to_send_from_counts(main, addresses):
    assert settings({"postfix": {"main": main}}, ipv4=["10.0.0.5"])["addresses"] == addresses


@pytest.mark.parametrize(
    "grains", [{}, {"ipv4": ["127.0.0.1"]}, {"ipv4": ["10.0.0.5", "172.17.0.1"], "ipv6": ["fd00::5"]}]
)
def test_a_host_without_a_public_address_wants_no_record_that_would_forbid_its_mail_and_is_told_to_name_them(grains):
    found = settings(**grains)
    assert found["addresses"] == []
    assert spf(found) is None
    assert wanted(found) == {}
    (told,) = check_hosts._addresses(Survey(found, found["domains"], None))
    assert (told.id, told.status, told.remedy) == ("dns.address", "warn", NAME_THEM)
    assert "mailserver:addresses: [" in told.remedy
    assert all(one in told.seen for one in grains.get("ipv4", ())[:1] if not one.startswith("127"))


def test_a_domain_that_is_to_send_nothing_keeps_its_record():
    silent = {"domains": {DOMAIN: {"spf": {"addresses": []}}}}
    assert spf(settings(silent, ipv4=["10.0.0.5"])) == "v=spf1 -all"
    exact = {"domains": {DOMAIN: {"spf": {"record": "v=spf1 mx -all"}}}}
    assert spf(settings(exact, ipv4=["10.0.0.5"])) == "v=spf1 mx -all"


def test_the_hosts_own_private_address_stays_exempt_from_limits_for_clients():
    found = settings({"postscreen": {"enabled": True}}, ipv4=["10.0.0.5", FOUR])
    assert {"10.0.0.5", FOUR} <= set(limits(found)["smtpd_client_event_limit_exceptions"])
    assert "10.0.0.5/32 permit" in access_lines(found)
    assert "10.0.0.5" in found["fail2ban"]["ignore"]
