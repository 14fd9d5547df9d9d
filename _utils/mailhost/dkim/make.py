"""Keys are made where a domain needs one, or taken over; the files of those that are there are put right."""

import os
from dataclasses import replace

from mailhost import files as safe_files
from mailhost.dkim import given_up as dkim_given_up
from mailhost.dkim import keystore, life
from mailhost.dkim import selectors as dkim_selectors
from mailhost.dkim import settled as dkim_settled
from mailhost.dkim.given_up import FOREIGN
from mailhost.dkim.records import record_of
from mailhost.dkim.report import Report, report_of
from mailhost.dkim.run import read_manifests
from mailhost.errors import DkimError
from mailhost.records import record as mail_records


def make_keys(run, host, also=(), force=False, look=None, hold=()):
    """Make a key for each domain that has none that signs or may sign, or whose signer has served its time.

    A key that a hand-written OpenDKIM configuration signs with already, or that an interrupted run left on disk, is
    taken over and not replaced. The files of the other keys get their owner and mode back; those of revoked keys are
    destroyed, if a run was cut short before it did.

    :param host: the host's name, for selectors.
    :param also: domains that get a successor whether or not it is due; with ``force`` even where one waits already.
    :param look: a thorough :class:`mailhost.dkim.settled.Look`, to which ``also`` are not settled; one of its own, if
        left out.
    :param hold: domains that get no key in this run, since an earlier one is to sign again.
    """
    report, new = Report(), {}
    look = look or dkim_settled.Look(run, also, thorough=True)
    _sweep(run, look.settled)
    manifests, failed = read_manifests(run, look.rest)
    report.errors += report_of(failed, run.test).errors
    _note_what_is_seen(run, manifests, report)
    for name, manifest in manifests.items():
        if name not in hold and (_is_to_adopt(run, manifest) or _gets_key(run, manifest, name in also, force)):
            new[name] = manifest
        _settle(run, manifest, report)
    look.note(manifests)
    _make(run, host, new, report)
    return report


def make_successors(run, host, names):
    """Make a key for each of these domains, whose present one was given up, unless one waits already."""
    report = Report()
    manifests, failed = read_manifests(run, names)
    report.errors += report_of(failed, run.test).errors
    # A dry run has not written down that keys were given up; those that wait are good ones even so.
    _make(run, host, {name: one for name, one in manifests.items() if _gets_key(run, one, run.test, False)}, report)
    return report


def _note_what_is_seen(run, manifests, report):
    """Write down what the host shows of keys, against what their files say (:mod:`mailhost.dkim.given_up`)."""
    marked = 0
    for name, manifest in manifests.items():
        before = run.on_disk(name)
        if manifest == before:
            continue
        try:
            run.write(manifest)
        except DkimError as err:
            report.errors.append(f"{name}: {err}")
            continue
        marked += manifest.machine != before.machine
        for old, new in zip(before.keys, manifest.keys, strict=True):
            _report_given_up(run, name, old, new, report)
    if marked:
        report.notes.append(f"{marked} domains' keys {'would be' if run.test else 'were'} marked as this machine's.")


def _report_given_up(run, name, old, new, report):
    if old.given_up != new.given_up:
        given_up = "would be given up" if run.test else "is given up"
        report.notes.append(f"{name}: the key {new.selector} {given_up}: {dkim_given_up.WHY[new.given_up]}.")
    if old.stage != new.stage:
        report.change(name, new.selector, old.stage, new.stage)


def _is_to_adopt(run, manifest):
    """Tell whether the tables name a key of the domain that is here, and of which its manifest knows nothing."""
    signs = run.in_force.get(manifest.domain)
    return bool(signs) and manifest.key(signs.selector) is None and _is_ours(run, manifest.domain, signs)


def _is_ours(run, name, signs):
    path = run.path(name, signs.selector)
    return signs.path == str(path) and (path.exists() or run.place.tables.foreseen.get(name) == signs)


def _make(run, host, new, report):
    """Make a key, or take one over, for each domain of ``new``, ``{domain: manifest}``."""
    selectors = {}
    for name, manifest in new.items():
        try:
            selectors[name] = _selector(run, manifest, host, run.in_force.get(name))
        except DkimError as err:
            report.errors.append(f"{name}: no key can be made: {err}")
    lacking = [] if run.test else [name for name, one in selectors.items() if not run.path(name, one).exists()]
    # Each key is written while the next are being made, so that the disk's time is not added to the processor's.
    made = iter(keystore.generate([run.policy(name)["bits"] for name in lacking]))
    lacking = set(lacking)
    for name, selector in selectors.items():
        pem = next(made) if name in lacking else None
        try:
            _add(run, new[name], selector, pem, report)
        except (DkimError, OSError) as err:
            report.errors.append(f"{name}: {err}")


