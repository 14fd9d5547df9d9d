"""The running OpenDKIM: how it takes new tables, and what it leaks each time."""

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from mailhost.command import Command, run_command
from mailhost.daemons import milter_action
from mailhost.errors import CutoverError, MilterActionError

MOST_LOST = 500
"""Sockets that OpenDKIM may leak before it is restarted instead: 125 resolvers, 34 MB. If its limit of open files is
low, half of that limit."""


def reload_service(service: str) -> str | None:
    """Make the running OpenDKIM read its tables (SIGUSR1): it takes them at the next new connection.

    Each connection that arrives while it reads creates a resolver, and it leaks all of them but one (OpenDKIM 2.11.0:
    nothing keeps two connections from setting up the resolver of a new configuration at once): 0.27 MB, and four
    sockets that no timeout closes. At its limit of open files it would defer mail (451). Before that it is restarted,
    which also makes it read its tables. Mail waits meanwhile, whatever the pillar says about a milter that is away.

    :return: a sentence about a restart; ``None`` if the signal was sent.
    :raises CutoverError: it does not run, or systemd refused.
    """
    pid = main_process(service)
    lost = lost_sockets(pid)
    if lost < most_lost(pid):
        _systemctl("kill", "--signal=USR1", "--kill-who=main", service)
        return None
    try:
        with milter_action.waiting(milter_action.PostfixInstance(), lambda: wait_until_it_listens(service)):
            _systemctl("restart", service)
    except MilterActionError as err:
        raise CutoverError(str(err)) from err
    return f"OpenDKIM was restarted and not reloaded: it held {lost} sockets that it lost at earlier reloads."


def main_process(service: str) -> str:
    """Return the process ID of a unit's main process, as text; ``0`` if none runs.

    :raises CutoverError: systemd refused.
    """
    return _systemctl("show", "--property=MainPID", "--value", service).strip() or "0"


def most_lost(pid: str | int) -> int:
    """Return how many sockets a process may leak: :data:`MOST_LOST`, but at most half of its open files."""
    try:
        limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
    except OSError:
        return MOST_LOST
    words = next((line.split() for line in limits.splitlines() if line.startswith("Max open files")), [])
    return min(MOST_LOST, int(words[3]) // 2) if words and words[3].isdigit() else MOST_LOST


def words_of(service: str) -> list[str]:
    """Return the command line of a unit as a list: that of the running process, or else the one that would start.

    It is empty if there is no such unit, or systemd does not answer.
    """
    try:
        pid = main_process(service)
        if pid == "0":
            starts = re.search(r"argv\[\]=(.*?) ;", _systemctl("show", "--property=ExecStart", "--value", service))
            # systemd fills in variables, so their values are known only from a running process.
            return [one for one in starts[1].split() if not one.startswith("$")] if starts else []
        return [one for one in Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0") if one]
    except (CutoverError, OSError):
        return []


def lost_sockets(pid: str | int) -> int:
    """Return how many unnamed Unix sockets a process has, which excludes milter connections; 0 if none runs.

    OpenDKIM needs four of them for its resolver, and one for its log.
    """
    try:
        lines = Path(f"/proc/{pid}/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()
        nameless = {f"socket:[{words[6]}]" for words in map(str.split, lines[1:]) if len(words) == 7}
        return sum(_file(link) in nameless for link in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return 0


def _file(link: Path) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""  # It was closed meanwhile.


def _systemctl(*words: str) -> str:
    command = ("systemctl", *words)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise CutoverError(f"{' '.join(command)}: {err}") from err
    if done.returncode:
        raise CutoverError(f"OpenDKIM could not be reloaded: {' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def wait_until_it_listens(
    unit: str,
    limit: float = 15,
    command: Command = run_command,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until the unit's main process has a listening socket: before that, mail would bypass it."""
    ends = clock() + limit
    while clock() < ends:
        pid = command(("systemctl", "show", "--property=MainPID", "--value", unit)).out.strip()
        if pid not in ("", "0") and f"pid={pid}," in command(("ss", "-Hlntxp")).out:
            return True
        pause(0.2)
    return False
