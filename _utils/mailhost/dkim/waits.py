"""What a key waits for, and at least until when, as far as that is known without asking DNS. Pure.

:mod:`mailhost.dkim.plan` takes its steps by the same times and reasons.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from mailhost.clock import shown_time
from mailhost.dkim import given_up as dkim_given_up
from mailhost.dkim import life
from mailhost.dkim import plan as dkim_plan
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.shapes import DomainDkim


@dataclass(frozen=True)
class KeyFacts:
    """What is known of a domain's keys besides their rows: the selectors that OpenDKIM's tables name, who signs
    (:class:`mailhost.dkim.plan.AtTables`), and when the oldest message in the queue arrived
    (:func:`mailhost.dkim.life.keeps_record`)."""

    named: frozenset[str] = frozenset()
    tables: dkim_plan.AtTables = field(default_factory=dkim_plan.AtTables)
    oldest_queued: datetime | None = None


@dataclass(frozen=True)
class Waits:
    """Why a key is not in its next stage yet, as a clause, and whether DNS must change before it goes on."""

    reason: str
    needs_dns: bool = False


def waits(manifest: Manifest, key: KeyRow, policy: DomainDkim, now: datetime, known: KeyFacts) -> Waits | None:
    """Return what a key waits for, as :class:`Waits`; ``None`` for a removed key, which waits for nothing any more."""
    is_named = key.selector in known.named
    if key.removed:
        return None
    if dkim_given_up.is_left(key, is_named):
        return _of_left(manifest.domain, key, is_named)
    return _WHY[key.stage](manifest, key, policy, now, known)


def earliest(manifest: Manifest, key: KeyRow, policy: DomainDkim, known: KeyFacts) -> datetime | None:
    """Return when a key can be in its next stage at the earliest, by time alone; ``None`` for never.

    For a key that signs, it is when its successor is made.
    """
    if key.stage == "published":
        return _soaks_until(manifest, key, policy, known)
    if key.stage == "signing":
        return life.rotates_at(manifest.domain, key, policy)
    if key.stage == "retired" and life.has_retention(key):
        return life.retention_ends(key, policy)
    if key.stage == "revoked":
        return life.revocation_ends(key, policy)
    return None if key.stage == "removed" else key.since


def _soaks_until(manifest: Manifest, key: KeyRow, policy: DomainDkim, known: KeyFacts) -> datetime:
    return life.signs_from(key, dkim_plan.soak(manifest, policy, known.tables, None))


def _of_left(name: str, key: KeyRow, is_named: bool) -> Waits:
    if is_named:
        return Waits(f"{_ANOTHER}; its own record is left alone")
    if key.stage == "signing":
        return Waits("it signs if DNS shows its record, which is left alone")
    text = "its record is left alone, since another host may use it; if none does, run: dkim.revoke"
    return Waits(f"{text} {name} {key.selector}", needs_dns=True)


_ANOTHER = "a new key takes over once DNS shows it (dkim.records)"


def _of_generated(manifest: Manifest, key: KeyRow, policy: DomainDkim, now: datetime, known: KeyFacts) -> Waits:
    signs = "mail is signed with it already; " if key.selector in known.named else ""
    return Waits(f"{signs}DNS must show its record (dkim.records)", needs_dns=True)


def _of_published(manifest: Manifest, key: KeyRow, policy: DomainDkim, now: datetime, known: KeyFacts) -> Waits:
    until = shown_time(_soaks_until(manifest, key, policy, known))
    return Waits(f"it soaks until {until} at least, then a run makes it sign")


def _of_signing(manifest: Manifest, key: KeyRow, policy: DomainDkim, now: datetime, known: KeyFacts) -> Waits:
    if key.selector not in known.named:
        text = "it signed before, and no longer does; it signs again when DNS shows its record (dkim.records)"
        return Waits(text, needs_dns=True)
    if key.given_up:
        return Waits(_ANOTHER)
    moment = life.rotates_at(manifest.domain, key, policy)
    return Waits(f"a successor is made on {shown_time(moment)}" if moment else "it is never rotated (rotate_after: 0)")


def _of_retired(manifest: Manifest, key: KeyRow, policy: DomainDkim, now: datetime, known: KeyFacts) -> Waits:
    if key.selector in known.named:
        return Waits("mail is signed with it: another key must sign first")
    why = life.keeps_record(key, policy, now, known.oldest_queued)
    return Waits(why or "DNS must show its record with an empty p= (dkim.records)", needs_dns=not why)


def _of_revoked(manifest: Manifest, key: KeyRow, policy: DomainDkim, now: datetime, known: KeyFacts) -> Waits:
    why = life.keeps_revoked(key, policy, now)
    return Waits(why or "its record must be removed from DNS (dkim.records)", needs_dns=not why)


_WHY: dict[str, Callable[[Manifest, KeyRow, DomainDkim, datetime, KeyFacts], Waits]] = {
    "generated": _of_generated,
    "published": _of_published,
    "signing": _of_signing,
    "retired": _of_retired,
    "revoked": _of_revoked,
}
