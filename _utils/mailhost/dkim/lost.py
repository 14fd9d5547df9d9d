"""Keys that are lost, by what DNS shows: they are given up, and are not to be published by anybody again."""

from dataclasses import replace

from mailhost.dkim import life
from mailhost.dkim.given_up import FOREIGN, FOREIGN_REVOKED, LOST, REVOKED, TAKEN, UNSEEN, WHY
from mailhost.dkim.records import judge, shows
from mailhost.errors import DkimError


def give_up(run, manifests, seen, report):
    """Give up the keys that DNS shows to be lost, and write that down; return ``{domain: manifest}`` of those changed.

    :param seen: ``{(domain, selector): Answers}``.

    Domains whose key it was that signs, or was to sign, are then in the report's ``lost``: they need another at once.
    """
    changed = {}
    for name, manifest in manifests.items():
        after = manifest
        for key in manifest.keys:
            why = (name, key.selector) in seen and _why(run, manifest, key, seen[name, key.selector])
            if why:
                after = after.with_key(_given_up(run, name, key, why, report))
        if after != manifest and _written(run, after, report):
            changed[name] = after
        if _lacks_successor(after):
            report.lost.append(name)
    return changed


def _why(run, manifest, key, answers):
    """Return why a key is lost; ``""``: it is not.

    A record that was never seen as ours tells nothing of what became of the key: a wildcard ``*._domainkey`` with an
    empty ``p=`` is usual where no mail is sent.
    """
    if key.given_up not in ("", FOREIGN, UNSEEN) or key.revoked:
        return ""
    found = shows(key, answers)
    if found == "revoked" and key.published and not _may_be_revoked(run, manifest, key):
        is_foreign = key.given_up == FOREIGN
        return REVOKED if not is_foreign else "" if key.retired else FOREIGN_REVOKED
    if _came_back(run, manifest, key):
        verdict = judge(key, answers).value
        is_gone = verdict == "absent" and not answers.trouble and manifest.domain in run.in_force
        return TAKEN if found == "another" else LOST if is_gone and not key.given_up else ""
    if key.stage == "retired" and _was_destroyed(run, manifest, key) and judge(key, answers).value == "absent":
        return LOST
    return TAKEN if found == "another" and _is_urgent(manifest, key) else ""


def _may_be_revoked(run, manifest, key):
    """Tell whether this host may have had the record revoked itself: its retention is over."""
    named, policy = run.is_named(manifest.domain, key.selector), run.policy(manifest.domain)
    return key.stage == "retired" and not named and run.now >= life.retention_ends(key, policy)


def _came_back(run, manifest, key):
    """Tell whether a key is to sign by its stamps, while the tables do not name it."""
    return key.stage == "signing" and not run.is_named(manifest.domain, key.selector)


def _was_destroyed(run, manifest, key):
    """Tell whether a key is one of an older file of stamps, put back after the key's revocation, or seems so."""
    named = run.is_named(manifest.domain, key.selector)
    return not named and not run.path(manifest.domain, key.selector).exists()


def _is_urgent(manifest, key):
    """Tell whether a key that waits is to replace one that was given up."""
    present = life.signer(manifest)
    return key in life.waiting(manifest) and present is not None and bool(present.given_up)


def _given_up(run, name, key, why, report):
    """Return a key as given up, and retired where it does not sign; the report says what that means."""
    signs = run.is_named(name, key.selector)
    after = replace(key, given_up=why)
    if not signs and key.stage != "retired" and run.now >= key.since:
        after = life.stamp(after, "retired", run.now)
        report.change(name, key.selector, key.stage, "retired")
    given_up = "would be given up" if run.test else "is given up"
    text = f"{name}: the key {key.selector} {given_up}: {WHY[why]}. Do not publish its record again."
    report.waiting.append(text)
    return after


def _written(run, manifest, report):
    try:
        run.write(manifest)
    except DkimError as err:
        report.errors.append(f"{manifest.domain}: {err}")
        return False
    return True


def _lacks_successor(manifest):
    """Tell whether a key was given up, and none waits or signs in its place."""
    return any(key.given_up for key in manifest.keys) and life.needs_key(manifest)
