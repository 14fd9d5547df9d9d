"""A host without a master, made by the README's own lines: its keys are looked after with a minion and without."""

import base64
import io
import json
import re
import tarfile

import pytest

from conftest import MAIL_HOSTS, TOP, pillar
from hosts import FORMULA_PARTS

BEGINS = "bare"
README = (TOP / "README.md").read_text()
SECTION = README.partition("## On a single host, without a master\n")[2].partition("\n## ")[0]
MORE = """  schedule: {every: 10s, splay: 0}
  watch: {enabled: false}
  dkim: {soak: 1s}
  dns: {root_servers: [198.18.0.11, 198.18.0.12]}
"""
UNITS = "/etc/systemd/system/mailserver-advance"


def file_in(text, path):
    """The text of a file that the README shows: what follows its path in a comment, up to a blank line or another."""
    found = re.search(rf"^( +)# {re.escape(path)}.*\n((?:\1(?!# ).+\n)+)", text, re.MULTILINE)
    return found[2].replace(found[1], "", 1).replace(f"\n{found[1]}", "\n")


CONFIGURATION = file_in(SECTION, "/etc/salt/minion.d/mailserver.conf")
TOP_FILE = file_in(README, "/srv/salt/top.sls")
(COMMAND,) = re.findall(r"^    (.*salt-call state\.highstate[-=\w ]*?) *(?:#.*)?$", SECTION, re.MULTILINE)


def checkout():
    """The formula as a checkout has it: a tar archive, in base64."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as tar:
        for part in FORMULA_PARTS:
            tar.add(TOP / part, part, filter=lambda one: None if "__pycache__" in one.name else one)
    return base64.b64encode(held.getvalue()).decode()


def give_pillar(lab, host, text):
    lab.write(host, "/srv/pillar/mailserver.sls", text)
    lab.write(host, "/srv/pillar/top.sls", "base: {'mx*': [mailserver]}\n")


def highstate(lab, host, command=COMMAND):
    """Run the README's command; what it printed. It must be all right."""
    done = lab.run(host, "sh", "-c", command, check=False)
    assert re.search(r"^Failed: +0$", done.out, re.MULTILINE), done.out[-6000:] + done.err
    return done.out


@pytest.fixture(scope="module")
def alone(lab):
    """Hosts that no master knows, with a checkout and the README's files, and what the first run printed."""
    archive = checkout()
    printed = {}
    for host in MAIL_HOSTS:
        lab.sh(host, "systemctl stop salt-minion; rm -f /etc/salt/minion.d/*.conf /etc/salt/pki/minion/*")
        lab.sh(
            host, "mkdir -p /srv/mailserver-formula && base64 -d | tar -xz -C /srv/mailserver-formula", stdin=archive
        )
        lab.write(host, "/etc/salt/minion.d/mailserver.conf", CONFIGURATION)
        lab.write(host, "/srv/salt/top.sls", TOP_FILE)
        # Without a master a minion's id is the host's whole name.
        give_pillar(lab, host, pillar("default", MORE).replace("grains['id']", f"'{host}'"))
        printed[host] = highstate(lab, host)
    return printed


def publish(lab, host):
    done = lab.run(host, "salt-call", "--local", "--out=json", "mailserver.records", "format=nsupdate")
    lab.update_dns(json.loads(done.out)["local"])


@pytest.mark.parametrize("output", ["changes", "full", "mixed", "terse_id"])
def test_a_run_ends_with_the_record_on_one_line_in_every_form_of_output(alone, lab, host, output):
    printed = highstate(lab, host, f"salt-call state.highstate --state-output={output}")
    assert re.search(r"^Succeeded: +\d+$", printed, re.MULTILINE), "not one (changed=…)"
    told = printed.split("To do now:")
    assert len(told) == 2, "what is to be done is told once"
    assert len(re.findall(r"^ +\S+\._domainkey\.\S+ \d+ IN TXT \( \"v=DKIM1; .*\" \)$", told[1], re.MULTILINE)) == 1
    assert "v=DKIM1" not in told[0]


def test_the_first_run_ends_with_the_record_and_with_what_changed(alone, host):
    told = alone[host].partition("To do now:")[2]
    assert "_domainkey." in told.partition("Changed:")[0]
    assert re.search(r"^ +postfix: ", told.partition("Changed:")[2], re.MULTILINE)


def test_with_a_minion_that_runs_its_schedule_has_the_key_sign(alone, lab, host):
    assert "mailserver-schedule-advance" in lab.sh(host, "cat /etc/salt/minion.d/_schedule.conf")
    assert lab.run(host, "test", "-e", f"{UNITS}.timer", check=False).status
    assert not lab.signers(host)
    publish(lab, host)
    lab.until(lambda: lab.signers(host), f"{host}: no key signs by the minion's schedule")


def test_a_second_run_changes_nothing(alone, lab, host):
    assert re.search(r"^Succeeded: +\d+$", highstate(lab, host), re.MULTILINE), "not one (changed=…)"


def test_without_a_minion_timers_of_systemd_look_after_the_keys(alone, lab, host):
    lab.sh(host, "systemctl disable --now salt-minion")
    highstate(lab, host, "salt-call state.highstate --state-output=terse")
    assert "mailserver-schedule-advance" not in lab.sh(host, "cat /etc/salt/minion.d/_schedule.conf")
    assert lab.sh(host, "systemctl is-enabled mailserver-advance.timer").strip() == "enabled"
    before = lab.signers(host)
    lab.run(host, "salt-call", "--local", "dkim.rotate")
    publish(lab, host)
    lab.until(lambda: lab.signers(host) not in (before, set()), f"{host}: no successor signs by systemd's timer")


def test_a_minion_that_waits_for_a_master_in_vain_is_taken_for_none(alone, lab, host):
    """Each highstate took three minutes on such a host, and failed to add the schedule."""
    lab.sh(
        host, "sed -i '/^master_type/d' /etc/salt/minion.d/mailserver.conf && systemctl start --no-block salt-minion"
    )
    highstate(lab, host, "salt-call state.highstate")
    assert lab.sh(host, "systemctl is-active mailserver-advance.timer").strip() == "active"
    lab.sh(host, "systemctl stop salt-minion; echo 'master_type: disable' >>/etc/salt/minion.d/mailserver.conf")


def test_with_the_minion_back_its_schedule_takes_over(alone, lab, host):
    lab.sh(host, "systemctl enable salt-minion")
    highstate(lab, host)
    assert "mailserver-schedule-advance" in lab.sh(host, "cat /etc/salt/minion.d/_schedule.conf")
    assert lab.sh(host, f"ls {UNITS}.* 2>/dev/null || true") == ""
    assert lab.run(host, "systemctl", "is-active", "mailserver-advance.timer", check=False).out.strip() != "active"
