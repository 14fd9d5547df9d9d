"""Check every key in DNS. What is seen is stamped; what is not yet as wanted is published or reported."""

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

from mailhost import files as safe_files
from mailhost.dkim import messages
from mailhost.dkim import plan as dkim_plan
from mailhost.dkim import settled as dkim_settled
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.dkim.records import (
    Wanted,
    change_of,
    judge_wanted,
    oldest_if_needed,
    question_of,
    wanted_of,
    without_wildcards,
)
from mailhost.dkim.report import Report
from mailhost.dkim.run import OldestQueued, Run, read_manifests
from mailhost.dkim.steps import DESTROY, FAIL, NOTE, REPLACE, WAIT, Step
from mailhost.dns import lookup
from mailhost.dns.lookup import Answers
from mailhost.errors import DkimError, KeyInUse, PublishError, WriteError
from mailhost.publish import change as publish_change
from mailhost.publish import credential as publish_credential
from mailhost.publish import rfc2136
from mailhost.publish.change import Change
from mailhost.records.allowed_names import AllowedNames
from mailhost.scale import turns as scale_turns

CHECKED = "looked.json"
"""The file, in the folder of the keys, with the last key that was checked in rotation, and the keys that DNS did not
show as wanted: domain and selector of each."""
_KeyName = tuple[str, str]
"""The domain and the selector of a key."""
_Wants = dict[_KeyName, tuple[KeyRow, Wanted]]
"""Keys, and what DNS should show of them."""
Missing = list[tuple[Change, Answers]]
"""The changes that make DNS show keys as wanted, and what it shows now."""
Publish = Callable[[Run, Missing], tuple[bool, list[Step]]]
"""Publishes records; returns whether DNS may show them now, and the steps to report (:func:`publisher`)."""
Announce = Callable[[list[str]], bool]
"""Asks the master to have the records of these names published; returns whether the request was passed on."""


def check_published(
    run: Run,
    oldest_queued: OldestQueued | None = None,
    publish: Publish | None = None,
    everything: bool = False,
    survey: dkim_settled.AnySurvey | None = None,
) -> Report:
    """Check keys in DNS, and stamp what was seen: published, revoked, removed. Keys that are lost are given up.

    With thousands of keys it checks those that wait for something, those that the last watch saw wrong, and a share of
    the others.

    :param oldest_queued: called with the run; returns what :func:`mailhost.dkim.life.keeps_record` needs to know of the
        mail queue. It is only called where that matters.
    :param publish: publishes records (:func:`publisher`); ``None`` if people do that.
    :param everything: check all keys, not a share of them.
    :param survey: the :class:`mailhost.dkim.settled.Survey` of an earlier part of the same highstate; a new one, if
        left out.
    """
    survey = survey or dkim_settled.Survey(run)
    manifests, done = read_manifests(run, survey.rest)
    oldest = oldest_if_needed(run, manifests.values(), oldest_queued)
    wants = _wants(run, manifests, oldest)
    # A revoked key has its stamp. It need not be checked until its record is due to be removed.
    to_ask = [key_name for key_name, (key, wanted) in wants.items() if not key.revoked or wanted.why or wanted.left]
    settled = [key_name for key_name in to_ask if _is_settled(*wants[key_name])]
    settled += ((name, selector) for name, known in survey.settled.items() for selector in known.shown)
    settled.sort()
    turn = settled if everything else _whose_turn(run, settled)
    later = set(settled).difference(turn)
    if later:
        text = f"{len(later)} keys that DNS already showed were not checked in this run; later runs check them."
        done.append(Step(NOTE, reason=text))
    more, failed = read_manifests(run, dict.fromkeys(name for name, _ in turn if name in survey.settled))
    done += failed
    manifests.update(more)
    wants.update(_wants(run, more, oldest))
    to_ask = [key_name for key_name in dict.fromkeys((*to_ask, *turn)) if key_name in wants and key_name not in later]
    seen = _query(run, wants, to_ask)
    changed, steps = _give_up_lost(run, manifests, seen)
    done += steps
    manifests.update(changed)
    wants.update(_wants(run, changed, oldest))
    shown, published = (publish and run.do(_publish, run, wants, seen, publish)) or ({}, [])
    seen.update(shown)
    done += [*published, *(Step(WAIT, reason=text) for text in lookup.remarks(seen.values()))]
    if len(settled) > scale_turns.MANY:
        run.do(_remember, run, turn, wants, seen)
    answers = _by_domain(seen)
    for name, manifest in manifests.items():
        if name in answers:
            done += _stamp_seen(run, manifest, wants, answers[name])
    return run.report(done)


