"""The folders of keys belong to root, and OpenDKIM's group may pass; those that were OpenDKIM's are moved over.

Earlier a domain's folder belonged to OpenDKIM. Who broke into it could put anything there: so such a folder is made
root's first, and what is in it is looked at before root believes or changes any of it.
"""

import grp
import os
import pwd
import stat
from pathlib import Path

from mailhost import files as safe_files
from mailhost.errors import UnsafeFile

MODE = 0o750
"""Root alone writes there, and the group that reads the keys may pass."""
UNSEEN = MODE | stat.S_ISVTX
"""Of a folder that is root's, and in which nobody has looked yet: a killed run leaves it so."""
_OF_ROOT = ("keys.json", "clock.json", "looked.json", "settled", ".lock")


def settle(keys, owner, test=False):
    """Make the folder ``keys`` and those in it root's own (0750), whatever they were.

    At each moment OpenDKIM can read the keys. A folder that somebody else could write to, and that holds what only an
    intruder has a reason to put there, is given back as it was.

    :param owner: :class:`mailhost.dkim.keystore.Owner`; who reads the keys.
    :param test: only look.
    :return: ``({path: {"old": whose it was, "new": …}}, {name of a folder: why it was left as it was})``.
    :raises UnsafeFile: the folder ``keys`` itself is to be left as it is.
    """
    if not os.path.isdir(keys):
        return {}, {}
    changes, troubles, ids = {}, {}, owner.ids()
    with safe_files.opened_folder(keys) as descriptor:
        _settle_one(descriptor, Path(keys), ids, test, changes)
        for name, why in _settle_each(descriptor, Path(keys), ids, test, changes):
            troubles[name] = why
    return changes, troubles


def _settle_each(top, keys, ids, test, changes):
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


def settle_folder(path, ids):
    """Make one folder root's; see :func:`settle`."""
    with safe_files.opened_folder(path) as descriptor:
        _settle_one(descriptor, Path(path), ids, False, {})


def _settle_one(descriptor, path, ids, test, changes):
    found = os.fstat(descriptor)
    if not _differs(found, ids[1]):
        return
    is_doubtful = not safe_files.is_trusted(found) or found.st_mode & stat.S_ISVTX
    if test:
        if is_doubtful:
            _check(descriptor, path, ids[0])
    else:
        _take(descriptor, path, found, ids, is_doubtful)
    old = _shown(found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
    changes[str(path)] = {"old": old, "new": _shown(os.geteuid(), ids[1], MODE)}


def _shown(uid, gid, mode):
    names = []
    for find, number in ((pwd.getpwuid, uid), (grp.getgrgid, gid)):
        try:
            names.append(find(number)[0])
        except KeyError:
            names.append(str(number))
    return f"{':'.join(names)} {mode:04o}"


def _differs(found, gid):
    return (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) != (MODE, os.geteuid(), gid)


def _take(descriptor, path, found, ids, is_doubtful):
    # The mode first: with its own, 0700, OpenDKIM could not pass through a folder that is root's.
    os.fchmod(descriptor, UNSEEN)
    os.fchown(descriptor, os.geteuid(), ids[1])
    # Its owner might have changed it in between.
    os.fchmod(descriptor, UNSEEN)
    if is_doubtful:
        try:
            for name in _check(descriptor, path, ids[0]):
                _renew(path / name)
        except OSError:
            _give_back(descriptor, found, ids)
            raise
    os.fchmod(descriptor, MODE)


def _give_back(descriptor, found, ids):
    is_roots = found.st_uid == os.geteuid() and found.st_mode & stat.S_ISVTX
    uid, gid, mode = (*ids, 0o700) if is_roots else (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))
    os.fchmod(descriptor, UNSEEN)
    os.fchown(descriptor, uid, gid)
    os.fchmod(descriptor, mode)


def _check(descriptor, path, reader):
    """Check what is in a folder that somebody else could write to; return the names of root's files.

    :raises UnsafeFile: a file is none of root's, or of the reader's, or may be the second name of another's.
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


def _oddity(found):
    if not stat.S_ISREG(found.st_mode):
        return f"it is {safe_files.kind(found)}, and not a regular file"
    if found.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
        return f"its mode is {stat.S_IMODE(found.st_mode):04o}, as of a program"
    return f"it has {found.st_nlink} names, so it may be another's file" if found.st_nlink > 1 else ""


def _not_readers(found, reader):
    """Return why a key file may be another's: OpenDKIM can give a file of root's a name here, and none away."""
    return "" if found.st_uid == reader else f"it belongs to user {found.st_uid}, so it may be another's file"


def _remedy(path, is_key):
    folder = f"The folder {path.parent} stays as it is, and who signs, too, until that is mended"
    if is_key:
        return f"{folder}: if it is the domain's key, put a copy of it in its place that belongs to OpenDKIM's user."
    return (
        f"{folder}: if it says what DNS and OpenDKIM's tables say, put a copy of it in its place that belongs to root "
        "(mode 0644); if you did not do that yourself, read docs/operations.md, An intruder in OpenDKIM."
    )


def _renew(path):
    """Write a file anew: who opened the one that was there before it was root's can go on writing to it."""
    octets, found = safe_files.read(path, roots=True)
    safe_files.replace(path, octets, stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid))
