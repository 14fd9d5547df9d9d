"""What is made once and kept below ~/.cache: Salt's environments, the parsers, what was rendered, what was answered."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import time
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "test" / "lab"))

from bases import RELEASES, LabError, minimal_system, run, unmount_below  # noqa: E402, F401 (others import them here)

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mailserver-systems"
WEEK = 7 * 24 * 3600


def place(name, made_from):
    """Return the folder of what has this name and is made from this."""
    return CACHE / f"{name}-{hashlib.sha256(made_from.encode()).hexdigest()[:12]}"


def cached(name, made_from, make):
    """Return the folder that ``make`` fills; it is made once, under its final name, since environments know theirs."""
    ready = place(name, made_from)
    with locked(ready.name):
        if not (ready / "is-complete").exists():
            remove(ready)
            print(f"making {name}", flush=True)
            make(ready)
            (ready / "is-complete").touch()
    return ready


@contextlib.contextmanager
def locked(name):
    """Be the only one at it, of this and other runs."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove(folder):
    """Remove what a builder left that was killed, and first unmount the machine's own folders from it."""
    unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)


def drop_outdated(pattern):
    """Remove what is older than a week."""
    for path in CACHE.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - WEEK:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
