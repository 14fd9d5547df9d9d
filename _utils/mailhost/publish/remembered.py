"""Which policy records were published from here. This is kept on disk, so that nobody else's record is ever replaced.

A record is noted before it is sent, so that after a run that was cut short the host still recognizes it as its own.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from mailhost.errors import PublishError
from mailhost.files import AnyPath, replace_file
from mailhost.schema import Items, Key, Names, Section, Text, read

FOLDER = "/etc/mailserver"
FORMAT = 1
_FILE = Section({"format": Key(Text(), "Of this file."), "records": Key(Names(Text(), Items(Text(), 1)), "Texts.", {})})


def path_of(folder: AnyPath = FOLDER, minion: str | None = None) -> Path:
    """Return the path of the note of this host's records, or of those that it published for a minion."""
    name = "published.json" if minion is None else f"published.{quote(minion, safe='')}.json"
    return Path(folder) / name


def key_of(name: str, kind: str) -> str:
    """Return the key under which a record is noted: its name and its kind (``SPF``), since a name may have several."""
    return f"{name} {kind}"


def read_texts(path: AnyPath) -> dict[str, list[str]]:
    """Return what was published: ``{"NAME KIND": [text, …]}``; several texts if the last outcome is unknown.

    :raises PublishError: the file is damaged.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as err:
        raise PublishError(f"{path}: what was published cannot be read: {err}") from err
    try:
        problems: list[str] = []
        kept = read(_FILE, json.loads(text), "file", problems)
    except ValueError as err:
        raise PublishError(_damaged(path, err)) from err
    if problems or kept["format"] != str(FORMAT):
        raise PublishError(_damaged(path, "; ".join(problems) or f"format {kept['format']!r}"))
    records: dict[str, list[str]] = kept["records"]
    return records


def _damaged(path: AnyPath, why: str | ValueError) -> str:
    return (
        f"{path}: damaged ({why}), and nothing was published. Restore it; or remove it, and what DNS shows otherwise "
        "than the pillar counts as somebody else's"
    )


def write_texts(path: AnyPath, texts: Mapping[str, Sequence[str]]) -> None:
    """Replace the file of published records, atomically and durably.

    :raises WriteError: it could not be written; the old file is untouched.
    """
    whole = {"format": FORMAT, "records": dict(sorted(texts.items()))}
    replace_file(path, json.dumps(whole, indent=1, ensure_ascii=False) + "\n", 0o644)
