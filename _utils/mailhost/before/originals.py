"""What a host had before this formula: files that it replaces, units, ports. Kept once, and restored by clean.

``/var/lib/mailserver/original`` has ``note.json`` and, in ``files``, the copies under their full paths. The note has
``files``, ``{path: {"kind", "mode", "uid", "gid", "target"}}`` (kind: ``file``, ``link``, ``absent``, or ``unknown`` if
an earlier version of the formula replaced it without a copy), ``units``, ``{unit: {"active", "enabled"}}``,
``firewall``, ``{"running", "permanent", "current"}``, and ``modes``, ``{path: [mode, uid, gid]}``.
"""

import contextlib
import json
import os
import re
import shutil
import stat
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Literal, TypedDict

from mailhost.before.given_back import UnitState, ZoneState
from mailhost.daemons import activation
from mailhost.errors import OriginalsError
from mailhost.files import AnyPath, replace_file


class _Kind(TypedDict):
    kind: Literal["file", "link", "absent", "unknown"]


class OriginalPath(_Kind, total=False):
    """How a path was: a file has ``mode``, ``uid`` and ``gid``, and a link has ``target``."""

    mode: int
    uid: int
    gid: int
    target: str


class Note(TypedDict):
    """The whole note; ``units`` is ``None`` until the host's original state is recorded."""

    format: int
    files: dict[str, OriginalPath]
    units: dict[str, UnitState] | None
    firewall: ZoneState | None
    modes: dict[str, list[int]]


OURS = b"# Written by Salt (mailserver"
EDITED = ("/etc/aliases",)
"""Files that the formula edits and does not replace: nothing in them shows who wrote them."""
FORMAT = 1
EMPTY: Note = {"format": FORMAT, "files": {}, "units": None, "firewall": None, "modes": {}}


def folder(state: AnyPath = activation.STATE) -> Path:
    return Path(state) / "original"


def read(state: AnyPath = activation.STATE) -> Note:
    """Return the note; an empty one if the file does not exist.

    :raises OriginalsError: it is damaged, or of another version.
    """
    path = folder(state) / "note.json"
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        if note["format"] != FORMAT:
            raise OriginalsError(f"{path}: another version of the formula wrote it (format {note['format']!r})")
        return {**EMPTY, **note}
    except FileNotFoundError:
        return {**EMPTY, "files": {}, "modes": {}}
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise OriginalsError(
            f"{path}: damaged ({err!r}); mend it, or move {path.parent} away to have mailserver.clean give nothing back"
        ) from err


def _write(note: Note, state: AnyPath) -> None:
    folder(state).mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_file(folder(state) / "note.json", json.dumps(note, indent=1, sort_keys=True), 0o600)


def is_ours(path: AnyPath) -> bool:
    """Tell whether this formula wrote a file."""
    here = _read_file(path)
    return here is not None and here.octets.startswith(OURS)


def _read_file(path: AnyPath) -> activation.File | None:
    """Return a regular file, also through links, or ``None``."""
    return activation.read_file(path) if Path(path).is_file() else None


def to_note(files: Iterable[str], state: AnyPath = activation.STATE, existing: bool = False) -> list[str]:
    """Return which paths are not recorded yet.

    :param existing: only those that exist now: a package may be about to install the others.
    """
    known = read(state)["files"]
    return [path for path in files if path not in known and (not existing or os.path.lexists(path))]


def keep(
    files: Iterable[str], state: AnyPath = activation.STATE, existing: bool = False, upgraded: bool = False
) -> list[str]:
    """Keep the files at these paths as they are, once; return those that were kept now.

    A copy that an earlier version of the formula kept beside a file (``.dist``) is taken over.

    :param upgraded: an earlier version ran here, so links are its work, and files that it edited are not original.
    :raises WriteError: a copy could not be written; the note is unchanged.
    """
    note, new = read(state), to_note(files, state, existing)
    left_over: list[str] = []
    for path in new:
        note["files"][path], source = _noted(path, upgraded)
        if source:
            _copy(source, activation.beneath(folder(state) / "files", path), state)
            left_over += [source] if source != path else []
    if new:
        _write(note, state)
    for path in left_over:
        Path(path).unlink(missing_ok=True)
    return new


def _noted(path: str, upgraded: bool = False) -> tuple[OriginalPath, str | None]:
    """Return a path's row for the note, and the file to copy, if any."""
    if upgraded and (path in EDITED or os.path.islink(path)):
        return {"kind": "unknown" if path in EDITED else "absent"}, None
    if os.path.islink(path):
        return {"kind": "link", "target": os.readlink(path)}, None
    if not os.path.lexists(path):
        return {"kind": "absent"}, None
    source = path if not is_ours(path) else f"{path}.dist"
    here = _read_file(source)
    if here is None:
        return {"kind": "unknown"}, None
    return {"kind": "file", "mode": here.mode, "uid": here.uid, "gid": here.gid}, source


def _copy(source: str, target: Path, state: AnyPath) -> None:
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder(state).chmod(0o700)
    activation.put({target: _read_file(source)})


def is_begun(state: AnyPath = activation.STATE) -> bool:
    """Tell whether the host's original state is recorded."""
    return read(state)["units"] is not None


def note_host(
    units: dict[str, UnitState],
    modes: Iterable[str],
    firewall: ZoneState | None,
    upgraded: bool,
    state: AnyPath = activation.STATE,
) -> None:
    """Record units, modes and ports, once.

    :param units: ``{unit: {"active", "enabled"}}``.
    :param modes: folders and files; owners and modes of these and of everything in them are recorded.
    :param upgraded: an earlier version of the formula ran here, so the present state is its work, not the host's own.
    """
    note = read(state)
    note["units"] = {} if upgraded else units
    note["firewall"] = None if upgraded else firewall
    note["modes"] = {} if upgraded else {path: row for top in modes for path, row in _modes(top)}
    _write(note, state)


