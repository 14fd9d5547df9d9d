"""The plan of a run: what is due for a domain's keys, by their rows and by what was seen. Pure: nothing is done here.

Making (:mod:`mailhost.dkim.make`), checking DNS (:mod:`mailhost.dkim.check`) and signing (:mod:`mailhost.dkim.sign`)
gather what the host, DNS and OpenDKIM's tables show, call :func:`plan` for each domain, and apply its steps. A dry run
calls it in the same way and does not apply them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from mailhost.clock import shown_time
from mailhost.dkim import life
from mailhost.dkim.given_up import (
    FOREIGN,
    FOREIGN_REVOKED,
    LOST,
    REVOKED,
    SIGNS_NO_MORE,
    TAKEN,
    WHY,
    View,
    may_sign,
    seen_by,
)
from mailhost.dkim.life import UNSEEN, KeyRow, Manifest
from mailhost.dkim.records import TESTING, Wanted, judge, judge_wanted, shows, testing
from mailhost.dkim.steps import (
    ADOPT,
    CLOSE,
    DESTROY,
    FAIL,
    GENERATE,
    GIVE_UP,
    LOSE,
    MARK,
    PUBLISH,
    REMOVE,
    REPLACE,
    RETIRE,
    REVOKE,
    SIGN,
    SOAK,
    WAIT,
    WITNESS,
    Step,
)
from mailhost.dns.lookup import Answers, Verdict
from mailhost.errors import DkimError
from mailhost.shapes import DomainDkim

SUCCESSOR, ANOTHER, EARLIER = "a successor", "another key", "the earlier key"
"""What an operator asked for: a successor unless one is waiting; another key in any case; to sign with the earlier key
again."""


@dataclass(frozen=True)
class OnHost:
    """What the host itself shows of a domain's keys.

    ``view`` is :class:`mailhost.dkim.given_up.View`. ``adopts`` is the selector of a key that the tables name, whose
    file is in its place, and that the manifest lacks. ``asked`` is what an operator asked for, or empty.
    """

    view: View = field(default_factory=View)
    adopts: str = ""
    asked: str = ""


@dataclass(frozen=True)
class InDns:
    """What DNS shows of a domain's keys, and what OpenDKIM's tables and the disk say of these keys.

    ``answers`` maps the selectors that DNS was asked for to :class:`mailhost.dns.lookup.Answers`. ``wants`` maps them
    to :class:`mailhost.dkim.records.Wanted`; without it, the plan only gives up the keys that are lost. ``named`` are
    the selectors that the tables name. ``is_signed`` says whether they name any for the domain while its signer by
    stamps is not among them. ``missing`` are retired keys whose private key is not on disk.
    """

    answers: Mapping[str, Answers]
    wants: Mapping[str, Wanted] | None = None
    named: frozenset[str] = frozenset()
    is_signed: bool = False
    missing: frozenset[str] = frozenset()


@dataclass(frozen=True)
class AtTables:
    """Who signs for a domain by OpenDKIM's tables, and what DNS shows of the keys that may sign next.

    ``signer`` is the selector that the tables name, or empty. ``is_own`` says whether they name its file in the folder
    of the keys, and ``can_sign`` whether this file exists. ``goes_back`` means that the predecessor must sign again.
    ``answers`` maps the selectors of :func:`candidates` to :class:`mailhost.dns.lookup.Answers`.
    """

    signer: str = ""
    is_own: bool = False
    can_sign: bool = False
    goes_back: bool = False
    answers: Mapping[str, Answers] = field(default_factory=dict)


def plan(manifest: Manifest, policy: DomainDkim, now: datetime, seen: OnHost | InDns | AtTables) -> tuple[Step, ...]:
    """Return the steps that are due for a domain's keys, in order, each a :class:`mailhost.dkim.steps.Step`.

    :param manifest: the rows of the domain's keys (:class:`mailhost.dkim.life.Manifest`).
    :param policy: the domain's pillar section ``dkim``.
    :param now: the trusted time (aware UTC datetime).
    :param seen: what this part of the run has gathered: :class:`OnHost`, :class:`InDns` or :class:`AtTables`.
    """
    return tuple(_PARTS[type(seen)](manifest, policy, now, seen))


def after(manifest: Manifest, steps: Sequence[Step], machine: str = "") -> Manifest:
    """Return the manifest as it is once the steps are done, on this ``machine``."""
    if not steps:
        return manifest
    changed = life.with_keys(manifest, [step.key for step in steps if step.key and step.kind != WAIT])
    return replace(changed, machine=machine) if any(step.kind == MARK for step in steps) else changed


def _on_host(manifest: Manifest, policy: DomainDkim, now: datetime, seen: OnHost) -> Iterator[Step]:
    """Yield corrections where the rows contradict the host, and the step that makes or takes over a key."""
    shown = seen_by(manifest, seen.view, now)
    yield from _contradicted(manifest, shown)
    if seen.asked == EARLIER:
        return
    if seen.adopts:
        yield adopted(manifest.domain, seen.adopts, "the tables name it, and nothing is known of it")
    elif why := _why_made(shown, policy, now, seen):
        yield Step(GENERATE, manifest.domain, reason=why, new="generated")


def adopted(name: str, selector: str, why: str) -> Step:
    """Return the step of a key that is taken over from disk."""
    return Step(ADOPT, name, selector, why, new="taken over from disk")


def _contradicted(manifest: Manifest, shown: Manifest) -> Iterator[Step]:
    """Yield the steps that correct the rows to what the host shows (:func:`mailhost.dkim.given_up.seen_by`)."""
    name = manifest.domain
    for key, row in zip(manifest.keys, shown.keys, strict=True):
        why = WHY.get(row.given_up, row.given_up)
        if key.given_up != row.given_up:
            yield Step(GIVE_UP, name, row.selector, why, key=row)
        if key.stage != row.stage:
            kind = RETIRE if row.stage == "retired" else CLOSE
            yield Step(kind, name, row.selector, why, key.stage, row.stage, row)
    if manifest.machine != shown.machine:
        yield Step(MARK, name, reason="its keys are this machine's")


def _why_made(manifest: Manifest, policy: DomainDkim, now: datetime, seen: OnHost) -> str:
    """Return why the domain gets a new key; ``""`` if it gets none."""
    if seen.asked:
        # By its stamps the key of a hand-made configuration waits, but it already signs: it is not its own successor.
        none_waits = all(key.selector in seen.view.named for key in life.waiting(manifest))
        return f"{seen.asked} was asked for" if seen.asked == ANOTHER or none_waits else ""
    if life.rotation_is_due(manifest, policy, now):
        return "the key that signs has served its time"
    return "no key signs that may go on, and none waits" if life.needs_key(manifest) else ""


def _in_dns(manifest: Manifest, policy: DomainDkim, now: datetime, seen: InDns) -> Iterator[Step]:
    """Yield what DNS makes due: a stamp for each record that is as wanted; a wait for everything else."""
    if seen.wants is None:
        yield from _lost(manifest, policy, now, seen)
        return
    for key in manifest.keys:
        if key.selector in seen.answers:
            yield from _earned(manifest.domain, key, seen.wants[key.selector], now, seen)


def _earned(name: str, key: KeyRow, wanted: Wanted, now: datetime, seen: InDns) -> Iterator[Step]:
    """Yield the stamp that a key has earned by its record in DNS. An answer that is not as wanted earns none."""
    answers = seen.answers[key.selector]
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


def _next_stage(key: KeyRow, wanted: Wanted, is_named: bool) -> str:
    """Return the stage that a key reaches when DNS shows its record as wanted, or ``""`` if it stays where it is."""
    if wanted.why or (wanted.left and key.stage in ("retired", "revoked") and not is_named):
        return "removed" if key.revoked else "revoked"
    return "published" if key.stage == "generated" else ""


def _lost(manifest: Manifest, policy: DomainDkim, now: datetime, seen: InDns) -> Iterator[Step]:
    """Yield the steps for keys that DNS shows to be lost: they are given up, and another key takes their place."""
    steps: list[Step] = []
    for key in manifest.keys:
        why = key.selector in seen.answers and _why_lost(manifest, policy, now, key, seen)
        steps += _given_up(manifest.domain, key, why, now, seen) if why else ()
    yield from steps
    changed = after(manifest, steps)
    if any(key.given_up for key in changed.keys) and life.needs_key(changed):
        yield Step(REPLACE, manifest.domain, reason="a key is given up, and none signs or waits in its place")


def _given_up(name: str, key: KeyRow, why: str, now: datetime, seen: InDns) -> Iterator[Step]:
    """Yield the steps for a lost key: it is given up, and retired if it does not sign."""
    lost = replace(key, given_up=why)
    yield Step(LOSE, name, key.selector, WHY[why], key=lost)
    if key.selector not in seen.named and key.stage != "retired" and now >= key.since:
        yield Step(RETIRE, name, key.selector, WHY[why], key.stage, "retired", life.stamp(lost, "retired", now))


def _why_lost(manifest: Manifest, policy: DomainDkim, now: datetime, key: KeyRow, seen: InDns) -> str:
    """Return why a key is lost; ``""`` if it is not.

    A record that was never seen as ours says nothing about the key: a wildcard ``*._domainkey`` with an empty ``p=`` is
    common where no mail is sent.
    """
    if key.given_up not in ("", FOREIGN, UNSEEN) or key.revoked:
        return ""
    answers, is_named = seen.answers[key.selector], key.selector in seen.named
    found = shows(key, answers)
    if found == "revoked" and key.published and not _may_be_revoked(key, policy, now, is_named):
        is_foreign = key.given_up == FOREIGN
        return REVOKED if not is_foreign else "" if key.retired else FOREIGN_REVOKED
    if key.stage == "signing" and not is_named:
        # By its stamps it should sign, but it does not: it is coming back.
        is_gone = judge(key, answers).value == "absent" and not answers.trouble and seen.is_signed
        return TAKEN if found == "another" else LOST if is_gone and not key.given_up else ""
    is_away = key.stage == "retired" and not is_named and key.selector in seen.missing
    if is_away and judge(key, answers).value == "absent":
        # It seems that an older manifest was restored after the key's revocation.
        return LOST
    return TAKEN if found == "another" and _is_urgent(manifest, key) else ""


def _may_be_revoked(key: KeyRow, policy: DomainDkim, now: datetime, is_named: bool) -> bool:
    """Tell whether this host itself may have asked for the revocation: the key's retention is over."""
    return key.stage == "retired" and not is_named and now >= life.retention_ends(key, policy)


