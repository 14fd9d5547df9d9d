"""A dry run on a bare host writes nothing, and tells what the first highstate then does."""

import pytest

from conftest import MAIL_HOSTS, pillar

BEGINS = "bare"

# A dry run cannot know what Debian's packages bring along: it announces what the real run then finds done.
DONE_BY_DEBIANS_PACKAGES = {
    "mailserver-accounts-alias-postmaster",
    "mailserver-firewalld-service",
    "mailserver-sasl-enabled",
    "mailserver-dovecot-service",
    "mailserver-opendkim-folder",
    "mailserver-opendkim-service",
    "mailserver-sasl-postfix-folder",
}
# A dry run of Salt 3006 says of a scheduled job only in a comment that it would be added.
SAID_IN_A_COMMENT = {"mailserver-schedule-advance", "mailserver-schedule-watch"}
# States that end in None (a warning or "would look") until there are records, and change nothing on the host.
WAITING_FOR_DNS = {"mailserver-dns-records", "mailserver-opendkim-published", "mailserver-opendkim-signing"}


@pytest.fixture(scope="module")
def runs(lab):
    """What a dry run did to the bare hosts and said, and what the first highstate after it did."""
    lab.set_pillar(pillar("default"))
    before = {host: lab.snapshot(host) for host in MAIL_HOSTS}
    predicted = lab.highstate(test=True)
    after = {host: lab.snapshot(host) for host in MAIL_HOSTS}
    lab.apply("default")
    return before, predicted, after, lab.applied


def test_a_dry_run_on_a_bare_host_succeeds_and_writes_nothing(runs, host):
    before, predicted, after, _ = runs
    predicted[host].must_succeed()
    assert before[host] ^ after[host] == set()


def test_the_first_highstate_turns_a_bare_host_into_a_mail_server(runs, lab, host):
    *_, done = runs
    done[host].must_succeed()
    for service in ("postfix", "dovecot", "opendkim", "saslauthd", "firewalld"):
        assert lab.sh(host, f"systemctl is-active {service}; systemctl is-enabled {service}") == "active\nenabled\n"


def test_the_dry_run_had_predicted_what_the_highstate_did(runs, host):
    _, predicted, _, done = runs
    commented = {
        state["__id__"]
        for state in predicted[host].states.values()
        if state["__id__"] in SAID_IN_A_COMMENT and "would be added" in state["comment"]
    }
    assert done[host].changed - predicted[host].changed <= commented
    left = predicted[host].changed - done[host].changed
    assert left <= DONE_BY_DEBIANS_PACKAGES | WAITING_FOR_DNS


def test_the_master_still_reaches_the_minion_when_the_firewall_has_started(runs, lab, host):
    assert lab.salt(host, "test.ping", timeout=60)[host] is True
