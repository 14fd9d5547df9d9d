"""On booted hosts, only mail is signed whose author its login may write as, or that the host itself made."""

import re
import uuid
from pathlib import Path

import pytest
from messages import WORLD, arrived, judge

from conftest import ADDRESS, DOMAIN, PASSWORD

OTHER = {"mx1": "delta.test", "mx2": "gamma.test"}
"""A domain that the host signs for, too, and that alice has no address in."""
SIEVE_PROGRAM = (Path(__file__).parent / "sieve_program.py").read_text()


def signers(lab, token):
    """Wait for the message at the client; the domains whose signatures it has there, each of them seen to be valid."""
    message = arrived(lab, token)
    domains = re.findall(r"^DKIM-Signature:(?:.|\n[ \t])*?\bd=([^;]*);", message.partition("\n\n")[0], re.MULTILINE)
    if domains:
        assert judge(lab, message)["dkimpy"] is True, message
    return domains


def handed_in(lab, host, user, author, *fields, sender="x@outside.test"):
    """Have a user of the system hand a message to sendmail(1); its token."""
    token = uuid.uuid4().hex
    message = "\n".join([*fields, f"From: {author}", f"To: {WORLD}", f"Subject: {token}", "", "One line.", ""])
    lab.run(host, "runuser", "-u", user, "--", "/usr/sbin/sendmail", "-i", "-f", sender, WORLD, stdin=message)
    return token


def from_a_stranger(lab, host, to, author, token=None):
    """Have the client send a message to a user of the host, as a stranger; its token."""
    token = token or uuid.uuid4().hex
    lab.swaks(host, "--from", WORLD, "--to", to, "--header", f"Subject: {token}", "--h-From", author)
    return token


class TestVirtualAccounts:
    @pytest.fixture(autouse=True)
    def _signing(self, lab):
        lab.sign("virtual")

    @pytest.mark.parametrize(
        ("author", "signed"),
        [
            ("alice@{own}", True),
            ('"ceo@{other}" <alice@{own}>', True),
            ("=?utf-8?q?Al=C3=AFce?= <Alice+tag@{own}>", True),
            ("a.liddell@{own}, alice@{own}", True),
            ("ceo@{other}", False),
            ("Alice <CEO@{other}>", False),
            ("alice@{own}, ceo@{other}", False),
            ("ceo@{other}, alice@{own}", False),
            ("Team: alice@{own}, ceo@{other};", False),
            ("<@{own}:ceo@{other}>", False),
        ],
    )
    def test_a_login_is_signed_for_as_its_own_domains_alone(self, lab, host, author, signed):
        own, other = DOMAIN[host], OTHER[host]
        token, _ = lab.submit(
            host, "--h-From", author.format(own=own, other=other), user=f"alice@{own}", sender=f"alice@{own}", to=WORLD
        )
        assert signers(lab, token) == ([own] if signed else [])

    def test_two_from_fields_are_not_signed(self, lab, host):
        own = DOMAIN[host]
        extra = ("--h-From", f"alice@{own}", "--add-header", f"From: ceo@{OTHER[host]}")
        token, _ = lab.submit(host, *extra, user=f"alice@{own}", sender=f"alice@{own}", to=WORLD)
        assert signers(lab, token) == []

    def _script(self, lab, host, script):
        words = (ADDRESS[host], f"alice@{DOMAIN[host]}", PASSWORD, script)
        lab.run("client", "python3", "-", *words, stdin=SIEVE_PROGRAM)

    @pytest.mark.parametrize("author", ["ceo@{}", "alice@{}"])
    def test_what_a_script_sends_on_leaves_as_it_came(self, lab, host, author):
        self._script(lab, host, f'redirect "{WORLD}";')
        for domain in (DOMAIN[host], OTHER[host]):
            token = from_a_stranger(lab, host, f"alice@{DOMAIN[host]}", author.format(domain))
            assert signers(lab, token) == []

    @pytest.mark.parametrize(
        "script",
        [
            'require "vacation"; vacation :days 1 :subject "{token}" :from "{author}" :handle "{token}" "Away.";',
            'require "enotify"; notify :message "{token}" :from "{author}" "mailto:world@outside.test";',
        ],
    )
    def test_what_a_script_writes_is_signed_for_as_the_domains_of_whose_it_is(self, lab, host, script):
        for domain, wanted in ((DOMAIN[host], [DOMAIN[host]]), (OTHER[host], [])):
            token = uuid.uuid4().hex
            self._script(lab, host, script.format(token=token, author=f"office@{domain}"))
            from_a_stranger(lab, host, f"alice@{DOMAIN[host]}", WORLD)
            assert signers(lab, token) == wanted

    def test_what_a_script_refuses_is_told_by_signed_mail(self, lab, host):
        token = uuid.uuid4().hex
        self._script(lab, host, f'require "reject"; reject "{token}";')
        from_a_stranger(lab, host, f"alice@{DOMAIN[host]}", WORLD)
        assert signers(lab, token) == [DOMAIN[host]]

    @pytest.mark.parametrize(
        ("user", "signed"), [("root", True), ("daemon", True), ("games", True), ("visitor", False)]
    )
    def test_the_hosts_own_mail_is_signed_and_not_that_of_whoever_is_on_it(self, lab, host, user, signed):
        lab.sh(host, "id visitor >/dev/null 2>&1 || useradd -m visitor")
        token = handed_in(lab, host, user, f"ceo@{OTHER[host]}")
        assert signers(lab, token) == ([OTHER[host]] if signed else [])

    @pytest.mark.parametrize(
        "field",
        [
            "X-Submitted-By: 0 as 4Q1",
            "Received: by mx1.lab.test (Postfix, from userid 0)\n\tid 4Q1; Sun, 29 Nov 2026 12:00:00 +0000 (UTC)",
            "X-Sieve-User: alice@{}",
        ],
    )
    def test_nobody_passes_for_root_or_a_script_by_what_they_write(self, lab, host, field):
        lab.sh(host, "id visitor >/dev/null 2>&1 || useradd -m visitor")
        token = handed_in(lab, host, "visitor", f"ceo@{DOMAIN[host]}", field.format(DOMAIN[host]))
        assert signers(lab, token) == []

    def test_what_root_sends_on_is_not_the_hosts_own(self, lab, host):
        field = f"Received: from evil.test (evil.test [203.0.113.9])\n\tby {host}.lab.test (Postfix) with ESMTP id 4Q1;"
        assert signers(lab, handed_in(lab, host, "root", f"ceo@{OTHER[host]}", field)) == []

    def test_the_formulas_own_test_passes(self, lab, host):
        assert lab.salt(host, "mailserver.selftest")[host]["result"] is True


