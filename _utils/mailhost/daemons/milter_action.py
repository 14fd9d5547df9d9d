"""What Postfix does with mail while a milter is away. Before OpenDKIM is restarted, Postfix is made to let mail wait.

A hand-made main.cf, or the pillar, may let mail out in that time (``accept``: unsigned; ``quarantine``: unsigned later)
or refuse it for good (``reject``). Each Postfix process reads the setting when it starts and keeps it.
"""

import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mailhost.command import Command, run_command
from mailhost.daemons import activation
from mailhost.errors import MilterActionError, WriteError

WAITS = ("tempfail", "shutdown")
"""Actions that neither lose mail nor let it out: 451, or 421 and the end of the session."""
FILES = ("main.cf", "master.cf")
OURS = b"# Written by Salt (mailserver"
NOTE = "# Mail waits while Salt (mailserver) restarts OpenDKIM; the next line said something else."
DAEMONS = ("smtpd", "cleanup", "qmqpd", "postscreen")
"""The processes that talk to milters, or that hand connections to one that does."""
PATIENCE = 60
"""Seconds in which older sessions may end on their own. After that they are ended, and their clients try again."""
_NAME = "milter_default_action"
_OF_ONE = re.compile(r"(?<!\w)(default_action\s*=\s*)([^\s,{}]+)")
_OPTION = re.compile(rf"({_NAME}\s*=\s*)([^\s}}]+)")

Process: TypeAlias = tuple[int, int]
"""A process: its ID, and when it started."""


@dataclass(frozen=True)
class PostfixInstance:
    """A Postfix by its configuration folder, and the means to reach it and its processes, which tests replace."""

    folder: str = "/etc/postfix"
    state: str = activation.STATE
    command: Command = run_command
    proc: str = "/proc"
    kill: Callable[[int, int], None] = os.kill
    clock: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep

    def path(self, name: str) -> Path:
        return Path(self.folder) / name

    @property
    def mark(self) -> Path:
        """Exists from when the files say ``tempfail`` until no process is left with another setting."""
        return Path(self.state) / "milter-action"


def is_ours(postfix: PostfixInstance) -> bool:
    """Tell whether this formula wrote main.cf."""
    here = activation.read_file(postfix.path("main.cf"))
    return here is not None and here.octets.startswith(OURS)


def waiting_main(text: str) -> str:
    """Return main.cf changed so that mail waits for a milter that is away."""
    lines, inside, said = [], False, False
    for line in text.splitlines():
        begins = re.match(r"([^\s#=]+)\s*=", line)
        inside = begins[1] == _NAME if begins else inside
        is_value = line.strip() and not line.lstrip().startswith("#")
        if inside and is_value:
            if begins:
                lines += [*([] if said else [NOTE]), f"{_NAME} = tempfail"]
                said = True
            continue
        lines.append(_OF_ONE.sub(_tempfail, line) if is_value else line)
    return "\n".join(lines) + "\n"


def waiting_master(text: str) -> str:
    """Return master.cf changed so that mail waits for a milter that is away."""
    lines = [
        line if line.lstrip().startswith("#") else _OPTION.sub(_tempfail, _OF_ONE.sub(_tempfail, line))
        for line in text.splitlines()
    ]
    return "\n".join(lines) + "\n"


def _tempfail(found: re.Match[str]) -> str:
    return found[0] if found[2].lower() in WAITS else f"{found[1]}tempfail"


def lets_out(postfix: PostfixInstance, folder: str | None = None) -> list[str]:
    """Return the settings that let out mail while a milter is away: ``["milter_default_action = accept"]``.

    :param folder: the folder with main.cf and master.cf, if not the one in place.
    """
    folder = folder or postfix.folder
    shown = [postfix.command(("postconf", "-c", str(folder), *words)) for words in (("-n", "-x"), ("-P", "-x"))]
    if shown[0].status != 0:
        raise MilterActionError(f"postconf -c {folder} -n -x: {(shown[0].err or shown[0].out).strip()}")
    return _letting_out("\n".join(done.out for done in shown if done.status == 0))


def _letting_out(text: str) -> list[str]:
    """Return the relevant settings in the output of ``postconf -nx`` and ``-Px``; none if no milter is named."""
    if not re.search(r"(^|/)(non_)?smtpd_milter(s|_maps)[ ]*=[ ]*\S", text, re.MULTILINE):
        return []
    found = []
    for line in text.splitlines():
        name, _, value = line.partition("=")
        of_all = [value] if name.strip().rpartition("/")[2] == _NAME else []
        actions = [*of_all, *(one[2] for one in _OF_ONE.finditer(line))]
        found += [line.strip()] * any(one.strip().lower() not in WAITS for one in actions)
    return found + _tables_letting_out(text)


def _tables_letting_out(text: str) -> list[str]:
    """Return tables by client address (``smtpd_milter_maps``) that do so: this formula must not edit those."""
    found = []
    for value in re.findall(r"smtpd_milter_maps[ ]*=(.*)", text):
        for path in re.findall(r"\w+:(/[^\s,{}]+)", value):
            here = activation.read_file(path)
            words = here.octets.decode("utf-8", "replace") if here else ""
            if any(one[2].lower() not in WAITS for one in _OF_ONE.finditer(words)):
                found.append(f"{path} (smtpd_milter_maps)")
    return found