def _by_domain(seen: Mapping[_KeyName, Answers]) -> dict[str, dict[str, Answers]]:
    """Return ``{domain: {selector: Answers}}``."""
    found: dict[str, dict[str, Answers]] = {}
    for (name, selector), answers in seen.items():
        found.setdefault(name, {})[selector] = answers
    return found


def _give_up_lost(
    run: Run, manifests: Mapping[str, Manifest], seen: Mapping[_KeyName, Answers]
) -> tuple[dict[str, Manifest], list[Step]]:
    """Give up the keys that DNS shows to be lost, and write that to their manifests.

    Return ``{domain: manifest}`` of the domains that changed, and the steps that were done or failed.
    """
    changed: dict[str, Manifest] = {}
    done: list[Step] = []
    answers = _by_domain(seen)
    for name, manifest in manifests.items():
        if name not in answers and not any(key.given_up for key in manifest.keys):
            continue
        found = _in_dns(run, manifest, answers.get(name, {}))
        steps: Sequence[Step] = dkim_plan.plan(manifest, run.policy(name), run.now, found)
        after = dkim_plan.after(manifest, steps)
        try:
            if after != manifest:
                run.write(after)
                changed[name] = after
        except DkimError as err:
            steps = [*(step for step in steps if step.kind != REPLACE), Step(FAIL, name, reason=str(err))]
        done += steps
    return changed, done


def _in_dns(run: Run, manifest: Manifest, answers: Mapping[str, Answers]) -> dkim_plan.InDns:
    """Return the :class:`mailhost.dkim.plan.InDns` that decides which keys are lost; no other fields are filled in."""
    name, named, keys = manifest.domain, run.named(manifest.domain), manifest.keys
    comes_back = any(key.stage == "signing" and key.selector not in named for key in keys)
    retired = [key.selector for key in keys if key.stage == "retired" and key.selector in answers]
    missing = frozenset(selector for selector in retired if not run.path(name, selector).exists())
    return dkim_plan.InDns(answers, None, named, comes_back and name in run.in_force, missing)


def _wants(run: Run, manifests: Mapping[str, Manifest], oldest: datetime | None) -> _Wants:
    """Return ``{(domain, selector): (key, Wanted)}`` for all keys that are not removed."""
    return {
        (name, key.selector): (key, wanted_of(run, name, key, oldest))
        for name, manifest in manifests.items()
        for key in manifest.keys
        if not key.removed
    }


def _is_settled(key: KeyRow, wanted: Wanted) -> bool:
    """Tell whether a key waits for nothing: DNS showed its record as wanted before, and it must stay so."""
    return not wanted.why and key.stage in ("signing", "retired")


def _whose_turn(run: Run, settled: list[_KeyName]) -> list[_KeyName]:
    """Return those of the settled keys (sorted) that this run checks: with many keys, each run checks a share of them.

    A share begins where the last one ended. A key that DNS did not show as wanted, to a run or to the last watch, is
    checked in each run until DNS does. If the file that records this is lost, only that is lost; a damaged file is
    treated as missing.
    """
    if len(settled) <= scale_turns.MANY:
        return settled
    try:
        known = json.loads(safe_files.read_text(Path(run.paths.keys) / CHECKED, roots=True))
        name, selector = map(str, known["last"])
        last, wrong = (name, selector), {(one, its) for one, its in known["wrong"]}
    except (OSError, ValueError, TypeError, KeyError):
        last, wrong = ("", ""), set()
    turned, share = scale_turns.rotated(settled, last), scale_turns.SHARE
    watched = run.watched(("dns.dkim",), run.wanted)
    return [*turned[:share], *(key_name for key_name in turned[share:] if key_name in wrong or key_name[0] in watched)]


def _remember(run: Run, turn: list[_KeyName], wants: _Wants, seen: Mapping[_KeyName, Answers]) -> None:
    shown = [one for one in turn if one in seen]
    wrong = [one for one in shown if judge_wanted(*wants[one], seen[one]).value in ("absent", "different")]
    known = {"last": turn[: scale_turns.SHARE][-1], "wrong": wrong}
    with contextlib.suppress(WriteError):
        safe_files.replace_file(Path(run.paths.keys) / CHECKED, json.dumps(known), 0o644)


def publisher(run: Run, announce: Announce | None = None) -> Publish | None:
    """Return the function that publishes records as the pillar says (``dns:publish``), or ``None`` if people do that.

    It is called with the run and the records, and returns whether DNS may show them now, and the steps to report.

    :param announce: for ``central``: called with the names of records, asks the master to have them published, and
        returns whether the request was passed on.
    """
    ways: dict[str, Publish] = {"rfc2136": _send}
    if announce:
        ways["central"] = partial(_announce, announce)
    return ways.get(run.dns.get("publish", "manual"))


