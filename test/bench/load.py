"""What a mail host bears: parallel sessions, a burst of mail, a mailbox fetched; nothing lost, nobody refused."""

import argparse
import functools
import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bench_lab import highstate, lab, set_pillars

HERE = Path(__file__).resolve().parent
PYTHON = "/opt/saltstack/salt/bin/python"
HOSTS = {"mx1": "alpha.test", "mx2": "beta.test"}
CLIENT = "198.18.0.31"
PASSWORD = "correct-horse"
SESSIONS = 200
USERS = [f"load{number:02}" for number in range(25)]
"""So many since Dovecot allows a user ten connections from one address (mail_max_userip_connections)."""
LANES = 10
"""Sessions of a burst, on each host."""
DIRECT = 0.2
"""The part of a burst that smtp-source sends to a mailbox on the host; the rest is submitted, to the world."""
PROCESSES = 300
"""Postfix's processes of a kind: each session at 587 holds one, and its own limit is 100."""
QUEUE_LIMIT = 1500
"""Seconds for a burst to be delivered."""
PILLAR = """mailserver:
  domain: {domain}
  domains: {{{domain}: {{}}}}
  schedule: {{enabled: false}}
  watch: {{enabled: false}}
  limits: {{exempt: [{client}]}}
  postfix: {{main: {{default_process_limit: {processes}}}}}
  accounts: {{users: {{{users}}}}}
"""
EMPTY = 'until [ -z "$(postqueue -j)" ]; do sleep 0.5; done'
MBSYNC = """IMAPAccount {host}
Host {host}.lab.test
User {user}
Pass {password}
TLSType STARTTLS
CertificateFile /tmp/{host}.pem

IMAPStore far
Account {host}

MaildirStore near
Path /tmp/{host}/
Inbox /tmp/{host}/INBOX

Channel load
Far :far:
Near :near:
Patterns INBOX
Create Near
Sync Pull
SyncState *
"""
FETCH = """set -e
mkdir -p /tmp/{host}
openssl s_client -connect {host}.lab.test:143 -starttls imap </dev/null 2>/dev/null | openssl x509 >/tmp/{host}.pem
cat >/tmp/{host}.mbsync
mbsync --config /tmp/{host}.mbsync load >&2
"""


@dataclass(frozen=True)
class Row:
    """One line of the table: so many sent, taken by the server, arrived, and different ones among the arrived."""

    name: str
    sent: int
    taken: int
    arrived: int
    distinct: int
    seconds: float

    @property
    def is_ok(self):
        """Tell whether nothing was refused, nothing lost and nothing twice there."""
        return self.sent == self.taken == self.arrived == self.distinct

    def text(self):
        """Return the line."""
        numbers = (self.sent, self.sent - self.taken, self.taken - self.distinct, self.arrived - self.distinct)
        rate = self.sent / self.seconds if self.seconds else 0
        columns = "".join(f"{number:9}" for number in numbers)
        return f"{self.name:34}{columns}{self.seconds:10.1f}{rate:9.0f}  {'ok' if self.is_ok else 'short'}"


HEAD = f"{'':34}{'sent':>9}{'refused':>9}{'lost':>9}{'twice':>9}{'seconds':>10}{'a second':>9}"


def parts(messages):
    """Return how many messages each host gets of a burst, as ``{host: (through submission, by smtp-source)}``."""
    whole, left = divmod(messages, len(HOSTS))
    found = {}
    for number, host in enumerate(HOSTS):
        own = whole + (number < left)
        direct = int(own * DIRECT)
        found[host] = (own - direct, direct)
    return found


def pillar(domain, password):
    """Return the pillar of a host; ``password`` is the users' hash."""
    users = ", ".join(f"{user}: {{password: {password}}}" for user in USERS)
    return PILLAR.format(domain=domain, client=CLIENT, processes=PROCESSES, users=users)


