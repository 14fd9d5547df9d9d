"""Keys rotate under a stream of mail, published by the hosts themselves: no message arrives that cannot be verified."""

import json

import pytest
from messages import PYTHON

import stream
from conftest import DOMAIN, MAIL_HOSTS
from stream import KEY_FILE

PILLAR = f"""  dns:
    publish: rfc2136
    rfc2136: {{server: ns1.lab.test, key_file: {KEY_FILE}}}
  schedule: {{enabled: false}}
  dkim: {{soak: 1s, retention: %s, revoke_for: %s, allow_unsafe: true}}
"""
MESSAGES = 400


@pytest.fixture(scope="module", autouse=True)
def _hosts_publish(lab):
    key = lab.sh("ns1", "cat /etc/bind/mx.key")
    for host in MAIL_HOSTS:
        lab.sh(host, f"mkdir -p /etc/mailserver && umask 077 && cat >{KEY_FILE}", stdin=key)
    lab.sign()
    lab.apply("default", PILLAR % ("14d", "30d"))
    lab.sh("client", "rm -f /home/world/Maildir/new/*")


def signers(lab):
    found = lab.salt("mx*", "dkim.status")
    return {host: next(name for name, row in found[host][DOMAIN[host]].items() if row["signs"]) for host in MAIL_HOSTS}


def substate(lab, host, unit):
    return lab.run(host, "systemctl", "show", "--value", "-p", "SubState", unit).out.strip()


def advance_until(lab, holds, otherwise):
    """Run ``dkim.advance`` on both hosts, as their schedule does, until ``holds()``."""

    def once():
        for host, report in lab.salt("mx*", "dkim.advance").items():
            assert not report["errors"], (host, report)
        return holds()

    return lab.until(once, otherwise, 90)


def test_no_message_of_a_stream_is_lost_unsigned_or_unverifiable_while_keys_rotate(lab):
    units = {host: f"stream-{host}" for host in MAIL_HOSTS}
    for host, unit in units.items():
        script = stream.sender(host, [DOMAIN[host]], MESSAGES)
        lab.run(host, "systemd-run", "--quiet", f"--unit={unit}", "-p", "RemainAfterExit=yes", "sh", "-c", script)
    used = [signers(lab)]
    for _ in range(2):
        lab.salt("mx*", "dkim.rotate")
        before = used[-1]
        advance_until(
            lab,
            lambda before=before: all(now != before[host] for host, now in signers(lab).items()),
            "the successors do not sign",
        )
        used.append(signers(lab))
    for host, unit in units.items():
        lab.until(lambda host=host, unit=unit: substate(lab, host, unit) != "running", "the stream does not end", 120)
        assert substate(lab, host, unit) == "exited"
        lab.until(lambda host=host: not lab.run(host, "postqueue", "-j").out, "mail is left in the queue", 60)
    found = json.loads(lab.run("client", PYTHON, "-c", stream.JUDGES).out)
    for host, counts in found.items():
        assert counts["messages"] == MESSAGES, "lost"
        assert (counts["unsigned"], counts["failed by dkimpy"], counts["failed by Mail::DKIM"]) == (0, 0, 0)
        selectors = {signer.split()[1] for signer in stream.signers(counts)}
        assert selectors <= {signer[host] for signer in used}
        assert used[-1][host] in selectors
        assert len(selectors) >= 2, "no rotation took place while mail was sent"


def test_what_was_retired_is_revoked_and_removed_and_its_private_keys_are_gone(lab):
    lab.apply("default", PILLAR % ("1s", "1s"))
    present = signers(lab)

    def all_gone():
        rows = lab.salt("mx*", "dkim.status")
        return all(
            row["stage"] == "removed" or name == present[host]
            for host in MAIL_HOSTS
            for name, row in rows[host][DOMAIN[host]].items()
        )

    advance_until(lab, all_gone, "the retired keys do not end")
    for host in MAIL_HOSTS:
        private = lab.sh(host, f"cd /etc/opendkim/keys/{DOMAIN[host]} && ls *.private").split()
        assert private == [f"{present[host]}.private"]
        names = f"{present[host]}._domainkey.{DOMAIN[host]}"
        assert "v=DKIM1" in lab.run("client", "dig", "+short", "@198.18.0.12", names, "TXT").out
        assert lab.salt(host, "mailserver.selftest", DOMAIN[host])[host]["result"] is True


def test_a_hosts_credential_changes_no_other_record(lab):
    update = "server 198.18.0.11\nzone alpha.test\nupdate add www.alpha.test. 5 TXT x\nsend\n"
    refused = lab.run("ns1", "nsupdate", "-k", "/etc/bind/mx.key", stdin=update, check=False)
    assert "REFUSED" in refused.err + refused.out


def test_the_predecessor_comes_back_on_request(lab):
    lab.apply("default", PILLAR % ("14d", "30d"))
    before = signers(lab)
    lab.salt("mx*", "dkim.rotate")
    advance_until(lab, lambda: all(now != before[host] for host, now in signers(lab).items()), "no successor signs")
    for host in MAIL_HOSTS:
        report = lab.salt(host, "dkim.rollback", DOMAIN[host])[host]
        assert not report["errors"], report
    assert signers(lab) == before
    for host in MAIL_HOSTS:
        assert lab.salt(host, "mailserver.selftest", DOMAIN[host])[host]["result"] is True
