"""What the pillar made this formula put on the host. It is recorded, so that it is removed when it leaves the pillar.

The note (``/var/lib/mailserver/given.json``, only for root) has ``users``, ``{name: {"made", "locked", "was"}}``:
whether the formula made the user and locked the login, and the state before that (``[is locked, day of expiry]``);
``aliases``, ``{name: {"targets", "former"}}``: as the formula wrote them, and the lines that were there before; and
``firewall``, ``{zone: {"permanent", "running"}}``, the services and ports that it opened. Mail and homes are never
deleted.
"""

import copy
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, TypedDict, cast

from mailhost.command import Command
from mailhost.daemons import activation
from mailhost.daemons.firewall import Items
from mailhost.errors import LeavingError
from mailhost.files import AnyPath, replace_file

Targets: TypeAlias = str | list[str]
"""The targets of an alias, as the pillar gives them."""
Shadow: TypeAlias = tuple[str, str]
"""A user's password field and expiry day."""


class UserRow(TypedDict):
    """What the formula did to a user; ``was`` is ``[is locked, day of expiry]`` while the login is locked."""

    made: bool
    locked: bool
    was: list[Any] | None


class AliasRow(TypedDict):
    """An alias as the formula wrote it, and the lines that were there before."""

    targets: Targets
    former: str


class Note(TypedDict):
    """The whole note, as the module's docstring describes it."""

    format: int
    users: dict[str, UserRow]
    aliases: dict[str, AliasRow]
    firewall: dict[str, Items]


FORMAT = 1
EMPTY: Note = {"format": FORMAT, "users": {}, "aliases": {}, "firewall": {}}
SHADOW = "/etc/shadow"
_EXPIRED = "1"
"""Day since 1970 on which a locked account expired; an expired account does not accept SSH keys either."""


def path(state: AnyPath | None = None) -> Path:
    return Path(state or activation.STATE) / "given.json"


def read(state: AnyPath | None = None) -> Note:
    """Return the note; an empty one if the file does not exist.

    :raises LeavingError: it is damaged, or of another version.
    """
    file = path(state)
    try:
        note = json.loads(file.read_text(encoding="utf-8"))
        if note["format"] != FORMAT:
            raise LeavingError(f"{file}: another version of the formula wrote it (format {note['format']!r})")
        whole: dict[str, Any] = {**copy.deepcopy(EMPTY), **note}
        for rows, names in ((whole["users"], ("made", "locked", "was")), (whole["aliases"], ("targets", "former"))):
            for row in rows.values():
                _ = [row[name] for name in names]
        return cast(Note, whole)
    except FileNotFoundError:
        return copy.deepcopy(EMPTY)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
        raise LeavingError(
            f"{file}: damaged ({err!r}); mend it, or move it away: users, aliases and ports that leave the pillar are "
            "then yours to take away"
        ) from err


def write(note: Note, state: AnyPath | None = None) -> None:
    """Write the note, if it has changed.

    :raises WriteError: it could not be written; the old one stays.
    """
    if note != read(state):
        path(state).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        replace_file(path(state), json.dumps(note, indent=1, sort_keys=True), 0o600)


def left_users(note: Note, names: Collection[str]) -> list[str]:
    """Return the users that the formula made and that are no longer among ``names`` (those of the pillar)."""
    return sorted(name for name, row in note["users"].items() if row["made"] and name not in names)


def with_users(note: Note, names: Collection[str], exists: Callable[[str], bool]) -> Note:
    """Return the note with these users of the pillar; one that is new to it and not on the host will be made.

    :param exists: tells whether the host has a user.
    """
    new: dict[str, UserRow] = {name: {"made": not exists(name), "locked": False, "was": None} for name in names}
    kept = {name: row for name, row in note["users"].items() if name in names or (row["made"] and exists(name))}
    return {**note, "users": {**new, **kept}}


def shadow(name: str, file: AnyPath = SHADOW) -> Shadow | None:
    """Return a user's password field and expiry day from shadow(5), or ``None``."""
    for line in Path(file).read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        words = line.split(":")
        if words[0] == name and len(words) > 7:
            return words[1], words[7]
    return None


def to_lock(names: Iterable[str], seen: Callable[[str], Shadow | None]) -> list[str]:
    """Return which of these users' logins are not locked yet.

    :param seen: returns the same as :func:`shadow`.
    """
    return [name for name in names if not _is_locked(seen(name))]


def _is_locked(row: Shadow | None) -> bool:
    return row is not None and row[0][:1] in ("!", "*") and row[1] == _EXPIRED


def to_open(note: Note, names: Iterable[str]) -> list[str]:
    """Return which of these users' logins the formula locked."""
    return [name for name in names if name in note["users"] and note["users"][name]["locked"]]


