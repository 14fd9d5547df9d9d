"""Which policy records were published from here: remembered on disk, so that nobody else's is ever replaced.

What is to be sent is written down before it is, so that a run which was cut short knows its own record again.
"""

import json
from pathlib import Path
from urllib.parse import quote

from mailhost.errors import PublishError
from mailhost.files import replace_file
from mailhost.schema import Items, Key, Names, Section, Text, read

FOLDER = "/etc/mailserver"
FORMAT = 1
_FILE = Section({"format": Key(Text(), "Of this file."), "records": Key(Names(Text(), Items(Text(), 1)), "Texts.", {})})


def place(folder=FOLDER, minion=None):
    """Return the path of what is remembered of this host's records, or of those that it published for a minion."""
    name = "published.json" if minion is None else f"published.{quote(minion, safe='')}.json"
    return Path(folder) / name


def key_of(name, kind):
    """Return under what a record is remembered: its name, and its kind (``SPF``), since a name may hold others."""
    return f"{name} {kind}"


def read_texts(path):
    """Return what was published: ``{"NAME KIND": [text, …]}``; several where the last run does not know which it is.

    :raises PublishError: the file is damaged.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as err:
        raise PublishError(f"{path}: what was published cannot be read: {err}") from err
    try:
        found, problems = json.loads(text), []
        kept = read(_FILE, found, "file", problems)
    except ValueError as err:
        raise PublishError(_damaged(path, err)) from err
    if problems or kept["format"] != str(FORMAT):
        raise PublishError(_damaged(path, "; ".join(problems) or f"format {kept['format']!r}"))
    return kept["records"]


def _damaged(path, why):
    return (
        f"{path}: damaged ({why}), and nothing was published. Restore it; or remove it, and what DNS shows otherwise "
        "than the pillar counts as somebody else's"
    )


def write_texts(path, texts):
    """Put what was published in place of what is on disk, at once and for good.

    :raises WriteError: it could not; what was there is untouched.
    """
    whole = {"format": FORMAT, "records": dict(sorted(texts.items()))}
    replace_file(path, json.dumps(whole, indent=1, ensure_ascii=False) + "\n", 0o644)
