"""Mail hosts as they are right after their first highstate, saved once for each state of the checkout.

``configured``: the pillar ``default`` is in force, and DNS shows no key yet. ``signing``: the records that are in
``records.nsupdate`` are in DNS, and mail is signed.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import time
from pathlib import Path

from bases import CACHE
from hosts import FORMULA, FORMULA_PARTS, HOSTS, PAIR

STATES = ("configured", "signing")
DAY = 86400
KEPT = 4
"""Those that were used last are kept."""


def folder(state):
    """Return where hosts in a state are saved, or are to be."""
    return CACHE / f"{state}-{_made_from()}"


def is_usable(place):
    """Tell whether hosts are saved in a folder, whole, and not so long ago that their clocks would count as wrong."""
    records = _records(place)
    return records.exists() and time.time() - records.stat().st_mtime < DAY


def records(place):
    """Return the commands for nsupdate that put the hosts' records into DNS."""
    return _records(place).read_text()


def _records(place):
    return place / "records.nsupdate"


def begun(state):
    """Return where hosts in a state are to be saved, with nothing left there of a run that was cut short."""
    shutil.rmtree(folder(state), ignore_errors=True)
    return folder(state)


def complete(place, commands):
    """Say that all is saved, with the commands that put the hosts' records into DNS."""
    _records(place).write_text(commands)


def _made_from():
    """Return a digest of what the hosts are made from: packages, Salt, the formula, the pillar."""
    digest = hashlib.sha256()
    releases = {host.release for host in HOSTS.values()}
    layers = sorted(path.name for release in releases for path in CACHE.glob(f"{release}-*") if path.is_dir())
    digest.update("\n".join(layers).encode())
    parts = [FORMULA / part for part in (*FORMULA_PARTS, "test/salt/pillar", "test/lab")]
    for path in sorted(path for part in parts for path in part.rglob("*") if path.is_file()):
        if "__pycache__" not in path.parts:
            digest.update(f"{path.relative_to(FORMULA)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def lock():
    """Have no other lab with this pair of mail hosts save them, or remove any, while the block runs."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"saved-{PAIR}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def use():
    """Note that hosts are booted from a folder, and remove those that were not for long."""
    for state in STATES:
        with contextlib.suppress(FileNotFoundError):
            os.utime(folder(state))  # both: the one lies above the other
        found = sorted(CACHE.glob(f"{state}-*"), key=_age, reverse=True)
        for old in found[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)


def _age(path: Path):
    return path.stat().st_mtime
