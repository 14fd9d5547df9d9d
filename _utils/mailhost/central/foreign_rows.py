"""Rows that a minion put into the mine are not trusted: their size is checked before anything else. Pure.

A minion may have written anything: something other than a list, a million rows, nested lists, huge numbers. A row that
is too large is refused on its own, and the refusal does not quote it.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from mailhost.schema import Integer, Wrong

MOST = 50_000
"""Rows that are read from one minion: more than ten thousand domains can ask for at once."""
LONGEST = 8192
"""Characters that a text in a row may have."""
TTL = Integer(0, 7 * 86400, "seconds")
"""A TTL that a minion may ask for: a wrong record with more than a week would be hard to repair."""
_MOST_KEYS, _MOST_TEXTS, _MOST_TOLD = 8, 8, 100
_LONGEST_NAME = 253
_NOTHING = "; nothing of it was published."
_KINDS: dict[type, str] = {list: "a list", tuple: "a list", dict: "a mapping", str: "text"}

_Read = TypeVar("_Read")


def read_each(given: object, read: Callable[[object, str], _Read]) -> tuple[list[_Read], list[str]]:
    """Return the result of ``read`` for each row, and a sentence for each row that is refused (at most about 100).

    :param read: takes a row and text that says where it is; raises ``Wrong``.
    """
    if not isinstance(given, (list, tuple)):
        return [], [f"what is in the mine is {_kind(given)}, but a list of records is wanted{_NOTHING}"]
    kept: list[_Read] = []
    refused: list[str] = []
    for number, row in enumerate(given[:MOST], 1):
        where = f"record {number}"
        try:
            _check(row, where)
            kept.append(read(row, where))
        except Wrong as err:
            refused.append(f"{err}; it was not published.")
    if len(given) > MOST:
        refused.insert(0, f"{len(given)} records were asked for at once; all beyond {MOST} were not looked at.")
    return kept, brief(refused)


def brief(sentences: list[str]) -> list[str]:
    """Return at most a hundred of the sentences, and one that counts the rest."""
    rest = len(sentences) - _MOST_TOLD
    return sentences if rest <= 0 else [*sentences[:_MOST_TOLD], f"… and {rest} more like these."]


def _check(row: object, where: str) -> None:
    """Refuse a row that has more in it than any valid row.

    :raises Wrong: with its place.
    """
    if not isinstance(row, dict):
        raise Wrong(f"{where} is {_kind(row)}, but a mapping is wanted")
    if len(row) > _MOST_KEYS:
        raise Wrong(f"{where}: it has {len(row)} keys")
    if isinstance(row.get("name"), str) and len(row["name"]) > _LONGEST_NAME:
        raise Wrong(f"{where}: its name has {len(row['name'])} characters, {_LONGEST_NAME} are allowed")
    for name, value in row.items():
        if not _is_text(name) or len(name) > 64:
            raise Wrong(f"{where}: one of its keys is no short text")
        many = isinstance(value, (list, tuple))
        if many and len(value) > _MOST_TEXTS:
            raise Wrong(f"{where}: a list in it has {len(value)} entries, {_MOST_TEXTS} are allowed")
        for one in value if many else (value,):
            _check_value(one, where)


def _check_value(value: Any, where: str) -> None:
    if isinstance(value, str):
        if len(value) > LONGEST:
            raise Wrong(f"{where}: a text in it has {len(value)} characters, {LONGEST} are allowed")
        if not _is_text(value):
            raise Wrong(f"{where}: a text in it has half of a surrogate pair, which no text may have")
    elif isinstance(value, bool) or (value is not None and not isinstance(value, int)):
        raise Wrong(f"{where}: there is {_kind(value)} in it, where text or a whole number is wanted")
    elif value is not None and not -(2**63) <= value < 2**63:
        raise Wrong(f"{where}: a number in it is out of range")


def _is_text(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _kind(value: object) -> str:
    return _KINDS.get(type(value), type(value).__name__)
