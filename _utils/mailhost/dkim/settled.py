"""The domains of a large host that a run can skip: nothing is due there, and their files are unchanged.

Of ten thousand domains only a handful need anything in one run. For each of the others an earlier run noted until when
that is so (:func:`mailhost.dkim.life.settled_until`), and which files it found; a ``stat`` tells whether they are still
the same. A run also works without the note: if it is missing, damaged or made with other settings, everything is read
and judged, as on a small host, which has no note.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mailhost import files as safe_files
from mailhost.dkim import keystore, life
from mailhost.dkim.run import Run
from mailhost.errors import WriteError
from mailhost.scale import packing
from mailhost.scale import turns as scale_turns

NOTE = "settled"
"""The file of the note, in the folder of the keys."""
_FORMAT = 1
YOUNG = 2
"""Seconds after a change in which a file is not noted: a second change in the same clock tick could not be detected."""


@dataclass(frozen=True)
class Settled:
    """What was noted of a domain whose files are unchanged: the selector of the key that signs, and those of the keys
    that DNS should show with their public half."""

    signer: str
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Only:
    """A survey of a few domains that need something from a run: none of them is settled."""

    rest: tuple[str, ...]
    settled: dict[str, Settled] = field(default_factory=dict)


class Survey:
    """A survey of the files of a run's domains: ``settled`` maps domains to :class:`Settled`, ``rest`` has the others.

    :param but: domains that are not settled, whatever was noted.
    :param thorough: check the key files as well, since the domain's folder and manifest do not show their changes. The
        first DKIM state of a highstate does that; the later ones rely on what it saw.
    """

    def __init__(self, run: Run, but: Iterable[str] = (), thorough: bool = False) -> None:
        self._run, self._thorough, self._marks = run, thorough, packing.Marks()
        self._is_used = len(run.wanted) > scale_turns.MANY
        self._noted = _read(run) if self._is_used else {}
        self.settled = dict(self._unchanged(frozenset(but)))
        self.rest = [name for name in run.wanted if name not in self.settled]
        # Taken before anything is read: if a file changes from now on, the next run finds another version.
        self._found = {name: _found(self._folder(name)) for name in self.rest} if self._is_used and thorough else {}

    def note(self, manifests: Mapping[str, life.Manifest]) -> None:
        """Write a line for each domain that is settled, unless the file already has it; only after a thorough survey.

        :param manifests: ``{domain: manifest}`` of those in ``rest`` that could be read.
        """
        if not (self._is_used and self._thorough):
            return
        lines = {name: self._noted[name] for name in self.settled}
        made = {name: self._line(manifest) for name, manifest in manifests.items()}
        lines.update({name: line for name, line in made.items() if line})
        if lines != self._noted:
            text = "\n".join([_head(self._run), *(f"{name}\t{line}" for name, line in lines.items()), ""])
            with contextlib.suppress(WriteError):
                safe_files.replace_file(Path(self._run.top, NOTE), text, 0o644)

    def _unchanged(self, but: frozenset[str]) -> Iterator[tuple[str, Settled]]:
        now = self._run.now.timestamp()
        for name, domain in self._run.wanted.items():
            words = self._noted.get(name, "").split("\t")
            if len(words) != 5 or name in but or words[0] != self._marks.of(domain["dkim"]):
                continue
            _, until, signer, selectors, versions = words
            shown = selectors.split(" ")
            files = ["", keystore.MANIFEST, *(map(_key_file, shown) if self._thorough else ())]
            # A line that somebody edited is treated as missing.
            with contextlib.suppress(OSError, ValueError):
                if now >= int(until):
                    continue
                same = " ".join(_version(f"{self._folder(name)}/{file}") for file in files)
                if f"{versions} ".startswith(f"{same} "):
                    yield name, Settled(signer, tuple(shown))

    def _line(self, manifest: life.Manifest) -> str | None:
        """Return the line to note for a domain; ``None`` if something is due, or its files are missing or too new."""
        name, found = manifest.domain, self._found[manifest.domain]
        until, signer = life.settled_until(manifest, self._run.policy(name)), life.signer(manifest)
        shown = [key.selector for key in life.live(manifest)]
        files = ["", keystore.MANIFEST, *map(_key_file, shown)]
        if until is None or signer is None or not found.keys() >= {*files}:
            return None
        if any(self._run.is_compromised(name, one) for one in shown):
            return None
        versions = [found[file] for file in files]
        if any(int(version.partition(":")[2]) > time.time_ns() - YOUNG * 1_000_000_000 for version in versions):
            return None
        words = (
            self._marks.of(self._run.policy(name)),
            str(int(until.timestamp())),
            signer.selector,
            " ".join(shown),
            " ".join(versions),
        )
        return "\t".join(words)

    def _folder(self, name: str) -> str:
        return f"{self._run.top}/{name}"


AnySurvey = Survey | Only
"""What parts of a run go by: which domains are ``settled``, and which are not."""


def _head(run: Run) -> str:
    """Return the first line of the note: what applies to all of it."""
    # A copy of a whole disk has the same files, with the same inodes and times, on another machine.
    return json.dumps([_FORMAT, run.paths.keys, run.paths.owner.user, run.paths.owner.group, run.machine])


def _read(run: Run) -> dict[str, str]:
    """Return the noted lines as ``{domain: rest of its line}``."""
    try:
        head, *lines = safe_files.read_text(Path(run.top, NOTE), roots=True).split("\n")
    except (OSError, UnicodeDecodeError):
        return {}
    return dict(line.partition("\t")[::2] for line in lines[:-1]) if head == _head(run) else {}


def _key_file(selector: str) -> str:
    return f"{selector}.private"


def _found(folder: str) -> dict[str, str]:
    """Return the versions of a domain's relevant files by name; empty if the domain has no folder."""
    try:
        keys = [name for name in os.listdir(folder) if name.endswith(".private")]
        return {name: _version(f"{folder}/{name}") for name in ("", keystore.MANIFEST, *keys)}
    except OSError:
        return {}


def _version(path: str) -> str:
    """Return a file's version, ``inode number:time of its last change (ns)``. No tool can set that time.

    :raises OSError: the file does not exist.
    """
    found = os.lstat(path)
    return f"{found.st_ino}:{found.st_ctime_ns}"