def _is_urgent(manifest: Manifest, key: KeyRow) -> bool:
    """Tell whether a waiting key must replace a signer that was given up."""
    present = life.signer(manifest)
    return key in life.waiting(manifest) and present is not None and bool(present.given_up)


def candidates(manifest: Manifest, seen: AtTables) -> list[KeyRow]:
    """Return the keys of a domain that may sign next if DNS shows them, the preferred one first.

    A key that signs by its stamps but is not named by the tables (:class:`AtTables`) is one of them.
    """
    if seen.goes_back:
        earlier = life.predecessor(manifest)
        return [earlier] if earlier else []
    waiting = [key for key in life.waiting(manifest) if key.stage == "published"]
    by_stamps = life.signer(manifest)
    is_present = by_stamps and seen.is_own and by_stamps.selector == seen.signer
    if by_stamps and may_sign(by_stamps) and not is_present:
        return [*waiting[-1:], by_stamps]
    return waiting[-1:]


def _at_tables(manifest: Manifest, policy: DomainDkim, now: datetime, seen: AtTables) -> Iterator[Step]:
    """Yield that the first candidate that may sign does so, or what each candidate lacks.

    A candidate signs only if DNS shows it: a step of this kind is made nowhere else.
    """
    for key in candidates(manifest, seen):
        answers = seen.answers[key.selector]
        verdict = judge(key, answers)
        lacks = _lacks(manifest, policy, now, key, verdict, seen, answers.negative_ttl)
        if not lacks:
            yield from _takes_over(manifest, key, verdict, now, seen)
            return
        if seen.goes_back:
            goes_on = f"mail is signed with {seen.signer}, as before" if seen.signer else "mail is not signed"
            text = f"there is no way back to the key {key.selector}: {lacks}; {goes_on}."
            yield Step(FAIL, manifest.domain, key.selector, text, verdict=verdict)
        else:
            yield Step(SOAK, manifest.domain, key.selector, lacks, verdict=verdict)


