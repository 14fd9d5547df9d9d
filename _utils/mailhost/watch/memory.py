"""What mailserver.watch remembers from run to run: one row for each thing that was not right, or is to be told of."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from mailhost.check.findings import STATUSES
from mailhost.errors import WatchError

PATH = "/var/lib/mailserver/watch/memory.json"
"""What was seen and told so far, of one run for the next."""
FORMAT = 1
GONE = "gone"
"""The status of what was not right, and is not looked at any more: its domain left the pillar, its port is shut."""
_WRONG = ("warn", "fail")


@dataclass(frozen=True)
class Row:
    """What is remembered of one thing that was looked at; what has no row is ok, and everybody knows.

    ``status`` is what holds, ``last`` the texts of the finding that said so. ``doubt`` is a status that was seen in one
    run and is not believed yet. ``blind`` counts the runs since it could last be found out, ``since`` is the first of
    them (Unix seconds). ``told`` maps a channel to the status that it was told last.
    """

    status: str = "ok"
    last: dict = field(default_factory=dict)
    doubt: str = ""
    blind: int = 0
    since: int = 0
    told: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Memory:
    """What is kept from run to run: the rows by (id, about); ``None`` before the first run. ``textfile`` is the file
    for Prometheus that the last run wrote."""

    rows: dict | None = None
    textfile: str = ""


def parse(text, where):
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


def _row(one):
    row = Row(*(one[name] for name in ("status", "last", "doubt", "blind", "since", "told")))
    statuses = (*STATUSES, GONE)
    if row.status not in statuses or row.doubt not in ("", *statuses) or set(row.told.values()) - set(statuses):
        raise ValueError(f"no status: {row}")
    if {type(row.blind), type(row.since)} != {int} or set(row.last) - {"wanted", "seen", "remedy"}:
        raise ValueError(f"no row: {row}")
    return row


def emit(memory):
    """Return the text of a memory's file."""
    rows = [{"id": id, "about": about, **vars(row)} for (id, about), row in sorted(memory.rows.items())]
    return json.dumps({"format": FORMAT, "textfile": memory.textfile, "rows": rows}, ensure_ascii=False) + "\n"


def wrong(ids):
    """Return what the last watch found wrong by checks with these ids: what each was about.

    Nothing, where no watch has run, or its memory is damaged: it says so itself.
    """
    try:
        rows = parse(Path(PATH).read_text(encoding="utf-8"), PATH).rows
    except (OSError, UnicodeDecodeError, WatchError):
        return []
    return [about for (id, about), row in rows.items() if id in ids and {row.status, row.doubt} & {*_WRONG}]


def seen_wrong(ids, domains):
    """Return those of the domains of which the last watch saw a record that is not as it must be.

    :param ids: of the checks that look at the records.
    """
    parents = (about.split(".") for about in wrong(ids))
    names = (".".join(labels[number:]) for labels in parents for number in range(len(labels)))
    return {name for name in names if name in domains}
