"""A host without a minion, which the master reaches by salt-ssh, set up and looked after by the README's own lines.

Debian 13 alone: the Python packages of Debian 12 are too old (mailserver.python_fits).
"""

import json
import re

import pytest
from messages import sent_and_judged

from conftest import ADDRESS, DOMAIN, MAIL_HOSTS, TOP, pillar

BEGINS = "bare"
ON = "mx2"
SECTION = (TOP / "README.md").read_text().partition("## With salt-ssh\n")[2].partition("\n## ")[0]
PACKAGES, APPLY = re.findall(r"^    (.+)$", SECTION, re.MULTILINE)
CHECKOUT = re.search(r"PYTHONPATH=(\S+)/_utils ", APPLY)[1]
MORE = """  python: {install: false}
  dkim: {soak: 1s}
"""


def salt_ssh(lab, host, call=None, line=APPLY):
    """Run a line of the README on the master, for ``host``, with ``call`` in place of its function; what it printed."""
    words = line.replace("'mx1'", f"'{host}'")
    if call:
        words = words.replace("state.apply mailserver", call)
    return lab.sh("master", words)


def answer(lab, host, call):
    """Return what an execution function returned by salt-ssh."""
    return json.loads(salt_ssh(lab, host, f"--out=json {call}"))[host]


def apply(lab, host):
    printed = salt_ssh(lab, host)
    assert re.search(r"^Failed: +0$", printed, re.MULTILINE), printed[-6000:]
    return printed


@pytest.fixture(scope="module")
def reached(lab):
    """Hosts to which the master's SSH key opens the door, and what the README's state.apply printed for each."""
    key = "/root/.ssh/id_ed25519"
    lab.sh("master", f"apt-get -qq update; apt-get -qq install -y openssh-client; ln -sfn /srv/formula {CHECKOUT}")
    public = lab.sh("master", f"test -e {key} || ssh-keygen -q -t ed25519 -N '' -f {key}; cat {key}.pub")
    for host in MAIL_HOSTS:
        lab.sh(host, "systemctl disable --now salt-minion; apt-get -qq update; apt-get -qq install -y openssh-server")
        lab.write(host, "/root/.ssh/authorized_keys", public)
        lab.sh("master", f"ssh-keyscan {ADDRESS[host]} >>/root/.ssh/known_hosts")
    roster = {host: {"host": ADDRESS[host], "priv": key} for host in MAIL_HOSTS}
    lab.write("master", "/etc/salt/roster", json.dumps(roster))
    lab.set_pillar(pillar("default", MORE))
    for host in MAIL_HOSTS:
        salt_ssh(lab, host, line=PACKAGES)
    return {host: apply(lab, host) for host in MAIL_HOSTS}


def test_the_first_run_sets_the_host_up_and_says_that_nothing_runs_there_by_itself(reached, lab, host):
    assert re.search(r"^Succeeded: +\d+ \(changed=", reached[host], re.MULTILINE), reached[host][-2000:]
    assert f"salt-ssh '{host}' dkim.advance" in reached[host]
    assert lab.sh(host, "ls /etc/systemd/system/mailserver-advance.* 2>/dev/null || true") == ""


def test_a_second_run_changes_nothing(reached, lab, host):
    assert re.search(r"^Succeeded: +\d+$", apply(lab, host), re.MULTILINE), "not one (changed=…)"


def test_the_master_has_a_key_sign_once_dns_shows_its_record(reached, lab, host):
    assert sent_and_judged(lab, host, f"alice@{DOMAIN[host]}")["signatures"] == []
    lab.update_dns(answer(lab, host, "mailserver.records format=nsupdate"))

    def signs():
        salt_ssh(lab, host, "dkim.advance")
        return lab.signers(host)

    lab.until(signs, f"{host}: no key signs")
    judged = sent_and_judged(lab, host, f"alice@{DOMAIN[host]}")
    assert [one["domain"] for one in judged["signatures"]] == [DOMAIN[host]]
    assert judged["dkimpy"]
    assert judged["mail_dkim"] == "pass"
