"""DNS: keys looked for, one server dead, a long way to it, records published, and the check of all domains."""

import contextlib
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import replace
from functools import partial
from pathlib import Path

import dns.message
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.tsig
import dns.update

from mailhost.check.dns import area as check_dns
from mailhost.check.dns.answers import Means
from mailhost.check.findings import CheckedHost
from mailhost.dkim import check as dkim_check
from mailhost.dns import lookup
from mailhost.publish import change, rfc2136
from mailhost.publish import credential as publish_credential
from mailhost.scale import turns as scale_turns
from name_server import NameServer, running, zone
from scale_host import SELECTOR, KeyedHost, names
from scale_measure import Measured, Ratio, Row, by_turns, sizes, tell, timed, told

AUTHORITY, RESOLVER, FAR, SECOND, SILENT = "127.57.0.1", "127.57.0.53", "127.57.0.2", "127.57.0.3", "127.57.0.9"
IN_FLIGHT, DELAY, TIMEOUT = 100, 0.02, 2
"""``TIMEOUT`` is that of the row with a dead server; elsewhere a busy machine may take longer."""
KEY, SECRET = "bench", "YmVuY2ggYmVuY2ggYmVuY2ggYmVuY2ggYmVuY2g="
SETTINGS = {"timeout": 5, "lifetime": 300, "in_flight": IN_FLIGHT, "root_servers": [AUTHORITY]}
ONE_BY_ONE = 300
"""Records that are sent one a message, for the comparison."""


def rows(domains):
    """Return the rows about DNS, with curves of the check of all keys, and of mailserver.check."""
    with tempfile.TemporaryDirectory() as folder, _world(Path(folder), domains) as world:
        tell("dns: checks of all sizes")
        for size in sizes(domains):
            world.host(size)
        curve = {size: timed(lambda size=size: world.check_published(size)) for size in sizes(domains)}
        checked = {size: timed(lambda size=size: world.check(size)) for size in sizes(domains)}
        curves = {"look for all keys in DNS": curve, "mailserver.check, DNS": checked}
        return Measured(tuple(told(measure(world)) for measure in ROWS), curves)


class World:
    """Name servers on loopback: one zone near, the same far away, and the same with one of three servers silent."""

    def __init__(self, folder, domains, server, pair):
        self.folder, self.domains, self.server, self.pair = folder, domains, server, pair
        self.hosts = {}

    def host(self, size, where="bench.test"):
        """Return a host of so many domains below a zone."""
        if (size, where) not in self.hosts:
            folder = self.folder / f"{where}-{size}"
            folder.mkdir()
            host = KeyedHost(folder, names(size, where), (RESOLVER,), SETTINGS)
            host.pem, host.public = self.pair.pem, self.pair.public
            self.hosts[size, where] = host.write()
        return self.hosts[size, where]

    def check_published(self, size=None, where="bench.test"):
        """Check all keys, as a run does of which all are awaited: no share of them is left for later."""
        scale_turns.MANY = sys.maxsize
        report = dkim_check.check_published(self.host(size or self.domains, where).run())
        if report.errors or report.waiting:
            raise SystemExit(f"bench: DNS does not show what it should: {[*report.errors, *report.waiting][:2]}")

    def check(self, size):
        """Run the checks of DNS over so many domains; return the questions that were asked."""
        asked = []

        def ask(questions, options):
            questions = list(questions)
            asked.extend(questions)
            answers = lookup.ask(questions, options, recursive=(RESOLVER,))
            _have_all(answers.values())
            return answers

        host = self.host(size)
        paths = host.paths
        os_paths = {**host.settings["os"]["opendkim"], "keys": paths.keys}
        os_paths.update(key_table=str(paths.tables.key_table), signing_table=str(paths.tables.signing_table))
        whole = {**host.settings, "os": {**host.settings["os"], "opendkim": os_paths}}
        means = Means(ask, lambda timeout: _no_record, _no_record, lambda run: run.now)
        check_dns.findings(CheckedHost(whole, None), list(whole["domains"]), means)
        return asked


