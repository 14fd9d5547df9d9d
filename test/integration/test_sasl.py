"""A user of the system logs in, for sending by Cyrus SASL or Dovecot, and for reading by IMAP and POP3."""

import pytest

from conftest import DOMAIN

AUTHENTICATION_FAILED = 28
"""swaks's exit status."""


@pytest.fixture(params=("cyrus", "dovecot"), scope="module")
def sasl(request, lab):
    """The kind of SASL that is in force on both hosts: the formula's default, then with one pillar key the other."""
    lab.apply("default", "" if request.param == "cyrus" else "  sasl: {type: dovecot}\n")
    return request.param


@pytest.fixture
def default(lab):
    lab.apply("default")


def test_a_system_user_logs_in_and_sends(lab, sasl, host):
    for mechanism in ("PLAIN", "LOGIN"):
        token, _ = lab.submit(host, "--auth", mechanism)
        assert f"for <bob@{DOMAIN[host]}>" in lab.delivered(host, "bob", token)


def test_a_user_may_give_the_whole_address_as_login(lab, sasl, host):
    token, _ = lab.submit(host, user=f"alice@{DOMAIN[host]}", sender=f"alice@{DOMAIN[host]}")
    assert lab.delivered(host, "bob", token)


def test_a_wrong_password_is_refused(lab, sasl, host):
    for user, password in (("alice", "wrong"), ("nobody-here", "correct-horse")):
        _, done = lab.submit(host, "--auth", "PLAIN", user=user, password=password, check=False)
        assert done.status == AUTHENTICATION_FAILED, done.out
        assert " 535 " in done.out


def test_the_daemon_that_was_asked_for_answers_logins(lab, sasl, host):
    assert lab.sh(host, "postconf -h smtpd_sasl_type").strip() == sasl
    listening = lab.sh(host, "ss -xl")
    assert ("/var/spool/postfix/var/run/saslauthd/mux" in listening) == (sasl == "cyrus")
    assert ("/var/spool/postfix/private/auth" in listening) == (sasl == "dovecot")
    state = lab.run(host, "systemctl", "is-active", "saslauthd", check=False).out.strip()
    assert state == ("active" if sasl == "cyrus" else "inactive")


def test_logins_work_in_the_chroot(lab, default, host):
    service = lab.sh(host, "postconf -M submission/inet").split()
    assert service[4] == "y"
    assert lab.submit(host)[1].status == 0


def test_a_login_without_tls_is_refused(lab, default, host):
    options = ("--port", "587", "--auth-user", "alice", "--auth-password", "correct-horse", "--to", "bob@x.test")
    done = lab.swaks(host, *options, check=False)
    assert done.status != 0
    assert "AUTH" not in [line.split()[1] for line in done.out.splitlines() if line.startswith("<-  250")]
    for protocol in ("imap", "pop3"):
        logged_in, said = lab.mailbox(host, protocol, "cleartext")
        assert not logged_in, said


def test_arriving_mail_lies_in_the_maildir_and_is_read_over_imap_and_pop3(lab, default, host):
    done = lab.swaks(
        host, "--from", "world@outside.test", "--to", f"alice@{DOMAIN[host]}", "--header", "Subject: for-alice"
    )
    assert done.status == 0
    assert "Subject: for-alice" in lab.delivered(host, "alice", "for-alice")
    for protocol in ("imap", "pop3"):
        logged_in, said = lab.mailbox(host, protocol, "for-alice")
        assert logged_in, said
        assert "Subject: for-alice" in said


def test_reading_with_a_wrong_password_is_refused(lab, default, host):
    for protocol in ("imap", "pop3"):
        logged_in, said = lab.mailbox(host, protocol, password="wrong")
        assert not logged_in, said
        assert "uthentication failed" in said
