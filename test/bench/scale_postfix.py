"""Signing through Postfix, on a host of the lab: messages a second with few domains, many, and refile: tables.

So many connections that both cores are busy: over TCP, Postfix and OpenDKIM wait for each other's acknowledgements,
some 90 ms a message. With few connections that hides what a message costs.
"""

import os
import statistics
import subprocess
import sys
import time

from bench_lab import LAB, highstate, lab, set_pillars
from mailhost.opendkim import tables as opendkim_tables
from scale_host import names
from scale_measure import Measured, Row, sizes, tell, told

HOST, DOMAIN = "mx1", "alpha.test"
LANES = 10
"""Senders at once, of domains all over the table; each has a process of Postfix's smtp-source."""
CONNECTIONS = 8
"""Of each lane, which send one message after the other; Postfix has at most 100 of them served at once."""
MESSAGES = 100
"""Messages of each lane in a turn."""
RUNS = 11
"""Turns of each: many short ones, since a machine's speed may change by a quarter within a minute."""
PILLAR = f"mailserver: {{domains: {{{DOMAIN}: {{}}}}, schedule: {{enabled: false}}, watch: {{enabled: false}}}}"
FOLDER = "/etc/opendkim/bench"
CONFIG = "/etc/opendkim.conf"
DELIVERED = 'cd /var/spool/postfix && until [ -z "$(find maildrop incoming active -type f)" ]; do sleep 0.02; done'
"""Until Postfix has nothing left to do: what one round leaves in the queue must not burden the next."""
SIGNED = "journalctl -o cat -t opendkim | grep -c 'DKIM-Signature field added' || true"


def rows(domains):
    """Return the rows about messages that Postfix takes and OpenDKIM signs."""
    os.environ.setdefault("LAB_NAME", "bench")
    try:
        key = _prepare()
        kinds = {(size, "file"): f"of-{size}" for size in sizes(domains)} | {(domains, "refile"): "refile"}
        for (size, form), kind in kinds.items():
            _write_tables(kind, names(size), key, form)
        took = {kind: [] for kind in kinds}
        for number in range(RUNS):
            # In another order each time, as what went before may matter.
            for size, form in sorted(kinds, reverse=number % 2):
                took[size, form].append(_send(kinds[size, form], names(size)))
            tell("postfix: a round of messages by each kind of tables")
    finally:
        subprocess.run([LAB, "down"], check=False)
    median = {kind: statistics.median(seconds) for kind, seconds in took.items()}
    least = min(sizes(domains))
    few, many, refile = (median[kind] for kind in ((least, "file"), (domains, "file"), (domains, "refile")))
    rate = f"{LANES * MESSAGES / many:.0f} messages a second"
    what = f"signing through Postfix, OpenDKIM with {domains:,} domains"
    made = (
        Row(what, f"with {least}", few / many, 0.95, least=True, note=rate),
        Row("the same", "refile: tables", refile / many, 2.5, least=True, note="faster"),
    )
    curve = {size: seconds / LANES / MESSAGES for (size, form), seconds in median.items() if form == "file"}
    return Measured(tuple(map(told, made)), {"a message through Postfix and OpenDKIM": curve})


def _on_host(script, text=None):
    return lab("exec", HOST, "--", "sh", "-c", script, text=text)


def _prepare():
    """Have the host be a mail server with a key, which discards what it takes; return the path of the key."""
    lab("up", "master", "ns1", "ns2", HOST)
    set_pillars({HOST: PILLAR})
    highstate()
    have_discarded()
    return _on_host(f"ls /etc/opendkim/keys/{DOMAIN}/*.private").strip()


def _write_tables(kind, domains, key, form):
    """Write tables by which the one key signs for each domain, and a configuration that names them."""
    folder, rows = f"{FOLDER}/{kind}", {name: f"{name}:bench:{key}" for name in domains}
    pattern = "*@{}" if form == "refile" else "{}"
    _on_host(f"mkdir -p {folder} && cat >{folder}/KeyTable", opendkim_tables.key_table_text(rows))
    signing = opendkim_tables.signing_table_text({name: name for name in domains}, pattern)
    _on_host(f"cat >{folder}/SigningTable", signing)
    named = "".join(f"{table} {form}:{folder}/{table}\n" for table in ("KeyTable", "SigningTable"))
    _on_host(f"grep -vE '^(Key|Signing)Table' {CONFIG} >{folder}/conf; cat >>{folder}/conf", named)


def have_discarded():
    """Have the host throw away what is sent to discard.test."""
    _on_host("postconf -e 'transport_maps = inline:{{discard.test=discard:}}' && systemctl reload postfix")


def _send(kind, domains):
    """Have messages sent by tables of a kind; return the seconds that it took."""
    _on_host(f"cp {FOLDER}/{kind}/conf {CONFIG} && systemctl restart opendkim")
    return sent(domains)


def sent(domains):
    """Have messages of domains all over the list sent, signed and disposed of; return the seconds that it took."""
    senders = [domains[number * (len(domains) - 1) // (LANES - 1)] for number in range(LANES)]
    _lanes(senders, 2 * CONNECTIONS)
    _on_host(DELIVERED)
    before = int(_on_host(SIGNED))
    began = time.perf_counter()
    _lanes(senders, MESSAGES)
    _on_host(DELIVERED)
    took = time.perf_counter() - began
    signed = int(_on_host(f"sleep 1; {SIGNED}")) - before
    if signed != LANES * MESSAGES:
        sys.exit(f"bench: {LANES * MESSAGES} messages were sent, and {signed} signed")
    return took


def _lanes(senders, messages):
    one = 'smtp-source -d -s {} -m {} -f a@{} -t b@discard.test 127.0.0.1:25 & ids="$ids $!"'
    started = "\n".join(one.format(CONNECTIONS, messages, sender) for sender in senders)
    _on_host(f"{started}\nfor id in $ids; do wait $id || exit 1; done")
