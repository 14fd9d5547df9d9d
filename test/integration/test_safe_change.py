"""A change that parsers accept, and with which a daemon would not serve, is taken back, and the run is red."""

import pytest

from conftest import DOMAIN, MAIL_HOSTS, pillar

# What each daemon's own parser takes. The words are what the daemon, or whoever looked, then says of it.
BAD = (
    {
        "postfix": ("{main: {content_filter: 'smtp:[127.0.0.1]:10024'}}", "Connection refused"),
        "dovecot": ("{settings: {listen: 192.0.2.99}}", "192.0.2.99"),
        "opendkim": ("{settings: {UserID: no-such-user}}", "no-such-user"),
        "firewalld": ("{ports: [4190/tcp], services: [smtp, no-such]}", "no-such"),
    },
    {
        "postfix": ("{main: {mailbox_transport: 'lmtp:unix:private/no-such'}}", "no-such"),
        "dovecot": ("{settings: {ssl_cipher_list: NO-SUCH-CIPHER}}", "993"),
        "opendkim": ("{settings: {ChangeRootDirectory: /no-such}}", "/no-such"),
        "firewalld": ("{ports: [4190/tcp], zone: no-such}", "no-such"),
    },
    {
        "postfix": ("{main: {inet_interfaces: 192.0.2.99}}", "192.0.2.99"),
        "dovecot": ("{settings: {mail_max_userip_connections: 7}}", ""),
    },
    {
        "postfix": ("{main: {virtual_alias_maps: 'hash:/etc/postfix/no-such'}}", "no-such"),
        "dovecot": ("{settings: {mail_max_userip_connections: 7}}", ""),
    },
)
STATES = {"firewalld": "mailserver-firewalld-open"}
FILES = "/etc/postfix/main.cf /etc/postfix/master.cf /etc/dovecot/dovecot.conf /etc/opendkim.conf"
FIREWALL = "firewall-cmd --zone=public --list-all; firewall-cmd --permanent --zone=public --list-all"
GOOD = "  dovecot: {settings: {mail_max_userip_connections: 7}}\n"


def as_pillar(bad):
    return "".join(f"  {daemon}: {settings}\n" for daemon, (settings, _) in bad.items())


def files(lab, host):
    return lab.sh(host, f"sha256sum {FILES}; stat -c '%n %a %U %G' {FILES}; {FIREWALL}")


@pytest.fixture(scope="module")
def ready(lab):
    lab.apply("default")
    lab.forget_pillar()
    yield
    lab.set_pillar(pillar("default"))
    for result in lab.highstate().values():
        result.must_succeed()


@pytest.fixture(scope="module", params=range(len(BAD)))
def tried(ready, lab, request):
    """The files before and after a highstate with settings with which no daemon serves, and what it returned."""
    bad = BAD[request.param]
    before = {host: files(lab, host) for host in MAIL_HOSTS}
    lab.set_pillar(pillar("default", as_pillar(bad)))
    results = lab.highstate()
    return bad, before, results, {host: files(lab, host) for host in MAIL_HOSTS}


def test_the_run_is_red_with_the_daemons_words(tried, host):
    bad, _, results, _ = tried
    for daemon, (_, said) in bad.items():
        found = results[host].of(STATES.get(daemon, f"mailserver-{daemon}-in-force"))
        assert found["result"] is (not said), (daemon, found)
        assert said in found["comment"], (daemon, found)


def test_the_files_and_the_firewall_are_as_they_were(tried, host):
    bad, before, _, after = tried
    kept = [
        line for line in before[host].splitlines() if all(said for _, said in bad.values()) or "dovecot" not in line
    ]
    assert [line for line in kept if line not in after[host]] == []


def test_mail_goes_on_with_the_old_configuration(tried, lab, host):
    token, _ = lab.submit(host)
    assert f"for <bob@{DOMAIN[host]}>" in lab.delivered(host, "bob", token)
    assert lab.mailbox(host, "imap", user="bob")[0]
    for unit in ("postfix", "dovecot", "opendkim"):
        assert lab.sh(host, f"systemctl is-active {unit}").strip() == "active"


