"""Which files and sockets a user of the host can reach, by owner, group and mode, also from inside a chroot."""

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from mailhost.check.findings import CheckedHost

READ, WRITE, PASS = 4, 2, 1
_LINKS = 40
"""Symbolic links that are followed before they count as a loop, as in the kernel."""


@dataclass(frozen=True)
class Who:
    """A user of the host: its name and numeric ids."""

    name: str
    uid: int
    gids: frozenset[int]


def who(host: CheckedHost, name: str) -> Who | None:
    """Return the :class:`Who` of a user by ``id``; ``None`` if that gave no answer."""
    uid, gids = (host.command(("id", option, name)) for option in ("-u", "-G"))
    if uid.status != 0 or gids.status != 0:
        return None
    return Who(name, int(uid.out), frozenset(int(gid) for gid in gids.out.split()))


def may(found: os.stat_result, user: Who, rights: int) -> bool:
    """Tell whether a user has rights (:data:`READ`, …) on the file whose ``os.stat_result`` is ``found``."""
    if user.uid == 0:
        return True
    if found.st_uid == user.uid:
        given = found.st_mode >> 6
    elif found.st_gid in user.gids:
        given = found.st_mode >> 3
    else:
        given = found.st_mode
    return given & rights == rights


def resolve(path: str | Path, root: str | Path = "/") -> list[Path]:
    """Return the paths on the way to ``path``, for a process whose root folder is ``root``.

    The last one is what ``path`` names. An absolute link leads back to ``root``.

    :raises OSError: something on the way is missing or not a folder, or the links form a loop.
    """
    root, links = Path(root), 0
    steps, passed = [part for part in Path(path).parts if part != "/"], [root]
    while steps:
        step = steps.pop(0)
        if step == "..":
            passed = passed[:-1] or [root]
            continue
        step_path = passed[-1] / step
        if not step_path.is_symlink():
            step_path.lstat()
            passed.append(step_path)
            continue
        links += 1
        if links > _LINKS:
            raise OSError(errno.ELOOP, "too many symbolic links", str(step_path))
        target = Path(os.readlink(step_path))
        if target.is_absolute():
            passed = [root]
        steps = [part for part in target.parts if part != "/"] + steps
    return passed


def socket_problem(path: str | Path, user: Who, root: str | Path = "/") -> str:
    """Return why a user whose root folder is ``root`` cannot connect to a Unix socket; ``""`` if it can."""
    try:
        *folders, step_path = resolve(path, root)
        found = [folder.stat() for folder in folders]
        last = step_path.stat()
    except OSError as err:
        return f"{err.filename}: {err.strerror}"
    if not stat.S_ISSOCK(last.st_mode):
        return f"{step_path} is no socket"
    for folder, its in zip(folders, found, strict=True):
        if not may(its, user, PASS):
            return f"{user.name} may not pass {described(folder, its)}"
    return "" if may(last, user, READ | WRITE) else f"{user.name} may not write to {described(step_path, last)}"


def described(path: str | Path, found: os.stat_result) -> str:
    """Return a path with its numeric owner and group, and its mode."""
    return f"{path} ({found.st_uid}:{found.st_gid}, {stat.S_IMODE(found.st_mode):04o})"