class TestUsersOfTheSystem:
    @pytest.fixture(autouse=True)
    def _signing(self, lab):
        lab.sign("default")

    @pytest.mark.parametrize(
        ("author", "signed"),
        [("alice@{}", True), ("Alice Liddell <ALICE+tag@{}>", True), ("ceo@{}", False), ("alice@{0}, ceo@{0}", False)],
    )
    def test_a_login_is_signed_for_as_its_own_addresses_alone(self, lab, host, author, signed):
        token, _ = lab.submit(host, "--h-From", author.format(DOMAIN[host]), to=WORLD)
        assert signers(lab, token) == ([DOMAIN[host]] if signed else [])

    @pytest.mark.parametrize(
        ("user", "author", "signed"),
        [("alice", "alice@{}", True), ("alice", "bob@{}", False), ("alice", "root@{} (Cron Daemon)", True),
         ("root", "bob@{}", True)],
    )  # fmt: skip
    def test_a_user_hands_in_mail_in_their_own_name(self, lab, host, user, author, signed):
        token = handed_in(lab, host, user, author.format(DOMAIN[host]))
        assert signers(lab, token) == ([DOMAIN[host]] if signed else [])

    @pytest.mark.parametrize("forward", [WORLD, f"|/usr/sbin/sendmail -i {WORLD}"])
    def test_mail_that_a_user_has_forwarded_leaves_as_it_came(self, lab, host, forward):
        lab.sh(host, f"printf '%s\\n' '\"{forward}\"' >/home/alice/.forward && chown alice: /home/alice/.forward")
        try:
            for author in (f"alice@{DOMAIN[host]}", f"bob@{DOMAIN[host]}"):
                token = from_a_stranger(lab, host, f"alice@{DOMAIN[host]}", author)
                assert signers(lab, token) == []
        finally:
            lab.sh(host, "rm /home/alice/.forward")