def test_no_copy_of_a_configuration_can_be_read_by_others(ready, lab, host):
    shown = lab.sh(host, "stat -c '%a %U' /var/lib/mailserver/staged /var/lib/mailserver/kept")
    assert set(shown.splitlines()) == {"700 root"}


@pytest.fixture(scope="module")
def killed(ready, lab):
    """A run with a bad configuration was killed while it looked whether Postfix serves; what came after it."""
    bad = as_pillar({"postfix": BAD[0]["postfix"]})
    lab.set_pillar(pillar("default", bad))
    mark = "/var/lib/mailserver/kept/postfix/trying"
    for host in MAIL_HOSTS:
        # A process group of its own, so that all of it is killed, and nothing else.
        run = "setsid sh -c 'echo $$ >/run/cut-short; exec salt-call state.apply mailserver.postfix' >/dev/null 2>&1 &"
        lab.sh(host, run)
        lab.until(lambda host=host: lab.run(host, "test", "-e", mark, check=False).status == 0, "no change began")
        lab.sh(host, "kill -s KILL -- -$(cat /run/cut-short)")
        assert lab.run(host, "test", "-e", mark, check=False).status == 0
    lab.set_pillar(pillar("default"))
    predicted = lab.highstate(test=True)
    return predicted, lab.highstate()


def test_a_run_that_was_killed_in_the_middle_is_completed_by_the_next(killed, lab, host):
    _, done = killed
    done[host].must_succeed()
    assert lab.sh(host, "postconf -h content_filter").strip() == ""
    assert lab.run(host, "test", "-e", "/var/lib/mailserver/kept/postfix/trying", check=False).status == 1
    token, _ = lab.submit(host)
    lab.delivered(host, "bob", token)


def test_a_dry_run_says_that_it_would_be_completed(killed, host):
    predicted, _ = killed
    assert predicted[host].of("mailserver-postfix-in-force")["result"] is None


def test_a_corrected_pillar_is_put_in_force_without_a_restart(ready, lab, host):
    lab.set_pillar(pillar("default", GOOD), [host])
    pid = lab.sh(host, "systemctl show -p MainPID --value dovecot")
    result = lab.highstate([host])[host].must_succeed()
    assert "reloaded" in result.of("mailserver-dovecot-in-force")["comment"]
    assert lab.sh(host, "doveconf -h mail_max_userip_connections") == "7\n"
    assert lab.sh(host, "systemctl show -p MainPID --value dovecot") == pid
    token, _ = lab.submit(host)
    lab.delivered(host, "bob", token)


POLICY = "firewall-offline-cmd --policy=keep-out"
DROP = "'rule family=ipv4 destination address=198.18.0.10 drop'"


def test_a_firewall_that_keeps_the_host_from_its_master_does_not_stay(ready, lab, host):
    lab.sh(host, "systemctl stop firewalld && firewall-offline-cmd --new-policy=keep-out")
    lab.sh(
        host, f"{POLICY} --add-ingress-zone=HOST && {POLICY} --add-egress-zone=ANY && {POLICY} --add-rich-rule={DROP}"
    )
    try:
        found = lab.highstate([host])[host].of("mailserver-firewalld-passable")
        assert found["result"] is False
        assert "kept this host from its master (198.18.0.10)" in found["comment"]
        shown = lab.run(host, "sh", "-c", "systemctl is-active firewalld; systemctl is-enabled firewalld", check=False)
        assert shown.out.split() == ["inactive", "disabled"]
    finally:
        lab.sh(host, "systemctl stop firewalld; firewall-offline-cmd --delete-policy=keep-out")
        # The minion lost its master for a while, and what is published before it is back never reaches it.
        lab.until(lambda: lab.salt(host, "test.ping").get(host) is True, f"{host}'s minion does not come back")
        lab.highstate([host])[host].must_succeed()
    assert lab.sh(host, "systemctl is-active firewalld") == "active\n"
