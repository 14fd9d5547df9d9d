"""What became of each key of a host, and what it waits for; neither DNS nor the keys are touched for that."""

from mailhost import clock as trusted_clock
from mailhost.clock import shown_time
from mailhost.dkim import given_up as dkim_given_up
from mailhost.dkim import keystore
from mailhost.dkim import life as dkim_life
from mailhost.dkim.records import keeps_record, oldest_if_needed
from mailhost.dkim.sign import soak
from mailhost.opendkim import tables as opendkim_tables


def status(run, oldest_queued=None):
    """Return what became of each key: ``{domain: {selector: {"stage", "since", "bits", "signs", "next"}}}``.

    A key of a domain in the pillar also has ``waits`` (why it is not in its next stage yet), ``earliest`` (when it may
    be there, at the earliest) and, as long as it is only generated, ``fails_from``. Times are text (ISO 8601, UTC).
    Domains that are no longer in the pillar, or for which it turns DKIM off, come too if their keys are still here.

    :raises ManifestError: a manifest is damaged.
    """
    in_force = opendkim_tables.signers_in_force(run.place.tables)
    names = sorted({*run.wanted, *keystore.domains_on_disk(run.place.keys)})
    manifests = {name: run.manifest(name) for name in names}
    oldest = oldest_if_needed(run, manifests.values(), oldest_queued)
    result = {}
    for name, manifest in manifests.items():
        signs = in_force[name].selector if name in in_force else None
        result[name] = {key.selector: _row(run, manifest, key, signs, oldest) for key in manifest.keys}
    return result


def _row(run, manifest, key, signs, oldest):
    life = dkim_life.LIFE[dkim_life.STAGES.index(key.stage)]
    given_up = {"given_up": dkim_given_up.WHY.get(key.given_up, key.given_up)} if key.given_up else {}
    row = {
        "stage": key.stage,
        "since": trusted_clock.iso_time(key.since),
        "bits": key.bits,
        "signs": signs == key.selector,
        "next": life.comes_next,
        **given_up,
    }
    if manifest.domain not in run.wanted:
        is_off = manifest.domain in run.domains
        why = "DKIM is turned off for the domain (dkim:enabled: false)" if is_off else "the domain is not in the pillar"
        return {**row, "next": f"nothing: {why}"}
    waits = _waits_for(run, manifest, key, oldest)
    if waits:
        row["waits"] = waits
    moment = earliest(run, manifest, key)
    if moment:
        row["earliest"] = trusted_clock.iso_time(moment)
    if key.stage == "generated":
        row["fails_from"] = trusted_clock.iso_time(dkim_life.deadline(key, run.policy(manifest.domain)))
    return row


def earliest(run, manifest, key):
    """Return when a key may be in its next stage at the earliest, by time alone; ``None`` for never.

    For a key that signs, it is when its successor is made.
    """
    name, policy = manifest.domain, run.policy(manifest.domain)
    if key.stage == "published":
        return dkim_life.signs_from(key, soak(run, manifest, None))
    if key.stage == "signing":
        return dkim_life.rotates_at(name, key, policy)
    if key.stage == "retired" and key.signing and not run.is_compromised(name, key.selector):
        return dkim_life.retention_ends(key, policy)
    if key.stage == "revoked":
        return dkim_life.revocation_ends(key, policy)
    return None if key.stage == "removed" else key.since


def _waits_for(run, manifest, key, oldest):
    """Return why a key is not in its next stage yet, as far as that can be told without asking DNS."""
    name, policy = manifest.domain, run.policy(manifest.domain)
    if dkim_given_up.is_left(key, run.is_named(name, key.selector)) and not key.removed:
        return _waits_left(run, name, key)
    if key.stage == "generated":
        signs = "mail is signed with it already; " if run.is_named(name, key.selector) else ""
        return f"{signs}DNS is to show its record (dkim.records)"
    if key.stage == "published":
        earliest = dkim_life.signs_from(key, soak(run, manifest, None))
        return f"it soaks until {shown_time(earliest)} at least, then a run makes it sign"
    if key.stage == "signing" and not run.is_named(name, key.selector):
        return "it signed before, and no longer does; it signs again when DNS shows its record (dkim.records)"
    if key.stage == "signing" and key.given_up:
        return "a new key is to take over as soon as DNS shows it (dkim.records)"
    if key.stage == "signing":
        moment = dkim_life.rotates_at(name, key, policy)
        return f"a successor is made on {shown_time(moment)}" if moment else "it is never rotated (rotate_after: 0)"
    if key.stage == "retired" and run.is_named(name, key.selector):
        return "mail is signed with it: another key is to sign first"
    if key.stage == "retired":
        return keeps_record(key, policy, run.now, oldest) or "DNS is to show its record with an empty p= (dkim.records)"
    if key.stage == "revoked":
        return dkim_life.keeps_revoked(key, policy, run.now) or "its record is to be taken out of DNS"
    return ""


def _waits_left(run, name, key):
    if run.is_named(name, key.selector):
        return "a new key is to take over as soon as DNS shows it (dkim.records); its own record is left alone"
    if key.stage == "signing":
        return "it signs if DNS shows its record, which is left alone"
    return (
        "DNS is to show its record no more, which is left alone, since another may use it; if nobody does: "
        f"dkim.revoke {name} {key.selector}"
    )
