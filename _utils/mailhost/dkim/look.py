"""Every key is looked for in DNS: what is seen is stamped, what is not yet as it must be is published or reported."""

import contextlib
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

from mailhost import files as safe_files
from mailhost.dkim import life, messages
from mailhost.dkim import lost as lost_keys
from mailhost.dkim import settled as dkim_settled
from mailhost.dkim.records import (
    TESTING,
    change_of,
    judge_wanted,
    oldest_if_needed,
    question_of,
    testing,
    wanted_of,
    without_wildcards,
)
from mailhost.dkim.report import Report, merged
from mailhost.dkim.run import read_manifests
from mailhost.dns import lookup
from mailhost.errors import DkimError, KeyInUse, PublishError, WriteError
from mailhost.publish import change as publish_change
from mailhost.publish import credential as publish_credential
from mailhost.publish import rfc2136
from mailhost.records.places import Places
from mailhost.scale import turns as scale_turns

LOOKED = "looked.json"
"""The file, in the folder of the keys, of the last key whose turn it was, and of those that DNS did not show as it
must: domain and selector of each."""


def check_published(run, oldest_queued=None, publish=None, everything=False, look=None):
    """Look for keys in DNS, and stamp what was seen: published, revoked, removed; keys that are lost are given up.

    With thousands of keys it looks for those of which something is awaited, for those that the last watch saw wrong,
    and for a share of the others.

    :param oldest_queued: called with the run, returns what :func:`mailhost.dkim.life.keeps_record` wants to know of the
        mail queue; asked only where it matters.
    :param publish: has records published (:func:`publisher`); ``None``: people do it.
    :param everything: look for all keys, and for no share of them.
    :param look: the :class:`mailhost.dkim.settled.Look` of an earlier part of the same highstate; one of its own, if
        left out.
    """
    report, look = Report(), look or dkim_settled.Look(run)
    manifests = read_manifests(run, report, look.rest)
    oldest = oldest_if_needed(run, manifests.values(), oldest_queued)
    wants = _wants(run, manifests, oldest)
    # A revoked key has its stamp: nothing is to be seen of it until its record is to go.
    to_ask = [place for place, (key, wanted) in wants.items() if not key.revoked or wanted.why or wanted.left]
    settled = [place for place in to_ask if _is_settled(*wants[place])]
    settled += ((name, selector) for name, known in look.settled.items() for selector in known.shown)
    settled.sort()
    turn = settled if everything else _whose_turn(run, settled)
    later = set(settled).difference(turn)
    if later:
        report.notes.append(f"{len(later)} keys that DNS showed before were not looked for now; their turn comes.")
    more = read_manifests(run, report, dict.fromkeys(name for name, _ in turn if name in look.settled))
    manifests.update(more)
    wants.update(_wants(run, more, oldest))
    to_ask = [place for place in dict.fromkeys((*to_ask, *turn)) if place in wants and place not in later]
    seen = _look(run, wants, to_ask)
    for name, manifest in lost_keys.give_up(run, manifests, seen, report).items():
        manifests[name] = manifest
        wants.update(_wants(run, {name: manifest}, oldest))
    if publish and not run.test:
        seen.update(_publish(run, wants, seen, publish, report))
    report.waiting += lookup.remarks(seen.values())
    if len(settled) > scale_turns.MANY and not run.test:
        shown = [one for one in turn if one in seen]
        wrong = [one for one in shown if judge_wanted(*wants[one], seen[one]).value in ("absent", "different")]
        _remember(run, {"last": turn[: scale_turns.SHARE][-1], "wrong": wrong})
    return merged(report, *(_stamp_seen(run, manifest, wants, seen) for manifest in manifests.values()))


def _wants(run, manifests, oldest):
    """Return ``{(domain, selector): (key, Wanted)}`` of all keys that are not removed."""
    return {
        (name, key.selector): (key, wanted_of(run, name, key, oldest))
        for name, manifest in manifests.items()
        for key in manifest.keys
        if not key.removed
    }


def _is_settled(key, wanted):
    """Tell whether nothing is awaited of a key: what DNS is to show of it was seen before, and is to stay."""
    return not wanted.why and key.stage in ("signing", "retired")


def _whose_turn(run, settled):
    """Return those of the settled keys (sorted) that this run looks for: with many, each run has its share of them.

    A share begins behind the end of the last one. What DNS did not show as it must, to a run or to the last watch, is
    looked for in each run until it does. Should the file of that get lost, nothing else does: one that is damaged is as
    good as none.
    """
    if len(settled) <= scale_turns.MANY:
        return settled
    try:
        known = json.loads(safe_files.read_text(Path(run.place.keys) / LOOKED, roots=True))
        last, wrong = tuple(map(str, known["last"])), set(map(tuple, known["wrong"]))
    except (OSError, ValueError, TypeError, KeyError):
        last, wrong = ("", ""), set()
    turned, share = scale_turns.rotated(settled, last), scale_turns.SHARE
    watched = run.watched(("dns.dkim",), run.wanted)
    return [*turned[:share], *(place for place in turned[share:] if place in wrong or place[0] in watched)]


def _remember(run, known):
    with contextlib.suppress(WriteError):
        safe_files.replace_file(Path(run.place.keys) / LOOKED, json.dumps(known), 0o644)


