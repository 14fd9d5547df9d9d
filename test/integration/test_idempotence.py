"""A second highstate changes and restarts nothing, and a dry run on a configured host tells the truth."""

import pytest

from conftest import MAIL_HOSTS, pillar

BEGINS = "configured"

CHANGED = """  postfix: {main: {message_size_limit: 20MiB}}
  dovecot: {settings: {mail_max_userip_connections: 7}}
  firewalld: {ports: [587/tcp, 4190/tcp]}
"""


@pytest.fixture(scope="module")
def second(lab):
    """The services before and after a second highstate with the same pillar, and what it returned."""
    lab.apply("default")
    lab.salt(MAIL_HOSTS, "dkim.advance")  # notes that the host was booted
    before = {host: (lab.services(host), lab.snapshot(host)) for host in MAIL_HOSTS}
    results = lab.highstate()
    return before, results, {host: (lab.services(host), lab.snapshot(host)) for host in MAIL_HOSTS}


@pytest.fixture(scope="module")
def changed(lab):
    """What a dry run with a changed pillar said and did, and what the highstate did."""
    lab.apply("default")
    before = {host: (lab.services(host), lab.snapshot(host)) for host in MAIL_HOSTS}
    lab.forget_pillar()
    lab.set_pillar(pillar("default", CHANGED))
    predicted = lab.highstate(test=True)
    after = {host: (lab.services(host), lab.snapshot(host)) for host in MAIL_HOSTS}
    return before, predicted, after, lab.highstate()


def test_a_second_highstate_reports_no_change(second, host):
    assert second[1][host].must_succeed().changed == set()


def test_a_second_highstate_restarts_and_writes_nothing(second, host):
    before, _, after = second
    assert before[host][0] == after[host][0]
    assert before[host][1] ^ after[host][1] == set()


def test_a_dry_run_on_a_configured_host_predicts_nothing(lab, second, host):
    assert lab.highstate([host], test=True)[host].must_succeed().changed == set()


def test_a_dry_run_with_a_changed_pillar_writes_nothing(changed, host):
    before, _, after, _ = changed
    assert before[host][0] == after[host][0]
    assert before[host][1] ^ after[host][1] == set()


def test_a_dry_run_with_a_changed_pillar_predicts_what_the_highstate_does(changed, host):
    _, predicted, _, done = changed
    assert predicted[host].must_succeed().changed == done[host].must_succeed().changed
    assert {"mailserver-postfix-main", "mailserver-dovecot-config", "mailserver-firewalld-open"} <= done[host].changed


def test_the_changed_pillar_is_in_force(changed, lab, host):
    assert lab.sh(host, "postconf -h message_size_limit") == "20971520\n"
    assert lab.sh(host, "doveconf -h mail_max_userip_connections") == "7\n"
    assert "4190/tcp" in lab.sh(host, "firewall-cmd --zone=public --list-ports")
    assert "4190/tcp" in lab.sh(host, "firewall-cmd --permanent --zone=public --list-ports")
