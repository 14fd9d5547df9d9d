"""After a change a message goes the whole way, or the change is taken back: nobody gets it, and nothing of it stays."""

import json

import pytest

from conftest import DOMAIN, MAIL_HOSTS, pillar

# Each is taken by the pillar, by Postfix's own parser and by each port, and then no mail flows. The words are Postfix's
# or DNS's. What the pillar itself refuses, or mends, is in pillar_table.py.
STOPS = {
    "content_filter: 'smtp:[127.0.0.1]:10024'": "Connection refused",
    "sender_canonical_maps: 'hash:/etc/postfix/no-such'": "no-such",
    "relayhost: '[no-such.outside.test]:587'": "DNS has no address of no-such.outside.test",
    "mailbox_command: /usr/bin/no-such": "no-such",
    "mailbox_transport: 'lmtp:unix:private/no-such'": "no-such",
    "smtp_generic_maps: 'hash:/etc/postfix/no-such'": "no-such",
    "local_recipient_maps: ''": "for a name that does not exist",
    "header_checks: 'static:HOLD'": "hold",
}
FLOWS = (
    "smtp_tls_security_level: encrypt, relayhost: '[client.lab.test]'",
    "inet_protocols: ipv4, smtpd_client_restrictions: [reject_unknown_client_hostname]",
    "smtpd_recipient_restrictions: [reject_unauth_destination, 'check_recipient_access static:{450 4.7.1 come again}']",
)


def main(settings):
    return pillar("default", f"  postfix: {{main: {{{settings}}}}}\n")


@pytest.fixture(scope="module")
def ready(lab):
    lab.apply("default")
    lab.forget_pillar()
    yield
    lab.set_pillar(pillar("default"))
    for result in lab.highstate().values():
        result.must_succeed()


@pytest.fixture(scope="module", params=sorted(STOPS))
def stopped(ready, lab, request):
    """What a highstate said with a parameter that stops mail, and whether main.cf is as before."""
    files = "sha256sum /etc/postfix/main.cf /etc/postfix/master.cf"
    before = {host: lab.sh(host, files) for host in MAIL_HOSTS}
    lab.set_pillar(main(request.param))
    results = lab.highstate()
    return request.param, results, {host: lab.sh(host, files) == before[host] for host in MAIL_HOSTS}


@pytest.mark.rotating(of=3, by=("stopped",))
def test_a_change_that_stops_mail_is_taken_back_with_postfix_words(stopped, lab, host):
    settings, results, same = stopped
    found = results[host].of("mailserver-postfix-in-force")
    assert found["result"] is False, found
    assert STOPS[settings] in found["comment"], found
    assert "is active again" in found["comment"] or "not put in place" in found["comment"]
    assert same[host]
    token, _ = lab.submit(host)
    lab.delivered(host, "bob", token)


def leftovers(lab, host):
    """What is left of the formula's own messages: in queues, mailboxes, on the way to a person."""
    folder = "/var/lib/mailserver/probe"
    found = lab.sh(
        host, f"find {folder} -type f ! -name .forward ! -name .lock; ls /var/mail/mailprobe 2>/dev/null || :"
    )
    queued = [json.loads(line) for line in lab.sh(host, "postqueue -j").splitlines()]
    found += "".join(one["queue_id"] for one in queued if "mailprobe" in json.dumps(one))
    found += lab.sh(
        host, "grep -rl --exclude='dovecot*' 'Does mail flow' /home /root /var/mail /var/vmail 2>/dev/null || :"
    )
    return found.strip()


@pytest.mark.rotating(of=3, by=("stopped",))
def test_nothing_of_the_messages_stays_and_nobody_got_one(stopped, lab, host):
    assert leftovers(lab, host) == ""
    assert lab.sh(host, "cat /var/lib/mailserver/probe/home/.forward") == "/dev/null\n"


@pytest.mark.rotating(of=3)
@pytest.mark.parametrize("settings", FLOWS)
def test_a_change_with_which_mail_flows_stays(ready, lab, settings):
    lab.set_pillar(main(settings))
    for host, result in lab.highstate().items():
        found = result.must_succeed().of("mailserver-postfix-in-force")
        assert "serves with the new configuration" in found["comment"], host
        assert "not known" not in found["comment"], host
        assert leftovers(lab, host) == ""


def sent(lab, host):
    """How many messages of the formula's own this host's log knows of."""
    return lab.sh(host, "journalctl -q --no-pager -g 'to=<mailprobe' | wc -l")