def _have_all(found):
    """End the bench if a question has no answer: what was measured is not what was to be."""
    for answers in found:
        why = [answers.trouble, *(one.detail for one in answers.seen if one.status == "unknown")]
        why = "; ".join(filter(None, why))
        if why:
            raise SystemExit(f"bench: {answers.question.name} {answers.question.rdtype}: {why}")


def _no_record(*_):
    """What is asked only of domains that have a record of SPF or MTA-STS: none has one."""
    raise SystemExit("bench: a record was to be evaluated that is not in the bench's zones")


@contextlib.contextmanager
def _world(folder, domains):
    pair = KeyedHost(folder, names(domains))
    lines = pair.record_lines()
    servers = {
        "bench.test": zone(["ns.test"], lines),
        "far.test": zone(["far-ns.test"], lines),
        "three.test": zone(["ns.test", "second-ns.test", "silent-ns.test"], lines),
        "two.test": zone(["ns.test", "second-ns.test"], lines),
        "sent.test": zone(["ns.test"]),
        "lone.test": zone(["ns.test"]),
    }
    hosts = {"ns": AUTHORITY, "far-ns": FAR, "second-ns": SECOND, "silent-ns": SILENT}
    below = {name: re.findall(r"@ NS (\S+)\.", text) for name, text in servers.items()}
    delegated = [f"{name.partition('.')[0]} NS {one}." for name, own in below.items() for one in own]
    servers["test"] = zone(["ns.test"], "\n".join([*(f"{n} A {a}" for n, a in hosts.items()), *delegated]))
    servers[""] = zone(["ns.test"], f"test NS ns.test.\nns.test. A {AUTHORITY}")
    policy = f"update-policy {{ grant {KEY} zonesub ANY; }};"
    options = {"sent.test": policy, "lone.test": policy}
    with contextlib.ExitStack() as stack:
        authority = NameServer(folder, AUTHORITY, servers, zone_options=options, keys={KEY: SECRET})
        stack.enter_context(running({AUTHORITY: authority}))
        stack.enter_context(running({RESOLVER: NameServer(folder, RESOLVER, root_servers=(AUTHORITY,))}))
        stack.enter_context(_forwarder(FAR, DELAY))
        stack.enter_context(_forwarder(SECOND, 0))
        silent = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        silent.bind((SILENT, 53))
        yield World(folder, domains, authority, pair)


@contextlib.contextmanager
def _forwarder(address, delay):
    program = Path(__file__).with_name("forwarder.py")
    done = subprocess.Popen(
        [sys.executable, program, address, AUTHORITY, str(delay)], stdout=subprocess.PIPE, text=True
    )
    try:
        if done.stdout.readline() != "ready\n":
            raise SystemExit(f"bench: no forwarder at {address}")
        yield
    finally:
        done.terminate()
        done.wait(30)