def make_wait(postfix: PostfixInstance) -> list[str]:
    """Make Postfix let mail wait for a milter that is away, and end all processes with another setting.

    :return: the settings that let mail out, as from :func:`lets_out`.
    :raises MilterActionError: it is not possible; nothing was touched, or the old files are back.
    """
    former = {postfix.path(name): activation.read_file(postfix.path(name)) for name in FILES}
    if former[postfix.path("main.cf")] is None or not shutil.which("postconf"):
        return []
    said = lets_out(postfix)
    wanted = _edited(postfix, former) if said else former
    try:
        postfix.mark.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        postfix.mark.touch(0o600)
        activation.put({path: file for path, file in wanted.items() if file})
        take(postfix)
    except (MilterActionError, WriteError, OSError) as err:
        with contextlib.suppress(WriteError):
            activation.put({path: file for path, file in former.items() if file})
        raise MilterActionError(
            f"Postfix could not be made to have mail wait while OpenDKIM is restarted, so neither is touched: {err}"
        ) from err
    postfix.mark.unlink()
    return said


def _edited(
    postfix: PostfixInstance, former: Mapping[Path, activation.File | None]
) -> dict[Path, activation.File | None]:
    """Return the edited files with which mail waits, checked with Postfix's own parser."""
    edits = {"main.cf": waiting_main, "master.cf": waiting_master}
    wanted = {}
    for name, edit in edits.items():
        file = former[postfix.path(name)]
        if file:
            octets = edit(file.octets.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")
            file = activation.File(octets, file.mode, file.uid, file.gid)
        wanted[postfix.path(name)] = file
    with tempfile.TemporaryDirectory() as folder:
        for path, file in wanted.items():
            if file:
                Path(folder, path.name).write_bytes(file.octets)
        left = lets_out(postfix, folder)
    if left:
        raise MilterActionError(
            f"Postfix lets mail out while a milter is away: {'; '.join(left)}. Nothing was touched; have it say "
            "tempfail, and run this again"
        )
    return wanted


def is_running(postfix: PostfixInstance) -> bool:
    """Tell whether the Postfix of this folder runs."""
    return bool(_processes(postfix))


def take(postfix: PostfixInstance) -> None:
    """Make a running Postfix take its files, and wait until no process is left that started with older ones."""
    before = _processes(postfix)
    if not before:
        return
    done = postfix.command(("postfix", "-c", postfix.folder, "reload"))
    if done.status != 0:
        raise MilterActionError(f"postfix reload: {(done.err or done.out).strip()}")
    # At a reload the queue manager ends, and a new one is started after master has read its files again.
    _until(postfix, lambda: _queue_manager(postfix) - _queue_manager_of(before), 30)
    old = {one for one, name in _processes(postfix).items() if name in DAEMONS}
    if _until(postfix, lambda: not old & set(_processes(postfix)), PATIENCE):
        return
    for pid, _ in old & set(_processes(postfix)):
        with contextlib.suppress(ProcessLookupError):
            postfix.kill(pid, signal.SIGTERM)
    if not _until(postfix, lambda: not old & set(_processes(postfix)), 15):
        left = ", ".join(str(pid) for pid, _ in sorted(old & set(_processes(postfix))))
        raise MilterActionError(f"these processes of Postfix go on with the old setting: {left}")


def _until(postfix: PostfixInstance, holds: Callable[[], object], limit: float) -> bool:
    ends = postfix.clock() + limit
    while not holds():
        if postfix.clock() >= ends:
            return False
        postfix.pause(0.1)
    return True


def _queue_manager(postfix: PostfixInstance) -> set[Process]:
    return _queue_manager_of(_processes(postfix))


def _queue_manager_of(found: Mapping[Process, str]) -> set[Process]:
    return {one for one, name in found.items() if name in ("qmgr", "nqmgr", "oqmgr")}


def _processes(postfix: PostfixInstance) -> dict[Process, str]:
    """Return ``{(process ID, start time): name}`` of the running master's children; empty if it does not run."""
    done = postfix.command(("postconf", "-c", postfix.folder, "-h", "queue_directory"))
    try:
        master = int(Path(done.out.strip(), "pid/master.pid").read_text(encoding="ascii"))
        if Path(postfix.proc, str(master), "comm").read_text(encoding="utf-8").strip() != "master":
            return {}
    except (OSError, ValueError):
        return {}
    found = {}
    # A glob would check each process's file first, and fail for one that ends meanwhile (ESRCH).
    for pid in filter(str.isdecimal, os.listdir(postfix.proc)):
        with contextlib.suppress(OSError, ValueError, IndexError):
            stat = Path(postfix.proc, pid, "stat")
            name, _, rest = stat.read_text(encoding="utf-8", errors="replace").partition("(")[2].rpartition(")")
            words = rest.split()
            if int(words[1]) == master and words[0] != "Z":
                found[int(pid), int(words[19])] = name
    return found


@contextlib.contextmanager
def waiting(postfix: PostfixInstance, ready: Callable[[], object] = lambda: True) -> Iterator[None]:
    """Make mail wait while the block restarts OpenDKIM; then restore the setting of a main.cf of this formula.

    :param ready: tells whether OpenDKIM serves again, which is waited for.
    """
    former = {postfix.path(name): activation.read_file(postfix.path(name)) for name in FILES}
    acts = former[postfix.path("main.cf")] and shutil.which("postconf") and (postfix.mark.exists() or lets_out(postfix))
    release = acts and is_ours(postfix)
    if acts:
        make_wait(postfix)
    try:
        yield
        _until(postfix, ready, 15)
    finally:
        if release:
            activation.put({path: file for path, file in former.items() if file})
            postfix.command(("postfix", "-c", postfix.folder, "reload"))
