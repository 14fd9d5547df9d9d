"""Pillars that people write, on booted hosts: of each that works, mail, a login or the log shows that it does."""

import copy
import json
import re
import uuid

import pytest
from messages import WORLD, arrived, judge

from conftest import DOMAIN, MAIL_HOSTS
from pillar_table import COMMON, TAKEN_BACK, WORKS, merged

OTHER = {"mx1": "delta.test", "mx2": "gamma.test"}
REFUSED, NO_LOGIN = 24, 28
"""swaks's exit statuses: a recipient, or a login, was refused."""
STRANGER = "198.18.0.77"
"""Another address of `client`."""


def named(host, value):
    """Return a value of the table with the host's domains in place of the examples'."""
    if isinstance(value, dict):
        return {named(host, name): named(host, inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [named(host, inner) for inner in value]
    if not isinstance(value, str):
        return value
    return value.replace("a.example", DOMAIN[host]).replace("b.example", OTHER[host])


def pillar_of(group, host):
    """Return the source of the pillar that has all rows of a group."""
    whole = merged(COMMON[group], *(row.pillar for row in WORKS if row.group == group))
    return "#!json\n" + json.dumps({"mailserver": named(host, copy.deepcopy(whole))}) + "\n"


TICKET = r"""#!/bin/sh
{ first=; for one in "$@"; do printf '%s%s' "$first" "$one"; first='|'; done; echo; cat; } >>/var/tmp/tickets
"""


def prepare(lab, group):
    for host in MAIL_HOSTS:
        lab.write(host, "/usr/local/bin/ticket", TICKET)
        lab.sh(host, "chmod 0755 /usr/local/bin/ticket; touch /var/tmp/tickets; chmod 0666 /var/tmp/tickets")
        if group == "virtual":
            lab.sh(host, "id operator-on-call || useradd -m operator-on-call")
    lab.run("client", "ip", "address", "replace", f"{STRANGER}/24", "dev", "host0")


@pytest.fixture(scope="module")
def groups(lab):
    """A function that puts a group of the table in force, if it is not."""
    lab.forget_pillar()
    there = []

    def put(group):
        if there == [group]:
            return
        there.clear()
        prepare(lab, group)
        for host in MAIL_HOSTS:
            lab.set_pillar(pillar_of(group, host), [host])
        for result in lab.highstate().values():
            result.must_succeed()
        there.append(group)

    return put


def token_of():
    return uuid.uuid4().hex


def send(lab, host, to, *options, sender=WORLD, check=True):
    token = token_of()
    done = lab.swaks(host, "--from", sender, "--to", to, "--header", f"Subject: {token}", *options, check=check)
    return token, done


def imap(lab, host, user, token=""):
    return lab.mailbox(host, "imap", *([token] if token else []), user=user)


class Proof:
    """How a row of the table is seen to be in force; the methods are what rows name."""

    def __init__(self, lab, host):
        self.lab, self.host = lab, host

    def arrives(self, address, user):
        """A stranger's message for an address is read by its user's mail program."""
        token, _ = send(self.lab, self.host, address)
        self._is_read(user, token)

    def _is_read(self, user, token):
        def read():
            taken, text = imap(self.lab, self.host, user, token)
            assert taken, text
            return text if token in text else ""

        return self.lab.until(read, f"{self.host}: {user} does not get {token}")

    def arrives_with(self, address, user, field, wanted):
        token, _ = send(self.lab, self.host, address, "--header", field)
        assert wanted in self._is_read(user, token)

    def sends(self, user, sender):
        """A user's message in the name of an address is taken, and arrives elsewhere."""
        token, _ = self.lab.submit(self.host, user=user, sender=sender, to=WORLD)
        arrived(self.lab, token)

    def may_not_send(self, user, sender):
        _, done = self.lab.submit(self.host, user=user, sender=sender, to=WORLD, check=False)
        assert done.status == REFUSED, done.out
        assert "not owned by user" in done.out

    def is_signed(self, user):
        token, _ = self.lab.submit(self.host, user=user, to=WORLD)
        self._is_signed(token)

    def _is_signed(self, token):
        judged = judge(self.lab, arrived(self.lab, token))
        assert [one["domain"] for one in judged["signatures"]] == [DOMAIN[self.host]], judged
        assert judged["dkimpy"] is True

    def is_signed_when_handed_in(self):
        token, sender = token_of(), f"alice@{DOMAIN[self.host]}"
        message = f"From: {sender}\nTo: {WORLD}\nSubject: {token}\n\nx\n"
        self.lab.run(
            self.host, "runuser", "-u", "alice", "--", "/usr/sbin/sendmail", "-i", "-f", sender, WORLD, stdin=message
        )
        self._is_signed(token)

    def is_relayed_and_signed(self):
        token, _ = send(self.lab, self.host, WORLD, sender=f"scanner@{DOMAIN[self.host]}")
        self._is_signed(token)

    def is_no_open_relay(self):
        _, done = send(self.lab, self.host, WORLD, "--local-interface", STRANGER, check=False)
        assert done.status == REFUSED, done.out

    def is_taken(self, address):
        send(self.lab, self.host, address, "--quit-after", "RCPT")

    def is_sent_to(self, address, agent):
        token, _ = self.lab.submit(self.host, to=address)
        line = rf"{agent}\[[0-9]*\]: [^ ]*: to=<{address}>.*status=sent"
        self.lab.until(lambda: re.search(line, self._log()), f"{token} for {address} was not sent by {agent}")

    def _log(self):
        return self.lab.sh(self.host, "cat /var/log/postfix.log 2>/dev/null; journalctl -q --no-pager -n 2000")

    def runs(self, address, words):
        token, _ = send(self.lab, self.host, address)
        found = self.lab.until(
            lambda: (
                token in self.lab.sh(self.host, "cat /var/tmp/tickets")
                and self.lab.sh(self.host, "cat /var/tmp/tickets")
            ),
            f"{self.host}: the program does not get {token}",
        )
        assert f"{words}\n" in found

    def logs_in(self, user):
        taken, text = imap(self.lab, self.host, user)
        assert taken, text
        self._submits(user, user)

    def logs_in_alike(self, user):
        """A login in other letters is taken by IMAP and submission, or by neither."""
        assert imap(self.lab, self.host, user)[0]
        self._submits(user, user.lower())

    def _submits(self, user, name):
        sender = name if "@" in name else f"{name}@{DOMAIN[self.host]}"
        self.lab.submit(self.host, user=user, sender=sender, to=sender)

    def does_not_offer(self, keyword):
        _, done = send(self.lab, self.host, f"postmaster@{DOMAIN[self.host]}", "--quit-after", "EHLO")
        assert "PIPELINING" in done.out
        assert keyword not in done.out

    def is_full(self, address):
        """A mailbox that is over its quota is asked about before mail is taken."""
        for _ in range(9):
            token, done = send(self.lab, self.host, address, "--body", ("x" * 70 + "\n") * 400, check=False)
            if done.status:
                break
            self._is_read(address, token)
        assert "452 4.2.2" in done.out, done.out

    def is_logged_and_rotated(self, path):
        """fail2ban reads a failed login from the file; once it is rotated, both go on with a new one."""
        is_banned = "fail2ban" in self.lab.sh(
            self.host,
            "systemctl is-active fail2ban || true; ls /etc/fail2ban/jail.d/mailserver.conf 2>/dev/null || true",
        )
        for _ in range(2):
            before = self._failures() if is_banned else 0
            token = f"nobody-{token_of()[:8]}"
            self._fails_to_log_in(token)
            self.lab.until(
                lambda: "authentication failed" in self.lab.sh(self.host, f"cat {path}"), f"nothing in {path}"
            )
            if is_banned:
                self.lab.until(lambda before=before: self._failures() > before, f"fail2ban does not read {path}")
            self.lab.run(self.host, "logrotate", "--force", "/etc/logrotate.d/mailserver-postfix")
            assert self.lab.sh(self.host, f"ls {path}.1*")
        self.arrives(f"bob@{DOMAIN[self.host]}", "bob")

    def _fails_to_log_in(self, user):
        words = (
            "--port",
            "587",
            "--tls",
            "--auth-user",
            user,
            "--auth-password",
            "wrong",
            "--local-interface",
            STRANGER,
        )
        done = self.lab.swaks(self.host, *words, "--to", f"bob@{DOMAIN[self.host]}", check=False)
        assert done.status == NO_LOGIN, done.out

    def is_fine(self):
        """The check finds nothing that stops mail, whose keys need not all be in DNS."""
        for area in ("config", "running"):
            found = self.lab.salt(self.host, "mailserver.check", f"area={area}")[self.host]["findings"]
            assert [one for one in found if one["status"] == "fail" and "dkim" not in one["id"]] == []

    def _failures(self):
        said = self.lab.sh(self.host, "fail2ban-client status mailserver-postfix")
        return int(re.search(r"Total failed:\s*(\d+)", said)[1])


MANY = len(MAIL_HOSTS)
PARTS = [dict(zip(MAIL_HOSTS, TAKEN_BACK[at : at + MANY], strict=True)) for at in range(0, len(TAKEN_BACK), MANY)]


@pytest.mark.rotating(of=3)
@pytest.mark.parametrize("rows", PARTS, ids=["; ".join(said for _, said in rows.values()) for rows in PARTS])
def test_what_only_a_host_can_tell_is_not_put_in_force(lab, groups, rows):
    """Each host has another of these pillars; both go on with what they had, and say why."""
    groups("homes")
    before = {host: lab.sh(host, "cat /etc/postfix/main.cf") for host in rows}
    for host, (pillar, _) in rows.items():
        given = json.loads(pillar_of("homes", host).partition("\n")[2])["mailserver"]
        given["postfix"]["main"].update(named(host, copy.deepcopy(pillar["postfix"]["main"])))
        lab.set_pillar("#!json\n" + json.dumps({"mailserver": given}) + "\n", [host])
    try:
        results = lab.highstate()
    finally:
        for host in rows:
            lab.set_pillar(pillar_of("homes", host), [host])
    for host, result in results.items():
        told = result.of("mailserver-postfix-in-force")["comment"]
        assert rows[host][1] in told
        assert lab.sh(host, "cat /etc/postfix/main.cf") == before[host]
        Proof(lab, host).arrives(f"bob@{DOMAIN[host]}", "bob")


CASES = [(group, row) for group in COMMON for row in [*(row for row in WORKS if row.group == group), None]]


@pytest.mark.parametrize(
    ("group", "row"), CASES, ids=[f"{group}: {row.name if row else 'what the check says'}" for group, row in CASES]
)
def test_a_pillar_works(lab, groups, host, group, row):
    groups(group)
    for name, *words in row.seen if row else [("is_fine",)]:
        getattr(Proof(lab, host), name)(*named(host, words))