def _modes(top: str) -> Iterator[tuple[str, list[int]]]:
    for where, _, names in os.walk(top) if os.path.isdir(top) and not os.path.islink(top) else ((top, (), ()),):
        for path in (where, *(os.path.join(where, name) for name in names)):
            with contextlib.suppress(FileNotFoundError):
                seen = os.lstat(path)
                if stat.S_ISREG(seen.st_mode) or stat.S_ISDIR(seen.st_mode):
                    yield path, [stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid]


def wanted(
    files: Iterable[str], state: AnyPath = activation.STATE, stays: Container[str] = ()
) -> dict[str, OriginalPath]:
    """Return what must be in place again, ``{path: row of the note}``, where it differs from what is there.

    A file of ours without a known original is removed, unless it is in ``stays``. A file that is not recorded and is
    somebody else's is left alone.
    """
    rows = read(state)["files"]
    found: dict[str, OriginalPath] = {}
    for path in files:
        row = rows.get(path) or (_noted(path)[0] if is_ours(path) else None)
        if row and row["kind"] == "unknown":
            row = {"kind": "absent"} if is_ours(path) else None
        if row and path not in stays and not _is_back(path, row, state):
            found[path] = row
    return found


def _is_back(path: str, row: OriginalPath, state: AnyPath) -> bool:
    if row["kind"] == "absent":
        return not os.path.lexists(path)
    if row["kind"] == "link":
        return os.path.islink(path) and os.readlink(path) == row["target"]
    return not os.path.islink(path) and _read_file(path) == _original(path, row, state)


def _original(path: str, row: OriginalPath, state: AnyPath) -> activation.File | None:
    here = original(path, state)
    return here and activation.File(here.octets, row["mode"], row["uid"], row["gid"])


def original(path: str, state: AnyPath = activation.STATE) -> activation.File | None:
    """Return the copy of the original file, or ``None``."""
    return activation.read_file(activation.beneath(folder(state) / "files", path))


def give_back(rows: Mapping[str, OriginalPath], state: AnyPath = activation.STATE) -> None:
    """Put back what :func:`wanted` returned.

    :raises OriginalsError: a copy is missing.
    :raises WriteError: a file could not be written.
    """
    lost = [path for path, row in rows.items() if row["kind"] == "file" and original(path, state) is None]
    if lost:
        raise OriginalsError(f"{folder(state)}/files: no copy of {', '.join(lost)} is left, so nothing was given back")
    for path, row in rows.items():
        if row["kind"] == "file":
            activation.put({path: _original(path, row, state)})
            activation.relabel([path])
            continue
        if os.path.lexists(path):
            os.unlink(path)
        if row["kind"] == "link":
            os.symlink(row["target"], path)


def give_back_modes(state: AnyPath = activation.STATE) -> list[str]:
    """Restore owners and modes of files and folders; return the paths that differed."""
    return [path for path, row in sorted(read(state)["modes"].items()) if _give_back_mode(path, *row)]


def _give_back_mode(path: str, mode: int, uid: int, gid: int) -> bool:
    """Change a file that is not a link and not behind one: users other than root may write in these folders."""
    try:
        handle = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
        for part in Path(path).parts[1:]:
            inner = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handle)
            os.close(handle)
            handle = inner
    except OSError:
        os.close(handle)
        return False
    try:
        here = os.fstat(handle)
        is_plain = stat.S_ISDIR(here.st_mode) or (stat.S_ISREG(here.st_mode) and here.st_nlink == 1)
        if not is_plain or (stat.S_IMODE(here.st_mode), here.st_uid, here.st_gid) == (mode, uid, gid):
            return False
        os.fchown(handle, uid, gid)
        os.fchmod(handle, mode)
        return True
    finally:
        os.close(handle)


def forget(state: AnyPath = activation.STATE) -> None:
    """Delete the note and the copies."""
    shutil.rmtree(folder(state), ignore_errors=True)


def tables_to_keep(config: str, tables: Iterable[str], state: AnyPath = activation.STATE) -> tuple[list[str], str]:
    """Return which of OpenDKIM's tables stay although they are ours, and why: ``(paths, sentence or "")``.

    :param config: the path of opendkim.conf. If it names a table without a known original, or the original names a
        destroyed key, OpenDKIM would not start with it or would defer all mail.
    """
    rows = read(state)["files"]
    here = original(config, state) or (None if is_ours(config) else _read_file(config)) or _read_file(f"{config}.dist")
    text = here.octets.decode("utf-8", "replace") if here else ""
    named = [path for path in tables if re.search(rf"{re.escape(path)}\s*$", text, re.MULTILINE)]
    gone = [key for path in named for key in _keys(path, state) if not os.path.exists(key)]
    if gone:
        why = f"The key table as it was names keys that were rotated away ({', '.join(gone)}): the present tables stay."
        return named, why
    unknown = [path for path in named if rows.get(path, {"kind": "unknown"})["kind"] == "unknown"]
    return unknown, f"No original is known of {', '.join(unknown)}; the present ones stay." if unknown else ""


def _keys(table: str, state: AnyPath) -> list[str]:
    here = original(table, state)
    return re.findall(r"^[^#\n]*?[^:\s]+:[^:\s]+:(/\S+)", here.octets.decode("utf-8", "replace"), re.M) if here else []