def test_an_unchanged_highstate_sends_nothing(ready, lab, host):
    lab.set_pillar(pillar("default"))
    lab.highstate([host])[host].must_succeed()
    before = sent(lab, host)
    assert int(before) > 0
    assert lab.highstate([host])[host].must_succeed().changed == set()
    assert lab.highstate([host], test=True)[host].must_succeed().changed == set()
    assert sent(lab, host) == before


def test_a_loaded_queue_and_mail_that_arrives_are_no_reason_to_take_a_change_back(ready, lab, host):
    lab.set_pillar(pillar("default"))
    lab.highstate([host])[host].must_succeed()
    # Thousands wait for a host that is not there, and more come to a user of this one.
    source = "smtp-source -m 2000 -s 10 -f bob@outside.test"
    lab.sh(
        host,
        f"{source} -t 'bob@[198.18.0.99]' 127.0.0.1:25; {source} -t bob@{DOMAIN[host]} 127.0.0.1:25 >/dev/null 2>&1 &",
    )
    lab.set_pillar(main("smtpd_banner: '$myhostname ESMTP under load'"))
    try:
        found = lab.highstate([host])[host].of("mailserver-postfix-in-force")
        assert found["result"] is True, found
        assert "serves with the new configuration" in found["comment"], found
    finally:
        lab.until(lambda: not lab.sh(host, "pgrep smtp-source || :"), "smtp-source does not end")
        lab.sh(host, "postsuper -d ALL")
    assert leftovers(lab, host) == ""


def test_the_self_test_says_by_which_program_each_kind_was_reached(ready, lab, host):
    told = lab.salt(host, "mailserver.selftest")[host]
    domain = DOMAIN[host]
    rows = {(one["kind"], one["address"].partition("@")[2]): (one["result"], one["agent"]) for one in told["delivery"]}
    assert rows["user", domain] == rows["alias", domain] == ("arrived", "local")
    assert rows["nobody", domain] == ("refused", "")
    assert ("arrived", "smtp") in rows.values()
    assert f"user mailprobe@{domain}: arrived by local" in told["report"]
    assert told["result"] is True


def test_what_others_send_there_is_discarded(ready, lab, host):
    lab.swaks(host, "--from", "someone@outside.test", "--to", f"mailprobe@{DOMAIN[host]}")
    lab.until(lambda: lab.sh(host, "postqueue -j") == "", "the queue is not empty")
    assert leftovers(lab, host) == ""


VIRTUAL = {
    "  postfix: {main: {virtual_transport: 'lmtp:unix:private/no-such'}}\n": ("postfix", "no-such"),
    "  postfix: {main: {virtual_alias_maps: 'hash:/etc/postfix/no-such'}}\n": ("postfix", "no-such"),
    "  dovecot: {settings: {mail_plugins: quota no_such}}\n": ("dovecot", "no_such"),
}


@pytest.fixture(scope="module")
def virtual(ready, lab):
    """Hosts of virtual accounts; afterwards those of the first pillar again."""
    lab.set_pillar(pillar("virtual"))
    results = lab.highstate()
    for result in results.values():
        result.must_succeed()
    return results


def test_with_virtual_accounts_dovecots_mailboxes_and_those_of_the_system_are_reached(virtual, lab, host):
    told = lab.salt(host, "mailserver.selftest")[host]["delivery"]
    rows = {(one["kind"], one["address"].partition("@")[2]): (one["result"], one["agent"]) for one in told}
    assert rows["user", DOMAIN[host]] == rows["alias", DOMAIN[host]] == ("arrived", "lmtp")
    assert rows["user", f"{host}.lab.test"] == rows["alias", f"{host}.lab.test"] == ("arrived", "local")
    assert rows["nobody", DOMAIN[host]] == rows["nobody", f"{host}.lab.test"] == ("refused", "")
    assert leftovers(lab, host) == ""
    assert lab.sh(host, f"doveadm search -u mailprobe@{DOMAIN[host]} mailbox '*' all") == ""


@pytest.mark.rotating(of=2)
@pytest.mark.parametrize("settings", sorted(VIRTUAL))
def test_with_virtual_accounts_a_change_that_stops_mail_is_taken_back(virtual, lab, settings):
    daemon, said = VIRTUAL[settings]
    lab.set_pillar(pillar("virtual", settings))
    for host, result in lab.highstate().items():
        found = result.of(f"mailserver-{daemon}-in-force")
        assert found["result"] is False, (host, found)
        assert said in found["comment"], (host, found)
        assert leftovers(lab, host) == ""
        alice = f"alice@{DOMAIN[host]}"
        token, _ = lab.submit(host, user=alice, sender=alice, to=f"carol@{DOMAIN[host]}")
        lab.until(lambda host=host, token=token: token in lab.sh(host, "grep -rh Subject: /var/vmail || :"), "no mail")
