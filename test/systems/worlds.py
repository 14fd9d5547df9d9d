"""The systems that the formula knows, the lines of Salt that render for them, and the parsers that read the result."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "test" / "lab"))

from bases import MIRROR, LabError, mounted, run, unmount_below  # noqa: E402

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mailserver-systems"
ARCHIVE = "http://archive.debian.org/debian"
"""Where a release goes that Debian no longer looks after."""

LINES = {"3006": "3006.28", "3007": "3007.15", "3008": "3008.3"}
WHEELS = ("dnspython>=2.6,<3", "dkimpy>=1.1.5,<2", "pyspf>=2.0.14,<3")
CHOICES = ("default", "original", "choices", "authority", "virtual")
PACKAGES = (
    "postfix",
    "postfix-lmdb",
    "postfix-pcre",
    "dovecot-imapd",
    "dovecot-pop3d",
    "dovecot-lmtpd",
    "dovecot-sieve",
    "dovecot-managesieved",
    "opendkim",
    "firewalld",
)
PARSERS = ("bullseye", "bookworm", "trixie")
"""Debian 11 has EL 9's very version of Postfix (3.5.25), and Dovecot 2.3; Debian 13 has Dovecot 2.4."""


@dataclass(frozen=True)
class System:
    """A system, by its file in os-release/: what it is called, and the release whose parsers are nearest to its own.

    ``kin``: the system whose parameters it shares, and whose files it must therefore get; the default pillar shows it.
    """

    title: str
    parser: str
    kin: str = ""
    lines: tuple = tuple(LINES)

    @property
    def pillars(self):
        return CHOICES[:1] if self.kin else CHOICES


SYSTEMS = {
    "centos-7": System("EL 7 (CentOS)", "bullseye", lines=("3006",)),
    "rocky-8": System("EL 8 (Rocky)", "bullseye"),
    "alma-8": System("EL 8 (Alma)", "bullseye", kin="rocky-8"),
    "rhel-8": System("EL 8 (Red Hat)", "bullseye", kin="rocky-8"),
    "oracle-8": System("EL 8 (Oracle)", "bullseye", kin="rocky-8"),
    "rocky-9": System("EL 9 (Rocky)", "bullseye"),
    "alma-9": System("EL 9 (Alma)", "bullseye", kin="rocky-9"),
    "centos-stream-9": System("EL 9 (Stream)", "bullseye", kin="rocky-9"),
    "rhel-9": System("EL 9 (Red Hat)", "bullseye", kin="rocky-9"),
    "oracle-9": System("EL 9 (Oracle)", "bullseye", kin="rocky-9"),
    "rocky-10": System("EL 10 (Rocky)", "bookworm"),
    "alma-10": System("EL 10 (Alma)", "bookworm", kin="rocky-10"),
    "centos-stream-10": System("EL 10 (Stream)", "bookworm", kin="rocky-10"),
    "rhel-10": System("EL 10 (Red Hat)", "bookworm", kin="rocky-10"),
    "debian-12": System("Debian 12", "bookworm"),
    "debian-13": System("Debian 13", "trixie"),
    "ubuntu-22.04": System("Ubuntu 22.04", "bookworm"),
    "ubuntu-24.04": System("Ubuntu 24.04", "bookworm"),
    "ubuntu-26.04": System("Ubuntu 26.04", "trixie"),
}


def rendered(folder):
    """Render the formula for each system with each line of Salt, below ``folder``; return what render.py found."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        pool.map(lambda line: _render(line, folder / line), LINES)
    return {
        (system, line): _read(folder / line / f"{system}.json")
        for system, about in SYSTEMS.items()
        for line in about.lines
    }


def _render(line, folder):
    folder.mkdir()
    words = [f"{name}:{','.join(about.pillars)}" for name, about in SYSTEMS.items() if line in about.lines]
    program = Path(__file__).with_name("render.py")
    with (folder / "said").open("w") as said:
        try:
            python = salt_of(line) / "bin/python"
        except (LabError, RuntimeError) as err:
            print(err, file=said)
            return
        command = ["unshare", "-m", python, "-W", "ignore", program, folder, *words]
        subprocess.run(command, stdout=said, stderr=said, check=False)


def _read(path):
    if path.exists():
        return json.loads(path.read_text())
    return {"broke": f"{path} was not written; its Salt said:\n{(path.parent / 'said').read_text()[-3000:]}"}


def salt_of(line):
    """Return the environment that has this line of Salt; make it if there is none."""
    wanted = [f"salt=={LINES[line]}", *WHEELS]
    python = _python(line)

    def make(target):
        run(python, "-m", "venv", target)
        pip = target / "bin/pip"
        run(pip, "install", "-q", "wheel", "setuptools<81")
        run(pip, "install", "-q", *wanted)

    return _cached(f"salt-{line}", f"{wanted} {run(python, '--version')}", make)


def _python(line):
    """Return a Python that this line of Salt runs on: 3006 knows none later than 3.11."""
    for name in ("python3.11", "python3.10") if line == "3006" else (sys.executable,):
        if found := shutil.which(name):
            return found
    raise RuntimeError(f"Salt {line} runs on Python 3.11 at most: put a python3.11 or python3.10 on the PATH")


def parsers():
    """Return the file systems with the real parsers, by the names of their releases; make those that are not there."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(PARSERS, pool.map(_parser, PARSERS), strict=True))


def _parser(release):
    def make(target):
        words = ("mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(PACKAGES)}", release, target)
        try:
            run(*words, MIRROR)
        except LabError:
            _remove(target)
            run(*words, ARCHIVE)

    return _cached(f"parsers-{release}", str(PACKAGES), make)


def _cached(name, content, make):
    """Return the folder that ``make`` fills; it is made once, under its final name, since environments know theirs."""
    CACHE.mkdir(parents=True, exist_ok=True)
    ready = CACHE / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (ready / "is-complete").exists():
            _remove(ready)
            print(f"making {name}", flush=True)
            make(ready)
            (ready / "is-complete").touch()
    return ready


def _remove(folder):
    """Remove what a builder left that was killed, and first unmount the machine's own folders from it."""
    unmount_below(folder)
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def host(parser, tree, scratch):
    """Lay the rendered files ``tree`` over the system of a parser; yield a function that runs a script in it."""
    with mounted((tree, parser), scratch) as top:
        yield lambda script: _in(top, script)


def _in(top, script):
    enter = 'mount --bind /proc "$0/proc" && mount --bind /dev "$0/dev" && exec chroot "$0" sh -c "$1"'
    done = subprocess.run(
        ("unshare", "-m", "sh", "-c", enter, top, script),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
    )
    return done.returncode, done.stdout
