"""Of each real fault mailserver.check finds exactly that, and nothing once it is mended."""

import contextlib

import pytest
from checking import checks, on_all, statuses

from check_faults import AREAS
from check_faults_config import CONFIG_FAULTS
from check_faults_dns import DNS_FAULTS, FAULTY
from check_faults_running import RUNNING_FAULTS
from check_faults_wire import WIRE_FAULTS
from conftest import DOMAIN, MAIL_HOSTS


@pytest.fixture(scope="module")
def eyes(lab):
    lab.sign()
    with checks(lab, MAIL_HOSTS) as found:
        see(lab, found, {})
        yield found


def see(lab, eyes, wanted, areas=AREAS, may=()):
    """Wait until all these hosts' checks find what is wanted and no more: daemons take changes up when they may."""
    last = {}

    def found():
        last.update(on_all(lambda host: without(eyes[host](areas), may), eyes))
        return all(statuses(told) == wanted for told in last.values())

    with contextlib.suppress(AssertionError):
        lab.until(found, "")
    assert {host: statuses(told) for host, told in last.items()} == dict.fromkeys(eyes, wanted), last


def without(told, ids):
    """Return what a check said, without the findings that may be there or not."""
    return {**told, "findings": [one for one in told["findings"] if one["id"] not in ids]}


def named(fault):
    """Return the name of a fault in the report of a test run."""
    return f"{fault.area}: {fault.name}"


@contextlib.contextmanager
def broken(lab, fault):
    """Have a fault on both hosts while the block runs."""
    keep = f"mkdir /run/keeping; cp -a --parents {fault.keeps} /run/keeping; mv /run/keeping /run/kept"
    back = f"rm -r /run/keeping 2>/dev/null || {{ rm -rf {fault.keeps}; cp -a /run/kept/. /; rm -r /run/kept; }}"

    def on_both(script):
        on_all(lambda host: lab.sh(host, f"host={host}; domain={DOMAIN[host]}\n{script}"), MAIL_HOSTS)

    try:
        on_both("\n".join(["set -e", keep if fault.keeps else "", fault.breaks, fault.then]))
        yield
    finally:
        on_both("\n".join([back if fault.keeps else "", fault.mending]))


@pytest.mark.rotating(of=4)
@pytest.mark.parametrize("fault", [*CONFIG_FAULTS, *RUNNING_FAULTS, *WIRE_FAULTS], ids=named)
def test_a_fault_of_the_host_is_found_and_nothing_else_until_it_is_mended(lab, eyes, fault):
    with broken(lab, fault):
        see(lab, eyes, fault.findings, fault.asked, fault.may)
    see(lab, eyes, {}, fault.areas)


ZONES = (*DOMAIN.values(), "lab.test", "18.198.in-addr.arpa", "outside.test")


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
    """The name of the record of the key by which that host signs for its domain."""
    domain = DOMAIN[FAULTY]
    rows = lab.salt(FAULTY, "dkim.status", domain)[FAULTY][domain]
    return next(f"{selector}._domainkey.{domain}" for selector, row in rows.items() if row["signs"])


@pytest.mark.rotating(of=4)
@pytest.mark.parametrize("fault", DNS_FAULTS, ids=named)
def test_a_fault_in_dns_is_found_and_nothing_else_until_it_is_mended(lab, eyes, key_record, fault):
    eye = {FAULTY: eyes[FAULTY]}
    with published(lab, [(name.format(key=key_record), *rest) for name, *rest in fault.records]):
        see(lab, eye, fault.findings)
    see(lab, eye, {}, fault.areas)


def test_a_name_server_that_is_down_leaves_things_unknown_and_nothing_fails(lab, eyes):
    lab.run("ns2", "systemctl", "stop", "named")
    try:
        for host in MAIL_HOSTS:
            told = eyes[host](("dns",))
            assert told["status"] == "unknown", told
            assert {status for of_one in statuses(told).values() for status in of_one} == {"unknown"}, told
    finally:
        lab.run("ns2", "systemctl", "start", "named")
        lab.wait_for_secondary()


def test_a_failure_is_told_by_the_exit_status_and_a_warning_is_not(lab, eyes):
    for script, failed in (("systemctl stop opendkim", True), ("systemctl disable opendkim 2>/dev/null", False)):
        try:
            lab.sh(FAULTY, script)
            done = lab.run("master", "salt", FAULTY, "mailserver.check", "area=running", check=False)
            assert "running.unit" in done.out
            assert bool(done.status) is failed, done.out
        finally:
            lab.sh(FAULTY, "systemctl enable opendkim 2>/dev/null; systemctl start opendkim")
    see(lab, eyes, {})