def _sweep(run, settled):
    """Delete what killed runs left unfinished, but not in folders that are as an earlier run left them: it is swept."""
    if not run.test:
        folders = safe_files.folders(run.place.keys)
        changed = [folder for folder in folders if os.path.basename(folder) not in settled]
        safe_files.sweep(run.place.keys, *changed)


def _gets_key(run, manifest, at_once, force):
    if at_once:
        # The key of a hand-made configuration waits by its stamps, and signs already: it is no successor of itself.
        waiting = life.waiting(manifest)
        return force or all(run.is_named(manifest.domain, key.selector) for key in waiting)
    is_due = life.rotation_is_due(manifest, run.policy(manifest.domain), run.now)
    return is_due or life.needs_key(manifest)


def _selector(run, manifest, host, signs):
    """Return the selector of a domain's new key: that of the key to take over, or one that was never used.

    :param signs: the :class:`mailhost.opendkim.tables.Signer` that the tables name, or ``None``.
    """
    name, taken = manifest.domain, {key.selector for key in manifest.keys}
    if signs and signs.selector not in taken and _is_ours(run, name, signs):
        dkim_selectors.check(signs.selector, name)
        return signs.selector
    # Nor is a selector used that the tables name: a new key at its path would sign at once, before DNS shows it.
    taken |= {signs.selector} if signs else set()
    # A file of stamps that was put back from a backup knows nothing of later keys, whose files for people remain.
    known = {path.stem for path in run.path(name, "x").parent.glob("*.txt")}
    taken |= {one for one in known if not run.path(name, one).exists()}
    # Two machines with the same keys make new ones at the same moment, for their files say the same.
    own = run.machine[:4] if any(key.given_up == FOREIGN for key in manifest.keys) else ""
    return dkim_selectors.new_selector(run.policy(name)["selector"], host, run.now, taken, name, own)


def _add(run, manifest, selector, pem, report):
    """Add a key to a domain, made (``pem``) or found on disk, and report it."""
    name = manifest.domain
    foreseen = run.place.tables.foreseen.get(name)
    is_there = run.path(name, selector).exists() or (foreseen and foreseen.selector == selector)
    verb = "taken over from disk" if is_there else "generated"
    if not run.test:
        _write(run, manifest, selector, pem)
    report.change(name, selector, None, verb)
    report.notes.append(f"{name}: the key {selector} {'would be' if run.test else 'was'} {verb}.")


def _write(run, manifest, selector, pem):
    """Write a key's file first (``pem``, unless it is there), then its record for people, and its row last."""
    name, keys, owner = manifest.domain, run.place.keys, run.place.owner
    path = run.path(name, selector)
    keystore.make_folder(keys, name, owner)
    if pem:
        keystore.write_private(keys, name, selector, pem, owner)
    public, bits = keystore.public_half(keystore.read_private(path), str(path))
    key = life.Key(selector, "rsa", bits, public, run.now)
    keystore.settle_key(keys, name, key, owner)
    line = mail_records.zone_line(record_of(name, run.domains[name], key))
    keystore.write_record(keys, name, selector, line)
    run.write(replace(manifest.with_key(key), machine=run.machine or manifest.machine))


def _settle(run, manifest, report):
    """Put the files of a domain's keys right, each of them whatever is wrong with the others."""
    for key in manifest.keys:
        try:
            _settle_file(run, manifest.domain, key, report)
        except (DkimError, OSError) as err:
            report.errors.append(f"{manifest.domain}: {err}")


def _settle_file(run, name, key, report):
    if key.revoked:
        if run.path(name, key.selector).exists() and not run.test:
            run.destroy(name, key.selector)
    elif key.given_up and not run.path(name, key.selector).exists():
        # It is not missed: nothing is to sign with it.
        return
    elif keystore.settle_key(run.place.keys, name, key, run.place.owner, run.test):
        report.change(name, key.selector, "wrong owner or mode", "0600")
        got = "would get" if run.test else "got"
        report.notes.append(f"{name}: the key file of {key.selector} {got} its owner and mode back.")
