"""`mailserver.clean` with `clean:packages: true` leaves a host as it was before the first highstate."""

import re

import pytest

from conftest import MAIL_HOSTS, pillar

BEGINS = "bare"
PLACES = "/etc /usr/local /var/lib /var/spool /opt"
PRUNED = ("/etc/salt", "/var/lib/dpkg", "/var/lib/apt", "/var/lib/systemd", "/var/lib/private", "/opt/saltstack")

INVENTORY = f"""
find {PLACES} \\( {" -o ".join(f"-path {path}" for path in PRUNED)} \\) -prune -o -type f -exec sha256sum {{}} + |
  sed 's/^\\([0-9a-f]*\\)  /file \\1 /'
find {PLACES} \\( {" -o ".join(f"-path {path}" for path in PRUNED)} \\) -prune -o -printf 'entry %p %y %m %u %g %l\\n'
dpkg-query -W -f 'package ${{Package}} ${{db:Status-Abbrev}}\\n'
getent passwd | sed 's/^/user /'
getent group | sed 's/^/group /'
systemctl list-unit-files --no-legend --state=enabled | sed 's/^/unit /'
ss -Hltn | sed 's/^/listener /; s/  */ /g'
nft list ruleset 2>/dev/null | sed 's/^/rule /'
true
"""

STAYS = (
    r" /etc/opendkim(/|$| )",  # the keys
    r"^(user|group) | /etc/(passwd|shadow|group|gshadow|subuid|subgid)-?( |$)",  # people, and users that own files
    r" /etc/(aliases|aliases\.db|mailname)( |$)",  # Debian's packages leave the rest
    r" /etc/firewalld(/|$| )",
    r"^entry /etc/dovecot(/conf\.d|/private)? d | /var/lib/dovecot(/|$| )",
    r"^entry (/etc/xml|/usr/local/libexec) d ",
)
"""What stays, as docs/operations.md says."""


def inventory(lab, host):
    lines = lab.sh(host, INVENTORY).splitlines()
    return {line for line in lines if not any(re.search(pattern, line) for pattern in STAYS)}


@pytest.fixture(scope="module")
def hosts(lab):
    """What there was on bare hosts, and what there is after a highstate and a clean with packages."""
    text = pillar("default", "  clean: {packages: true}\n")
    lab.set_pillar(text)
    for host in MAIL_HOSTS:
        lab.until(lambda host=host: lab.salt(host, "test.ping").get(host), f"{host} does not answer")
    before = {host: inventory(lab, host) for host in MAIL_HOSTS}
    for result in lab.highstate().values():
        result.must_succeed()
    for host in MAIL_HOSTS:
        lab.sh(host, "test -d /etc/opendkim/keys && postqueue -p | grep -q empty")
    predicted = lab.salt(MAIL_HOSTS, "state.apply", "mailserver.clean", "test=True")
    returned = lab.salt(MAIL_HOSTS, "state.apply", "mailserver.clean")
    return before, predicted, returned, {host: inventory(lab, host) for host in MAIL_HOSTS}


def test_clean_succeeds_and_a_dry_run_had_said_so(hosts, host):
    _, predicted, returned, _ = hosts
    failed = [state for state in returned[host].values() if state["result"] is False]
    assert not failed
    removed = next(state for state in returned[host].values() if state["__id__"] == "mailserver-packages-clean")
    foretold = next(state for state in predicted[host].values() if state["__id__"] == "mailserver-packages-clean")
    assert foretold["result"] is None
    assert set(foretold["changes"]["removed"]) >= {"postfix", "dovecot-core", "opendkim", "firewalld"}
    assert set(foretold["changes"]["removed"]) <= set(str(removed["changes"]).replace("'", " ").split())


def test_the_host_is_as_it_was_before_the_first_highstate(hosts, host):
    before, _, _, after = hosts
    assert sorted(after[host] - before[host]) == []
    assert sorted(before[host] - after[host]) == []