def _lacks(
    manifest: Manifest,
    policy: DomainDkim,
    now: datetime,
    key: KeyRow,
    verdict: Verdict,
    seen: AtTables,
    negative_ttl: int | None,
) -> str:
    """Return what keeps a key from signing now, as the end of a sentence about it; ``""`` if nothing does."""
    if verdict.value != "published":
        is_unknown = verdict.value == "unknown"
        shown = "DNS cannot be asked whether it shows it" if is_unknown else "DNS no longer shows it"
        return shown if seen.goes_back else f"does not sign yet: {shown}"
    earliest = life.signs_from(key, soak(manifest, policy, seen, negative_ttl))
    if now < earliest and not seen.goes_back:
        return f"is published and signs from {shown_time(earliest)} on"
    return ""


def soak(manifest: Manifest, policy: DomainDkim, seen: AtTables, negative_ttl: int | None) -> int:
    """Return the seconds of :func:`mailhost.dkim.life.soak`.

    There are none if the key that signs must not sign any longer, or cannot sign.
    """
    present = manifest.key(seen.signer) if seen.signer else life.signer(manifest)
    if present and present.given_up in SIGNS_NO_MORE:
        return 0
    if policy["soak"] is None and not seen.can_sign:
        return 0
    return life.soak(manifest, policy, negative_ttl)


