"""What mailserver.watch remembers between runs: one row for each subject that was not right or must be reported."""

import json
from collections.abc import Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from mailhost.check.findings import STATUSES, Status
from mailhost.errors import WatchError

PATH = "/var/lib/mailserver/watch/memory.json"
"""The file with what was seen and reported so far."""
FORMAT = 1
GONE: Final = "gone"
"""The status of a subject that was wrong and is no longer checked: its domain left the pillar, its port is closed."""
Known = Status | Literal["gone"]
"""The status of a subject as it is remembered."""
_WRONG = ("warn", "fail")


@dataclass(frozen=True)
class RememberedSubject:
    """What is remembered of one subject that was checked. A subject without a row is ok, and all channels know that.

    ``status`` is its status, ``last`` the texts of the finding that reported it. ``doubt`` is a status that was seen in
    one run and is not accepted yet. ``blind`` counts the runs since it was last known, ``since`` is the first of them
    (Unix seconds). ``told`` maps a channel to the status of which it was last notified.
    """

    status: Known = "ok"
    last: dict[str, str] = field(default_factory=dict)
    doubt: Status | Literal[""] = ""
    blind: int = 0
    since: int = 0
    told: dict[str, Status] = field(default_factory=dict)


Subject = tuple[str, str]
"""What was checked: the id of the check, and what it is about."""
Rows = dict[Subject, RememberedSubject]
"""What is remembered of each subject."""


@dataclass(frozen=True)
class Memory:
    """What is kept between runs: the rows by (id, about), or ``None`` before the first run. ``textfile`` is the file
    for Prometheus that the last run wrote."""

    rows: Rows | None = None
    textfile: str = ""


def parse(text: str, where: str | Path) -> Memory:
    """Return the :class:`Memory` of a file.

    :raises WatchError: it is damaged, or another version of the formula wrote it.
    """
    try:
        found = json.loads(text)
        version = found["format"]
        rows = {(one["id"], one["about"]): _row(one) for one in found["rows"]} if version == FORMAT else {}
        memory = Memory(rows, str(found.get("textfile", "")))
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise WatchError(f"{where}: damaged ({err!r})") from err
    if version != FORMAT:
        raise WatchError(f"{where}: another version of the formula wrote it (format {version!r})")
    return memory


def _row(one: dict[str, Any]) -> RememberedSubject:
    row = RememberedSubject(*(one[name] for name in ("status", "last", "doubt", "blind", "since", "told")))
    statuses = (*STATUSES, GONE)
    if row.status not in statuses or row.doubt not in ("", *statuses) or set(row.told.values()) - set(statuses):
        raise ValueError(f"no status: {row}")
    if {type(row.blind), type(row.since)} != {int} or set(row.last) - {"wanted", "seen", "remedy"}:
        raise ValueError(f"no row: {row}")
    return row


def emit(memory: Memory) -> str:
    """Return the text of a memory's file."""
    rows = [{"id": id, "about": about, **vars(row)} for (id, about), row in sorted((memory.rows or {}).items())]
    return json.dumps({"format": FORMAT, "textfile": memory.textfile, "rows": rows}, ensure_ascii=False) + "\n"


def wrong(ids: Container[str]) -> list[str]:
    """Return what the last watch found wrong by checks with these ids: the subject of each.

    The list is empty if no watch has run or its file is damaged, which the watch itself reports.
    """
    try:
        rows = parse(Path(PATH).read_text(encoding="utf-8"), PATH).rows or {}
    except (OSError, UnicodeDecodeError, WatchError):
        return []
    return [about for (id, about), row in rows.items() if id in ids and {row.status, row.doubt} & {*_WRONG}]


def seen_wrong(ids: Container[str], domains: Container[str]) -> set[str]:
    """Return those of the domains for which the last watch saw a record that is not as wanted.

    :param ids: the ids of the checks of these records.
    """
    parents = (about.split(".") for about in wrong(ids))
    names = (".".join(labels[number:]) for labels in parents for number in range(len(labels)))
    return {name for name in names if name in domains}
