"""The life of a DKIM key: its stages in one table, and what they allow. Pure."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any, cast

from mailhost.clock import iso_time, shown_time, utc
from mailhost.errors import ClockError, ManifestError
from mailhost.shapes import DomainDkim


@dataclass(frozen=True)
class Stage:
    """A stage of a key's life. It begins when ``evidence`` was seen, never because of the calendar alone."""

    name: str
    follows: tuple[str, ...]
    evidence: str
    comes_next: str


LIFE = (
    Stage(
        "generated",
        (),
        "the key file is on disk and its TXT record was emitted",
        "published, when every authoritative server shows the record",
    ),
    Stage(
        "published",
        ("generated",),
        "every authoritative server, at every address, answered with exactly this key",
        "signing, when the soak time is over and a probe came back signed and verified",
    ),
    Stage(
        "signing",
        ("published",),
        "OpenDKIM was reloaded, and a probe message came back signed by this key and verified",
        "retired, when a successor signs",
    ),
    Stage(
        "retired",
        ("generated", "published", "signing"),
        "a successor signs, or the key was given up before it signed",
        "revoked, when no message that it signed can be on its way any more",
    ),
    Stage(
        "revoked",
        ("retired",),
        "DNS shows the record with an empty p=, or none, everywhere, and the private key is destroyed",
        "removed, when DNS no longer shows the record",
    ),
    Stage(
        "removed", ("revoked",), "DNS shows no record", "nothing: the row stays, so that the selector is never reused"
    ),
)
"""All stages in order. ``follows`` names the stages, one of which must be the key's present stage."""

UNSEEN = "unseen"
"""Why a key is given up that a hand-made configuration signed with and that DNS was never seen to show: a later key
signs now."""
LEFT = ("foreign", "foreign and revoked", "taken")
"""Reasons to give up a key and leave its record to others, whatever DNS shows (:mod:`mailhost.dkim.given_up`)."""
NEVER = datetime.max.replace(tzinfo=timezone.utc)
STAGES = tuple(stage.name for stage in LIFE)
_LAST_FIRST = STAGES[::-1]


@dataclass(frozen=True)
class KeyRow:
    """A row of the manifest: a key's public half, and a time stamp for each stage that it has reached.

    ``public`` is the base64 text of the record's ``p=`` (RFC 6376 section 3.6.1), empty in a removed row. Time stamps
    are aware UTC datetimes of whole seconds, or ``None``. ``given_up`` says why another key must sign in its place
    (:mod:`mailhost.dkim.given_up`), or is empty.
    """

    selector: str
    algorithm: str
    bits: int
    public: str
    generated: datetime
    published: datetime | None = None
    signing: datetime | None = None
    retired: datetime | None = None
    revoked: datetime | None = None
    removed: datetime | None = None
    given_up: str = ""

    @cached_property
    def stage(self) -> str:
        """The name of the last stage reached."""
        return next(name for name in _LAST_FIRST if getattr(self, name))

    @property
    def since(self) -> datetime:
        """When the last stage was reached."""
        return self.at(self.stage)

    def at(self, stage: str) -> datetime:
        """Return when a stage was reached that this key did reach."""
        moment: datetime = getattr(self, stage)
        return moment


@dataclass(frozen=True)
class Manifest:
    """All keys that a host ever made for a domain, oldest first. On disk this is ``keys.json`` beside the key files.

    ``machine`` is the mark of the machine that wrote it (:mod:`mailhost.dkim.machine`), or empty if it is not known.
    """

    domain: str
    keys: tuple[KeyRow, ...] = ()
    machine: str = ""

    def key(self, selector: str) -> KeyRow | None:
        """Return the row of ``selector``, or ``None``."""
        return next((key for key in self.keys if key.selector == selector), None)

    def with_key(self, key: KeyRow) -> "Manifest":
        """Return this manifest with ``key`` in place of the row that has its selector, or added at the end."""
        if self.key(key.selector) is None:
            return replace(self, keys=(*self.keys, key))
        return replace(self, keys=tuple(key if one.selector == key.selector else one for one in self.keys))


def stamp(key: KeyRow, stage: str, now: datetime) -> KeyRow:
    """Return ``key`` with the time stamp ``now`` (aware UTC datetime) for ``stage``.

    :raises ManifestError: ``stage`` cannot follow the key's present stage.
    :raises ClockError: ``now`` lies before the key's last stamp, so the clock cannot be trusted.
    """
    if key.stage not in LIFE[STAGES.index(stage)].follows:
        raise ManifestError(f"key {key.selector}: {stage} cannot follow {key.stage}")
    if now < key.since:
        raise ClockError(
            f"key {key.selector}: the host's clock says {iso_time(now)}, which is before the key was {key.stage} "
            f"({iso_time(key.since)}); set the clock right or, if it is right, run: salt-call dkim.believe_clock"
        )
    return _with_times(key, {stage: now})