def _takes_over(manifest: Manifest, key: KeyRow, verdict: Verdict, now: datetime, seen: AtTables) -> Iterator[Step]:
    """Yield that a key signs and that its predecessors retire.

    The key of a hand-written configuration signed before it had any stamp for that, and without the stamp it would have
    no retention. It gets the stamp first: once the tables are changed, nothing shows any more that it signed.
    """
    name = manifest.domain
    present = seen.signer and manifest.key(seen.signer)
    if present and present.stage == "published" and present != key:
        try:
            witnessed = life.stamp(present, "signing", now)
        except DkimError as err:
            yield Step(FAIL, name, key.selector, f"{key.selector} does not sign yet: {err}", verdict=verdict)
            return
        yield Step(WITNESS, name, present.selector, "the tables name it", key=witnessed)
        manifest = manifest.with_key(witnessed)
    shown = "every authoritative server shows its record"
    try:
        changed, failed = _signed(manifest, key, seen.signer, now), []
    except DkimError as err:
        changed, failed = manifest, [unrecorded(name, key.selector, err)]
    signs = changed.key(key.selector)
    yield Step(SIGN, name, key.selector, shown, seen.signer or None, key.selector, signs, verdict)
    for before, row in zip(manifest.keys, changed.keys, strict=True):
        if row != before and row.selector != key.selector:
            yield Step(RETIRE, name, row.selector, f"{key.selector} signs in its place", key=row)
    yield from failed


def unrecorded(name: str, selector: str, err: Exception) -> Step:
    """Return the failure to record that a key signs."""
    return Step(FAIL, name, selector, f"{selector} signs, but this could not be recorded: {err}")


def _signed(manifest: Manifest, key: KeyRow, signed_before: str, now: datetime) -> Manifest:
    """Return the manifest once a key signs. Earlier keys are retired; after a rollback, the later ones are.

    A key that comes back already has its stamp.
    """
    if key.stage == "retired":
        return _signed_until(life.go_back(manifest, now), signed_before, key, now)
    signs = key if key.signing else life.stamp(key, "signing", now)
    earlier = manifest.keys[: manifest.keys.index(key)]
    changed = life.with_keys(manifest, [signs, *(_followed(one, signed_before, now) for one in earlier)])
    return _signed_until(changed, signed_before, key, now)


def _signed_until(manifest: Manifest, signed_before: str, key: KeyRow, now: datetime) -> Manifest:
    """Return the manifest in which the key that signed until now is retired from now on, whatever its stamp said.

    The stamp is older where somebody restored a list of keys from before a rollback. Retention counts from now, since
    mail that the key signed a moment ago is on its way.
    """
    present = manifest.key(signed_before) if signed_before != key.selector else None
    if present is None or present.stage != "retired":
        return manifest
    return manifest.with_key(replace(present, retired=now))


def _followed(key: KeyRow, signed_before: str, now: datetime) -> KeyRow:
    """Return a key as it is once a later one signs.

    A key that signed although nobody saw it in DNS (the key of a hand-made configuration) is marked as such: its mail
    may still be on its way.
    """
    if key.stage not in ("generated", "published", "signing"):
        return key
    if key.stage != "signing" and key.selector == signed_before:
        key = replace(key, given_up=key.given_up or UNSEEN)
    return life.stamp(key, "retired", now)


_PARTS: dict[type, Callable[[Manifest, DomainDkim, datetime, Any], Iterator[Step]]] = {
    OnHost: _on_host,
    InDns: _in_dns,
    AtTables: _at_tables,
}
