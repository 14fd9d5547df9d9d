"""Safe access by root to files and folders where another user can write, too: by descriptor, never through a link.

Whoever can write to a folder can put there a link to any file of the host, a FIFO that nobody ever writes to, or a
second name of somebody's file. So folders are opened first, and files in them by their descriptors. Links are not
followed, and what was opened is checked before anything is done with it.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeAlias

from mailhost.errors import LockHeld, UnsafeFile, WriteError

AnyPath: TypeAlias = str | os.PathLike[str]
"""A path, as text or as a :class:`pathlib.Path`."""
Ids: TypeAlias = tuple[int, int]
"""The owner of a file: ``(uid, gid)``."""
UNFINISHED = ".unfinished"
"""The end of the name of a file that is being written (:func:`replace`)."""
LARGEST = 64 * 1024 * 1024
"""Bytes of the largest file that is read as a whole."""
_MOST_LINKS = 40
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_KINDS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

LOCK_WAIT = 60


def is_trusted(found: os.stat_result) -> bool:
    """Tell whether only root (or the user of this process) owns a file or folder and may write to it."""
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def is_sticky(found: os.stat_result) -> bool:
    """Tell whether in this folder users may not rename or delete files of others, as in ``/tmp``."""
    return found.st_uid in (0, os.geteuid()) and bool(found.st_mode & stat.S_ISVTX)


def kind(found: os.stat_result) -> str:
    """Return in words what kind of file something is that is not a regular file."""
    return _KINDS.get(stat.S_IFMT(found.st_mode), "no regular file")


@contextlib.contextmanager
def opened_folder(path: AnyPath) -> Iterator[int]:
    """Open a folder and yield its descriptor. Links on the way are followed only where just root could put them.

    :raises UnsafeFile: another user could have put a link there.
    :raises OSError: there is no such folder.
    """
    descriptor = _open_folder(os.path.abspath(path))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_folder(path: str) -> int:
    names, links = _names(path), 0
    descriptor = os.open("/", _FOLDER)
    try:
        while names:
            name = names.pop(0)
            try:
                below = os.open(name, _FOLDER, dir_fd=descriptor)
            except OSError as err:
                target = _target(descriptor, name, path, err)
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path) from err
                names = _names(target) + names
                below = os.open("/", _FOLDER) if target.startswith("/") else os.dup(descriptor)
            os.close(descriptor)
            descriptor = below
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name not in ("", ".")]


def _target(folder: int, name: str, path: str, err: OSError) -> str:
    """Return the target of a link in an open folder; anything else that could not be opened raises its error again."""
    found = _lstat(folder, name)
    if found is None or not stat.S_ISLNK(found.st_mode):
        raise OSError(err.errno, err.strerror, path) from err
    its = os.fstat(folder)
    if found.st_uid not in (0, os.geteuid()) or not (is_trusted(its) or is_sticky(its)):
        raise UnsafeFile(f"{path}: {name} is a symbolic link that another user than root could have put there") from err
    return os.readlink(name, dir_fd=folder)


def _lstat(folder: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def opened(path: AnyPath, flags: int = _READ, mode: int = 0) -> Iterator[int]:
    """Open a regular file and yield its descriptor.

    :raises UnsafeFile: it is a link, a FIFO or something else that is not a regular file.
    :raises OSError: it cannot be opened, or does not exist.
    """
    path = Path(path)
    with opened_folder(path.parent) as folder:
        descriptor = _open_file(folder, path.name, path, flags, mode)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise UnsafeFile(f"{path}: it is {kind(found)}, and not a regular file; who put it there?")
        yield descriptor
    finally:
        os.close(descriptor)


def _open_file(folder: int, name: str, path: Path, flags: int, mode: int) -> int:
    try:
        return os.open(name, flags | _READ, mode, dir_fd=folder)
    except OSError as err:
        found = _lstat(folder, name)
        if found is not None and not stat.S_ISREG(found.st_mode):
            raise UnsafeFile(f"{path}: it is {kind(found)}, and not a regular file; who put it there?") from err
        raise OSError(err.errno, err.strerror, str(path)) from err


def check_roots(path: AnyPath, found: os.stat_result) -> None:
    """Check that only root can have written the content of a file.

    :param found: its ``fstat``.
    :raises UnsafeFile: another user owns it, may write to it, or may have given it this name (a second link).
    """
    why = foreign(found)
    if why:
        raise UnsafeFile(
            f"{path}: {why}, so it may say what somebody else than root wrote. If it says what DNS and OpenDKIM's "
            "tables say, put a copy of it in its place that belongs to root (mode 0644)"
        )


def foreign(found: os.stat_result) -> str:
    """Return why a file's content may come from a user other than root; ``""`` if it cannot."""
    if found.st_uid not in (0, os.geteuid()):
        return f"it belongs to user {found.st_uid}"
    if not is_trusted(found):
        return f"others may write to it (mode {stat.S_IMODE(found.st_mode):04o})"
    return f"it has {found.st_nlink} names" if found.st_nlink > 1 else ""


