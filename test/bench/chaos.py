"""Random blows to two mail hosts whose keys rotate under a stream of mail, none of which may be lost or unsigned."""

import argparse
import json
import random
import sys
import time

from bench_lab import highstate, lab, run, salt, set_pillars, start, state
from stream import JUDGES, KEY_FILE, sender

HOSTS = {"mx1": ("alpha.test", "delta.test"), "mx2": ("beta.test", "gamma.test")}
PILLAR = """mailserver:
  domain: {domain}
  domains: {{{domains}}}
  dns:
    timeout: 2s
    lifetime: 10s
    publish: rfc2136
    rfc2136: {{server: ns1.lab.test, key_file: {key_file}}}
  schedule: {{enabled: false}}
  watch: {{enabled: false}}
  dkim: {{soak: 2s, rotate_after: 0}}
"""
PYTHON = "/opt/saltstack/salt/bin/python"
COUNTER = "/var/lib/stream-sent"
# The stream is a unit that goes on after a boot, and with the message of which it does not know whether it was taken.
UNIT = """[Unit]
After=network.target
[Service]
ExecStart=/bin/sh /usr/local/bin/stream
Restart=on-failure
[Install]
WantedBy=multi-user.target
"""
CALLS = ("dkim.rotate", "dkim.advance", "dkim.advance")
"""What a run of the bench calls, one after the other; the highstate is a blow of its own."""
LIMIT = 600
"""Seconds to wait for what has to come: an end of a run, an empty queue, a host that is up."""

# Run in a host: a run whose clock is so many seconds off. A container cannot set the machine's clock, so the run's own
# reading of it is what is thrown.
THROWN_CLOCK = """
import sys, time
import salt.config, salt.loader
off, true = float(sys.argv[1]), time.time
time.time = lambda: true() + off
opts = salt.config.minion_config("/etc/salt/minion")
opts["file_client"] = "local"
opts["grains"] = salt.loader.grains(opts)
salt.loader.minion_mods(opts)["dkim.advance"]()
"""
# Run in a host: keys and tables on a disk of 4 MB with so many pages free, while two runs are made.
FULL_DISK = """
cp -a /etc/opendkim /run/kept
mount -t tmpfs -o size=4m,mode=755 small /etc/opendkim && cp -a /run/kept/. /etc/opendkim/ && rm -r /run/kept
dd if=/dev/zero of=/etc/opendkim/.full bs=4k status=none 2>/dev/null; truncate -s -{free}K /etc/opendkim/.full
salt-call --local dkim.rotate; salt-call --local dkim.advance
rm -f /etc/opendkim/.full
cp -a /etc/opendkim /run/kept && umount /etc/opendkim && cp -a /run/kept/. /etc/opendkim/ && rm -r /run/kept
"""


class Chaos:
    """The bench's hosts, its random numbers, and the runs that are under way."""

    def __init__(self, seed):
        self.random, self._number = random.Random(seed), 0

    def begin(self, host, *calls):
        """Start a run of these functions on a host, as a unit; its name."""
        self._number += 1
        unit = f"chaos-{self._number}"
        script = "; ".join(f"salt-call --local {call}" for call in calls or CALLS)
        start(host, unit, "sh", "-c", f"{script}; true")
        return unit

    def end(self, host, unit):
        """Wait until a run has ended."""
        until(lambda: state(host, unit) != "running", f"{host}: {unit} does not end")
        run(host, "systemctl", "stop", unit)

    def pause(self, most):
        """Wait for a random part of so many seconds; the seconds."""
        seconds = round(self.random.uniform(0, most), 2)
        time.sleep(seconds)
        return seconds

    def after_a_while(self, host, most, strike):
        """Begin a run, strike at a random moment of it, and wait until it has ended; the moment."""
        unit = self.begin(host)
        moment = self.pause(most)
        strike(unit)
        self.end(host, unit)
        return f"{moment} s into a run"


def until(holds, otherwise):
    """Wait until ``holds()``; it ends the bench if that never comes."""
    ends = time.monotonic() + LIMIT
    while not holds():
        if time.monotonic() > ends:
            sys.exit(f"bench: {otherwise} (waited {LIMIT} s)")
        time.sleep(0.2)


def kill_run(chaos, host):
    def strike(unit):
        run(host, "systemctl", "kill", "--signal=KILL", unit, check=False)

    return chaos.after_a_while(host, 12, strike)


def kill_opendkim(chaos, host):
    kill = ("systemctl", "kill", "--signal=KILL", "opendkim")
    return chaos.after_a_while(host, 12, lambda _: run(host, *kill, check=False))


def kill_postfix(chaos, host):
    def strike(_):
        run(host, "sh", "-c", "kill -KILL $(cat /var/spool/postfix/pid/master.pid)", check=False)
        # Postfix's own unit does not bring it back: an operator, or the next boot, does.
        run(host, "systemctl", "restart", "postfix")

    return chaos.after_a_while(host, 12, strike)


def stop_name_servers(chaos, host):
    some = chaos.random.choice([("ns1",), ("ns2",), ("ns1", "ns2")])
    for name in some:
        run(name, "systemctl", "stop", "named")
    told = chaos.after_a_while(host, 8, lambda _: None)
    for name in some:
        run(name, "systemctl", "start", "named")
    return f"{' and '.join(some)}, {told}"


def fill_disk(chaos, host):
    free = 4 * chaos.random.randrange(12)
    run(host, "sh", "-c", FULL_DISK.format(free=free))
    return f"{free} KB free for two runs"


