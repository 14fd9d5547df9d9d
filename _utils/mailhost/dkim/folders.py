"""The key folders: root owns them, and OpenDKIM's group may pass through. Folders that OpenDKIM owned are converted.

In earlier versions OpenDKIM owned a domain's folder, so whoever broke into OpenDKIM could put anything there. Such a
folder is therefore given to root first. Only after its content is checked does root believe or change any of it.
"""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mailhost import files as safe_files
from mailhost.errors import UnsafeFile
from mailhost.files import AnyPath

if TYPE_CHECKING:
    from mailhost.dkim.keystore import Owner

Changes = dict[str, dict[str, str]]
"""What became of folders: ``{path: {"old": owner and mode, "new": …}}``."""
MODE = 0o750
"""Only root may write there; the group that reads the keys may pass through."""
UNSEEN = MODE | stat.S_ISVTX
"""The mode of a folder that root owns but whose content is not checked yet; a killed run leaves it like this."""
_OF_ROOT = ("keys.json", "clock.json", "looked.json", "settled", ".lock")


def settle(keys: AnyPath, owner: "Owner", test: bool = False) -> tuple[Changes, dict[str, str]]:
    """Make root the owner of the folder ``keys`` and of those in it, with mode 0750.

    OpenDKIM can read the keys at every moment. A folder that somebody else could write to, and that holds what only an
    intruder would put there, is given back as it was.

    :param owner: :class:`mailhost.dkim.keystore.Owner`; who reads the keys.
    :param test: only report what would change.
    :return: the changes, and ``{name of a folder: why it was left as it was}``.
    :raises UnsafeFile: the folder ``keys`` itself must be left as it is.
    """
    if not os.path.isdir(keys):
        return {}, {}
    changes: Changes = {}
    troubles: dict[str, str] = {}
    ids = owner.ids()
    with safe_files.opened_folder(keys) as descriptor:
        _settle_one(descriptor, Path(keys), ids, test, changes)
        for name, why in _settle_each(descriptor, Path(keys), ids, test, changes):
            troubles[name] = why
    return changes, troubles


def _settle_each(top: int, keys: Path, ids: tuple[int, int], test: bool, changes: Changes) -> Iterator[tuple[str, str]]:
    with os.scandir(top) as entries:
        found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in entries]
    for name, its in found:
        path = keys / name
        if stat.S_ISLNK(its.st_mode):
            yield name, f"{path}: it is a symbolic link; put the folder itself there, as root's"
        elif stat.S_ISDIR(its.st_mode) and _differs(its, ids[1]):
            try:
                with safe_files.opened_folder(path) as descriptor:
                    _settle_one(descriptor, path, ids, test, changes)
            except OSError as err:
                yield name, str(err)


def settle_folder(path: AnyPath, ids: tuple[int, int]) -> None:
    """Make root the owner of one folder; see :func:`settle`."""
    with safe_files.opened_folder(path) as descriptor:
        _settle_one(descriptor, Path(path), ids, False, {})


def _settle_one(descriptor: int, path: Path, ids: tuple[int, int], test: bool, changes: Changes) -> None:
    found = os.fstat(descriptor)
    if not _differs(found, ids[1]):
        return
    is_doubtful = not safe_files.is_trusted(found) or bool(found.st_mode & stat.S_ISVTX)
    if test:
        if is_doubtful:
            _check(descriptor, path, ids[0])
    else:
        _take(descriptor, path, found, ids, is_doubtful)
    old = _shown(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
    changes[str(path)] = {"old": old, "new": _shown(os.geteuid(), ids[1], MODE)}


def _shown(uid: int, gid: int, mode: int) -> str:
    names = []
    for find, number in ((pwd.getpwuid, uid), (grp.getgrgid, gid)):
        try:
            names.append(find(number)[0])
        except KeyError:
            names.append(str(number))
    return f"{':'.join(names)} {mode:04o}"


def _differs(found: os.stat_result, gid: int) -> bool:
    return (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) != (MODE, os.geteuid(), gid)


def _take(descriptor: int, path: Path, found: os.stat_result, ids: tuple[int, int], is_doubtful: bool) -> None:
    # The mode comes first: with the old one, 0700, OpenDKIM could not pass through a folder that root owns.
    os.fchmod(descriptor, UNSEEN)
    os.fchown(descriptor, os.geteuid(), ids[1])
    # The former owner might have changed the mode in between.
    os.fchmod(descriptor, UNSEEN)
    if is_doubtful:
        try:
            for name in _check(descriptor, path, ids[0]):
                _renew(path / name)
        except OSError:
            _give_back(descriptor, found, ids)
            raise
    os.fchmod(descriptor, MODE)


def _give_back(descriptor: int, found: os.stat_result, ids: tuple[int, int]) -> None:
    is_roots = found.st_uid == os.geteuid() and found.st_mode & stat.S_ISVTX
    uid, gid, mode = (*ids, 0o700) if is_roots else (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
    os.fchmod(descriptor, UNSEEN)
    os.fchown(descriptor, uid, gid)
    os.fchmod(descriptor, mode)


def _check(descriptor: int, path: Path, reader: int) -> list[str]:
    """Check the content of a folder that somebody else could write to; return the names of root's files in it.

    :raises UnsafeFile: a file belongs neither to root nor to the reader, or may be a second name of somebody's file.
    """
    of_root = []
    for name in sorted(os.listdir(descriptor)):
        is_key = name.endswith(".private")
        if not (is_key or name in _OF_ROOT or name.endswith(".compromised")):
            continue
        found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
        if why := _oddity(found) or (_not_readers(found, reader) if is_key else safe_files.foreign(found)):
            raise UnsafeFile(f"{path / name}: {why}. {_remedy(path / name, is_key)}")
        if not is_key and name != ".lock":
            of_root.append(name)
    return of_root


def _oddity(found: os.stat_result) -> str:
    if not stat.S_ISREG(found.st_mode):
        return f"it is {safe_files.kind(found)}, and not a regular file"
    if found.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
        return f"its mode is {stat.S_IMODE(found.st_mode):04o}, as of a program"
    return f"it has {found.st_nlink} names, so it may be another's file" if found.st_nlink > 1 else ""


def _not_readers(found: os.stat_result, reader: int) -> str:
    """Return why a key file may be somebody else's. OpenDKIM can link root's file here, but not give one away."""
    return "" if found.st_uid == reader else f"it belongs to user {found.st_uid}, so it may be another's file"


def _remedy(path: Path, is_key: bool) -> str:
    folder = f"The folder {path.parent} stays as it is, and who signs, too, until that is mended"
    if is_key:
        return f"{folder}: if it is the domain's key, put a copy of it in its place that belongs to OpenDKIM's user."
    return (
        f"{folder}: if it says what DNS and OpenDKIM's tables say, put a copy of it in its place that belongs to root "
        "(mode 0644); if you did not do that yourself, read docs/operations.md, An intruder in OpenDKIM."
    )


def _renew(path: Path) -> None:
    """Write a file anew: whoever had the old one open before root owned it could still write to that one."""
    octets, found = safe_files.read(path, roots=True)
    safe_files.replace(path, octets, stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid))
