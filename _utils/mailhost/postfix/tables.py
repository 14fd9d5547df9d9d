"""The tables that Postfix's configuration names, and Postfix's complaints about them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from mailhost.command import Command, output_lines
from mailhost.postfix.lists import is_map, tables, words

_WITHOUT_A_LOOK = frozenset("environ fail inline internal pipemap randmap static unionmap unix".split())
"""Types that have no content outside the value itself, or belong to the system."""
_KEY = "check@example.invalid"
_FILES = re.compile(
    r"(mydestination|mynetworks|debug_peer_list|\w+_(domains|networks|exceptions|exclusions|hosts|clients))"
)
"""Parameters whose lists may name files (Postfix's match_list): ``/file/name``."""


def named(texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the tables, (type, name), that the texts of parameters name and that can be checked, each once.

    If a parameter takes only tables, one of an unknown type is included as well.
    """
    found = [table for text in texts.values() for table in tables(text)]
    for parameter, text in texts.items():
        if is_map(parameter.rpartition("/")[2]):
            parts = (word.removeprefix("proxy:").partition(":") for word in words(text))
            found += [(kind, name) for kind, colon, name in parts if colon and name.startswith("/")]
    return [one for one in dict.fromkeys(found) if one[0] not in _WITHOUT_A_LOOK]


def missing_files(texts: Mapping[str, str]) -> dict[str, str]:
    """Return ``{parameter: path}`` of files that lists name but that do not exist: any lookup in such a list fails."""
    found: dict[str, str] = {}
    for parameter, text in texts.items():
        if _FILES.fullmatch(parameter.rpartition("/")[2]):
            paths = [word.lstrip("!") for word in words(text)]
            missing = [path for path in paths if path.startswith("/") and not Path(path).exists()]
            found.update({parameter: missing[0]} if missing else {})
    return found


def problem(command: Command, kind: str, name: str) -> tuple[Literal["", "warn", "fail"] | None, list[str]]:
    """Return the complaints of `postmap -q` about a table: ``("", lines)`` for none, else ``fail`` or ``warn``.

    :param command: runs a command (:class:`mailhost.check.findings.CheckedHost`).
    :return: ``(status, lines)``; the status is ``None`` if the command could not be run.
    """
    done = command(words_for(kind, name))
    if done.status is None:
        return None, [done.err]
    lines = [line for line in output_lines(done.err) if "older than source" not in line]
    if not lines:
        return "", []
    is_fatal = any(re.search(r"\b(fatal|error):|unsupported dictionary type|No such file", line) for line in lines)
    return "fail" if is_fatal else "warn", lines


def words_for(kind: str, name: str) -> tuple[str, ...]:
    return "postmap", "-q", _KEY, f"{kind}:{name}"


def parameters(text: str) -> dict[str, str]:
    """Return ``{name: value}`` for the output of postconf."""
    return {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in text.splitlines())}
