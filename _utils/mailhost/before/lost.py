"""Settings that a hand-made configuration has and the formula's does not, so that a first run would lose them. Pure.

A setting counts if it differs from the daemon's default, from what the distribution ships, and from the new value.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mailhost.daemons import secrets as daemons_secrets
from mailhost.wording import plain

MOST = 60
"""Rows that a list shows, so that people read it."""
LONGEST = 200
"""Characters of a value that are shown."""


@dataclass(frozen=True)
class LostSetting:
    """A setting that would be lost: where it is (``main.cf:12``), what the formula sets instead, and what keeps it."""

    name: str
    value: str
    where: str
    key: str
    now: str = ""

    def __str__(self) -> str:
        instead = f"; the formula sets {masked(self.name, self.now)}" if self.now else ""
        return f"{self.name} = {masked(self.name, self.value)} ({self.where}){instead}: {self.key}"


def masked(name: str, value: str) -> str:
    """Return a value for display: without secrets, on one line of at most ``LONGEST`` characters."""
    return plain(daemons_secrets.masked(name.rpartition("/")[2], " ".join(value.split())), LONGEST)


def same(one: str, other: str) -> bool:
    """Tell whether two values mean the same; lists may be separated by commas or white space."""
    words = [re.split(r"[,\s]+", value.strip().strip('"')) for value in (one, other)]
    return words[0] == words[1] or one.strip().lower() == other.strip().lower()


def lost(
    old: Mapping[str, str],
    new: Mapping[str, str],
    defaults: Mapping[str, str | tuple[str, ...]],
    where: Callable[[str], str],
    key: Callable[[str], str],
) -> list[LostSetting]:
    """Return the settings of ``old`` that are lost, sorted; all arguments are ``{name: value}``.

    :param defaults: those of the daemon and of the distribution; values or tuples of them.
    :param where, key: called with a name; return the place of its line, and what keeps the setting.
    """
    found = []
    for name, value in sorted(old.items()):
        known = defaults.get(name, ())
        known = known if isinstance(known, tuple) else (known,)
        coming = new.get(name)
        instead = coming if coming is not None else known[0] if known else None
        if instead is not None and same(value, instead):
            continue
        if not any(same(value, one) for one in known):
            found.append(LostSetting(name, value, where(name), key(name), coming or ""))
    return found


def parameters(text: str) -> dict[str, str]:
    """Return the settings of a main.cf, or of the output of ``postconf -n``, ``{name: value}``; the last one counts."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace() and name:
            found[name] += f" {line.strip()}"
            continue
        name, _, value = (word.strip() for word in line.partition("="))
        found[name] = value
    return found


def services(text: str) -> dict[str, str]:
    """Return the services in the output of ``postconf -M``, ``{"smtp/inet": columns with the command}``."""
    rows = [line.split(None, 7) for line in text.splitlines() if line.strip() and not line[0].isspace()]
    return {f"{row[0]}/{row[1]}": " ".join(row[2:]).partition(" -o ")[0] for row in rows if len(row) == 8}


def sections(text: str) -> dict[str, str]:
    """Return the settings in the output of ``doveconf -n``, ``{"service imap/process_limit": value}``."""
    found: dict[str, str] = {}
    stack: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("}"):
            del stack[-1:]
        elif line.endswith("{"):
            stack.append(line[:-1].strip())
        elif "=" in line and not line.startswith("#"):
            name, _, value = (word.strip() for word in line.partition("="))
            found["/".join([*stack, name])] = value
    return found


def directives(text: str) -> dict[str, tuple[str, str]]:
    """Return the settings of an opendkim.conf, ``{name in lower case: (name, value)}``."""
    rows = (line.partition("#")[0].split(None, 1) for line in text.splitlines())
    return {row[0].lower(): (row[0], row[1].strip()) for row in rows if len(row) == 2}


def line_of(pattern: str, files: Mapping[str, str]) -> str:
    """Return ``path:line`` of the last line that matches a pattern.

    :param files: ``{path: text}``.
    """
    found = [
        f"{path}:{number}"
        for path, text in files.items()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]
    return found[-1] if found else ", ".join(files)


def report(found: Sequence[LostSetting], what: str) -> str:
    """Return the list as text for the operator; ``""`` if nothing is lost."""
    if not found:
        return ""
    rows = [f"  {one}" for one in found[:MOST]]
    more = [f"  and {len(found) - MOST} more"] if len(found) > MOST else []
    return "\n".join([f"{len(found)} settings of {what} are not in the pillar, and would be lost:", *rows, *more])
