"""The whole formula on a host of the lab: an unchanged highstate with few domains, with thousands, and an empty one."""

import base64
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench_lab import LAB, lab, set_pillars, write
from mailhost.dkim import keystore
from scale_host import KeyedHost, names
from scale_measure import Measured, Row, sizes, tell, told
from scale_postfix import LANES, MESSAGES, have_discarded, sent
from scale_postfix import RUNS as ROUNDS

HOST, ZONE = "mx1", "alpha.test"
RUNS, BATCH = 3, 100
SETTLES = 5
"""Highstates after which nothing changes any more: keys that DNS shows have to be seen, and a run notes what it saw."""
KEPT = "/root/kept-{0}"
"""Where a host's configuration for so many domains is kept. The keys of few domains are among those of many."""
KEEP = f"mkdir {KEPT} && cp -a --parents /etc/postfix /etc/opendkim/*Table* {KEPT}"
PUT = f"cp -a {KEPT}/. / && systemctl restart opendkim postfix"
CALL = """
import resource, subprocess, sys
words = "salt-call --out=json --log-level=quiet state.highstate".split()
out = subprocess.run(words, stdout=subprocess.PIPE).stdout.decode()
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
print(out)
"""


@dataclass(frozen=True)
class Ran:
    """A highstate: its seconds, the most memory that it held (MB), the seconds of its DKIM states, and its changes."""

    seconds: float
    memory: float
    dkim: float
    changes: list


def rows(domains):
    """Return the rows about unchanged highstates of the whole formula."""
    os.environ.setdefault("LAB_NAME", "bench")
    try:
        tell("formula: a host of the lab")
        lab("up", "master", "ns1", "ns2", HOST)
        lab("reset", HOST)
        (pem,) = keystore.generate([2048])
        ran = {}
        for size in sizes(domains):
            ran[size] = _unchanged(names(size, ZONE), pem, is_first=not ran)
            lab("exec", HOST, "--", "sh", "-c", KEEP.format(size))
        took = _messages((min(ran), domains))
        write("/srv/salt/nothing.sls", "nothing: {test.nop: []}\n")
        write("/srv/salt/top.sls", f"base: {{{HOST}: [nothing]}}\n")
        empty = _median()
    finally:
        subprocess.run([LAB, "down"], check=False)
    least, (few, many) = min(ran), (ran[min(ran)], ran[domains])
    alone = empty.seconds + many.dkim
    seconds = f"{many.seconds:.1f} s, {few.seconds:.1f} s; an empty one {empty.seconds:.1f} s"
    made = (
        Row(
            f"unchanged highstate of the whole formula, {domains:,} domains",
            f"the same with {least}",
            many.seconds / few.seconds,
            1.5,
            note=seconds,
        ),
        Row("its DKIM states alone, and an empty run", "an empty run", alone / empty.seconds, 1.15),
        Row("resident memory of the minion's run", "", many.memory, 300, "MB"),
        Row(
            "messages through that host's Postfix, all signed",
            f"the same with {least}",
            took[least] / took[domains],
            0.95,
            least=True,
            note=f"{LANES * MESSAGES / took[domains]:.0f} a second",
        ),
    )
    curves = {
        "the whole formula, unchanged highstate": {size: one.seconds for size, one in ran.items()},
        "its DKIM states": {size: one.dkim for size, one in ran.items()},
    }
    return Measured(tuple(map(told, made)), curves)


def _messages(each):
    """Return the median seconds that messages take, by turns, with what the formula made of so many domains each."""
    took = {size: [] for size in each}
    for _ in range(ROUNDS):
        for size in each:
            lab("exec", HOST, "--", "sh", "-c", PUT.format(size))
            have_discarded()
            took[size].append(sent(names(size, ZONE)))
        tell(f"formula: messages: {', '.join(f'{took[size][-1]:.1f} s with {size:,} domains' for size in each)}")
    return {size: statistics.median(seconds) for size, seconds in took.items()}


