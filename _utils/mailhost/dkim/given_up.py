"""Which keys are given up, and why. What this host, its tables and DNS show decides, not what a file says."""

from dataclasses import dataclass, replace
from datetime import datetime

from mailhost.dkim import life
from mailhost.dkim import selectors as dkim_selectors
from mailhost.dkim.life import LEFT, UNSEEN, KeyRow, Manifest

COMPROMISED, REVOKED, LOST, IMPOSSIBLE = "compromised", "revoked", "lost", "impossible"
FOREIGN, FOREIGN_REVOKED, TAKEN = LEFT
WHY = {
    COMPROMISED: "others may know its private key (dkim.revoke)",
    REVOKED: "DNS shows its record with an empty p=, which nobody asked for here",
    TAKEN: "DNS shows another key at its selector",
    FOREIGN: "it was made on another machine, which may use and revoke it: this host was cloned, restored or renamed",
    FOREIGN_REVOKED: "it was made on another machine, and DNS shows its record with an empty p=",
    LOST: "DNS no longer shows it, and another key signs or its private key is gone",
    IMPOSSIBLE: "no record in DNS can have such a name",
    UNSEEN: "a later key signs, and DNS was never seen to show this one",
}
"""Why a key is given up. Such a key never signs again, except a foreign one, which may as long as DNS shows it."""
SIGNS_NO_MORE = (COMPROMISED, REVOKED, FOREIGN_REVOKED, TAKEN, LOST, IMPOSSIBLE)


@dataclass(frozen=True)
class View:
    """What is known of a domain's keys besides its manifest.

    ``machine`` is this machine's mark (:mod:`mailhost.dkim.machine`). ``named`` are the selectors that the tables name.
    ``compromised`` are the selectors of keys that an operator reported as known to others.
    """

    machine: str = ""
    named: frozenset[str] = frozenset()
    compromised: frozenset[str] = frozenset()


def may_sign(key: KeyRow) -> bool:
    """Tell whether a key may sign: it was not given up, or only because another machine has it as well."""
    return key.given_up in ("", FOREIGN)


def may_be_compromised(key: KeyRow) -> bool:
    """Tell whether a report that others know a key still matters: it is neither revoked nor given up for good."""
    return key.given_up in ("", FOREIGN, UNSEEN) and not key.revoked


def is_left(key: KeyRow, named: bool) -> bool:
    """Tell whether a key's record is not this host's business: it must not be published, revoked or removed for it.

    The record of a key that DNS shows as revoked, or no longer shows, is left alone as long as the tables name the key.
    """
    return key.given_up in LEFT or (named and key.given_up in (REVOKED, LOST))


def seen_by(manifest: Manifest, view: View, now: datetime) -> Manifest:
    """Return the manifest corrected by what the host shows; the same manifest if nothing contradicts it.

    Keys that do not sign and that are given up or were overtaken become retired.
    """
    if not manifest.keys:
        return manifest
    is_foreign = bool(view.machine and manifest.machine and manifest.machine != view.machine)
    keys = tuple(_marked(manifest.domain, key, view, is_foreign) for key in manifest.keys)
    keys = _overtaken(replace(manifest, keys=keys), view, now)
    keys = tuple(_ended(key, view, now) for key in keys)
    return replace(manifest, keys=keys, machine=view.machine or manifest.machine)


def _marked(domain: str, key: KeyRow, view: View, is_foreign: bool) -> KeyRow:
    if key.removed:
        return key
    if not dkim_selectors.is_possible(key.selector, domain):
        return replace(key, given_up=IMPOSSIBLE)
    if may_be_compromised(key) and key.selector in view.compromised:
        return replace(key, given_up=COMPROMISED)
    return replace(key, given_up=FOREIGN) if is_foreign and key.given_up in ("", UNSEEN) else key


def _overtaken(manifest: Manifest, view: View, now: datetime) -> tuple[KeyRow, ...]:
    """Return the keys; those that were made before the present signer and never took over are retired."""
    present, keys = life.signer(manifest), manifest.keys
    earlier = keys[: keys.index(present)] if present else ()
    return tuple(_retired(key, now, UNSEEN) if key in earlier and _waits(key, view) else key for key in keys)


def _waits(key: KeyRow, view: View) -> bool:
    return key.stage in ("generated", "published") and key.selector not in view.named


def _ended(key: KeyRow, view: View, now: datetime) -> KeyRow:
    if not key.given_up or key.selector in view.named:
        return key
    if _waits(key, view) or (key.stage == "signing" and key.given_up in SIGNS_NO_MORE):
        key = _retired(key, now)
    if key.given_up == IMPOSSIBLE and key.stage in ("retired", "revoked") and now >= key.since:
        # DNS never showed such a record.
        return replace(key, public="", revoked=key.revoked or now, removed=now)
    return key


def _retired(key: KeyRow, now: datetime, why: str = "") -> KeyRow:
    """Return the key as retired. If the clock is before its last stamp, return it unchanged; runs report that clock."""
    return replace(key, retired=now, given_up=key.given_up or why) if now >= key.since else key
