"""OpenDKIM: messages a second, memory after reloads under load, and the cutover of all domains at once.

What is measured is the milter itself, at its socket; what Postfix does besides is the same with any number of domains.
"""

import contextlib
import re
import shutil
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from mailhost.errors import ProbeError
from mailhost.opendkim import milter as milters
from mailhost.opendkim import probe
from mailhost.opendkim import tables as opendkim_tables
from opendkim_daemon import OpenDkim
from scale_host import SELECTOR, TOP, KeyedHost, names
from scale_measure import Measured, Row, by_turns, sizes, tell, timed, told

UNIT = TOP / "mailserver" / "opendkim" / "files" / "opendkim.service"
"""What the formula has systemd give OpenDKIM."""
MESSAGES = 300
IN_FLIGHT = 8
"""Connections at once, as Postfix has several."""
RELOADS = 40
LONG = 1.0
"""Seconds that a message may take while OpenDKIM is reloaded."""
NEW = "20261124-mx1"


def rows(domains):
    """Return the rows about signing."""
    with _folder() as folder:
        tell("mail: keys and tables of all sizes")
        hosts = {size: _host(folder / str(size), size) for size in sizes(domains)}
        least, most = hosts[min(hosts)], hosts[max(hosts)]
        with _running(folder, "few", least) as few, _running(folder, "many", most) as many:
            with _running(folder, "refile", most, refile=True) as refile:
                ends = [partial(_send, milter, host) for milter, host in ((few, least), (many, most), (refile, most))]
                for send in ends:
                    send()
                few_took, many_took, refile_took = by_turns(*ends)
            at_once = f"{IN_FLIGHT} connections at once"
            few_ratio, refile_ratio = few_took / many_took, refile_took / many_took
            made = [
                told(
                    Row(
                        f"signing with {domains:,} domains, {at_once}",
                        f"with {min(hosts)}",
                        few_ratio,
                        0.95,
                        least=True,
                    )
                ),
                told(Row("the same", "refile: tables", refile_ratio, 2.5, least=True, note="faster")),
                *map(told, _reloads(many, most)),
            ]
        curve = {}
        for size, host in hosts.items():
            with _running(folder, f"of {size}".replace(" ", "-"), host) as milter:
                _send(milter, host)
                curve[size] = timed(lambda milter=milter, host=host: _send(milter, host)) / MESSAGES
        made.append(told(_cutover(folder, domains)))
    return Measured(tuple(made), {"a message signed": curve})


@contextlib.contextmanager
def _folder():
    # Below /run, since OpenDKIM looks at who may write to any folder above a key.
    folder = Path(tempfile.mkdtemp(prefix="mailserver-bench-", dir="/run"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _host(folder, size, selectors=None):
    folder.mkdir(mode=0o700)
    return KeyedHost(folder, names(size)).write(selectors=selectors)


@contextlib.contextmanager
def _running(folder, name, host, refile=False):
    milter, tables = OpenDkim(folder, name), host.paths.tables
    signing = f"refile:{tables.signing_table}" if refile else f"file:{tables.domains_table}"
    # A socket of the file system: by TCP, OpenDKIM's short packets await acknowledgements, which hides what it costs.
    milter.environment = dict(re.findall(r"^Environment=(\w+)=(\S+)$", UNIT.read_text(), re.MULTILINE))
    socket, kind = f"local:{milter.folder}/socket", "refile" if refile else "file"
    milter.start(socket, KeyTable=f"{kind}:{tables.key_table}", SigningTable=signing)
    try:
        yield milter
    finally:
        milter.stop()


def _signed(milter, name):
    """Have a message of a domain signed; return the selector, ``None`` if it came back without a signature."""
    message = f"From: a@{name}\r\nTo: b@outside.test\r\nSubject: x\r\n\r\nbody\r\n".encode()
    added = milters.sign(milter.socket, message, f"a@{name}", ["b@outside.test"])
    fields = [value for field, value in added if field.lower() == "dkim-signature"]
    tags = dict(tag.strip().partition("=")[::2] for field in fields for tag in field.split(";"))
    return tags.get("s")


def _send(milter, host):
    own = list(host.settings["domains"])
    senders = [own[number * 7919 % len(own)] for number in range(MESSAGES)]
    with ThreadPoolExecutor(IN_FLIGHT) as lanes:
        if None in lanes.map(partial(_signed, milter), senders):
            raise SystemExit("bench: a message was not signed")


class Load:
    """Messages in a few lanes for as long as the block runs: what became of them."""

    def __init__(self, milter, host, lanes=3):
        self.milter, self.own = milter, list(host.settings["domains"])
        self.seen, self.troubles, self.ends = [], 0, threading.Event()
        self.lanes = [threading.Thread(target=self._lane, args=(number,)) for number in range(lanes)]

    def __enter__(self):
        for lane in self.lanes:
            lane.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        for lane in self.lanes:
            lane.join()

    def _lane(self, number):
        while not self.ends.is_set():
            began = time.perf_counter()
            try:
                selector = _signed(self.milter, self.own[number % len(self.own)])
            except ProbeError:
                selector = None
            ended = time.perf_counter()
            self.seen.append((ended, selector))
            self.troubles += selector is None or ended - began > LONG
            number += 7919


def _reloads(milter, host):
    with Load(milter, host) as load:
        for _ in range(RELOADS):
            milter.reload()
            before = len(load.seen)
            while len(load.seen) < before + 10:
                time.sleep(0.01)
    what = f"OpenDKIM's memory, {len(host.settings['domains']):,} domains, {RELOADS} reloads under load"
    status = Path(f"/proc/{milter.process.pid}/status").read_text()
    memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024
    return (
        Row(what, "", memory, 32, "MB"),
        Row(f"messages of {len(load.seen):,} that fail, or take over {LONG:g} s", "", load.troubles, 0, ""),
    )


def _cutover(folder, domains):
    host = _host(folder / "cutover", domains, (NEW,))
    text = f"v=DKIM1; k=rsa; p={host.public}"

    with _running(folder, "cut", host) as milter, Load(milter, host) as load:
        _await(load, SELECTOR)
        began = []

        def reload():
            began.append(time.perf_counter())
            milter.reload()

        def prove(name, signer):
            probe.probe(milter.socket, name, signer.selector, text)

        # What follows in a run, a stamp in each manifest, changes nothing of who signs.
        prove, new = opendkim_tables.patient(prove), host.signers(NEW)
        failed = opendkim_tables.cutover(host.paths.tables, host.signers(), new, reload, prove, unproven=new)
        _await(load, NEW)
    if failed or opendkim_tables.signers_in_force(host.paths.tables) != new:
        raise SystemExit(f"bench: the cutover failed: {list(failed.values())[:3]}")
    first = next(moment for moment, selector in load.seen if selector == NEW and moment >= began[0])
    note = f"{load.troubles} of {len(load.seen):,} messages unsigned, failed or late"
    what = f"cutover of {domains:,} domains: reload to the first new signature"
    return Row(what, "", first - began[0] if not load.troubles else float("inf"), 2, "s", note=note)


def _await(load, selector):
    while not any(one == selector for _, one in load.seen[-100:]):
        time.sleep(0.01)