def lock(note: Note, name: str, row: Shadow | None, command: Command) -> Note:
    """Lock a user's login: the password, and the account, so that SSH keys do not work either. Return the note.

    :param row: what :func:`shadow` returned.
    :raises LeavingError: that failed.
    """
    if row is None:
        raise LeavingError(
            f"{name}: the login is not locked, since {SHADOW} has no such user; lock it where it is kept"
        )
    known = note["users"].get(name, {"made": False, "locked": False, "was": None})
    was = known["was"] or [row[0][:1] in ("!", "*"), row[1]]
    _run(command, "usermod", "--lock", name)
    _run(command, "chage", "--expiredate", _EXPIRED, name)
    command(("doveadm", "kick", name))  # ends open sessions; there may be no Dovecot
    return {**note, "users": {**note["users"], name: {**known, "locked": True, "was": was}}}


def unlock(note: Note, name: str, row: Shadow | None, command: Command) -> Note:
    """Unlock a user's login and restore its state before it was locked; return the note.

    :raises LeavingError: that failed.
    """
    known = note["users"][name]
    was_locked, expiry = known["was"] or [True, ""]
    _run(command, "chage", "--expiredate", expiry or "-1", name)
    if not was_locked and row and re.match(r"![^!*]", row[0]):
        _run(command, "usermod", "--unlock", name)
    return {**note, "users": {**note["users"], name: {**known, "locked": False, "was": None}}}


def _run(command: Command, *words: str) -> None:
    done = command(words)
    if done.status != 0:
        raise LeavingError(f"`{' '.join(words)}`: {(done.err or done.out).strip() or f'exit status {done.status}'}")


def left_aliases(note: Note, given: Iterable[str], present: Mapping[str, str]) -> list[str]:
    """Return the aliases that left the pillar and are still as the formula wrote them.

    :param given: the pillar's aliases, ``{name: targets}``.
    :param present: the file's entries (:func:`targets`).
    """
    given = {name.lower() for name in given}
    return [
        name
        for name, row in note["aliases"].items()
        if name.lower() not in given and targets(present.get(name.lower(), "")) == targets(row["targets"])
    ]


def with_aliases(
    note: Note, given: Mapping[str, Targets], present: Mapping[str, str], original: Mapping[str, str]
) -> Note:
    """Return the note extended by the pillar's aliases; for one that is new to it, it records the present entry.

    :param given, present: as in :func:`left_aliases`.
    :param original: the file's entries before this formula, which an earlier version of it may have overwritten.
    """

    def row(name: str, text: Targets) -> AliasRow:
        known, here = note["aliases"].get(name), present.get(name.lower(), "")
        if targets(here) == targets(text):
            here = original.get(name.lower(), "")
        return {"targets": text, "former": known["former"] if known else here}

    return {**note, "aliases": {**note["aliases"], **{name: row(name, text) for name, text in given.items()}}}


def without_aliases(note: Note, left: Collection[str], present: Mapping[str, str]) -> tuple[str, Note]:
    """Return the file's text and the note without these aliases, or with the entries that were there before them.

    :param present: the entries of the file, ``{name in lower case: lines}``, in order.
    """
    back = {name.lower(): note["aliases"][name]["former"] for name in left}
    # Every host needs a postmaster (RFC 5321 section 4.5.1).
    text = "".join(
        back.get(name) or lines if name == "postmaster" else back.get(name, lines) for name, lines in present.items()
    )
    return text, {**note, "aliases": {name: row for name, row in note["aliases"].items() if name not in left}}


def targets(text: Targets) -> list[str]:
    """Return the targets of an alias, in whatever form it is given: a list, text with commas, or lines of the file."""
    if isinstance(text, str):
        text = (text.partition(":")[2] if "\n" in text else text).split(",")
    return sorted(filter(None, (" ".join(str(one).partition("#")[0].split()) for one in text)))


def with_opened(note: Note, zone: str, items: Mapping[str, Collection[str]]) -> Note:
    """Return the note with services and ports that are about to be opened in a zone, ``{where: [...]}``."""
    if not any(items.values()):
        return note
    known = note["firewall"].get(zone, {})
    rows = {where: sorted({*known.get(where, ()), *items.get(where, ())}) for where in {*known, *items}}
    return {**note, "firewall": {**note["firewall"], zone: rows}}


def left_open(note: Note, zone: str, wanted: Collection[str]) -> dict[str, Items]:
    """Return what the formula opened and the pillar no longer wants, ``{zone: {where: [...]}}``.

    :param zone: the pillar's zone; in any other zone it wants nothing.
    """
    found = {
        one: {where: [item for item in items if one != zone or item not in wanted] for where, items in rows.items()}
        for one, rows in note["firewall"].items()
    }
    return {
        one: {where: items for where, items in rows.items() if items}
        for one, rows in found.items()
        if any(rows.values())
    }


def with_closed(note: Note, closed: Mapping[str, Mapping[str, Collection[str]]]) -> Note:
    """Return the note without what was closed, given as :func:`left_open` returns it."""
    rows = {
        zone: {
            where: [one for one in items if one not in closed.get(zone, {}).get(where, ())]
            for where, items in row.items()
        }
        for zone, row in note["firewall"].items()
    }
    return {**note, "firewall": {zone: row for zone, row in rows.items() if any(row.values())}}
