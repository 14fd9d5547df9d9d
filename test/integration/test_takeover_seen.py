"""Hosts with other OpenDKIM configurations: refused while a signature would be lost, then taken over whole."""

import json
from pathlib import Path

import pytest

from conftest import DOMAIN, pillar

BEGINS = "bare"
PROGRAM = (Path(__file__).parent / "sign_program.py").read_text()
COMMON = "Syslog yes\nUserID opendkim\nUMask 007\nSocket inet:8891@127.0.0.1\nPidFile /run/opendkim/opendkim.pid\n"
KEY = "openssl genrsa -traditional -out {0} 2048 2>/dev/null && chown opendkim: {0} && chmod 600 {0}"
HAND_MADE = {
    "mx1": {
        "/etc/opendkim.conf": f"{COMMON}KeyTable /etc/signing/key.table\nSigningTable refile:/etc/signing/table\n",
        "/etc/signing/key.table": "own %:mail:/etc/signing/mail.private\n"
        "alpha alpha.test:mail:/etc/signing/mail.private\n",
        "/etc/signing/table": "*@alpha.test own # the company\n*@*.alpha.test alpha\n",
    },
    "mx2": {
        "/etc/opendkim.conf": f"{COMMON}Domain beta.test\nSubDomains yes\nSelector mail\nKeyFile /etc/signing/link\n"
    },
}
SENDERS = {host: (f"x@{domain}", f"x@news.{domain}") for host, domain in DOMAIN.items()}
SUBDOMAINS = "  dkim: {subdomains: true, selector: 'next-{host}'}\n"
REFUSED = {"mx1": "*@*.alpha.test", "mx2": "*@*.beta.test"}


@pytest.fixture(scope="module")
def hand_made(lab):
    """Both hosts, bare but for an OpenDKIM that signs by a configuration of somebody's."""
    lab.set_pillar(pillar("default"))
    for host, files in HAND_MADE.items():
        lab.salt(host, "saltutil.sync_all")
        lab.sh(host, "export DEBIAN_FRONTEND=noninteractive; apt-get -q update; apt-get -qy install opendkim")
        lab.sh(host, "mkdir -p /etc/signing; ln -sf mail.private /etc/signing/link")
        lab.sh(host, KEY.format("/etc/signing/mail.private"))
        for path, text in files.items():
            lab.write(host, path, text)
        lab.sh(host, "systemctl restart opendkim")


class Asking:
    """Asks a host's OpenDKIM who signs, from now until :meth:`end`."""

    def __init__(self, lab, host):
        lab.write(host, "/root/sign_program.py", PROGRAM)
        python = lab.sh(host, "sed -n '1s/^#!//p' $(command -v salt-call)").strip()
        self.program = lab.start(host, python, "/root/sign_program.py", *SENDERS[host])

    def end(self):
        out, _ = self.program.communicate("end\n")
        return json.loads(out)


def signed(host):
    return {sender: {f"d={DOMAIN[host]} s=mail"} for sender in SENDERS[host]}


def answers(seen):
    return {sender: set(one) for sender, one in seen.items()}


def test_a_run_that_would_end_a_signature_says_so_beforehand_and_touches_nothing(hand_made, lab, host):
    assert answers(Asking(lab, host).end()) == signed(host)
    before = lab.snapshot(host)
    for test in (True, False):
        said = lab.highstate([host], test=test)[host].state("dkim.found")
        assert said["result"] is False
        assert f"{REFUSED[host]}: " in said["comment"]
        assert "dkim:subdomains" in said["comment"]
        assert {path for path in before ^ lab.snapshot(host) if "dkim" in str(path) or "postfix" in str(path)} == set()
    assert answers(Asking(lab, host).end()) == signed(host)


def test_what_signed_goes_on_through_the_first_highstate_and_has_its_life_from_there(hand_made, lab, host):
    lab.set_pillar(pillar("default", SUBDOMAINS))
    foreseen = lab.highstate([host], test=True)[host]
    assert "the key mail of /etc/signing/" in foreseen.state("dkim.taken_over")["comment"]
    assert "the key mail would be taken over from disk" in foreseen.state("dkim.managed")["comment"]
    asking = Asking(lab, host)
    done = lab.highstate([host])[host]
    seen = asking.end()
    done.must_succeed()
    assert all(one <= {f"d={DOMAIN[host]} s=mail", "waits"} for one in answers(seen).values()), seen
    assert "the key mail was taken over from disk" in done.state("dkim.managed")["comment"]
    assert "Written by Salt" in lab.sh(host, "head -1 /etc/opendkim.conf")
    path = f"/etc/opendkim/keys/{DOMAIN[host]}/mail.private"
    assert lab.sh(host, f"cmp {path} /etc/signing/mail.private; stat -c '%F %h' {path}") == "regular file 1\n"
    lab.publish(host)
    lab.highstate([host])[host].must_succeed()
    status = lab.sh(host, "salt-call --local --out=json dkim.status")
    assert '"signing"' in status
    assert answers(Asking(lab, host).end()) == signed(host)
