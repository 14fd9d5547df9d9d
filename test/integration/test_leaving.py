"""What leaves the pillar leaves the host, if this formula had put it there: logins, aliases, ports. Mail stays."""

import json

import pytest

from conftest import ADDRESS, DOMAIN, MAIL_HOSTS, pillar

PASSWORD = (
    next(line for line in pillar("default").splitlines() if "alice:" in line).partition("password: ")[2].rstrip("}")
)
BOTH = f"""  dovecot: {{protocols: [imap, pop3, lmtp]}}
  firewalld: {{ports: [587/tcp, 4711/tcp]}}
  accounts:
    users:
      alice: {{password: {PASSWORD}}}
      bob: {{password: {PASSWORD}}}
      carol: {{}}
      dora: {{password: {PASSWORD}}}
    aliases: {{postmaster: root, sales: alice, abuse: [alice, bob]}}
"""
LESS = f"""  dovecot: {{protocols: [imap, lmtp]}}
  accounts:
    users:
      alice: {{password: {PASSWORD}}}
      dora: {{password: {PASSWORD}, enabled: false}}
    aliases: {{postmaster: root, abuse: alice}}
"""


def whole(text):
    """The pillar ``default`` with other accounts."""
    return pillar("default").partition("  accounts:")[0] + text


def lines(lab, host, user):
    return lab.sh(host, f"getent passwd {user}; grep ^{user}: /etc/shadow").splitlines()


@pytest.fixture(scope="module")
def left(lab):
    """Hosts on which accounts, aliases and ports were, and then left; and what a dry run had said."""
    lab.forget_pillar()
    for host in MAIL_HOSTS:
        # Hers was made by hand, with a shell and a name; abuse and sales had other entries.
        lab.sh(
            host,
            "useradd --create-home --shell /bin/bash --comment 'Carol C.' carol && echo carol:correct-horse | chpasswd",
        )
        lab.sh(host, "printf 'sales: root\\n' >>/etc/aliases && newaliases")
    seen = {"carol": {host: lines(lab, host, "carol") for host in MAIL_HOSTS}}
    lab.set_pillar(whole(BOTH))
    first = lab.highstate()
    for host, result in first.items():
        result.must_succeed()
        token, _ = lab.submit(host, user="bob", to=f"bob@{DOMAIN[host]}")
        lab.delivered(host, "bob", token)
        assert "4711/tcp" in lab.sh(host, "firewall-cmd --list-ports")
    seen["mail"] = {host: lab.sh(host, "find /home/bob/Maildir -type f | sort") for host in MAIL_HOSTS}
    lab.set_pillar(whole(LESS))
    seen["predicted"] = lab.highstate(test=True)
    seen["done"] = lab.highstate()
    for result in seen["done"].values():
        result.must_succeed()
    return seen


def test_the_dry_run_had_said_so(left, host):
    predicted, done = left["predicted"][host].must_succeed(), left["done"][host]
    assert predicted.changed == done.changed
    assert {
        "mailserver-accounts-logins",
        "mailserver-accounts-aliases-left",
        "mailserver-firewalld-open",
    } <= done.changed
    assert done.state("mailserver.logins")["changes"] == {"bob": "locked", "dora": "locked"}


def test_a_second_run_changes_nothing(left, lab, host):
    assert lab.highstate([host])[host].must_succeed().changed == set()


@pytest.mark.parametrize("user", ["bob", "dora"])
def test_whoever_left_or_is_disabled_logs_in_nowhere(left, lab, host, user):
    _, told = lab.submit(host, user=user, check=False)
    assert told.status != 0
    assert "535" in told.out
    assert not lab.mailbox(host, "imap", user=user)[0]
    assert lab.submit(host, user="alice", to=f"alice@{DOMAIN[host]}")[1].status == 0
    # The account has expired, so that no key of SSH opens it either.
    assert lines(lab, host, user)[1].split(":")[7] == "1"


def test_mail_for_whoever_left_is_refused_and_for_a_disabled_user_it_arrives(left, lab, host):
    for address in (f"bob@{DOMAIN[host]}", f"bob+lists@{DOMAIN[host]}"):
        told = lab.swaks(host, "--from", "someone@outside.test", "--to", address, check=False)
        assert "550 5.1" in told.out, told.out
    token, _ = lab.submit(host, user="alice", to=f"dora@{DOMAIN[host]}")
    lab.delivered(host, "dora", token)


def test_mail_and_home_of_whoever_left_stay(left, lab, host):
    assert lab.sh(host, "find /home/bob/Maildir -type f | sort") == left["mail"][host] != ""


def test_a_user_that_the_host_had_before_is_left_as_it_was(left, lab, host):
    assert lines(lab, host, "carol") == left["carol"][host]


def test_aliases_that_left_forward_no_more_and_have_again_what_they_had(left, lab, host):
    text = lab.sh(host, "cat /etc/aliases")
    assert "sales: root\n" in text
    assert "abuse: alice\n" in text
    assert lab.sh(host, "postalias -q sales hash:/etc/aliases") == "root\n"


def test_ports_of_what_left_are_shut(left, lab, host):
    for options in ("", "--permanent"):
        shown = lab.sh(host, f"firewall-cmd {options} --zone=public --list-all")
        assert "pop3" not in shown
        assert "4711/tcp" not in shown
        assert {"imaps", "smtp"} <= set(shown.split())
    connect = f"import socket; socket.create_connection(('{ADDRESS[host]}', 995), 5)"
    assert lab.run("client", "python3", "-c", connect, check=False).status != 0


def test_who_comes_back_logs_in_and_reads_the_old_mail(left, lab, host):
    lab.set_pillar(whole(BOTH), [host])
    lab.highstate([host])[host].must_succeed()
    assert lab.mailbox(host, "imap", user="bob")[0]
    token, _ = lab.submit(host, user="dora", to=f"bob@{DOMAIN[host]}")
    lab.delivered(host, "bob", token)
    # IMAP moved it from new to cur.
    assert left["mail"][host].splitlines()[0].rpartition("/")[2] in lab.sh(host, "find /home/bob/Maildir -type f")
    note = json.loads(lab.sh(host, "cat /var/lib/mailserver/given.json"))
    assert {name: (row["made"], row["locked"]) for name, row in note["users"].items()} == {
        **dict.fromkeys(("alice", "bob", "dora"), (True, False)), "carol": (False, False)
    }  # fmt: skip
    assert lab.sh(host, "stat -c %a:%U /var/lib/mailserver/given.json") == "600:root\n"


def test_an_alias_with_a_domain_is_refused_with_the_way_to_have_it(lab, host):
    lab.set_pillar(pillar("default", "    aliases: {'sales@elsewhere.test': alice}\n"), [host])
    told = json.dumps(lab.highstate([host])[host].returned)
    assert "virtual_alias_maps" in told
    assert "sales@elsewhere.test" in told