def ask_plainly(questions, address, in_flight=IN_FLIGHT):
    """Ask a server by one socket with so many queries in flight and dnspython's wire code: the floor of the rows."""
    waiting, flying = deque(questions), {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        asking.connect((address, 53))
        number = 0
        while waiting or flying:
            while waiting and len(flying) < in_flight:
                number = (number + 1) % 0x10000
                name, rdtype = waiting.popleft()
                message = dns.message.make_query(f"{name}.", rdtype, use_edns=0, payload=1232, flags=0)
                message.id = number
                flying[number] = message
                asking.send(message.to_wire())
            if not select.select([asking], [], [], TIMEOUT)[0]:
                waiting.extend((one.question[0].name.to_text()[:-1], one.question[0].rdtype) for one in flying.values())
                flying.clear()
                continue
            response = dns.message.from_wire(asking.recv(65535))
            flying.pop(response.id, None)


def _key_names(domains, where="bench.test"):
    return [(f"{SELECTOR}._domainkey.{name}", "TXT") for name in names(domains, where)]


def _published(world):
    world.host(world.domains)
    asked = _key_names(world.domains)
    ratio = Ratio.of(world.check_published, lambda: ask_plainly(asked, AUTHORITY))
    what = f"dkim.published for {world.domains:,} names, name server beside it"
    return Row(what, "one socket, 100 in flight, dnspython's wire code", ratio.median, 1.3, note=ratio.spread)


def _far(world):
    queries = world.folder / "queries"
    queries.write_text("".join(f"{name} TXT\n" for name, _ in _key_names(world.domains, "far.test")))
    command = ["dnsperf", "-s", FAR, "-q", str(IN_FLIGHT), "-d", str(queries), "-n", "1"]
    world.host(world.domains, "far.test")
    ratio = Ratio.of(
        lambda: world.check_published(where="far.test"),
        lambda: subprocess.run(command, check=True, capture_output=True),
    )
    what = f"the same with {DELAY * 1000:g} ms round trip"
    return Row(what, "dnsperf -q 100 through the same", ratio.median, 2, note=ratio.spread)


def _dead(world):
    def ask(where):
        asked = [lookup.Question(*one) for one in _key_names(world.domains, where)]
        options = replace(lookup.options(world.host(10).settings["dns"]), timeout=TIMEOUT)
        return lookup.ask(asked, options, (RESOLVER,))

    dead, well = by_turns(lambda: ask("three.test"), lambda: ask("two.test"))
    what = "the same while one of three servers does not answer"
    more = (dead - well) / TIMEOUT
    return Row(what, "a zone of the two others: more by", more, 1, "t/o", note=f"time-out {TIMEOUT} s")


def _batches(world):
    credential = publish_credential.Credential(AUTHORITY, 53, KEY, "hmac-sha256", SECRET, 30)
    text = f"v=DKIM1; k=rsa; p={world.pair.public}"
    whole = [
        change.Change(name, "sent.test", 3600, text, absent=True) for name, _ in _key_names(world.domains, "sent.test")
    ]
    began = time.perf_counter()
    options = lookup.options(world.host(10).settings["dns"])
    sent = rfc2136.publish(whole, credential, options)
    ours = (time.perf_counter() - began) / len(whole)
    if any(one.result != "sent" for one in sent):
        raise SystemExit(f"bench: not published: {next(one for one in sent if one.result != 'sent')}")
    alone = _key_names(min(ONE_BY_ONE, world.domains), "lone.test")
    one_by_one = timed(lambda: [_send_one(name, text) for name, _ in alone]) / len(alone)
    what = f"RFC 2136 publishing of {world.domains:,} records"
    return Row(what, "one record a message", one_by_one / ours, 6, least=True, note="faster")


def _send_one(name, text):
    message = dns.update.UpdateMessage("lone.test.", keyring=dns.tsig.Key(KEY, SECRET, "hmac-sha256"))
    strings = [text[:255].encode(), text[255:].encode()]
    record = dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, dns.rdatatype.TXT, strings)
    message.absent(f"{name}.", "TXT")
    message.add(f"{name}.", 3600, record)
    response = dns.query.tcp(message, AUTHORITY, timeout=30)
    if response.rcode():
        raise SystemExit(f"bench: {name} was refused: {response.rcode()}")


def _check(world):
    size = min(world.domains, 1_000)
    asked = [(one.name, one.rdtype) for one in world.check(size)]
    ratio = Ratio.of(partial(world.check, size), lambda: ask_plainly(asked, AUTHORITY))
    what = f"mailserver.check of {size:,} domains (area dns)"
    return Row(what, "its questions, 100 in flight", ratio.median, 2, note=ratio.spread)


ROWS = (_published, _far, _dead, _batches, _check)