def publisher(run, announce=None):
    """Return what has records published as the pillar asks for (``dns:publish``), or ``None`` where people do it.

    :param announce: called with the names of records, for ``central``: asks the master to have them published, and
        tells whether that was passed on.
    """
    return {"rfc2136": _send, "central": partial(_announce, announce)}.get(run.dns.get("publish"))


def _send(run, missing, report):
    """Send records by RFC 2136 from this host; tell whether DNS may show them now."""
    if not missing:
        return False
    try:
        credential = publish_credential.read_credential(run.dns["rfc2136"])
        changes = _allowed(run, missing, report)
        sent = rfc2136.publish(changes, credential, lookup.options(run.dns))
    except PublishError as err:
        report.errors.append(f"No record was published: {err}")
        return False
    report.notes += [one.detail for one in sent if one.result == "sent" and one.detail]
    report.waiting += [f"Publishing failed: {one.detail}" for one in sent if one.result not in ("sent", "already")]
    return True


def _allowed(run, missing, report):
    """Return the changes at the ends of their aliases, as far as a key of this host may lie there."""
    places = Places(frozenset(run.domains), frozenset(run.dns.get("alias_zones", ())))
    allowed = []
    for change, answers in missing:
        placed = publish_change.placed(change, answers)
        why = places.refusal(change.name, placed.name)
        if not answers.zone:
            why = f"{change.name} did not change: its place could not be found out: {answers.trouble}"
        if why:
            report.waiting.append(f"Publishing failed: {why}")
        else:
            allowed.append(placed)
    return allowed


def _announce(announce, _run, missing, report):
    """Have the master told what is missing, or that nothing is any more; it is published after this run, if at all."""
    how = f"{len(missing)} records published (mailserver:dns:publish: central)"
    if not announce([change.name for change, _ in missing]):
        report.waiting.append(f"The master could not be asked to have {how}; the next run asks again.")
    elif missing:
        report.notes.append(f"The master was asked to have {how}; what came of it: docs/dns.md.")
    return False


def _publish(run, wants, seen, publish, report):
    """Have those records published that DNS does not show as wanted; return what DNS shows of them afterwards."""
    missing = {
        place: (change_of(run, place[0], *wants[place]), answers)
        for place, answers in seen.items()
        if not wants[place][1].left and judge_wanted(*wants[place], answers).value in ("absent", "different")
    }
    may_show = publish(run, list(missing.values()), report)
    return _look(run, wants, missing) if may_show else {}


def _look(run, wants, places):
    """Return what DNS shows of keys, ``{place: Answers}``: of each name itself, and not of a wildcard above it."""
    seen = run.answers({place: question_of(*place) for place in places})
    return without_wildcards(wants, seen, lambda asked: run.ask(asked, lookup.options(run.dns)))


def _stamp_seen(run, manifest, wants, seen):
    """Write a domain's manifest with the stamps that its keys have earned, and destroy the keys that are revoked now.

    Return the :class:`mailhost.dkim.report.Report`; what could not be written down is not in it, and the next run sees
    it.
    """
    report, changed = Report(), manifest
    for key in manifest.keys:
        place = (manifest.domain, key.selector)
        if place in seen:
            stamped = _stamped(run, manifest.domain, *wants[place], seen[place], report)
            changed = changed if stamped == key else changed.with_key(stamped)
    if changed == manifest:
        return report
    try:
        run.write(changed)
    except WriteError as err:
        return Report(waiting=report.waiting, errors=[*report.errors, f"{manifest.domain}: {err}"])
    for before, after in zip(manifest.keys, changed.keys, strict=True):
        if after.revoked and not before.revoked and not run.test:
            _destroy(run, manifest.domain, after.selector, report)
    return report


def _destroy(run, name, selector, report):
    try:
        run.destroy(name, selector)
    except KeyInUse as err:
        report.errors.append(f"{name}: {err}")
    except OSError as err:
        report.errors.append(f"{name}: the private key of {selector}, which is revoked, could not be destroyed: {err}")


def _stamped(run, name, key, wanted, answers, report):
    """Return the key with the stamp that its record in DNS has earned it, and report what that record means."""
    verdict = judge_wanted(key, wanted, answers)
    if verdict.value != "published":
        messages.tell(run, name, key, wanted, verdict, report)
        return key
    if testing(answers):
        report.waiting.append(f"{name}: {TESTING.format(key.selector)}")
    if wanted.why or (wanted.left and key.stage in ("retired", "revoked") and not run.is_named(name, key.selector)):
        stage = "removed" if key.revoked else "revoked"
    elif key.stage == "generated":
        stage = "published"
    else:
        return key
    try:
        stamped = life.stamp(key, stage, run.now)
    except DkimError as err:
        report.errors.append(f"{name}: {err}")
        return key
    report.change(name, key.selector, key.stage, stage)
    done = f"would be stamped as {stage}" if run.test else f"is {stage}"
    shown = "no server shows it any more" if wanted.left else "every authoritative server shows it so"
    report.notes.append(f"{name}: the key {key.selector} {done}: {shown}.")
    return replace(stamped, public="") if stage == "removed" else stamped
