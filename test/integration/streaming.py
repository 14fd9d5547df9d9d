"""Rotations under a stream of mail, on hosts whose key records are published by themselves or for them."""

import contextlib
import json
import uuid

from messages import PYTHON

import stream
from conftest import HOSTS, MAIL_HOSTS
from stream import KEY_FILE

PUBLISHES = f"""  dns:
    timeout: 2s
    lifetime: 10s
    publish: rfc2136
    rfc2136: {{server: ns1.lab.test, key_file: {KEY_FILE}}}
"""
"""Lines of the pillar: the host publishes its keys itself."""
LIFE = """  schedule: {enabled: false}
  dkim: {soak: 1s, retention: %s, revoke_for: %s, allow_unsafe: true}
"""
"""Lines of the pillar: a life with short times; retention and revocation are to be filled in."""
_ALL_DOMAINS = {"mx1": ("alpha.test", "delta.test"), "mx2": ("beta.test", "gamma.test")}
DOMAINS = {host: _ALL_DOMAINS[host] for host in MAIL_HOSTS}
"""The domains of the pillar ``rotation``."""


def give_credential(lab, hosts=MAIL_HOSTS):
    """Put the TSIG key for key records where these hosts look for it."""
    key = lab.sh("ns1", "cat /etc/bind/mx.key")
    for host in hosts:
        lab.sh(host, f"mkdir -p /etc/mailserver && umask 077 && cat >{KEY_FILE}", stdin=key)


def keys(lab):
    """Return ``dkim.status`` of all domains of both hosts, ``{(host, domain): {selector: row}}``."""
    found = lab.salt(MAIL_HOSTS, "dkim.status")
    return {(host, name): found[host][name] for host, names in DOMAINS.items() for name in names}


def signers(lab):
    """Return the selector that signs for each domain, ``{(host, domain): selector}``."""
    return {
        place: next((name for name, row in found.items() if row["signs"]), None) for place, found in keys(lab).items()
    }


def sign(lab, more):
    """Have the pillar ``rotation`` with ``more`` in force, and a key signing for each domain."""
    lab.apply("rotation", more)

    def all_sign():
        advance(lab)
        return all(signers(lab).values())

    lab.until(all_sign, "not every domain is signed for")


def advance(lab, errors=False):
    """Run ``dkim.advance`` on both hosts, as their schedule does; its reports. Errors fail the test, unless wanted."""
    reports = lab.salt(MAIL_HOSTS, "dkim.advance")
    for host, report in reports.items():
        assert errors or not report["errors"], (host, report)
    return reports


def rotate(lab, limit=900):
    """Have successors made, and advance until they sign."""
    before = signers(lab)
    lab.salt(MAIL_HOSTS, "dkim.rotate")
    advance_until_others_sign(lab, before, limit)


def advance_until_others_sign(lab, before, limit=900):
    """Advance until no domain is signed for with its key of ``before`` any more; return the reports of all runs."""
    reports = []

    def others_sign():
        reports.append(advance(lab))
        return all(now != before[place] for place, now in signers(lab).items())

    lab.until(others_sign, "the successors do not sign", limit)
    return reports


def bring_master_back(lab):
    """Start the master again, and wait for all minions; they are restarted, since a first job would only wake them."""
    lab.run("master", "systemctl", "start", "salt-master")
    for host in HOSTS:
        lab.run(host, "systemctl", "restart", "salt-minion")
    connected = ("ss", "-tnH", "state", "established", "dport", "=", ":4505")
    for host in HOSTS:
        lab.until(lambda host=host: lab.run(host, *connected).out, f"{host}: the minion does not find the master")
    lab.until(lambda: len(lab.salt("*", "test.ping")) == len(HOSTS), "the minions do not answer")


def advance_until_gone(lab, limit=1200):
    """Advance until nothing is left in DNS or on disk of any key but the one that signs."""

    def all_gone():
        advance(lab)
        return all(row["signs"] or row["stage"] == "removed" for found in keys(lab).values() for row in found.values())

    lab.until(all_gone, "the retired keys do not end", limit)


class Stream:
    """What a stream came to: ``sent`` from each host, and what the judges counted of it on arrival."""

    def __init__(self, tag):
        self._tag, self.sent, self.counts = tag, {}, {}

    def sent_so_far(self, lab, host):
        """Return how many messages a host has sent by now."""
        return int(lab.sh(host, f"cat {stream.sent_file(f'{self._tag}-{host}')} 2>/dev/null || echo 0"))

    def selectors(self, domain):
        """Return the selectors that signed mail of a domain."""
        signed = [signer.split() for of in self.counts.values() for signer in stream.signers(of)]
        return {selector for name, selector in signed if name == domain}


@contextlib.contextmanager
def mail_all_the_time(lab, domains=DOMAINS):
    """Send mail from both mail hosts to the client while the block runs; then none may be lost, unsigned or failed."""
    tag = uuid.uuid4().hex[:8]
    lab.sh("client", "rm -f /home/world/Maildir/new/*")
    for host in MAIL_HOSTS:
        script = stream.sender(f"{tag}-{host}", domains[host])
        lab.run(host, "systemd-run", "--quiet", f"--unit=stream-{tag}", "sh", "-c", script)
    found = Stream(tag)
    try:
        yield found
    finally:
        for host in MAIL_HOSTS:
            lab.sh(host, "touch /run/stream-ends")
        for host in MAIL_HOSTS:
            lab.until(lambda host=host: _ended(lab, host, tag), f"{host} still cannot send a message")
    for host in MAIL_HOSTS:
        found.sent[host] = found.sent_so_far(lab, host)
        lab.until(lambda host=host: _is_empty(lab, host), f"{host}: mail is left in the queue")
    judged = json.loads(lab.run("client", PYTHON, "-c", stream.JUDGES).out)
    found.counts = {host: judged[f"{tag}-{host}"] for host in MAIL_HOSTS}
    for host, counts in found.counts.items():
        assert found.sent[host] > 0
        assert found.sent[host] - counts["messages"] == 0, f"{host}: lost"
        assert (counts["unsigned"], counts["failed by dkimpy"], counts["failed by Mail::DKIM"]) == (0, 0, 0), counts


def _ended(lab, host, tag):
    return lab.run(host, "systemctl", "is-active", f"stream-{tag}", check=False).out.strip() != "active"


def _is_empty(lab, host):
    lab.run(host, "postqueue", "-f")
    return not lab.run(host, "postqueue", "-j").out
