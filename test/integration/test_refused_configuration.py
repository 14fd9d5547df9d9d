"""A configuration that the daemon's own parser refuses is not put in place; the daemon goes on with the old one."""

import pytest

from conftest import DOMAIN, MAIL_HOSTS, pillar

# What this formula cannot know to be wrong: only the daemons do.
REFUSED = """  postfix: {main: {header_checks: 'regexp:/etc/postfix/not-there'}}
  dovecot: {settings: {no_such_setting: 1}}
  opendkim: {settings: {NoSuchSetting: 'yes'}}
"""
STATES = ("mailserver-postfix-in-force", "mailserver-dovecot-in-force", "mailserver-opendkim-in-force")


@pytest.fixture(scope="module")
def refused(lab):
    """The services before and after a highstate with settings that each daemon refuses, and what it returned."""
    lab.apply("default")
    lab.forget_pillar()
    before = {host: lab.services(host) for host in MAIL_HOSTS}
    lab.set_pillar(pillar("default", REFUSED))
    results = lab.highstate()
    yield before, results, {host: lab.services(host) for host in MAIL_HOSTS}
    lab.set_pillar(pillar("default"))


@pytest.mark.parametrize(
    ("state", "said"),
    list(zip(STATES, ("/etc/postfix/not-there", "no_such_setting", "unrecognized parameter"), strict=True)),
    ids=("postfix", "dovecot", "opendkim"),
)
def test_the_state_fails_with_what_the_daemon_said(refused, host, state, said):
    _, results, _ = refused
    found = results[host].of(state)
    assert found["result"] is False
    assert said in f"{found['comment']} {found['changes']}"


def test_the_daemons_go_on_with_the_configuration_that_worked(refused, lab, host):
    before, _, after = refused
    assert before[host] == after[host]
    assert lab.sh(host, "postconf -h header_checks").strip() == ""
    assert lab.run(host, "doveconf", "-n").status == 0
    assert lab.run(host, "opendkim", "-n").status == 0


def test_mail_is_still_submitted_signed_and_delivered(refused, lab, host):
    token, _ = lab.submit(host)
    assert f"for <bob@{DOMAIN[host]}>" in lab.delivered(host, "bob", token)