def _unchanged(domains, pem, is_first):
    """Have the host serve these domains, which sign with one key.

    Return a median unchanged highstate.
    """
    quiet = {"schedule": {"enabled": False}, "watch": {"enabled": False}}
    pillar = {"domain": domains[0], "domains": {name: {} for name in domains}, **quiet}
    write("/srv/salt/top.sls", f"base: {{{HOST}: [mailserver]}}\n")
    set_pillars({HOST: "#!json\n" + json.dumps({"mailserver": pillar})})
    if is_first:
        tell(f"formula: {_highstate().seconds:.0f} s for the first highstate, of {len(domains)} domains")
    _seed(domains, pem)
    _publish()
    for _ in range(SETTLES):
        ran = _highstate()
        tell(f"formula: {len(domains):,} domains: {ran.seconds:.0f} s, {len(ran.changes)} states with changes")
        if not ran.changes:
            return _median()
    sys.exit(f"bench: after {SETTLES} highstates there still were changes: {', '.join(ran.changes)}")


def _median():
    ran = [_highstate() for _ in range(RUNS)]
    changes = [one for run in ran for one in run.changes]
    if changes:
        sys.exit(f"bench: a run that was to change nothing changed {', '.join(changes)}")
    seconds, dkim = (
        statistics.median(values) for values in zip(*((one.seconds, one.dkim) for one in ran), strict=True)
    )
    return Ran(seconds, max(one.memory for one in ran), dkim, [])


def _highstate():
    python = "/opt/saltstack/salt/bin/python"
    began = time.perf_counter()
    memory, _, out = lab("exec", HOST, "--", python, "-c", CALL).partition("\n")
    seconds = time.perf_counter() - began
    states = json.loads(out)["local"]
    failed = states if isinstance(states, list) else [one for one in states.values() if one["result"] is False]
    if failed:
        sys.exit(f"bench: a highstate failed:\n{json.dumps(failed, indent=1)[:4000]}")
    dkim = sum(one["duration"] for name, one in states.items() if name.startswith("dkim_|")) / 1000
    return Ran(seconds, int(memory) / 1024, dkim, [name for name, one in states.items() if one["changes"]])


def _seed(domains, pem):
    """Give the host the keys, manifests and tables of these domains."""
    with tempfile.TemporaryDirectory() as folder:
        host = KeyedHost(folder, domains)
        host.pem, (host.public, _) = pem, keystore.public_half(pem, "the bench")
        host.write()
        for table in host.paths.tables.all:
            table.write_text(table.read_text().replace(folder, "/etc/opendkim"))
        (Path(folder) / "pair").unlink()
        whole = io.BytesIO()
        with tarfile.open(fileobj=whole, mode="w:gz", compresslevel=1) as tar:
            tar.add(folder, ".")
    script = (
        "rm -rf /etc/opendkim/keys && base64 -d | tar xz --no-same-owner -C /etc/opendkim && chown -R opendkim: "
        "/etc/opendkim/keys/*/ && chown root:opendkim /etc/opendkim/keys && chmod 755 /etc/opendkim && "
        "chown root:root /etc/opendkim && chmod 644 /etc/opendkim/*Table* && systemctl reload-or-restart opendkim"
    )
    lab("exec", HOST, "--", "sh", "-c", script, text=base64.b64encode(whole.getvalue()).decode())


def _publish():
    """Have DNS show all records of the host's domains, on both name servers."""
    out = lab("exec", HOST, "--", "salt-call", "--out=json", "--log-level=quiet", "mailserver.records", "format=zone")
    lines = [line for line in json.loads(out)["local"].splitlines() if line.split(" ")[0].rstrip(".").endswith(ZONE)]
    for first in range(0, len(lines), BATCH):
        batch = "\n".join(f"update add {line}" for line in lines[first : first + BATCH])
        batch = batch.replace("( ", "").replace(" )", "")  # nsupdate knows no zone file's parentheses
        lab("exec", "ns1", "--", "nsupdate", "-k", "/etc/bind/lab.key", "-l", text=f"{batch}\nsend\n")
    serial = f"dig @198.18.0.%s +short {ZONE} SOA"
    same = f'until [ "$({serial % 11})" = "$({serial % 12})" ]; do sleep 0.5; done'
    lab("exec", "ns1", "--", "timeout", "120", "sh", "-c", same)
