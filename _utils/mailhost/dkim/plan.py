"""The plan of a run: what is due for the keys of a domain, by their rows and by what was seen. Pure: nothing is done.

Making (:mod:`mailhost.dkim.make`), looking (:mod:`mailhost.dkim.look`) and signing (:mod:`mailhost.dkim.sign`) gather
what the host, DNS and OpenDKIM's tables show, call :func:`plan` for each domain, and apply its steps. A dry run differs
in that nobody applies them.
"""

from dataclasses import dataclass, replace

from mailhost.dkim import life
from mailhost.dkim.given_up import FOREIGN, FOREIGN_REVOKED, LOST, REVOKED, TAKEN, UNSEEN, WHY
from mailhost.dkim.records import TESTING, judge, judge_wanted, shows, testing
from mailhost.dkim.steps import (
    DESTROY,
    FAIL,
    LOSE,
    PUBLISH,
    REMOVE,
    REPLACE,
    RETIRE,
    REVOKE,
    WAIT,
    Step,
)
from mailhost.errors import DkimError


@dataclass(frozen=True)
class InDns:
    """What DNS shows of a domain's keys, and what OpenDKIM's tables and the disk say of these keys.

    ``answers`` maps the selectors that DNS was asked for to :class:`mailhost.dns.lookup.Answers`, ``wants`` maps them
    to :class:`mailhost.dkim.records.Wanted`; without it, the plan only gives up the keys that are lost. ``named`` are
    the selectors that the tables name, ``is_signed`` says whether they name any for the domain, and ``missing`` are
    those whose private key is not on disk.
    """

    answers: dict
    wants: dict | None = None
    named: frozenset = frozenset()
    is_signed: bool = False
    missing: frozenset = frozenset()


def plan(manifest, policy, now, seen):
    """Return the steps that are due for a domain's keys, in their order, each a :class:`mailhost.dkim.steps.Step`.

    :param manifest: the rows of the domain's keys (:class:`mailhost.dkim.life.Manifest`).
    :param policy: the domain's pillar section ``dkim``.
    :param now: the trusted time (aware UTC datetime).
    :param seen: what a part of the run has gathered: :class:`InDns`.
    """
    return tuple(_PARTS[type(seen)](manifest, policy, now, seen))


def after(manifest, steps):
    """Return the manifest as it is once steps are done."""
    return life.with_keys(manifest, [step.key for step in steps if step.key and step.kind != WAIT])


def _in_dns(manifest, policy, now, seen):
    """Yield what DNS makes due: stamps for what it shows as wanted; for all else, that a key waits."""
    if seen.wants is None:
        yield from _lost(manifest, policy, now, seen)
        return
    for key in manifest.keys:
        if key.selector in seen.answers:
            yield from _earned(manifest.domain, key, now, seen)


def _earned(name, key, now, seen):
    """Yield the stamp that a key's record in DNS has earned it; an answer that is not as wanted earns none."""
    wanted, answers = seen.wants[key.selector], seen.answers[key.selector]
    verdict = judge_wanted(key, wanted, answers)
    if verdict.value != "published":
        yield Step(WAIT, name, key.selector, _WAITS[verdict.value], key=key, verdict=verdict)
        return
    if testing(answers):
        yield Step(WAIT, name, key.selector, TESTING.format(key.selector))
    stage = _next_stage(key, wanted, key.selector in seen.named)
    if not stage:
        return
    shown = "no server shows it any more" if wanted.left else "every authoritative server shows it so"
    try:
        stamped = life.stamp(key, stage, now)
    except DkimError as err:
        yield Step(FAIL, name, key.selector, str(err))
        return
    stamped = replace(stamped, public="") if stage == "removed" else stamped
    yield Step(_STAMPS[stage], name, key.selector, shown, key.stage, stage, stamped, verdict)
    if stage == "revoked":
        yield Step(DESTROY, name, key.selector, "its record is revoked")


_WAITS = {
    "absent": "DNS does not show its record",
    "different": "DNS shows another record than is wanted",
    "unknown": "DNS did not answer as it should, so nothing changes",
}
_STAMPS = {"published": PUBLISH, "revoked": REVOKE, "removed": REMOVE}


def _next_stage(key, wanted, is_named):
    """Return the stage that a key has reached whose record DNS shows as wanted, ``""`` for the one that it is in."""
    if wanted.why or (wanted.left and key.stage in ("retired", "revoked") and not is_named):
        return "removed" if key.revoked else "revoked"
    return "published" if key.stage == "generated" else ""


def _lost(manifest, policy, now, seen):
    """Yield what becomes of the keys that DNS shows to be lost: they are given up, and another takes their place."""
    steps = []
    for key in manifest.keys:
        why = key.selector in seen.answers and _why_lost(manifest, policy, now, key, seen)
        steps += _given_up(manifest.domain, key, why, now, seen) if why else ()
    yield from steps
    changed = after(manifest, steps)
    if any(key.given_up for key in changed.keys) and life.needs_key(changed):
        yield Step(REPLACE, manifest.domain, reason="a key is given up, and none signs or waits in its place")


def _given_up(name, key, why, now, seen):
    """Yield the steps of a key that is lost: it is given up, and retired where it does not sign."""
    lost = replace(key, given_up=why)
    yield Step(LOSE, name, key.selector, WHY[why], key=lost)
    if key.selector not in seen.named and key.stage != "retired" and now >= key.since:
        yield Step(RETIRE, name, key.selector, WHY[why], key.stage, "retired", life.stamp(lost, "retired", now))


def _why_lost(manifest, policy, now, key, seen):
    """Return why a key is lost; ``""``: it is not.

    A record that was never seen as ours tells nothing of what became of the key: a wildcard ``*._domainkey`` with an
    empty ``p=`` is usual where no mail is sent.
    """
    if key.given_up not in ("", FOREIGN, UNSEEN) or key.revoked:
        return ""
    answers, is_named = seen.answers[key.selector], key.selector in seen.named
    found = shows(key, answers)
    if found == "revoked" and key.published and not _may_be_revoked(key, policy, now, is_named):
        is_foreign = key.given_up == FOREIGN
        return REVOKED if not is_foreign else "" if key.retired else FOREIGN_REVOKED
    if key.stage == "signing" and not is_named:
        # It is to sign by its stamps, and does not: it comes back.
        is_gone = judge(key, answers).value == "absent" and not answers.trouble and seen.is_signed
        return TAKEN if found == "another" else LOST if is_gone and not key.given_up else ""
    is_away = key.stage == "retired" and not is_named and key.selector in seen.missing
    if is_away and judge(key, answers).value == "absent":
        # An older file of stamps was put back after the key's revocation, or it seems so.
        return LOST
    return TAKEN if found == "another" and _is_urgent(manifest, key) else ""


def _may_be_revoked(key, policy, now, is_named):
    """Tell whether this host may have had the record revoked itself: its retention is over."""
    return key.stage == "retired" and not is_named and now >= life.retention_ends(key, policy)


def _is_urgent(manifest, key):
    """Tell whether a key that waits is to replace one that was given up."""
    present = life.signer(manifest)
    return key in life.waiting(manifest) and present is not None and bool(present.given_up)


_PARTS = {InDns: _in_dns}
