"""The reflector's report: an overall result, then SPF, DKIM and DMARC, each with what to do."""

from mailhost.reflector.message import plain
from mailhost.reflector.texts import TEXTS

OVERALL = ("right", "own", "wrong", "unknown")
"""All passes; the same, but not all of an own user's mail could be judged; something fails; DNS did not answer."""

_UNDECIDED = ("temperror", "unjudged")


def overall(found):
    """Return which of :data:`OVERALL` applies to the results.

    :param found: ``spf``: address, helo, domain, result, why, open, explanation; ``dkim``: a list of domain, selector,
        result, reason; ``left_out``: how many signatures were not verified; ``dmarc`` and ``older``, the same by the
        rules of RFC 7489: result, domain, policy, reason, author.
    """
    results = [found["spf"]["result"], found["dmarc"]["result"], found["older"]["result"]]
    results += ["open"] if found["spf"]["open"] else []
    results += [one["result"] for one in found["dkim"]] or ["none"]
    others = {one for one in results if one != "pass"}
    if not others:
        return "right"
    if others - set(_UNDECIDED):
        return "wrong"
    return "unknown" if "temperror" in others else "own"


def report(found, sender, hostname, when, language):
    """Return the report as text.

    :param found: as for :func:`overall`.
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


def _section(title, lines):
    return "\n".join([f"[{title}]", *filter(None, lines)])


def _overall(found, say):
    judged = overall(found)
    return say[f"overall.{judged}"].format(faults=say["comma"].join(_faults(found, say)))


def _faults(found, say):
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


def _spf(spf, hostname, say):
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


def _dkim(found, say):
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


def _dmarc(found, say):
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


def _detail(reason, say):
    return say["detail"].format(reason=plain(reason)) if reason else ""


def _shown(one):
    """Return values that a stranger may have written (names, above all) in a form that is safe in a line."""
    return {name: plain(value, 253) if isinstance(value, str) else value for name, value in one.items()}
