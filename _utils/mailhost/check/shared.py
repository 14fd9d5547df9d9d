"""Helpers that checks share: commands without an answer, parser output, one finding for many names, comparisons."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from mailhost.check.findings import CheckResult, Finding, ok
from mailhost.command import CommandResult

_SECRET = re.compile(r"passw|secret|dsn|bindpw", re.IGNORECASE)
_WITH_LOGIN = re.compile(r"\w+://[^/\s]*:[^/\s]*@|\bstatic:|^dsn:")


def not_run(id: str, about: str, wanted: str, words: Iterable[str], done: CommandResult) -> Finding:
    """Return the finding that a command could not be run, gave no answer in time, or gave an unreadable one."""
    why = _first_line(done.err) or _first_line(done.out) or f"exit status {done.status}"
    asked = command_line(words)
    return Finding(id, "unknown", about, wanted, f"`{asked}`: {why}", f"Run it by hand: `{asked}`, then check again.")


def command_line(words: Iterable[str]) -> str:
    """Return the words of a command as typed in a shell."""
    return " ".join(f"'{word}'" if re.search(r"[^\w@%+=:,./-]", word) else word for word in words)


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def brief(items: Iterable[str], limit: int = 3) -> str:
    """Return the first of these texts, and how many more there are."""
    items = list(items)
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def rows_differ(where: str, wanted: Collection[str], there: Collection[str]) -> str:
    """Return which wanted rows are missing and which rows are extra; ``""`` if they are the same.

    :param where: the name of what has the rows, for the sentence.
    """
    lacks, more = sorted({*wanted}.difference(there)), sorted({*there}.difference(wanted))
    told = [f"{where} lacks {brief(lacks)}" if lacks else "", f"{where} has {brief(more)} besides" if more else ""]
    return "; ".join(filter(None, told))


def together(id: str, names: Iterable[str], kind: str, wanted: str) -> list[Finding]:
    """Return one finding, in a list, that all these are as wanted; an empty list if there are none."""
    names = list(names)
    if not names:
        return []
    return [ok(id, names[0] if len(names) == 1 else f"{len(names)} {kind}", wanted)]


@dataclass(frozen=True)
class ChainStep:
    """One thing to check for each of many names.

    ``check`` is called with a name and returns what is wrong, or ``None``.
    """

    id: str
    wanted: str
    check: Callable[[str], CheckResult | None]


def chain(steps: Collection[ChainStep], names: Iterable[str], kind: str = "domains") -> list[Finding]:
    """Return the findings of steps that build on each other: after a failed step, a name's later steps are skipped.

    For each step, all names that are right make one finding.
    """
    found: list[Finding] = []
    passed: dict[str, list[str]] = {step.id: [] for step in steps}
    for name in names:
        for step in steps:
            wrong = step.check(name)
            if wrong:
                status, seen, remedy = wrong
                found.append(Finding(step.id, status, name, step.wanted, seen, remedy))
                break
            passed[step.id].append(name)
    return found + [one for step in steps for one in together(step.id, passed[step.id], kind, step.wanted)]


def drifts(id: str, where: str, wanted: Mapping[str, str | int], seen: Mapping[str, str], remedy: str) -> list[Finding]:
    """Return findings about values that differ from the pillar: one for each, and one for all the others.

    :param where: the file. ``seen`` are its values, and ``wanted`` the pillar's, each a mapping from names to texts.
    :param remedy: contains ``{}`` for the name.
    """
    found = []
    for name in dict.fromkeys([*wanted, *seen]):
        ours, theirs = _spaced(wanted.get(name)), _spaced(seen.get(name))
        if ours != theirs:
            told = [_shown(name, ours, theirs), _shown(name, theirs, ours)]
            found.append(Finding(id, "warn", name, told[0], f"{told[1]} in {where}", remedy.format(name)))
    settled = len(set(wanted) - {one.about for one in found})
    return found + ([ok(id, where, f"{settled} values are as in the pillar")] if settled else [])


def _spaced(value: str | int | None) -> str | None:
    return None if value is None else " ".join(str(value).split())


def _shown(name: str, value: str | None, other: str | None) -> str:
    """Return a value for display: of a long list only what the other lacks; a secret is not shown."""
    if value is None:
        return f"no {name}"
    if _SECRET.search(name) or _WITH_LOGIN.search(value):
        return f"{name} = (not shown)"
    if len(value) > 120 and other:
        own = [item for item in value.split(", ") if item not in other.split(", ")]
        return f"{name} with {brief(own)}" if own else f"{name} without what the other has more"
    return f"{name} = {value[:120]}"
