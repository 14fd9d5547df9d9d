"""The reflector's report: an overall result, then SPF, DKIM and DMARC, each with what to do."""

from collections.abc import Iterable, Mapping
from typing import TypedDict

from mailhost.receiver.dmarc import Verdict
from mailhost.reflector.message import plain
from mailhost.reflector.texts import TEXTS

OVERALL = ("right", "own", "wrong", "unknown")
"""All passes; the same, but not all of an own user's mail could be judged; something fails; DNS did not answer."""

_UNDECIDED = ("temperror", "unjudged")


class Spf(TypedDict):
    """What SPF says of the envelope's sender; ``open``: its record allows every address.

    ``why`` is why the result is ``unjudged``, if it is: ``login`` or ``network``.
    """

    address: str
    helo: str
    domain: str
    result: str
    why: str
    open: bool
    explanation: str


class Dmarc(Verdict):
    """DMARC's result for the domain in From, ``author``."""

    author: str


class Results(TypedDict):
    """All results of a message.

    ``dkim`` has the domain, selector, result and reason of each signature, ``left_out`` counts those that were not
    verified. ``older`` is DMARC by the rules of RFC 7489.
    """

    spf: Spf
    dkim: list[dict[str, str]]
    left_out: int
    dmarc: Dmarc
    older: Dmarc


def overall(found: Results) -> str:
    """Return which of :data:`OVERALL` applies to the results."""
    results = [found["spf"]["result"], found["dmarc"]["result"], found["older"]["result"]]
    results += ["open"] if found["spf"]["open"] else []
    results += [one["result"] for one in found["dkim"]] or ["none"]
    others = {one for one in results if one != "pass"}
    if not others:
        return "right"
    if others - set(_UNDECIDED):
        return "wrong"
    return "unknown" if "temperror" in others else "own"


def report(found: Results, sender: str, hostname: str, when: str, language: str) -> str:
    """Return the report as text.

    :param when: the time at which the message was judged, as text.
    :param language: ``en`` or ``ja``.
    """
    say = TEXTS[language]
    parts = [
        say["greeting"].format(sender=sender),
        say["intro"].format(hostname=hostname, when=when),
        _section(say["overall"], [_overall(found, say)]),
        _section("SPF", _spf(found["spf"], hostname, say)),
        _section("DKIM", _dkim(found, say)),
        _section("DMARC", _dmarc(found, say)),
        say["end"],
    ]
    return "\n\n".join(parts) + "\n"


def _section(title: str, lines: Iterable[str]) -> str:
    return "\n".join([f"[{title}]", *filter(None, lines)])


def _overall(found: Results, say: Mapping[str, str]) -> str:
    judged = overall(found)
    return say[f"overall.{judged}"].format(faults=say["comma"].join(_faults(found, say)))


def _faults(found: Results, say: Mapping[str, str]) -> list[str]:
    """Return a few words about each result that is not a pass."""
    spf, dmarc, older = found["spf"], found["dmarc"], found["older"]
    faults = (
        [say["fault"].format(what="SPF", result=spf["result"])] if spf["result"] not in ("pass", "unjudged") else []
    )
    if spf["open"]:
        faults.append(say["fault.open"])
    for one in found["dkim"]:
        if one["result"] != "pass":
            faults.append(say["fault.dkim"].format(**_shown(one)))
    if not found["dkim"]:
        faults.append(say["fault.unsigned"])
    if dmarc["result"] != "pass":
        faults.append(say["fault"].format(what="DMARC", result=dmarc["result"]))
    if older["result"] not in (dmarc["result"], "pass"):
        faults.append(say["fault.older"].format(result=older["result"]))
    return faults


def _spf(spf: Spf, hostname: str, say: Mapping[str, str]) -> list[str]:
    shown = _shown(spf)
    advice = f"spf.unjudged.{spf['why']}" if spf["result"] == "unjudged" else f"spf.{spf['result']}"
    return [
        say["spf.address"].format(**shown),
        say["spf.helo"].format(**shown) if spf["helo"] else "",
        say["spf.domain"].format(**shown),
        say["result"].format(result=say["unjudged"] if spf["result"] == "unjudged" else spf["result"]),
        say.get(advice, "").format(hostname=hostname, **shown),
        say["spf.open"].format(**shown) if spf["open"] else "",
        _detail(spf["explanation"] if spf["result"] in ("permerror", "temperror") else "", say),
    ]


def _dkim(found: Results, say: Mapping[str, str]) -> list[str]:
    if not found["dkim"]:
        return [say["result"].format(result="none"), say["dkim.none"].format(domain=found["spf"]["domain"])]
    lines = []
    for one in found["dkim"]:
        shown = _shown(one)
        lines.append(say["dkim.domain"].format(**shown))
        lines.append(say["dkim.selector"].format(**shown))
        lines.append(say["result"].format(**shown))
        lines.append(say.get(f"dkim.{one['result']}", "").format(**shown))
        lines.append(_detail(one["reason"] if one["result"] != "pass" else "", say))
    if found["left_out"]:
        lines.append(say["dkim.left_out"].format(count=found["left_out"]))
    return lines


def _dmarc(found: Results, say: Mapping[str, str]) -> list[str]:
    dmarc, older = found["dmarc"], found["older"]
    shown = _shown(dmarc)
    lines = [
        say["dmarc.author"].format(author=shown["author"] or say["unknown"]),
        say["dmarc.domain"].format(**shown) if dmarc["policy"] else "",
        say["dmarc.policy"].format(policy=dmarc["policy"] or say["no policy"]),
        say["result"].format(**shown),
        say.get(f"dmarc.{dmarc['result']}", "").format(**shown),
        _detail(dmarc["reason"] if dmarc["result"] != "pass" else "", say),
    ]
    if older["result"] != dmarc["result"]:
        lines.append(say["dmarc.older"].format(**_shown(older)))
        lines.append(_detail(older["reason"], say))
    return lines


def _detail(reason: str, say: Mapping[str, str]) -> str:
    return say["detail"].format(reason=plain(reason)) if reason else ""


def _shown(one: Mapping[str, object]) -> dict[str, object]:
    """Return values that a stranger may have written (names, above all) in a form that is safe in a line."""
    return {name: plain(value, 253) if isinstance(value, str) else value for name, value in one.items()}
