"""A user of the system logs in, for sending by Cyrus SASL or Dovecot, and for reading by IMAP and POP3."""

import pytest

from conftest import DOMAIN, PASSWORD

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


SHA = "$(openssl passwd -6 {})"


def _logs_in(lab, host, user, password=PASSWORD):
    """Return the ways by which the user may log in; Dovecot itself is asked, as it lets a client wait that fails."""
    _, done = lab.submit(host, "--auth", "PLAIN", "--quit-after", "AUTH", user=user, password=password, check=False)
    ways = {"smtp"} if done.status == 0 else set()
    asked = ("doveadm", "auth", "test", "-x", "service=imap", user, password)
    return ways | ({"imap"} if lab.run(host, *asked, check=False).status == 0 else set())


EVERYWHERE = {"smtp", "imap"}


def _must_log_in(lab, host, user, password=PASSWORD):
    """Wait until the user logs in by every way.

    After many failures Dovecot lets the next answer to that client wait for up to 15 s, and Postfix waits for 10.
    """

    def does():
        return _logs_in(lab, host, user, password) == EVERYWHERE

    lab.until(does, f"{host}: {user} does not log in by every way")


CHANGES = {
    "another password": "usermod -p " + SHA.format("new-horse") + " carol",
    "locked": "passwd -l carol",
    "expired by chage": "chage -E 0 carol",
    "expired by usermod": "usermod -e 1970-01-02 carol",
    "a password to be changed first": "chage -d 0 carol",
    "deleted": "userdel -r carol",
}


@pytest.fixture
def carol(lab, sasl, host):
    """A user who is no part of the pillar and has just logged in by every way, with each of their caches warm."""
    lab.sh(host, f"userdel -r carol 2>/dev/null; useradd -m -s /bin/sh -p {SHA.format(PASSWORD)} carol")
    _must_log_in(lab, host, "carol")
    yield "carol"
    lab.sh(host, "userdel -r carol 2>/dev/null || true")


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_done_to_an_account_counts_at_once(lab, host, carol, change):
    lab.sh(host, CHANGES[change])
    assert _logs_in(lab, host, carol) == set()
    if change == "another password":
        _must_log_in(lab, host, carol, "new-horse")


@pytest.mark.parametrize("user", ["root", "daemon", "nobody", "postfix"])
def test_an_account_of_the_system_logs_in_nowhere_even_with_its_password(lab, sasl, host, user):
    before = lab.sh(host, f"getent shadow {user}").split(":")[1]
    lab.sh(host, f"usermod -p {SHA.format(PASSWORD)} {user}")
    try:
        assert _logs_in(lab, host, user) == set()
        # The password itself is right: it is who they are that counts.
        assert lab.sh(host, f"getent shadow {user}").split(":")[1].startswith("$6$")
    finally:
        lab.run(host, "usermod", "-p", before, user)


def test_an_account_of_the_system_that_the_pillar_names_logs_in(lab, sasl, host):
    lab.sh(host, f"useradd -r -m -d /home/oldmail -p {SHA.format(PASSWORD)} oldmail")
    try:
        assert _logs_in(lab, host, "oldmail") == set()
        lab.sh(host, "echo oldmail >>/etc/mailserver/login-users")
        _must_log_in(lab, host, "oldmail")
    finally:
        lab.sh(host, "sed -i /^oldmail$/d /etc/mailserver/login-users; userdel -r oldmail")


def test_a_saslauthd_that_had_a_cache_loses_it_by_a_run(lab, default, host):
    """As the version before this one left it."""
    lab.sh(
        host,
        "sed -i 's/^OPTIONS=\"-m/OPTIONS=\"-c -m/' /etc/default/saslauthd && systemctl restart saslauthd && "
        "rm /etc/pam.d/mailserver-smtp /etc/pam.d/mailserver-dovecot",
    )
    lab.submit(host)
    folder = "/var/spool/postfix/var/run/saslauthd"
    assert "cache.mmap" in lab.sh(host, f"ls {folder}")
    lab.highstate((host,))[host].must_succeed()
    assert "cache" not in lab.sh(host, f"ls {folder}")
    assert " -c" not in lab.sh(host, "ps -o args= -C saslauthd")
    lab.sh(host, f"useradd -m -p {SHA.format(PASSWORD)} carol")
    try:
        assert lab.submit(host, "--quit-after", "AUTH", user="carol", check=False)[1].status == 0
        lab.sh(host, "passwd -l carol")
        assert lab.submit(host, "--quit-after", "AUTH", user="carol", check=False)[1].status == AUTHENTICATION_FAILED
    finally:
        lab.sh(host, "userdel -r carol")
