"""Run all tests, as many side by side as the machine allows, and tell how far they are: script/test all|full.

Parts are lint, unit, functional and, in a full run, systems, one after the other, and beside them each file of
test/integration, on as many labs as there is room for: the longest first, by test/durations.json, which a run that
passes renews. Where one mail host is enough for a file, a run that is not full takes one, and the next share another.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "test" / "lab"))

import machine  # noqa: E402
from hosts import HOSTS, MAIL_HOSTS, PAIR  # noqa: E402

DURATIONS = TOP / "test" / "durations.json"
EVERY = 30
"""Seconds between two lines about how far the parts are."""
RENEWED = 0.25
"""A duration is written anew when it has changed by more than this share: a commit need not touch all of them."""


@dataclass
class Part:
    """A command that is a part of the tests, and what is known of its run."""

    name: str
    words: tuple
    pair: str = PAIR
    is_bare: bool = False
    mail_host: str = ""
    """The one that it is run on, if it is not run on all."""
    expected: float = 0.0
    log: Path = None
    told: Path = None
    status: int = None
    began: float = 0.0
    seconds: float = 0.0
    rows: list = field(default_factory=list)
    selected: int = 0

    def read(self):
        """Read what the part has told so far (test/progress.py)."""
        if self.told and self.told.exists():
            lines = [json.loads(line) for line in self.told.read_text().splitlines() if line.endswith("}")]
            self.selected = sum(line.get("selected", 0) for line in lines)
            self.rows = [line for line in lines if "test" in line]

    def how_far(self):
        self.read()
        share = f"{100 * len(self.rows) // self.selected} %" if self.selected else "begun"
        return f"{self.name} {share} after {time.monotonic() - self.began:.0f} s"


class Run:
    """All parts, the threads that work on them, and what is printed."""

    def __init__(self, asked, words):
        self.began, self.asked, self.words = time.monotonic(), asked, words
        self.folder = Path(tempfile.mkdtemp(prefix="mailserver-tests-"))
        self.known = json.loads(DURATIONS.read_text()) if DURATIONS.exists() else {}
        self.lock, self.processes, self.is_stopped = threading.Lock(), set(), False
        self.here, self.on_hosts = self._parts()
        self.parts = [*self.here, *self.on_hosts]
        self.labs = [f"{asked.lab}-{number + 1}" for number in range(min(asked.labs, len(self.on_hosts)))]
        self.at_work = {}

    def _parts(self):
        # One seed and the next differ in the mail hosts, and then in the cases: each case meets both hosts.
        share = [] if self.asked.full else [f"--share={self.asked.seed // len(MAIL_HOSTS)}"]
        here = [Part("lint", ("script/lint",))]
        names = ("unit", "functional", *(["systems"] if self.asked.full else []))
        here += [Part(name, (*PYTEST, f"test/{name}", *share, *self.words)) for name in names]
        files = sorted((TOP / "test" / "integration").glob("test_*.py"))
        on_hosts = []
        for file in files:
            text, words = file.read_text(), (*PYTEST, str(file.relative_to(TOP)), *share, *self.words)
            mail_host = "" if self.asked.full else self._mail_host(file.name, text)
            on_hosts.append(Part(file.stem, words, is_bare=BARE in text, mail_host=mail_host))
            if self.asked.full and file.stem in ON_EDGES:
                on_hosts.append(Part(f"{file.stem} (edges)", words, "edges", BARE in text))
        for part in (*here, *on_hosts):
            part.expected = self.known.get(part.name.removesuffix(" (edges)"), 0.0)
            part.log, part.told = self.folder / f"{part.name}.log", self.folder / f"{part.name}.json"
        # A file without a known duration goes first: it may be the longest.
        return here, sorted(on_hosts, key=lambda part: (part.expected > 0, -part.expected))

    def _mail_host(self, name, text):
        """Return the mail host that a file of tests takes in this share, or that it is for; ``""``: both."""
        said = ON.search(text)
        if said:
            return said[1] if said[1] in MAIL_HOSTS else ""
        return MAIL_HOSTS[(self.asked.seed + zlib.crc32(name.encode())) % len(MAIL_HOSTS)]

    def say(self, text):
        print(f"[{time.monotonic() - self.began:5.0f} s] {text}", flush=True)

    def all(self):
        """Run all; return whether all passed."""
        share = (
            "every case" if self.asked.full else f"share {self.asked.seed} (--share={self.asked.seed} runs it again)"
        )
        free = machine.free_memory() / 2**30
        self.say(f"{os.cpu_count()} cores, {free:.0f} GiB free: {len(self.labs)} labs beside the rest; {share}")
        waiting = list(self.on_hosts)
        threads = [threading.Thread(target=self._work, args=(list(self.here),))]
        threads += [threading.Thread(target=self._work, args=(waiting, lab)) for lab in self.labs]
        for thread in threads:
            thread.start()
        said = time.monotonic()
        try:
            while any(thread.is_alive() for thread in threads):
                time.sleep(0.5)
                if time.monotonic() - said > EVERY:
                    said = time.monotonic()
                    self._how_far()
        except BaseException:
            self.stop()
            raise
        finally:
            for thread in threads:
                thread.join()
            self._labs_down()
            passed = self._sum_up()  # of a run that was interrupted, too
        return passed

    def _how_far(self):
        with self.lock:
            at_work = [part.how_far() for part in self.at_work.values()]
        done = [part for part in self.parts if part.status is not None]
        failed = sum(part.status != 0 for part in done)
        self.say(f"{len(done)} of {len(self.parts)} parts done, {failed} failed; {'; '.join(at_work)}")

    def _work(self, waiting, lab=""):
        """Run the parts that wait, one after the other, with the others that take from the same list."""
        # One lab first makes the hosts that most files begin on: the others begin with what needs none of them.
        prefers, pair = bool(lab) and lab != self.labs[0], PAIR
        while True:
            with self.lock:
                if self.is_stopped or not waiting:
                    return
                suitable = [one for one in waiting if one.pair == pair] or waiting
                part = next((one for one in suitable if prefers and one.is_bare), suitable[0])
                waiting.remove(part)
                prefers = False
                self.at_work[threading.get_ident()] = part
            if part.pair != pair:
                self._boot_pair(part.pair, lab)
                pair = part.pair
            self._run(part, lab)
            with self.lock:
                del self.at_work[threading.get_ident()]

    @staticmethod
    def _boot_pair(pair, lab):
        """Boot another pair of mail hosts in a lab; if that fails, so will the tests on it, and show why."""
        environment = {**os.environ, "LAB_NAME": lab, "LAB_PAIR": pair}
        words = (TOP / "test" / "lab" / "lab", "reset", "mx1", "mx2")
        subprocess.run(words, env=environment, capture_output=True, check=False)

    def _run(self, part, lab):
        chosen = {"LAB_NAME": lab, "LAB_PAIR": part.pair, "LAB_ON": part.mail_host, "LAB_KEEP": "1"} if lab else {}
        environment = {**os.environ, **chosen}
        part.began = time.monotonic()
        words = (*part.words, f"--progress={part.told}") if part.words[:3] == PYTEST else part.words
        with part.log.open("w") as log:
            process = subprocess.Popen(
                words, cwd=TOP, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
            with self.lock:
                self.processes.add(process)
            status = process.wait()
            with self.lock:
                self.processes.discard(process)
        part.seconds, part.status = time.monotonic() - part.began, status
        part.read()
        if status:
            self.say(f"{part.name} FAILED (exit {status}) after {part.seconds:.0f} s; its output comes at the end")

    def stop(self):
        """Have no further part begin, and those at work end."""
        with self.lock:
            self.is_stopped = True
            for process in self.processes:
                with contextlib.suppress(ProcessLookupError):
                    process.send_signal(signal.SIGINT)

    def _labs_down(self):
        if os.environ.get("LAB_KEEP"):
            return
        for lab in self.labs:
            subprocess.run([TOP / "test" / "lab" / "lab", "down"], env={**os.environ, "LAB_NAME": lab}, check=False)

    def _sum_up(self):
        for part in self.parts:
            if part.status:
                print(f"\n======== {part.name}\n{part.log.read_text(errors='replace')}", flush=True)
        rows = [row for part in self.parts for row in part.rows]
        print("\nThe slowest ten:")
        for row in sorted(rows, key=lambda row: -row["seconds"])[:10]:
            print(f"{row['seconds']:8.1f} s  {row['test']}")
        print(f"\n{'part':36}{'tests':>6}{'failed':>8}{'skipped':>8}{'time':>9}{'processor':>12}")
        for part in self.parts:
            print(_line(part))
        seconds, total = time.monotonic() - self.began, _line(None, rows)
        print(f"{total}\n{seconds:.0f} s in all")
        passed = all(part.status == 0 for part in self.parts)
        if passed and not self.asked.full and not self.words:
            self._renew()
        shutil.rmtree(self.folder)
        return passed

    def _renew(self):
        known = {part.name: self.known.get(part.name) for part in self.parts}
        for part in self.parts:
            before = known[part.name]
            if before is None or abs(part.seconds - before) > RENEWED * before:
                known[part.name] = round(part.seconds)
        if known != self.known:
            DURATIONS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")


BARE = 'BEGINS = "bare"'
ON = re.compile(r'^ON = "(\w+)"$', re.MULTILINE)
ON_EDGES = {
    "test_bare_host",
    "test_dkim_gate",
    "test_effects",
    "test_idempotence",
    "test_rotation",
    "test_tls_ports",
    "test_virtual_accounts",
}
"""Files that a full run also runs on the pair of mail hosts with the oldest and the newest Debian (LAB_PAIR=edges)."""
PYTEST = (sys.executable, "-m", "pytest")


def _line(part, rows=None):
    rows = part.rows if part else rows
    outcomes = Counter(row["outcome"] for row in rows)
    used = sum(row["processor"] + row["hosts"] for row in rows)
    failed = outcomes["failed"] or ("yes" if part and part.status else 0)
    seconds = ("not run" if part.status is None else f"{part.seconds:.0f} s") if part else ""
    name = f"{part.name} {part.mail_host}".strip() if part else "in all"
    return f"{name:36}{len(rows):6}{failed:>8}{outcomes['skipped']:8}{seconds:>9}{used:10.0f} s"


def _room():
    """Return how many labs to have: they wait more than they work, so one more than processors, if there is room."""
    fitting = (labs for labs in range(os.cpu_count() + 1, 1, -1) if not machine.lacks(labs * len(HOSTS)))
    return next(fitting, 1)


def parse(words):
    """Return this program's own options, and those for pytest."""
    parser = argparse.ArgumentParser(prog="script/test", description=__doc__)
    parser.add_argument("--full", action="store_true", help="every case, not this run's share of those that rotate")
    parser.add_argument("--share", dest="seed", type=int, default=int(time.time()) // 60 % 1000, help="which share")
    room = _room()
    parser.add_argument("--labs", type=int, default=room, help=f"labs side by side (here: {room})")
    parser.add_argument("--lab", default="test", help="the beginning of their names")
    return parser.parse_known_args(words)


def main():
    run = Run(*parse(sys.argv[1:]))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        passed = run.all()
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
