"""Virtual accounts on booted hosts: mail arrives and leaves as the pillar says, and no hash is shown to anybody."""

import json
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from conftest import ADDRESS, DOMAIN, MAIL_HOSTS, PASSWORD, pillar

CAUGHT = {"mx1": "delta.test", "mx2": "gamma.test"}
HASH = re.search(r"\$6\$mailserver\$(\S+)'", pillar("virtual"))[1]
SIEVE_PROGRAM = (Path(__file__).parent / "sieve_program.py").read_text()
REFUSED, NO_LOGIN = 24, 28
"""swaks's exit statuses: a recipient, or a login, was refused."""


@pytest.fixture(scope="module", autouse=True)
def applied(lab):
    """What the highstate returned that made the accounts virtual."""
    lab.apply("virtual")
    return lab.applied


def send(lab, host, to, *options, subject="", size=0, check=True):
    """Have the client send a message; (token, what swaks printed)."""
    token = uuid.uuid4().hex
    body = ("x" * 70 + "\n") * (size // 71)
    words = ("--from", "world@outside.test", "--to", to, "--header", f"Subject: {subject} {token}", *options)
    done = lab.swaks(host, *words, "--body", f"{token}\n{body}", check=check)
    return token, done


def delivered(lab, host, user, token, folder=""):
    """Wait for the message with the token in a folder of a user of the host's domain; its text."""
    place = f"/var/vmail/{DOMAIN[host]}/{user}/Maildir/{folder}"
    script = 'cd "$2" 2>/dev/null && set -- $(grep -l "$1" new/* cur/* 2>/dev/null) && [ $# -gt 0 ] && cat "$@"'
    return lab.until(
        lambda: lab.run(host, "sh", "-c", script, "sh", token, place, check=False).out,
        f"{host}: {token} not in {place}",
    )


ARRIVALS = [
    ("alice@{domain}", {"alice": ""}),
    ("Alice+tag@{domain}", {"alice": ""}),
    ("a.liddell@{domain}", {"alice": ""}),
    ("whoever@{caught}", {"alice": ""}),
    ("team@{domain}", {"alice": "", "carol": ".Carols"}),
    ("dave@{domain}", {"dave": ""}),
]


@pytest.mark.parametrize(("to", "folders"), ARRIVALS)
def test_mail_arrives_for_users_aliases_and_whom_a_catch_all_names(lab, host, to, folders):
    token, _ = send(lab, host, to.format(domain=DOMAIN[host], caught=CAUGHT[host]))
    for user, folder in folders.items():
        assert "Received: from client.lab.test" in delivered(lab, host, user, token, folder)


def test_the_hosts_own_aliases_hold_in_each_domain_and_lead_to_users_of_the_system(lab, host):
    lab.sh(host, "id operator-on-call || useradd -m operator-on-call")
    for name in ("postmaster", "abuse", "operators"):
        for domain in (DOMAIN[host], CAUGHT[host]):
            token, _ = send(lab, host, f"{name}@{domain}")
            lab.delivered(host, "operator-on-call", token)


def test_mail_for_nobody_is_refused_at_once(lab, host):
    _, done = send(lab, host, f"no-such-name@{DOMAIN[host]}", check=False)
    assert done.status == REFUSED
    assert "550 5.1.1" in done.out


PROTOCOLS = {
    "imap": None,
    "pop3": None,
    "submission": ("--port", "587", "--tls"),
    "submissions": ("--port", "465", "--tls-on-connect"),
}


def login(lab, host, protocol, user, password):
    """Log in; whether that was taken, and refused (both are false where nothing was said)."""
    user, sender = user.format(DOMAIN[host]), f"alice@{DOMAIN[host]}"
    if PROTOCOLS[protocol] is None:
        taken, said = lab.mailbox(host, protocol, "no-such-token", user=user, password=password)
        return taken, "Authentication failed" in said
    words = ("--auth-user", user, "--auth-password", password, "--from", sender, "--to", sender)
    status = lab.swaks(host, *PROTOCOLS[protocol], *words, check=False).status
    return status == 0, status == NO_LOGIN


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("user", ["alice@{}", "Alice@{}"])
def test_users_log_in_with_their_full_address(lab, host, user, protocol):
    assert login(lab, host, protocol, user, PASSWORD) == (True, False)


NO_LOGINS = {
    "a wrong password": ("alice@{}", "wrong"),
    "a name alone": ("alice", PASSWORD),
    "an alias": ("a.liddell@{}", PASSWORD),
    "a user who is off": ("dave@{}", PASSWORD),
    "nobody": ("no-such-name@{}", PASSWORD),
}


@pytest.fixture(scope="module")
def answers(lab, applied):
    """What came of all logins that must fail, at once: Dovecot has whoever fails wait for up to 15 s."""
    asked = [(host, protocol, *words) for host in MAIL_HOSTS for protocol in PROTOCOLS for words in NO_LOGINS.values()]
    with ThreadPoolExecutor(8) as pool:
        return dict(zip(asked, pool.map(lambda one: login(lab, *one), asked), strict=True))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("who", NO_LOGINS)
def test_nobody_else_logs_in(answers, host, who, protocol):
    assert answers[(host, protocol, *NO_LOGINS[who])] == (False, True)


SENDERS = [
    ("alice@{}", True),
    ("alice+tag@{}", True),
    ("a.liddell@{}", True),
    ("bob@{}", False),
    ("team@{}", False),
    ("postmaster@{}", False),
    ("alice@elsewhere.test", False),
]


@pytest.mark.parametrize(("sender", "expected"), SENDERS)
def test_users_send_as_their_own_addresses_alone(lab, host, sender, expected):
    user = f"alice@{DOMAIN[host]}"
    _, done = lab.submit(host, user=user, sender=sender.format(DOMAIN[host]), to=user, check=False)
    assert done.status == (0 if expected else REFUSED), done.out
    assert expected or f"not owned by user {user}" in done.out


def test_a_full_mailbox_defers_mail_until_there_is_room(lab, host):
    bob = f"bob@{DOMAIN[host]}"
    for _ in range(2):
        token, _ = send(lab, host, bob, size=30_000)
        delivered(lab, host, "bob", token)
    _, done = send(lab, host, bob, check=False)
    assert done.status == REFUSED
    assert "452 4.2.2" in done.out
    # What got past that question, as a user's own mail does, waits in the queue, and nobody gets a bounce.
    alice = f"alice@{DOMAIN[host]}"
    token, _ = lab.submit(host, user=alice, sender=alice, to=bob)
    lab.until(lambda: "Quota exceeded" in lab.sh(host, "postqueue -j"), f"{host}: nothing was deferred")
    lab.run(host, "doveadm", "expunge", "-u", bob, "mailbox", "INBOX", "all")
    lab.run(host, "postqueue", "-f")
    delivered(lab, host, "bob", token)
    token, _ = send(lab, host, bob)
    delivered(lab, host, "bob", token)


def test_the_pillars_script_files_mail_until_the_user_has_one(lab, host):
    alice = f"alice@{DOMAIN[host]}"
    token, _ = send(lab, host, alice, subject="[list]")
    delivered(lab, host, "alice", token, ".Lists")
    script = 'require "fileinto"; if header :contains "Subject" "[list]" { fileinto "Mine"; }'
    words = ("python3", "-", ADDRESS[host], alice, PASSWORD, script)
    in_the_clear = lab.run("client", *words, "cleartext", stdin=SIEVE_PROGRAM, check=False)
    assert in_the_clear.status != 0, in_the_clear.out
    assert '"STARTTLS"' in in_the_clear.out
    assert '"SASL" ""' in in_the_clear.out
    lab.run("client", *words, stdin=SIEVE_PROGRAM)
    try:
        token, _ = send(lab, host, alice, subject="[list]")
        delivered(lab, host, "alice", token, ".Mine")
    finally:
        lab.run(host, "doveadm", "sieve", "deactivate", "-u", alice)


def test_no_hash_is_shown(lab, host, applied):
    assert HASH not in json.dumps(applied[host].returned)
    assert HASH not in json.dumps(lab.salt(host, "mailserver.settings"))
    assert not lab.sh(host, f"grep -rlF '{HASH}' /var/log /var/lib/mailserver || true")
    assert HASH not in lab.sh(host, "journalctl -q -o cat")
    assert lab.sh(host, "stat -c '%a %U %G' /etc/dovecot/mailserver/passwords") == "640 root dovecot\n"
    assert HASH in lab.sh(host, "cat /etc/dovecot/mailserver/passwords")


@pytest.mark.parametrize("area", ["config", "running", "protocol"])
def test_the_check_finds_nothing(lab, area):
    found = lab.salt(MAIL_HOSTS, "mailserver.check", f"area={area}")
    for host in MAIL_HOSTS:  # whose keys are not in DNS
        assert [one for one in found[host]["findings"] if "dkim" not in one["id"]] == [], host


def test_the_reflector_and_the_self_test_go_on(lab, host):
    send(lab, host, f"check@{DOMAIN[host]}")
    lab.until(
        lambda: "world@outside.test" in lab.sh(host, "journalctl -q -o cat -t mailserver-reflector"),
        "it did not see it",
    )
    assert "overall" in lab.salt(host, "mailserver.selftest", DOMAIN[host])[host]


def test_a_second_highstate_changes_nothing(lab):
    for result in lab.highstate().values():
        assert result.must_succeed().changed == set()


@pytest.fixture(scope="module")
def changed(lab, applied):
    """What came of a pillar in which a script is wrong and a user is new."""
    text = pillar("virtual").replace("# Written by the pillar.", "nonsense;")
    text = text.replace("      aliases:\n", "        erin@{{ domain }}: {password: {{ password }}}\n      aliases:\n")
    lab.forget_pillar()
    lab.set_pillar(text)
    return lab.highstate()


def test_a_wrong_script_is_refused_with_the_compilers_words_and_the_old_one_stays(changed, lab, host):
    (state,) = (one for one in changed[host].states.values() if one["result"] is False and "nonsense" in one["comment"])
    assert "unknown command" in state["comment"]
    assert "Written by the pillar." in lab.sh(host, "cat /etc/dovecot/mailserver/default.sieve")
    token, _ = send(lab, host, f"alice@{DOMAIN[host]}", subject="[list]")
    delivered(lab, host, "alice", token, ".Lists")


def test_a_new_user_gets_mail_without_a_change_of_main_cf(changed, lab, host):
    assert "mailserver-postfix-main" not in changed[host].changed
    assert HASH not in json.dumps(changed[host].returned)
    token, _ = send(lab, host, f"erin@{DOMAIN[host]}")
    delivered(lab, host, "erin", token)
    assert lab.mailbox(host, "imap", token, user=f"erin@{DOMAIN[host]}")[0]


@pytest.fixture(scope="module")
def back(changed, lab):
    """Each host has mail of a virtual user, and users of the system again."""
    for host in MAIL_HOSTS:
        token, _ = send(lab, host, f"alice@{DOMAIN[host]}")
        delivered(lab, host, "alice", token)
    lab.apply("default")


def test_with_users_of_the_system_all_is_as_before(back, lab, host):
    for where in ((), ("--permanent",)):
        lab.run(host, "firewall-cmd", *where, "--zone=public", "--remove-service=managesieve", check=False)
    token, _ = lab.submit(host)
    assert f"for <bob@{DOMAIN[host]}>" in lab.delivered(host, "bob", token)
    assert lab.mailbox(host, "imap", token, user="bob")[0]
    # Dovecot 2.4.5 gives each message a flag at once, and so has it in cur.
    assert lab.sh(host, f"find /var/vmail/{DOMAIN[host]}/alice -type f -path '*/new/*' -o -type f -path '*/cur/*'")