def throw_clock(chaos, host):
    off = round(chaos.random.uniform(-400, 400) * 86400)
    run(host, PYTHON, "-c", THROWN_CLOCK, str(off), check=False)
    return f"{off / 86400:+.0f} days for a run"


def cut_power(chaos, host):
    chaos.begin(host)
    moment = chaos.pause(12)
    lab("reboot", host)
    return f"{moment} s into a run, then booted"


def runs_at_once(chaos, host):
    units = [chaos.begin(host) for _ in range(chaos.random.randrange(2, 4))]
    for unit in units:
        chaos.end(host, unit)
    return f"{len(units)} runs"


def highstate_meanwhile(chaos, host):
    unit = chaos.begin(host)
    run(host, "salt-call", "state.highstate", check=False)
    chaos.end(host, unit)
    return "beside a run"


BLOWS = {
    "a run is killed": kill_run,
    "OpenDKIM is killed": kill_opendkim,
    "Postfix is killed": kill_postfix,
    "name servers stop": stop_name_servers,
    "the disk is full": fill_disk,
    "the clock is thrown": throw_clock,
    "the power is cut": cut_power,
    "runs at once": runs_at_once,
    "a highstate": highstate_meanwhile,
}
"""Each takes the bench and a host, deals its blow, undoes what does not mend itself, and says what it did."""


def main(words):
    """Deal random blows to mail hosts under a stream of mail, and count what became of the messages."""
    parser = argparse.ArgumentParser(prog="script/bench chaos", description=main.__doc__)
    parser.add_argument("--blows", type=int, default=60, help="how many")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="the same blows as with that seed")
    parser.add_argument("--only", choices=BLOWS, action="append", help="only blows of this kind")
    asked = parser.parse_args(words)
    sign = prepare()
    print(f"{asked.blows} blows, --seed {asked.seed}", flush=True)
    chaos, began, rotations = Chaos(asked.seed), time.monotonic(), 0
    for number in range(1, asked.blows + 1):
        host, name = chaos.random.choice([*HOSTS]), chaos.random.choice(asked.only or [*BLOWS])
        told = BLOWS[name](chaos, host)
        after = calm()
        rotations, sign = rotations + sum(after[place] != sign[place] for place in sign), after
        print(f"[{number:3}, {time.monotonic() - began:5.0f} s] {host}: {name}: {told}", flush=True)
    sys.exit(0 if judged(rotations) else 1)


def prepare():
    """Boot the hosts, have each domain's key sign, and let mail flow; return the signers."""
    lab("up")
    key = run("ns1", "cat", "/etc/bind/mx.key")
    pillars = {}
    for host, domains in HOSTS.items():
        run(host, "sh", "-c", f"mkdir -p /etc/mailserver && umask 077 && cat >{KEY_FILE}", text=key)
        # A short TTL, so that no cache hides that a record is gone.
        named = ", ".join(f"{name}: {{ttl: 5}}" for name in domains)
        pillars[host] = PILLAR.format(domain=domains[0], domains=named, key_file=KEY_FILE)
    set_pillars(pillars)
    highstate()
    sign = calm()
    for host, domains in HOSTS.items():
        script = sender(host, domains, pause=0.2, counter=COUNTER)
        run(host, "tee", "/usr/local/bin/stream", text=script)
        run(host, "tee", "/etc/systemd/system/stream.service", text=UNIT)
        run(host, "systemctl", "enable", "--now", "--quiet", "stream")
    return sign


def signers():
    """Return the selector that signs for each domain, ``{(host, domain): selector}``; ``None``: unsigned."""
    found = salt("dkim.status")
    return {
        (host, name): next((selector for selector, row in found[host][name].items() if row["signs"]), None)
        for host, names in HOSTS.items()
        for name in names
    }


def calm():
    """Have runs without errors until a key signs for each domain: nothing that was dealt may stay. Return the signers.

    An answer that is none counts as an error: a host that has just booted may not answer yet.
    """
    sign = {}

    def is_calm():
        reports = salt("dkim.advance")
        if all(_is_fine(reports.get(host)) for host in HOSTS):
            sign.update(signers())
        return sign and all(sign.values())

    until(is_calm, "after the blow, runs go on failing, or a domain is not signed for: dkim.advance, dkim.status")
    return sign


def _is_fine(report):
    return isinstance(report, dict) and report.get("errors") == []


def judged(rotations):
    """End the stream, print what became of its messages, and tell whether all are there, signed and verified."""
    for host in HOSTS:
        run(host, "touch", "/run/stream-ends")
        until(lambda host=host: state(host, "stream") != "running", f"{host} cannot send a message")
        run(host, "timeout", str(LIMIT), "sh", "-c", 'until [ -z "$(postqueue -f; postqueue -j)" ]; do sleep 1; done')
    counts = json.loads(run("client", PYTHON, "-c", JUDGES))
    print(f"{rotations} rotations")
    print(f"{'':6}{'sent':>7}{'lost':>7}{'unsigned':>10}{'failed':>8}")
    fine = True
    for host in HOSTS:
        of = counts[host]
        sent = int(run(host, "cat", COUNTER))
        failed = max(of["failed by dkimpy"], of["failed by Mail::DKIM"])
        zeros = (sent - of["messages"], of["unsigned"], failed)
        # A message that was taken just before a blow may not be counted yet as sent.
        is_fine = zeros[0] <= 0 and zeros[1:] == (0, 0)
        print(f"{host:6}{sent:7}{max(zeros[0], 0):7}{zeros[1]:10}{zeros[2]:8}  {'ok' if is_fine else 'short'}")
        fine = fine and is_fine
    return fine
