"""The state of each key of a host, and what it waits for. DNS is not queried and keys are not touched for that."""

from datetime import datetime
from typing import TypedDict

from mailhost import clock as trusted_clock
from mailhost.dkim import given_up as dkim_given_up
from mailhost.dkim import keystore
from mailhost.dkim import life as dkim_life
from mailhost.dkim import waits as dkim_waits
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.dkim.records import oldest_if_needed
from mailhost.dkim.run import OldestQueued, Run
from mailhost.dkim.sign import at_tables_now
from mailhost.opendkim import tables as opendkim_tables


class _OfEach(TypedDict):
    stage: str
    since: str
    bits: int
    signs: bool
    next: str
    attention: bool


class KeyStatus(_OfEach, total=False):
    """The state of a key (:func:`status`)."""

    given_up: str
    waits: str
    earliest: str
    fails_from: str


def status(run: Run, oldest_queued: OldestQueued | None = None) -> dict[str, dict[str, KeyStatus]]:
    """Return the state of each key, ``{domain: {selector: KeyStatus}}``.

    ``attention`` is true for a key that was given up and is not removed yet, and for one that waits until DNS changes.
    A key of a domain in the pillar also has ``waits`` (why it is not in its next stage yet), ``earliest`` (when it can
    get there at the earliest) and, while it is only generated, ``fails_from``. Times are text (ISO 8601, UTC). Domains
    that are no longer in the pillar, or for which the pillar turns DKIM off, are included if their keys are still here.

    :raises ManifestError: a manifest is damaged.
    """
    in_force = opendkim_tables.signers_in_force(run.paths.tables)
    names = sorted({*run.wanted, *keystore.domains_on_disk(run.paths.keys)})
    manifests = {name: run.manifest(name) for name in names}
    oldest = oldest_if_needed(run, manifests.values(), oldest_queued)
    result: dict[str, dict[str, KeyStatus]] = {}
    for name, manifest in manifests.items():
        signs = in_force[name].selector if name in in_force else None
        known = _known(run, manifest, oldest)
        result[name] = {key.selector: _row(run, manifest, key, signs, known) for key in manifest.keys}
    return result


def _row(run: Run, manifest: Manifest, key: KeyRow, signs: str | None, known: dkim_waits.KeyFacts) -> KeyStatus:
    life = dkim_life.LIFE[dkim_life.STAGES.index(key.stage)]
    row: KeyStatus = {
        "stage": key.stage,
        "since": trusted_clock.iso_time(key.since),
        "bits": key.bits,
        "signs": signs == key.selector,
        "next": life.comes_next,
        "attention": bool(key.given_up) and not key.removed,
    }
    if key.given_up:
        row["given_up"] = dkim_given_up.WHY.get(key.given_up, key.given_up)
    if manifest.domain not in run.wanted:
        is_off = manifest.domain in run.domains
        why = "DKIM is turned off for the domain (dkim:enabled: false)" if is_off else "the domain is not in the pillar"
        return {**row, "next": f"nothing: {why}"}
    policy = run.policy(manifest.domain)
    waits = dkim_waits.waits(manifest, key, policy, run.now, known)
    if waits:
        row["waits"] = waits.reason
        row["attention"] = row["attention"] or waits.needs_dns
    moment = dkim_waits.earliest(manifest, key, policy, known)
    if moment:
        row["earliest"] = trusted_clock.iso_time(moment)
    if key.stage == "generated":
        row["fails_from"] = trusted_clock.iso_time(dkim_life.deadline(key, policy))
    return row


def earliest(run: Run, manifest: Manifest, key: KeyRow) -> datetime | None:
    """Return when a key can be in its next stage at the earliest (:func:`mailhost.dkim.waits.earliest`)."""
    return dkim_waits.earliest(manifest, key, run.policy(manifest.domain), _known(run, manifest))


def _known(run: Run, manifest: Manifest, oldest: datetime | None = None) -> dkim_waits.KeyFacts:
    return dkim_waits.KeyFacts(run.named(manifest.domain), at_tables_now(run, manifest), oldest)
