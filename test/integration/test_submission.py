"""Who may send what: only logged-in users, in their own name, over TLS; and nothing leaves unsigned."""

import uuid

import pytest

from conftest import DOMAIN, MAIL_HOSTS, PASSWORD

ON = "both"
RECIPIENT_REFUSED = 24
"""swaks's exit status."""


@pytest.fixture(scope="module", autouse=True)
def _default_pillar(lab):
    lab.apply("default")


@pytest.mark.parametrize("sender", ["bob@{}", "alice@elsewhere.test", "postmaster@{}", "alicex@{}"])
def test_a_sender_address_must_belong_to_the_login(lab, host, sender):
    _, done = lab.submit(host, sender=sender.format(DOMAIN[host]), check=False)
    assert done.status == RECIPIENT_REFUSED, done.out
    assert "Sender address rejected: not owned by user alice" in done.out


@pytest.mark.parametrize("sender", ["alice@{0}", "Alice@{0}", "alice+tag@{0}", "alice@{1}"])
def test_a_user_sends_as_every_address_of_theirs(lab, host, sender):
    assert lab.submit(host, sender=sender.format(DOMAIN[host], DOMAIN[host].upper()))[1].status == 0


def test_a_stranger_cannot_relay(lab, host):
    for port in ("25", "587"):
        words = ("--port", port, "--tls", "--from", "world@outside.test", "--to", "someone@elsewhere.test")
        done = lab.swaks(host, *words, check=False)
        assert done.status == RECIPIENT_REFUSED, done.out
    done = lab.swaks(host, "--from", f"alice@{DOMAIN[host]}", "--to", "world@outside.test", check=False)
    assert "Relay access denied" in done.out


def test_submission_without_tls_is_refused(lab, host):
    done = lab.swaks(
        host, "--port", "587", "--from", f"alice@{DOMAIN[host]}", "--to", "world@outside.test", check=False
    )
    assert done.status != 0
    assert "530 5.7.0 Must issue a STARTTLS command first" in done.out


def test_submissions_takes_tls_from_the_first_byte(lab, host):
    login = ("--auth-user", "alice", "--auth-password", PASSWORD)
    people = ("--from", f"alice@{DOMAIN[host]}", "--to", f"bob@{DOMAIN[host]}")
    assert lab.swaks(host, "--port", "465", "--tls-on-connect", *login, *people).status == 0


def test_port_25_offers_no_logins(lab, host):
    for tls in ((), ("--tls",)):
        done = lab.swaks(host, *tls, "--quit-after", "EHLO")
        assert "STARTTLS" in done.out
        assert "AUTH" not in done.out


def test_a_stranger_cannot_have_mail_signed(lab, host):
    lab.sign()
    token = uuid.uuid4().hex
    people = ("--from", f"alice@{DOMAIN[host]}", "--to", f"bob@{DOMAIN[host]}")
    lab.swaks(host, *people, "--header", f"Subject: {token}")
    assert "DKIM-Signature:" not in lab.delivered(host, "bob", token)


def test_mail_waits_while_opendkim_is_down_and_leaves_signed(lab, host):
    lab.sign()
    local = uuid.uuid4().hex
    lab.run(host, "systemctl", "stop", "opendkim")
    try:
        token, done = lab.submit(host, to="world@outside.test", check=False)
        assert done.status != 0
        assert "<** 454 4.3.0 Try again later" in done.out, done.out
        message = f"From: alice@{DOMAIN[host]}\nTo: world@outside.test\nSubject: {local}\n\nOne line.\n"
        sendmail = ("sendmail", "-i", "-f", f"alice@{DOMAIN[host]}", "world@outside.test")
        lab.run(host, *sendmail, stdin=message)
        lab.until(lambda: "maildrop" in lab.sh(host, "postqueue -j") or lab.sh(host, "ls /var/spool/postfix/maildrop"),
                  "the message is not in the queue")  # fmt: skip
    finally:
        lab.run(host, "systemctl", "start", "opendkim")
    lab.run(host, "postkick", "public", "pickup", "W")
    arrived = lab.delivered("client", "world", local)
    assert f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/simple; d={DOMAIN[host]};" in arrived
    assert not lab.sh("client", f"grep -rl {token} /home/world/Maildir/new || true")


def test_the_other_host_takes_what_one_sends(lab):
    lab.sign()
    first, second = MAIL_HOSTS
    token, _ = lab.submit(first, to=f"bob@{DOMAIN[second]}")
    arrived = lab.delivered(second, "bob", token)
    assert f"d={DOMAIN[first]}" in arrived
    assert f"header.d={DOMAIN[first]}" in arrived