def read(path: AnyPath, roots: bool = False) -> tuple[bytes, os.stat_result]:
    """Return the content of a regular file, as bytes, and its ``fstat``.

    :param roots: refuse the file if anybody but root can have written it.
    """
    with opened(path) as descriptor:
        found = os.fstat(descriptor)
        if roots:
            check_roots(path, found)
        if found.st_size > LARGEST:
            raise UnsafeFile(f"{path}: it has {found.st_size:,} bytes, and at most {LARGEST:,} are read")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(LARGEST), found


def read_text(path: AnyPath, roots: bool = False, encoding: str = "utf-8") -> str:
    """Return the content of a regular file, as text; see :func:`read`."""
    return read(path, roots)[0].decode(encoding)


def replace(path: AnyPath, octets: bytes, mode: int, owner: Ids | None = None) -> None:
    """Replace the file at ``path`` by a new one: a temporary file beside it, fsync, rename, fsync of the folder.

    :param owner: ``(uid, gid)``, or ``None`` for the process's own.
    """
    path = Path(path)
    with opened_folder(path.parent) as folder:
        rough = f".{path.name}.{secrets.token_hex(6)}{UNFINISHED}"
        descriptor = os.open(rough, _NEW, 0o600, dir_fd=folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                _fill(file, octets, mode, owner)
            os.replace(rough, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(rough, dir_fd=folder)
            raise
        os.fsync(folder)


def _fill(file: BinaryIO, octets: bytes, mode: int, owner: Ids | None) -> None:
    if owner:
        os.fchown(file.fileno(), *owner)
    os.fchmod(file.fileno(), mode)
    file.write(octets)
    file.flush()
    os.fsync(file.fileno())


def delete(path: AnyPath) -> None:
    """Delete a file, if it exists, and sync its folder; if it is a link, the link itself is deleted."""
    path = Path(path)
    try:
        with contextlib.suppress(FileNotFoundError), opened_folder(path.parent) as folder:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path.name, dir_fd=folder)
            os.fsync(folder)
    except UnsafeFile:
        raise
    except OSError as err:
        # For a file in an open folder, the system's error names only the last part of the path.
        raise OSError(err.errno, err.strerror, str(path)) from err


def _sweep(folder: AnyPath) -> None:
    """Delete unfinished files of killed runs in a folder."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), opened_folder(folder) as descriptor:
        for name in os.listdir(descriptor):
            if name.startswith(".") and name.endswith(UNFINISHED):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=descriptor)


@contextlib.contextmanager
def locked(keys: AnyPath, wait: float = LOCK_WAIT, what: str = "these keys") -> Iterator[None]:
    """Hold the lock of the folder ``keys``, so that two runs never work in it at the same time.

    :param what: what they work on; for the message.
    :raises LockHeld: another run held it for ``wait`` seconds.
    """
    folder = Path(keys)
    folder.mkdir(parents=True, exist_ok=True)
    with opened(folder / ".lock", os.O_CREAT, 0o600) as file:
        # Whoever can read it can also hold the lock, and then no run could ever begin.
        os.fchmod(file, 0o600)
        ends = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as err:
                if time.monotonic() >= ends:
                    raise LockHeld(f"{folder}: another run has worked on {what} for {wait} s; try again later") from err
                time.sleep(0.1)
        yield


def replace_file(path: AnyPath, text: str | bytes, mode: int, owner: Ids | None = None) -> None:
    """Write ``text`` (or bytes) to ``path``: a temporary file beside it, fsync, rename, fsync of the folder.

    :param owner: ``(uid, gid)``, or ``None`` for the process's own.
    :raises WriteError: that failed; the old file is untouched, unless the disk failed at the last moment.
    """
    try:
        replace(path, text.encode() if isinstance(text, str) else text, mode, owner)
    except OSError as err:
        reason = err.strerror or str(err)
        raise WriteError(f"{path}: could not be written: {reason}; mend this, and the next run goes on") from err


def sweep(*folders: AnyPath) -> None:
    """Delete unfinished files of killed runs, among them private keys.

    Only call this under the lock: it would also delete a file that another run is writing.
    """
    for folder in folders:
        _sweep(folder)


def folders(keys: AnyPath) -> list[str]:
    """Return the paths of the folders in the folder ``keys``."""
    try:
        with os.scandir(keys) as entries:
            return [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def sync_folder(folder: AnyPath) -> None:
    """Sync a folder, so that its entries are durable."""
    with opened_folder(folder) as descriptor:
        os.fsync(descriptor)