def _with_times(key: KeyRow, times: Mapping[str, datetime]) -> KeyRow:
    """Return a key with these time stamps, by the names of their stages."""
    columns: dict[str, Any] = {**times}
    return replace(key, **columns)


def live(manifest: Manifest) -> tuple[KeyRow, ...]:
    """Return the keys whose record must be in DNS with its public key: neither revoked nor removed."""
    return tuple(key for key in manifest.keys if not key.revoked)


def signer(manifest: Manifest) -> KeyRow | None:
    """Return the key that signs: the one with the latest ``signing`` stamp that is not retired, or ``None``.

    If stamps are equal, the later row counts. The same holds for the predecessor.
    """
    signing = [key for key in reversed(manifest.keys) if key.stage == "signing"]
    return max(signing, key=lambda key: key.at("signing"), default=None)


def waiting(manifest: Manifest) -> list[KeyRow]:
    """Return the keys that may take over signing, oldest first: made after the present signer, and not retired.

    A key that was made before the present signer was overtaken by it and never takes over. Nor does a key that was
    given up.
    """
    present = signer(manifest)
    later = manifest.keys if present is None else manifest.keys[manifest.keys.index(present) + 1 :]
    return [key for key in later if key.stage in ("generated", "published") and not key.given_up]


def successor(manifest: Manifest) -> KeyRow | None:
    """Return the newest key that may take over signing as soon as it is published and has soaked, or ``None``."""
    return next(reversed(waiting(manifest)), None)


def predecessor(manifest: Manifest) -> KeyRow | None:
    """Return the key that signed before the present one and that DNS should still show, or ``None``."""
    retired = [key for key in reversed(manifest.keys) if key.stage == "retired" and key.signing and not key.given_up]
    return max(retired, key=lambda key: (key.at("retired"), key.at("signing")), default=None)


def needs_key(manifest: Manifest) -> bool:
    """Tell whether the domain has no key that may keep signing, and none that may take over."""
    present = signer(manifest)
    return (present is None or bool(present.given_up)) and successor(manifest) is None


LONGEST_CACHED = 7 * 86400
"""Seconds for which resolvers keep a record at most, whatever its TTL: BIND a week (max-cache-ttl), others less.
RFC 8767 section 4 recommends the same week. Without this limit, a domain with a TTL of decades would not rotate."""


def soak(manifest: Manifest, policy: DomainDkim, negative_ttl: int | None) -> int:
    """Return the seconds between *published* and *signing*.

    :param policy: the domain's pillar section ``dkim``; its ``soak``, if given, is used as it is.
    :param negative_ttl: seconds for which a resolver may still deny the record after it was asked for it (RFC 2308).

    A domain's first key need not soak: nobody had a reason to query it before.
    """
    if policy["soak"] is not None:
        return policy["soak"]
    if signer(manifest) is None:
        return 0
    return min(max(policy["ttl"], negative_ttl or 0), LONGEST_CACHED)


def signs_from(key: KeyRow, seconds: int) -> datetime:
    """Return when a published key may sign at the earliest, ``seconds`` after it was published."""
    return key.at("published") + timedelta(seconds=seconds)


def rotates_at(domain: str, key: KeyRow, policy: DomainDkim) -> datetime | None:
    """Return when a key that signs gets a successor; ``None`` if never (``rotate_after: 0``).

    Each domain has its own moment in the period, taken from a hash of its name, so that the rotations of many domains
    are spread evenly. A key signs for at least half a period and, from its second rotation on, for one period.
    """
    period = policy["rotate_after"]
    if not period:
        return None
    own = int.from_bytes(hashlib.sha256(domain.encode()).digest()[:8], "big") % period
    earliest = int(key.at("signing").timestamp()) + period // 2
    return utc(earliest + (own - earliest) % period)


def rotation_is_due(manifest: Manifest, policy: DomainDkim, now: datetime) -> bool:
    """Tell whether a successor must be made now: the signer's time is over, and no key is waiting to take over."""
    key = signer(manifest)
    if key is None or successor(manifest) is not None:
        return False
    moment = rotates_at(manifest.domain, key, policy)
    return moment is not None and now >= moment


def retention_ends(key: KeyRow, policy: DomainDkim) -> datetime:
    """Return when a retired key's record may be revoked at the earliest."""
    return key.at("retired") + timedelta(seconds=policy["retention"])


def has_retention(key: KeyRow) -> bool:
    """Tell whether a retired key's record must stay for a while, for mail that is still on its way.

    A key that never signed has nothing to verify; one of a hand-made configuration may have signed unseen. The record
    of a key that was given up goes at once: whoever knows a compromised key can sign with it as long as the record is
    there, and the signatures of the others cannot be verified any more.
    """
    return key.given_up == UNSEEN or (key.signing is not None and not key.given_up)


