"""Keys: the first run's, and one key's processor time, against the bare generation, which no code here can shorten."""

import os
import resource
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from mailhost.dkim import keystore
from mailhost.dkim import make as dkim_make
from scale_host import HOST, KeyedHost, names
from scale_measure import Measured, Row, by_turns, sizes, timed

PARTS = 4


def rows(domains):
    """Return the rows about keys; a tenth of the domains get a key."""
    count = max(domains // 10, PARTS)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        # All keys of ten thousand domains would take longer than the rest of the bench.
        curve = {size: _took(Path(folder) / f"of-{size}", size) for size in sizes(count)}
        return Measured((_first_run(Path(folder), count), _one_key(Path(folder))), {"first run, its keys": curve})


def _took(folder, size):
    host = KeyedHost(_made(folder), names(size))
    return timed(lambda: _make(host))


def _first_run(folder, count):
    hosts = iter([KeyedHost(_made(folder / str(part)), names(count // PARTS)) for part in range(PARTS)])
    formula, bare = by_turns(lambda: _make(next(hosts)), lambda: _bare(count // PARTS), runs=PARTS)
    what = f"first run, RSA-2048 keys for {count:,} domains"
    return Row(what, "bare generation on all cores", formula / bare, 1.15)


def _made(folder):
    folder.mkdir()
    return folder


def _make(host):
    report = dkim_make.make_keys(host.run(), HOST)
    if report.errors:
        raise SystemExit(f"bench: no keys were made: {report.errors[:3]}")


def _bare(count):
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda _: _bare_key(), range(count)))


def _one_key(folder, count=400):
    """Compare sums: a key takes as long as it takes to meet two primes, which varies threefold from key to key."""
    ours = bare = genkey = 0
    for number in range(count):
        ours += timed(lambda: list(keystore.generate([2048])), clock=_own)
        bare += timed(_bare_key, clock=_own)
        if not number % 4:
            before = _children()
            command = ["opendkim-genkey", "-b", "2048", "-d", "bench.test", "-s", "s", "-D", str(folder)]
            subprocess.run(command, check=True, capture_output=True)
            genkey += 4 * (_children() - before)
    note = f"{count} keys; opendkim-genkey takes {genkey / ours:.1f} times as much"
    return Row("a key: processor time", "bare generation", ours / bare, 1.15, note=note)


def _bare_key():
    rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _own():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
