"""Keys are made where a domain needs one, or taken over; the files of those that are there are put right."""

import os

import mailserver_dkim
import mailserver_keystore
import mailserver_opendkim
import mailserver_records
import mailserver_settled
from mailserver_errors import DkimError
from mailserver_key_records import record_of
from mailserver_run import Report, read_manifests


def make_keys(run, host, also=(), force=False, look=None):
    """Make a key for each domain that has none that signs or may sign, or whose signer has served its time.

    A key that a hand-written OpenDKIM configuration signs with already, or that an interrupted run left on disk, is
    taken over and not replaced. The files of the other keys get their owner and mode back; those of revoked keys are
    destroyed, if a run was cut short before it did.

    :param host: the host's name, for selectors.
    :param also: domains that get a successor whether or not it is due; with ``force`` even where one waits already.
    :param look: a thorough :class:`mailserver_settled.Look`, to which ``also`` are not settled; one of its own, if left
        out.
    """
    report, new = Report(), {}
    look = look or mailserver_settled.Look(run, also, thorough=True)
    _sweep(run, look.settled)
    manifests = read_manifests(run, report, look.rest)
    for name, manifest in manifests.items():
        if _gets_key(run, manifest, name in also, force):
            new[name] = manifest
        _settle(run, manifest, report)
    look.note(manifests)
    in_force = mailserver_opendkim.signers_in_force(run.place.tables) if new else {}
    selectors = {name: _selector(run, manifest, host, in_force.get(name)) for name, manifest in new.items()}
    lacking = [] if run.test else [name for name, one in selectors.items() if not run.path(name, one).exists()]
    # Each key is written while the next are being made, so that the disk's time is not added to the processor's.
    made = iter(mailserver_keystore.generate([run.policy(name)["bits"] for name in lacking]))
    lacking = set(lacking)
    for name, manifest in new.items():
        pem = next(made) if name in lacking else None
        try:
            _add(run, manifest, selectors[name], pem, report)
        except (DkimError, OSError) as err:
            report.errors.append(f"{name}: {err}")
    return report


def _sweep(run, settled):
    """Delete what killed runs left unfinished, but not in folders that are as an earlier run left them: it is swept."""
    if not run.test:
        folders = mailserver_keystore.folders(run.place.keys)
        changed = [folder for folder in folders if os.path.basename(folder) not in settled]
        mailserver_keystore.sweep(run.place.keys, *changed)


def _gets_key(run, manifest, at_once, force):
    if at_once:
        return force or mailserver_dkim.successor(manifest) is None
    is_due = mailserver_dkim.rotation_is_due(manifest, run.policy(manifest.domain), run.now)
    return is_due or mailserver_dkim.needs_key(manifest)


def _selector(run, manifest, host, signs):
    """Return the selector of a domain's new key: that of the key to take over, or one that was never used.

    :param signs: the :class:`mailserver_opendkim.Signer` that the tables name, or ``None``.
    """
    name, taken = manifest.domain, {key.selector for key in manifest.keys}
    path = signs and run.path(name, signs.selector)
    is_there = signs and (path.exists() or run.place.tables.foreseen.get(name) == signs)
    if signs and signs.selector not in taken and signs.path == str(path) and is_there:
        return signs.selector
    # Nor is a selector used that the tables name: a new key at its path would sign at once, before DNS shows it.
    taken |= {signs.selector} if signs else set()
    return mailserver_dkim.new_selector(run.policy(name)["selector"], host, run.now, taken)


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
    mailserver_keystore.make_folder(keys, name, owner)
    if pem:
        mailserver_keystore.write_private(keys, name, selector, pem, owner)
    public, bits = mailserver_keystore.public_half(mailserver_keystore.read_private(path), str(path))
    key = mailserver_dkim.Key(selector, "rsa", bits, public, run.now)
    mailserver_keystore.settle_key(keys, name, key, owner)
    line = mailserver_records.zone_line(record_of(name, run.domains[name], key))
    mailserver_keystore.write_record(keys, name, selector, line)
    run.write(manifest.with_key(key))


def _settle(run, manifest, report):
    """Put the files of a domain's keys right, each of them whatever is wrong with the others."""
    for key in manifest.keys:
        try:
            _settle_file(run, manifest.domain, key, report)
        except (DkimError, OSError) as err:
            report.errors.append(f"{manifest.domain}: {err}")


def _settle_file(run, name, key, report):
    if key.revoked:
        path = run.path(name, key.selector)
        if path.exists() and not run.test:
            mailserver_keystore.destroy(path)
    elif mailserver_keystore.settle_key(run.place.keys, name, key, run.place.owner, run.test):
        report.change(name, key.selector, "wrong owner or mode", "0600")
        got = "would get" if run.test else "got"
        report.notes.append(f"{name}: the key file of {key.selector} {got} its owner and mode back.")
