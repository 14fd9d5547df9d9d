"""`mailserver.clean` takes away what was configured, and leaves keys, mail and users."""

import pytest

from conftest import DOMAIN, MAIL_HOSTS

SERVICES = ("postfix", "dovecot", "opendkim", "saslauthd")
KEPT = "cd / && find etc/opendkim/keys home/*/Maildir -type f -exec sha256sum {} + | sort && id alice && id bob"


@pytest.fixture(scope="module")
def cleaned(lab):
    """What lies in the places that are kept, before and after `mailserver.clean`."""
    lab.apply("default")
    for host in MAIL_HOSTS:
        token, _ = lab.submit(host)
        lab.delivered(host, "bob", token)
    before = {host: lab.sh(host, KEPT) for host in MAIL_HOSTS}
    lab.forget_pillar()
    returned = lab.salt(MAIL_HOSTS, "state.apply", "mailserver.clean")
    failed = [state for states in returned.values() for state in states.values() if state["result"] is False]
    assert not failed
    return before, {host: lab.sh(host, KEPT) for host in MAIL_HOSTS}


def test_keys_mail_and_users_stay(cleaned, host):
    before, after = cleaned
    assert ".private" in before[host]
    assert "Maildir/new" in before[host]
    assert before[host] == after[host]


def test_the_daemons_are_stopped_and_stay_so_after_a_boot(cleaned, lab, host):
    for service in SERVICES:
        state = lab.run(host, "sh", "-c", f"systemctl is-active {service}; systemctl is-enabled {service}", check=False)
        assert state.out.split() == ["inactive", "disabled"], service
    assert ":25 " not in lab.sh(host, "ss -ltn")


def test_nothing_that_was_configured_is_left(cleaned, lab, host):
    assert not lab.sh(host, "grep -rlF 'Written by Salt (mailserver' /etc /usr/local || true")
    assert not lab.sh(host, "ls -d /etc/mailserver/*.json /var/lib/mailserver/watch 2>/dev/null || true")
    assert lab.sh(host, "postconf -h home_mailbox").strip() == ""
    assert not lab.sh(host, "find /etc /usr/local -name '*.dist' -newer /etc/hostname -path '*mail*'")
    for where in ("", "--permanent"):
        assert "smtp" not in lab.sh(host, f"firewall-cmd {where} --zone=public --list-services")
        assert "587/tcp" not in lab.sh(host, f"firewall-cmd {where} --zone=public --list-ports")


def test_a_second_clean_changes_nothing(cleaned, lab, host):
    states = lab.salt(host, "state.apply", "mailserver.clean")[host]
    assert not [state["__id__"] for state in states.values() if state["changes"] or state["result"] is not True]


def test_a_highstate_works_again(cleaned, lab, host):
    lab.apply("default")
    token, _ = lab.submit(host)
    assert f"for <bob@{DOMAIN[host]}>" in lab.delivered(host, "bob", token)