def _send(run: Run, missing: Missing) -> tuple[bool, list[Step]]:
    """Send records by RFC 2136 from this host."""
    if not missing:
        return False, []
    try:
        credential = publish_credential.read_credential(run.dns["rfc2136"])
        changes, refused = _allowed(run, missing)
        sent = rfc2136.publish(changes, credential, lookup.options(run.dns))
    except PublishError as err:
        return False, [Step(FAIL, reason=f"No record was published: {err}")]
    failed = [*refused, *(one.detail for one in sent if one.result not in ("sent", "already"))]
    notes = [Step(NOTE, reason=one.detail) for one in sent if one.result == "sent" and one.detail]
    return True, [*notes, *(Step(WAIT, reason=f"Publishing failed: {why}") for why in failed)]


def _allowed(run: Run, missing: Missing) -> tuple[list[Change], list[str]]:
    """Return the changes that may be made at the ends of their aliases, and for the others why they may not."""
    names = AllowedNames(frozenset(run.domains), frozenset(run.dns.get("alias_zones", ())))
    allowed: list[Change] = []
    refused: list[str] = []
    for change, answers in missing:
        end = publish_change.at_alias_end(change, answers)
        why = names.refusal(change.name, end.name)
        if not answers.zone:
            why = f"{change.name} did not change: its place could not be found out: {answers.trouble}"
        if why:
            refused.append(why)
        else:
            allowed.append(end)
    return allowed, refused


def _announce(announce: Announce, _run: Run, missing: Missing) -> tuple[bool, list[Step]]:
    """Tell the master which records are missing, or that none are. They are published after this run, if at all."""
    what = f"publish {len(missing)} records (mailserver:dns:publish: central)"
    if not announce([change.name for change, _ in missing]):
        return False, [Step(WAIT, reason=f"The master could not be asked to {what}; the next run asks again.")]
    text = f"The master was asked to {what}. For the outcome see docs/dns.md."
    return False, [Step(NOTE, reason=text)] if missing else []


def _publish(
    run: Run, wants: _Wants, seen: Mapping[_KeyName, Answers], publish: Publish
) -> tuple[dict[_KeyName, Answers], list[Step]]:
    """Publish the records that DNS does not show as wanted.

    Return what DNS shows of them afterwards, and the steps to report.
    """
    missing = {
        key_name: (change_of(run, key_name[0], *wants[key_name]), answers)
        for key_name, answers in seen.items()
        if not wants[key_name][1].left and judge_wanted(*wants[key_name], answers).value in ("absent", "different")
    }
    may_show, steps = publish(run, list(missing.values()))
    return _query(run, wants, missing) if may_show else {}, steps


def _query(run: Run, wants: _Wants, names: Iterable[_KeyName]) -> dict[_KeyName, Answers]:
    """Return what DNS shows of keys, ``{key_name: Answers}``: of each name itself, not of a wildcard above it."""
    seen = run.answers({key_name: question_of(*key_name) for key_name in names})
    return without_wildcards(wants, seen, lambda asked: run.ask(asked, lookup.options(run.dns)))


def _stamp_seen(run: Run, manifest: Manifest, wants: _Wants, answers: Mapping[str, Answers]) -> list[Step]:
    """Write a domain's manifest with the stamps that its keys have earned, and destroy the keys that are now revoked.

    Return the steps that were done, those that wait, and those that failed. If the manifest cannot be written, the next
    run earns the stamps again.
    """
    name = manifest.domain
    seen = dkim_plan.InDns(answers, {one: wants[name, one][1] for one in answers}, run.named(name))
    steps = dkim_plan.plan(manifest, run.policy(name), run.now, seen)
    reported = list(filter(None, (_reported(run, step, wants) for step in steps)))
    changed = dkim_plan.after(manifest, steps)
    if changed == manifest:
        return reported
    try:
        run.write(changed)
    except WriteError as err:
        return [*(step for step in reported if step.kind in (WAIT, FAIL)), Step(FAIL, name, reason=str(err))]
    failed = [run.do(_destroy, run, name, step.selector) for step in steps if step.kind == DESTROY]
    return [*reported, *filter(None, failed)]


def _reported(run: Run, step: Step, wants: _Wants) -> Step | None:
    """Return a step as it is reported; one that waits for DNS gets everything that people must know and do."""
    if step.kind != WAIT or step.verdict is None:
        return step
    return messages.tell(run, step.domain, *wants[step.domain, step.selector], step.verdict)


def _destroy(run: Run, name: str, selector: str) -> Step | None:
    """Destroy a private key; return the failure, if there is one."""
    try:
        run.destroy(name, selector)
    except KeyInUse as err:
        return Step(FAIL, name, selector, str(err))
    except OSError as err:
        text = f"the private key of {selector}, which is revoked, could not be destroyed: {err}"
        return Step(FAIL, name, selector, text)
    return None
