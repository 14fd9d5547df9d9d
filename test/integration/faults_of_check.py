"""The check of the whole mail server finds nothing on hosts that are all right, and of each real fault that alone."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

import pytest
from check_faults_config import CONFIG_FAULTS
from check_faults_dns import DNS_FAULTS
from check_faults_running import RUNNING_FAULTS
from check_faults_wire import WIRE_FAULTS

from conftest import DOMAIN, MAIL_HOSTS


@pytest.fixture(scope="module", autouse=True)
def _all_is_published(lab):
    lab.sign()


def check(lab, hosts, *words):
    """Return what the check says of each of these hosts."""
    found = lab.salt("mx*" if hosts == MAIL_HOSTS else ",".join(hosts), "mailserver.check", *words)
    return {host: found[host] for host in hosts}


def statuses(told):
    """Return what is not as wanted: the statuses of each id."""
    found = {}
    for one in told["findings"]:
        assert one["status"] == "ok" or one["remedy"], one
        found.setdefault(one["id"], set()).add(one["status"])
    return found


def sees(lab, hosts, area, wanted):
    """Wait until the check of an area finds on these hosts what is wanted and no more: daemons reload when they may."""
    wanted = {f"{area}.{id}": of_one for id, of_one in wanted.items()}
    last = {}

    def found():
        last.update(check(lab, hosts, f"area={area}"))
        return all(statuses(told) == wanted for told in last.values())

    with contextlib.suppress(AssertionError):
        lab.until(found, "", 15)
    assert {host: statuses(told) for host, told in last.items()} == dict.fromkeys(hosts, wanted), last


def all_is_right(lab):
    for host, told in check(lab, MAIL_HOSTS, "everything=True").items():
        bad = [one for one in told["findings"] if one["status"] != "ok"]
        assert not bad, (host, bad)
        assert told["status"] == "ok"
        assert {one["id"].partition(".")[0] for one in told["findings"]} == {
            "config",
            "running",
            "protocol",
            "tls",
            "dns",
        }


def named(fault):
    """Return the name of a fault in the report of a test run."""
    return f"{getattr(fault, 'area', 'dns')}: {fault.name}"


def test_nothing_is_found_on_hosts_that_are_all_right(lab):
    all_is_right(lab)


@contextlib.contextmanager
def broken(lab, fault):
    """Have a fault on both hosts while the block runs."""
    keep = f"mkdir /run/keeping; cp -a --parents {fault.keeps} /run/keeping; mv /run/keeping /run/kept"
    back = f"rm -r /run/keeping 2>/dev/null || {{ rm -rf {fault.keeps}; cp -a /run/kept/. /; rm -r /run/kept; }}"

    def on_both(script):
        with ThreadPoolExecutor() as threads:
            list(threads.map(lambda host: lab.sh(host, f"host={host}; domain={DOMAIN[host]}\n{script}"), MAIL_HOSTS))

    try:
        on_both("\n".join(["set -e", keep if fault.keeps else "", fault.breaks, fault.then]))
        yield
    finally:
        on_both("\n".join([back if fault.keeps else "", fault.then, fault.mends]))


@pytest.mark.parametrize("fault", [*CONFIG_FAULTS, *RUNNING_FAULTS, *WIRE_FAULTS], ids=named)
def test_a_fault_of_the_host_is_found_and_nothing_else(lab, fault):
    with broken(lab, fault):
        sees(lab, MAIL_HOSTS, fault.area, fault.wanted)


ZONES = ("alpha.test", "lab.test", "18.198.in-addr.arpa", "outside.test")


@contextlib.contextmanager
def published(lab, records):
    """Have DNS show other records while the block runs, each (name, type, values)."""
    shown = ("dig", "@198.18.0.11", "+norec", "+noall", "+answer")
    before = [lab.run("ns1", *shown, name, rdtype).out for name, rdtype, *_ in records]
    wrong = [[f"{name}. 5 {rdtype} {value}" for value in values] for name, rdtype, *values in records]
    try:
        publish(lab, records, wrong)
        yield
    finally:
        publish(lab, records, [lines.splitlines() for lines in before])


def publish(lab, records, lines):
    """Have DNS show these lines instead of all records of the same names and types, everywhere at once."""
    updates = [
        "\n".join([f"update delete {name}. {rdtype}", *(f"update add {one}" for one in new), "send"])
        for (name, rdtype, *_), new in zip(records, lines, strict=True)
    ]
    lab.run("ns1", "nsupdate", "-k", "/etc/bind/lab.key", "-l", stdin="\n".join([*updates, ""]))
    zones = [zone for zone in ZONES if any(name.endswith(zone) for name, *_ in records)]
    for zone in zones:
        lab.run("ns2", "rndc", "refresh", zone)  # the primary tells of a second change only after five seconds
    lab.wait_for_secondary(zones)
    # The resolver has what was there before, and systemd minds it if a unit is restarted so often.
    lab.sh("ns1", "systemctl reset-failed lab-resolver; systemctl restart lab-resolver")


@pytest.fixture(scope="module")
def key_record(lab):
    """The name of the record of the key by which mx1 signs for alpha.test."""
    rows = lab.salt("mx1", "dkim.status", "alpha.test")["mx1"]["alpha.test"]
    return next(f"{selector}._domainkey.alpha.test" for selector, row in rows.items() if row["signs"])


@pytest.mark.parametrize("fault", DNS_FAULTS, ids=named)
def test_a_fault_in_dns_is_found_and_nothing_else(lab, key_record, fault):
    with published(lab, [(name.format(key=key_record), *rest) for name, *rest in fault.records]):
        sees(lab, ("mx1",), "dns", fault.wanted)


def test_a_name_server_that_is_down_leaves_things_unknown_and_nothing_fails(lab):
    lab.run("ns2", "systemctl", "stop", "named")
    try:
        for told in check(lab, MAIL_HOSTS, "area=dns").values():
            assert told["status"] == "unknown", told
            assert {status for all_of_one in statuses(told).values() for status in all_of_one} == {"unknown"}, told
    finally:
        lab.run("ns2", "systemctl", "start", "named")
        lab.wait_for_secondary()


def test_a_failure_is_told_by_the_exit_status_and_a_warning_is_not(lab):
    for script, failed in (("systemctl stop opendkim", True), ("systemctl disable opendkim 2>/dev/null", False)):
        try:
            lab.sh("mx1", script)
            done = lab.run("master", "salt", "mx1", "mailserver.check", "area=running", check=False)
            assert "running.unit" in done.out
            assert bool(done.status) is failed, done.out
        finally:
            lab.sh("mx1", "systemctl enable opendkim 2>/dev/null; systemctl start opendkim")


def test_nothing_is_found_when_all_is_mended(lab):
    all_is_right(lab)
