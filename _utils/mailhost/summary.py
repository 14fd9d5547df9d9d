"""What a highstate did, and what is to be done after it: the comment of the state ``mailserver.summary``. Pure.

Other states hand over what people must do in DNS (:func:`note`), and only name it themselves.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

from mailhost.wording import indented, lines, plain

DETAILS = 20
"""How many entries a list of the summary has at most."""
NAMES = 6
"""How many names the line of a component has at most."""
_CONTEXT = "mailserver.summary"
_OF_FORMULA = "mailserver"


@dataclass(frozen=True)
class Noted:
    """What states of a run handed over: ``todo`` maps a text that says what is wrong in DNS to lines that say what to
    do there, ready to copy; ``waiting`` are sentences on what only time brings."""

    todo: dict[str, str] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StateResult:
    """A state that ran, as Salt's state system returned it. ``component`` is the folder of its SLS file."""

    id: str
    function: str
    name: str
    component: str
    result: bool | None
    changes: Mapping[str, Any]
    comment: str
    warnings: tuple[str, ...] = ()


def follows(chunks: Iterable[Mapping[str, Any]], running: Mapping[str, Any]) -> bool:
    """Tell whether the state ``mailserver.summary`` ends this run.

    :param chunks: Salt's ``__lowstate__``: the states of the run. ``state.sls_id``, which runs one of them alone, has
        all of its SLS file here, too.
    :param running: Salt's ``__running__``: what ran before. For the first state, and for one alone, it is empty.
    """
    return bool(running) and any((one.get("state"), one.get("fun")) == ("mailserver", "summary") for one in chunks)


def note(context: MutableMapping[str, Any], todo: Mapping[str, str], waiting: Iterable[str] = ()) -> None:
    """Hand over what :class:`Noted` has, through ``__context__``, which the states of a run share."""
    noted = context.setdefault(_CONTEXT, Noted())
    noted.todo.update(todo)
    noted.waiting.extend(waiting)


def noted(context: Mapping[str, Any]) -> Noted:
    """Return what the states of this run handed over."""
    found = context.get(_CONTEXT, Noted())
    return found if isinstance(found, Noted) else Noted()


def done(running: Mapping[str, Mapping[str, Any]]) -> list[StateResult]:
    """Return the formula's states that ran so far, in order, from Salt's ``__running__``."""
    found = [(tag.split("_|-"), ret) for tag, ret in running.items()]
    found.sort(key=lambda one: one[1].get("__run_num__", 0))
    return [
        StateResult(
            ret.get("__id__") or words[1],
            f"{words[0]}.{words[-1]}",
            words[2],
            [*ret["__sls__"].split("."), _OF_FORMULA][1],
            ret.get("result"),
            ret.get("changes") or {},
            str(ret.get("comment", "")),
            tuple(map(str, ret.get("warnings") or ())),
        )
        for words, ret in found
        if len(words) == 4 and str(ret.get("__sls__", "")).partition(".")[0] == _OF_FORMULA
    ]


def changed(states: Iterable[StateResult]) -> list[StateResult]:
    """Return the states that changed something or, in a dry run, would."""
    return [one for one in states if one.changes or one.result is None]


def text(states: list[StateResult], found: Noted, test: bool) -> str:
    """Return the summary: what failed, what is to be done, what waits, all other warnings, and what changed.

    :param test: whether this is a dry run.
    """
    named = {_first(one) for one in found.todo}
    warned = dict.fromkeys(_first(one) for state in states for one in state.warnings)
    failed = [f"{one.id}: {_first(one.comment)}" for one in states if one.result is False]
    parts = [
        _part("Failed" if not test else "Would fail", failed),
        _part("To do now", [f"{lines(one)}\n{indented(lines(todo))}" for one, todo in found.todo.items()], _MORE),
        _part("Waits", found.waiting),
        _part("Warnings", [one for one in warned if one not in named]),
        _part("Changed" if not test else "Would change", _by_component(changed(states))),
        _UNKNOWN if test and any(one.function == "pkg.installed" for one in changed(states)) else "",
    ]
    return "\n".join(filter(None, parts)) or "Nothing changed, nothing waits, and there is nothing to do"


_MORE = "dkim.status has each key, mailserver.records what to publish"
_UNKNOWN = (
    "Packages would be installed, and what they bring along cannot be known before that: which files and services a "
    "package makes itself, whether the daemons take their configuration, and what DNS shows."
)


def _part(title: str, entries: list[str], more: str = "") -> str:
    """Return a list with its title, or nothing if it is empty."""
    if not entries:
        return ""
    shown = [indented(one) for one in entries[:DETAILS]]
    rest = len(entries) - DETAILS
    shown += [f"  … and {rest:,} more like these{f'; {more}' if more else ''}"] if rest > 0 else []
    return "\n".join([f"{title}:", *shown])


def _by_component(states: list[StateResult]) -> list[str]:
    """Return a line for each component, with the names of what changed in it."""
    names: dict[str, dict[str, None]] = {}
    for one in states:
        names.setdefault(one.component, {}).update(dict.fromkeys(_names(one)))
    return [f"{component}: {_some(list(known))}" for component, known in sorted(names.items())]


def _names(state: StateResult) -> list[str]:
    """Return what a state changed: packages, the domains whose keys, a file or service; its id if that is a command."""
    found = [plain(str(one), 80) for one in state.changes]
    if state.function.startswith("pkg.") and len(found) > NAMES:
        return [f"{len(found)} packages"]
    if found and state.function.startswith(("pkg.", "dkim.")):
        return found
    return [plain(state.id if " " in state.name else state.name, 80)]


def _some(names: list[str]) -> str:
    rest = len(names) - NAMES
    return ", ".join(names[:NAMES]) + (f" and {rest} more" if rest > 0 else "")


def _first(told: str) -> str:
    """Return the first line of a text, plain."""
    return plain(told.strip().partition("\n")[0])
