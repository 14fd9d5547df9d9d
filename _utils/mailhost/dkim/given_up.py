"""Which keys are given up, and why: what this host, its tables and DNS show counts, and not what a file says."""

from dataclasses import dataclass, replace

from mailhost.dkim import life
from mailhost.dkim import selectors as dkim_selectors
from mailhost.dkim.life import LEFT, UNSEEN

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
"""Why a key is given up: it is never made to sign again, but for one that is foreign, as long as DNS shows it."""
SIGNS_NO_MORE = (COMPROMISED, REVOKED, FOREIGN_REVOKED, TAKEN, LOST, IMPOSSIBLE)


@dataclass(frozen=True)
class View:
    """What is known of a domain's keys besides its manifest.

    ``machine`` is this one's mark (:mod:`mailhost.dkim.machine`), ``named`` the selectors that the tables name, and
    ``compromised`` those of the keys of which people said that others know them.
    """

    machine: str = ""
    named: frozenset = frozenset()
    compromised: frozenset = frozenset()


def may_sign(key):
    """Tell whether a key may be made to sign: it was not given up, or only because another machine has it, too."""
    return key.given_up in ("", FOREIGN)


def may_be_compromised(key):
    """Tell whether it matters that others know a key: it is neither revoked nor given up for good."""
    return key.given_up in ("", FOREIGN, UNSEEN) and not key.revoked


def is_left(key, named):
    """Tell whether a key's record is none of this host's business: nobody is to publish, revoke or remove it for it.

    That of a key that DNS shows as revoked is left alone as long as the tables name the key.
    """
    return key.given_up in LEFT or (named and key.given_up in (REVOKED, LOST))


def seen_by(manifest, view, now):
    """Return a manifest as it is in the light of what the host shows; the same, if nothing contradicts it.

    Keys that nothing signs with and that are given up, or were overtaken, are retired.
    """
    if not manifest.keys:
        return manifest
    is_foreign = bool(view.machine and manifest.machine and manifest.machine != view.machine)
    keys = tuple(_marked(manifest.domain, key, view, is_foreign) for key in manifest.keys)
    keys = _overtaken(replace(manifest, keys=keys), view, now)
    keys = tuple(_ended(key, view, now) for key in keys)
    return replace(manifest, keys=keys, machine=view.machine or manifest.machine)


def _marked(domain, key, view, is_foreign):
    if key.removed:
        return key
    if not dkim_selectors.is_possible(key.selector, domain):
        return replace(key, given_up=IMPOSSIBLE)
    if may_be_compromised(key) and key.selector in view.compromised:
        return replace(key, given_up=COMPROMISED)
    return replace(key, given_up=FOREIGN) if is_foreign and key.given_up in ("", UNSEEN) else key


def _overtaken(manifest, view, now):
    """Return the keys, of which those are retired that were made before the one that signs and never took over."""
    present, keys = life.signer(manifest), manifest.keys
    earlier = keys[: keys.index(present)] if present else ()
    return tuple(_retired(key, now, UNSEEN) if key in earlier and _waits(key, view) else key for key in keys)


def _waits(key, view):
    return key.stage in ("generated", "published") and key.selector not in view.named


def _ended(key, view, now):
    if not key.given_up or key.selector in view.named:
        return key
    if _waits(key, view) or (key.stage == "signing" and key.given_up in SIGNS_NO_MORE):
        key = _retired(key, now)
    if key.given_up == IMPOSSIBLE and key.stage in ("retired", "revoked") and now >= key.since:
        # DNS shows no such record, and never did.
        return replace(key, public="", revoked=key.revoked or now, removed=now)
    return key


def _retired(key, now, why=""):
    """Return the key as retired; where the clock lies before its last stamp, which runs report, as it is."""
    return replace(key, retired=now, given_up=key.given_up or why) if now >= key.since else key