def prepare():
    """Boot the lab, and make both hosts what their pillar asks for."""
    lab("up")
    hashed = subprocess.run(["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True)
    set_pillars({host: pillar(domain, hashed.stdout.strip()) for host, domain in HOSTS.items()})
    highstate()


def program(host, name, argument):
    """Run one of this folder's programs on a host; return what it answers."""
    return json.loads(lab("exec", host, "--", PYTHON, "-", argument, text=(HERE / name).read_text()))


def clients(host, **work):
    """Have mail programs on client do their work at a host; return their answer, and tell of their errors."""
    whole = {"host": f"{host}.lab.test", "domain": HOSTS[host], "password": PASSWORD, "users": USERS, **work}
    answer = program("client", "load_client.py", json.dumps(whole))
    for error, times in answer["failed"].items():
        print(f"{host}: {times} times: {error}", file=sys.stderr)
    return answer


def wait_until_delivered():
    """Wait until no queue holds a message any more."""
    for host in (*HOSTS, "client"):
        lab("exec", host, "--", "timeout", str(QUEUE_LIMIT), "sh", "-c", EMPTY)


def sessions(host):
    """All sessions of IMAP and of submission logged in at one moment: each reads its inbox, or sends a message."""
    answer = clients(host, tag=f"sessions-{host}", imap=SESSIONS, smtp=SESSIONS, messages=SESSIONS)
    wait_until_delivered()
    arrived = counted("client", "world").get(f"sessions-{host}", (0, 0))
    served = [answer["served"].get(kind, 0) for kind in ("read", "submit")]
    return [
        Row(f"{host}: IMAP sessions at once", SESSIONS, served[0], served[0], served[0], answer["seconds"]),
        Row(f"{host}: SMTP sessions at once", SESSIONS, served[1], *arrived, answer["seconds"]),
    ]


def counted(host, user):
    """Return what lies in a user's mailbox, by subject: messages, different ones."""
    return program(host, "load_count.py", f"/home/{user}/Maildir")


def direct(host, messages):
    """Have smtp-source send messages to the host's first user at port 25, a connection for each."""
    to = f"{USERS[0]}@{HOSTS[host]}"
    words = ("-s", str(LANES), "-m", str(messages), "-M", "client.lab.test", "-S", f"direct-{host}")
    if messages:
        where = f"{host}.lab.test:25"
        lab("exec", "client", "--", "smtp-source", *words, "-f", "world@outside.test", "-t", to, where)
    return messages


def burst(messages):
    """Send a burst to both hosts at once, by both ways, and count at the receivers when all queues are empty."""
    asked, began = parts(messages), time.monotonic()
    with ThreadPoolExecutor() as pool:
        submitted = {
            host: pool.submit(clients, host, tag=f"burst-{host}", imap=0, smtp=LANES, messages=numbers[0])
            for host, numbers in asked.items()
        }
        sent = {host: pool.submit(direct, host, numbers[1]) for host, numbers in asked.items()}
        taken = {host: (submitted[host].result()["taken"], sent[host].result()) for host in HOSTS}
    accepted = time.monotonic() - began
    wait_until_delivered()
    took, world, rows = time.monotonic() - began, counted("client", "world"), []
    for host, numbers in asked.items():
        local = counted(host, USERS[0])
        for way, place, want, got in zip(("burst", "direct"), (world, local), numbers, taken[host], strict=True):
            name = {"burst": "by submission", "direct": "by smtp-source"}[way]
            rows.append(Row(f"{host}: {name}", want, got, *place.get(f"{way}-{host}", (0, 0)), took))
    total = [sum(getattr(row, name) for row in rows) for name in ("sent", "taken", "arrived", "distinct")]
    return [*rows, Row("burst, until taken", *total, accepted), Row("burst, until delivered", *total, took)]


def fetch(host):
    """Fetch with mbsync the mailbox that smtp-source filled."""
    there = sum(messages for messages, _ in counted(host, USERS[0]).values())
    config = MBSYNC.format(host=host, user=USERS[0], password=PASSWORD)
    began = time.monotonic()
    lab("exec", "client", "--", "sh", "-c", FETCH.format(host=host), text=config)
    took = time.monotonic() - began
    found = program("client", "load_count.py", f"/tmp/{host}/INBOX").values()
    totals = [sum(numbers) for numbers in zip(*found, strict=True)] or [0, 0]
    return [Row(f"{host}: fetched by mbsync", there, there, *totals, took)]


def load(*words):
    """200 IMAP and 200 SMTP sessions at once, a burst of mail, a mailbox fetched: lost, refused, a second."""
    parser = argparse.ArgumentParser(prog="script/bench load", description=__doc__)
    parser.add_argument("--messages", type=int, default=50_000, help="of the burst (default: %(default)s)")
    asked = parser.parse_args(words)
    prepare()
    print(HEAD, flush=True)
    measures = [
        *(functools.partial(sessions, host) for host in HOSTS),
        functools.partial(burst, asked.messages),
        *(functools.partial(fetch, host) for host in HOSTS),
    ]
    rows = []
    for measure in measures:
        for row in measure():
            print(row.text(), flush=True)
            rows.append(row)
    if not all(row.is_ok for row in rows):
        sys.exit("bench: something was refused, lost or there twice")
