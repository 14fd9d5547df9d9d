"""The systems that the formula knows, and what each line of Salt renders for them."""

import functools
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, STDOUT

from kept import TOP, LabError, cached, drop_outdated, locked, place, run

HERE = Path(__file__).resolve().parent
OWN = ("test/systems/os-release", "test/systems/debian_version")
MADE_FROM = ("mailserver", "_modules", "_states", "_utils", "test/salt/pillar", *OWN)
"""What decides what is rendered, beside Salt and render.py."""

LINES = {"3006": "3006.28", "3007": "3007.15", "3008": "3008.3"}
WHEELS = ("dnspython>=2.6,<3", "dkimpy>=1.1.5,<2", "pyspf>=2.0.14,<3")
CHOICES = ("default", "original", "choices", "authority", "virtual")


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
    "debian-11": System("Debian 11", "bullseye"),
    "debian-12": System("Debian 12", "bookworm"),
    "debian-13": System("Debian 13", "trixie"),
    "debian-forky": System("Debian 14 (forky)", "forky"),
    "ubuntu-22.04": System("Ubuntu 22.04", "bookworm"),
    "ubuntu-24.04": System("Ubuntu 24.04", "bookworm"),
    "ubuntu-26.04": System("Ubuntu 26.04", "trixie"),
}


class Rendered:
    """What render.py finds, by the name of a system and the line of Salt; it is waited for when it is asked for.

    ``wanted``: such pairs that will be asked for, to be rendered now, the lines of Salt side by side.
    """

    def __init__(self, wanted):
        drop_outdated("rendered-*")
        self._pool = ThreadPoolExecutor(os.cpu_count())
        self._found = {}
        for line in LINES:
            if systems := [system for system in SYSTEMS if (system, line) in wanted]:
                self._render(systems, line)

    def _render(self, systems, line):
        found = self._pool.submit(_render, systems, line)
        self._found.update({(system, line): found for system in systems})

    def __getitem__(self, key):
        if key not in self._found:
            self._render([key[0]], key[1])
        return self._found[key].result()[key[0]]

    def pillar(self, system, pillar="default", line="3006"):
        """Return what is rendered for a system with a pillar."""
        found = self[system, line]
        if "broke" in found:
            raise LabError(found["broke"])
        return found["pillars"][pillar]

    def files(self, system, pillar="default", line="3006"):
        """Return the files that Salt writes, their contents by their paths."""
        found = self.pillar(system, pillar, line)["files"]
        texts = _folder(line) / "texts"
        return {path: (texts / digest).read_text() for path, digest in found.items()}

    def close(self):
        self._pool.shutdown(cancel_futures=True)


def _render(systems, line):
    """Return what is rendered for each system; what was without a fault is remembered for a week."""
    folder = _folder(line)
    python = salt_of(line) / "bin/python"
    with locked(folder.name):
        (folder / "texts").mkdir(parents=True, exist_ok=True)
        missing = [name for name in systems if not (folder / f"{name}.json").exists()]
        if missing:
            words = [f"{name}:{','.join(SYSTEMS[name].pillars)}" for name in missing]
            command = ("unshare", "-m", python, "-W", "ignore", HERE / "render.py", folder, *words)
            said = subprocess.run(command, stdout=PIPE, stderr=STDOUT, text=True, check=False).stdout
            for name in missing:
                if not (folder / f"{name}.json").exists():
                    broke = f"{name} was not rendered; its Salt said:\n{said[-3000:]}"
                    (folder / f"{name}.json").write_text(json.dumps({"broke": broke}))
        found = {name: json.loads((folder / f"{name}.json").read_text()) for name in systems}
        for name in missing:
            if "broke" in found[name] or any(one["wrong"] for one in found[name]["pillars"].values()):
                (folder / f"{name}.json").unlink()
    return found


@functools.cache
def _folder(line):
    """Return where to keep what a line of Salt renders of the formula as it is now."""
    sources = [path for name in MADE_FROM for path in (TOP / name).rglob("*") if path.suffix != ".pyc"]
    contents = [(str(path.relative_to(TOP)), path.read_text()) for path in sorted(sources) if path.is_file()]
    pillars = {name: about.pillars for name, about in SYSTEMS.items()}
    made_from = repr((_recipe(line), pillars, (HERE / "render.py").read_text(), contents))
    return place(f"rendered-{line}", made_from)


def salt_of(line):
    """Return the environment that has this line of Salt; make it if there is none."""
    wanted, python = [f"salt=={LINES[line]}", *WHEELS], _python(line)

    def make(target):
        run(python, "-m", "venv", target)
        pip = target / "bin/pip"
        run(pip, "install", "-q", "wheel", "setuptools<81")
        run(pip, "install", "-q", *wanted)

    return cached(f"salt-{line}", _recipe(line), make)


def _recipe(line):
    return f"{[f'salt=={LINES[line]}', *WHEELS]} {run(_python(line), '--version')}"


def _python(line):
    """Return a Python that this line of Salt runs on: 3006 knows none later than 3.11."""
    for name in ("python3.11", "python3.10") if line == "3006" else (sys.executable,):
        if found := shutil.which(name):
            return found
    raise LabError(f"Salt {line} runs on Python 3.11 at most: put a python3.11 or python3.10 on the PATH")
