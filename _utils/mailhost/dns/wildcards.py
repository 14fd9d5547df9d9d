"""Whether what DNS shows at a name is a record of that name, or synthesized from a wildcard (RFC 4592).

A wildcard (``*._domainkey.example.com``) answers for each name that does not exist, and for the names below it. It does
not answer below a name that exists (RFC 4592 section 4.3.2: the closest encloser). So a random name is queried below
the one in question: if both show the same, a wildcard synthesized it.
"""

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from mailhost.dns.lookup import Answers, Question, ServerAnswer
from mailhost.dns.message import Values
from mailhost.wording import shown

Ask = Callable[[Collection[Question]], Mapping[Question, Answers]]
"""Asks DNS, as :func:`mailhost.dns.lookup.ask` does."""
Counts = Callable[[Question, Values], bool]
"""Takes a question and values; tells whether they count even if a wildcard synthesized them."""
_MOST_LINKS = 12
_LONGEST_NAME = 253


@dataclass(frozen=True)
class _End:
    """The name at which a record belongs, its zone, the alias that a wildcard makes of it, or why that is not known."""

    name: str
    zone: str = ""
    made: str = ""
    trouble: str = ""


def below(name: str) -> str:
    """Return a random name directly below another one."""
    return f"{secrets.token_hex(6)}.{name}"


def unmasked(
    found: Mapping[Question, Answers], ask: Ask, counts: Counts = lambda question, values: False
) -> dict[Question, Answers]:
    """Return answers to TXT questions as they would be without wildcards.

    What a wildcard synthesized is *absent*, with the synthesized values in its detail. ``target`` and ``zone`` say
    where the record belongs: an alias (CNAME) at the name itself is followed, one from a wildcard is not. If that
    cannot be found out, there is no zone, and ``trouble`` says why.
    """
    asked = {question: one for question, one in found.items() if _may_be_made(question, one)}
    if not asked:
        return dict(found)
    ends = _ends(asked, ask)
    probes = {
        question: Question(below(end.name), "TXT") for question, end in ends.items() if _answered(asked[question])
    }
    said = ask(probes.values()) if probes else {}
    shown_below = {question: said.get(probe) for question, probe in probes.items()}
    seen = {question: _without(question, one, shown_below.get(question), counts) for question, one in asked.items()}
    return {**found, **{question: _placed(asked[question], ends[question], seen[question]) for question in asked}}


def _may_be_made(question: Question, answers: Answers) -> bool:
    fits = len(question.name) <= _LONGEST_NAME - len(below(""))
    return fits and (_is_alias(question, answers) or _answered(answers))


def _is_alias(question: Question, answers: Answers) -> bool:
    return answers.target not in ("", question.name)


def _answered(answers: Answers) -> bool:
    return any(one.status == "answer" for one in answers.seen)


# ---- aliases


def _ends(found: Mapping[Question, Answers], ask: Ask) -> dict[Question, _End]:
    """Return the :class:`_End` of each question: its chain of aliases is followed up to one from a wildcard."""
    ends = {question: _End(question.name, one.zone) for question, one in found.items()}
    open_ends = {question: one.target for question, one in found.items() if _is_alias(question, one)}
    for _ in range(_MOST_LINKS):
        if not open_ends:
            return ends
        own = {question: Question(ends[question].name, "CNAME") for question in open_ends}
        probes = {question: Question(below(ends[question].name), "CNAME") for question in open_ends}
        said = ask([*own.values(), *probes.values()])
        for question, target in list(open_ends.items()):
            ends[question] = _step(ends[question].name, said[own[question]], said[probes[question]])
            if not ends[question].zone and ends[question].name == target:
                ends[question] = _End(target, found[question].zone)
            if ends[question].zone or ends[question].trouble:
                del open_ends[question]
    for question in open_ends:
        ends[question] = replace(ends[question], trouble=f"{question.name}: its chain of aliases (CNAME) has no end.")
    return ends


def _step(name: str, own: Answers, probe: Answers) -> _End:
    """Return the end of a chain that has come to ``name``, or the next link: that has neither zone nor trouble."""
    aliases, made = _aliases(own), _aliases(probe)
    if not _told(own) or (aliases and not _told(probe)):
        why = (own if not _told(own) else probe).trouble or "its name servers did not answer"
        return _End(name, trouble=f"{name}: whether a wildcard makes it an alias (CNAME) is not known: {why}")
    if not aliases:
        return _End(name, own.zone)
    if aliases <= made:
        return _End(name, own.zone, made=", ".join(sorted(aliases)))
    if len(aliases) > 1:
        listed = ", ".join(sorted(aliases))
        return _End(name, trouble=f"{name}: its name servers show different aliases (CNAME): {listed}.")
    return _End(*aliases)


def _aliases(answers: Answers) -> set[str]:
    return {value for one in answers.seen if one.status == "answer" for value in one.values}


def _told(answers: Answers) -> bool:
    return any(one.status != "unknown" for one in answers.seen)


# ---- texts


def _without(question: Question, answers: Answers, probe: Answers | None, counts: Counts) -> tuple[ServerAnswer, ...]:
    """Return what servers show at a name, without values that they also show below it."""
    made = {(one.server, one.address): one.values for one in probe.seen if one.status == "answer"} if probe else {}
    return tuple(
        replace(one, status="absent", values=(), ttl=None, detail=_detail(one.values))
        if one.status == "answer"
        and made.get((one.server, one.address)) == one.values
        and not counts(question, one.values)
        else one
        for one in answers.seen
    )


def _detail(values: Sequence[bytes]) -> str:
    texts = " and ".join(shown(value.decode("utf-8", "replace")) for value in values[:2])
    return f"no record of its own; a wildcard (*) above it answers with {texts}"


def _placed(answers: Answers, end: _End, seen: tuple[ServerAnswer, ...]) -> Answers:
    if end.trouble:
        return replace(answers, zone="", seen=seen, trouble=answers.trouble or end.trouble)
    if end.made:
        made = f"no record of its own; a wildcard (*) above it makes it an alias of {end.made}"
        seen = tuple(replace(one, detail=made) if one.status == "absent" else one for one in seen)
    return replace(answers, target=end.name, zone=end.zone, seen=seen)