def keeps_record(key: KeyRow, policy: DomainDkim, now: datetime, oldest_queued: datetime | None) -> str:
    """Return why a retired key's record must stay in DNS; ``""`` if it must be revoked now.

    :param oldest_queued: when the oldest message in the mail queue arrived; ``now`` if the queue is empty, ``None`` if
        that is not known.
    """
    if not has_retention(key):
        return ""
    ends = retention_ends(key, policy)
    if now < ends:
        return f"mail that it signed may be on its way until {shown_time(ends)} (mailserver:dkim:retention)"
    if oldest_queued is None:
        return "what is in the mail queue could not be found out, or not since when it is there (postqueue -j)"
    if oldest_queued <= key.at("retired"):
        return f"a message of {shown_time(oldest_queued)}, which it may have signed, is still in the mail queue"
    return ""


def revocation_ends(key: KeyRow, policy: DomainDkim) -> datetime:
    """Return when a revoked key's record may be removed at the earliest."""
    return key.at("revoked") + timedelta(seconds=policy["revoke_for"])


def keeps_revoked(key: KeyRow, policy: DomainDkim, now: datetime) -> str:
    """Return why a revoked key's record, whose ``p=`` is empty, must stay; ``""`` if it must be removed now."""
    ends = revocation_ends(key, policy)
    return f"it stays revoked until {shown_time(ends)} (mailserver:dkim:revoke_for)" if now < ends else ""


def settled_until(manifest: Manifest, policy: DomainDkim) -> datetime | None:
    """Return until when nothing is due for a domain's keys (:data:`NEVER`: for good); ``None`` if something is now.

    Nothing is due now if one key signs and is not given up, no key waits to take over, and all retired keys once
    signed, so that their retention runs.
    """
    stages = [key.stage for key in manifest.keys]
    if stages.count("signing") != 1 or not {"generated", "published"}.isdisjoint(stages):
        return None
    present = signer(manifest)
    if present is None or present.given_up or any(_is_due(key) for key in manifest.keys):
        return None
    moments = [rotates_at(manifest.domain, present, policy)]
    for key in manifest.keys:
        if key.stage == "retired" and key.given_up not in LEFT:
            moments.append(retention_ends(key, policy))
        elif key.stage == "revoked":
            moments.append(revocation_ends(key, policy))
    return min((moment for moment in moments if moment), default=NEVER)


def _is_due(key: KeyRow) -> bool:
    """Tell whether something is due for a key at any time, because it has no retention."""
    if key.given_up in LEFT:
        return key.stage == "revoked"
    return key.stage == "retired" and (key.signing is None or bool(key.given_up))


def go_back(manifest: Manifest, now: datetime) -> Manifest:
    """Return the manifest after the predecessor took over again from the key that signs.

    Its ``signing`` stamp is set to now, and its ``retired`` stamp is removed, since it is in use again. Keys that wait
    to take over are retired: otherwise they would undo the rollback within the hour.
    """
    earlier, present = cast(KeyRow, predecessor(manifest)), signer(manifest)
    changed = manifest.with_key(replace(earlier, signing=now, retired=None))
    gone = [*([present] if present else []), *waiting(changed)]
    return with_keys(changed, [stamp(key, "retired", now) for key in gone])


def wait_anew(manifest: Manifest, now: datetime) -> Manifest:
    """Return the manifest with the soaks and retentions that are under way started again at ``now``."""
    begun = [key for key in manifest.keys if key.stage in ("published", "retired") and key.since < now]
    return with_keys(manifest, [_with_times(key, {key.stage: now}) for key in begun])


def not_after(manifest: Manifest, now: datetime) -> Manifest:
    """Return the manifest with each stamp that lies after ``now`` set to ``now``.

    A wrong clock made these stamps. What they stand for has happened by now, so no period gets shorter.
    """
    return with_keys(manifest, [_key_not_after(key, now) for key in manifest.keys])


def _key_not_after(key: KeyRow, now: datetime) -> KeyRow:
    times: dict[str, datetime | None] = {name: getattr(key, name) for name in STAGES}
    return _with_times(key, {name: now for name, moment in times.items() if moment and moment > now})


def with_keys(manifest: Manifest, keys: Iterable[KeyRow]) -> Manifest:
    for key in keys:
        manifest = manifest.with_key(key)
    return manifest


def deadline(key: KeyRow, policy: DomainDkim) -> datetime:
    """Return when waiting for the key's record turns from a warning into a failure."""
    return key.generated + timedelta(seconds=0 if policy["strict"] else policy["publish_deadline"])
