"""Who signs: a key takes over once DNS shows it and it has soaked, proven by a probe and undone where that fails."""

import os
from dataclasses import dataclass, replace

from mailhost.clock import shown_time
from mailhost.dkim import given_up as dkim_given_up
from mailhost.dkim import keystore, life
from mailhost.dkim import settled as dkim_settled
from mailhost.dkim.records import judge, question_of, record_of
from mailhost.dkim.report import Report, report_of
from mailhost.dkim.run import read_manifests
from mailhost.errors import CutoverError, DkimError
from mailhost.opendkim import tables as opendkim_tables


@dataclass(frozen=True)
class Ready:
    """A key that may take over now, and the text of its record that DNS shows."""

    key: life.Key
    text: str


def sign(run, reload, probe, instead=(), look=None):
    """Turn signing on for each published key that has soaked and that DNS shows now; off for domains that went.

    Who signs is what the tables name. A key that signs by its stamps and that they do not name (its domain was out of
    the pillar, tables or keys were lost or put back from a backup) is looked for in DNS as any other: until that shows
    it, mail is signed as it is now, or not at all.

    :param reload: has OpenDKIM read its tables, and returns what people should know of it, or ``None``
        (:func:`mailhost.daemons.opendkim.reload_service`).
    :param probe: called with (domain, selector, text of the record) and, for mail of another domain that this one
        signs, ``sender=`` that domain; raises ProbeError unless a message came back signed with the selector and
        verified.
    :param instead: domains that go back to the predecessor of the key that signs.
    :param look: the :class:`mailhost.dkim.settled.Look` of an earlier part of the same highstate, to which ``instead``
        are not settled; one of its own, if left out.
    """
    report, tables = Report(), run.place.tables
    cut_short = opendkim_tables.is_cut_short(tables)
    look = look or dkim_settled.Look(run, instead)
    manifests, failed = read_manifests(run, look.rest)
    report.errors += report_of(failed, run.test).errors
    settled = {name: _signs(run, name, known.signer) for name, known in look.settled.items()}
    old = {**settled, **_signers_told(run, manifests)}
    is_as_told = not cut_short and opendkim_tables.is_written(tables, old)
    if not is_as_told:
        # The tables are not as the manifests say: who signs is to be found out domain by domain.
        more, failed = read_manifests(run, list(settled))
        report.errors += report_of(failed, run.test).errors
        manifests.update(more)
        settled = {}
        old = opendkim_tables.signers_in_force(tables)
    ready = _ready(run, manifests, old, instead, report)
    if old and not run.domains:
        report.errors.append(
            f"The pillar lists no domain, but this host signs for {len(old)} ({', '.join(sorted(old)[:3])}…): did the "
            "pillar arrive? They are still signed for. To sign for none, set mailserver:opendkim:enabled to false."
        )
        return report
    _witness(run, manifests, ready, old, report)
    new = _new_signers(run, manifests, ready, old, settled, report)
    is_written = new == old and (is_as_told or opendkim_tables.is_written(tables, new))
    if is_written and not ready and not cut_short:
        return report
    _describe(run, old, new, ready, cut_short, report)
    if run.test:
        return report
    prove = opendkim_tables.patient(_prover(run, manifests, ready, probe))

    def have_read():
        told = reload()
        report.notes.extend([told] if told else [])

    try:
        failed = opendkim_tables.cutover(tables, old, new, have_read, prove, unproven=ready)
    except (CutoverError, OSError) as err:
        return Report(errors=[*report.errors, str(err)])
    _take_back(failed, old, new, report)
    for name, one in ready.items():
        if name not in failed:
            _stamp_signing(run, manifests[name], one.key, old.get(name), report)
    return report


def _ready(run, manifests, old, instead, report):
    """Return ``{domain: Ready}`` of the keys that may take over now; the report tells of others what they lack.

    Of several candidates of a domain the first that may takes over. One to go back to that may not is an error.
    """
    candidates = {
        (name, key.selector): key
        for name, manifest in manifests.items()
        for key in _candidates(run, manifest, old.get(name), name in instead)
    }
    answers = run.answers({place: question_of(*place) for place in candidates})
    ready = {}
    for (name, selector), key in candidates.items():
        if name in ready:
            continue
        lacks = _lacks(run, manifests[name], key, answers[name, selector], name in instead)
        if not lacks:
            ready[name] = Ready(key, _text_shown(answers[name, selector]))
        elif name in instead:
            goes_on = f"mail is signed with {old[name].selector}, as before" if name in old else "mail is not signed"
            report.errors.append(f"{name}: there is no way back to the key {selector}: {lacks}; {goes_on}.")
        elif key.stage != "generated":
            report.notes.append(f"{name}: the key {selector} {lacks}.")
    return ready


def _lacks(run, manifest, key, answers, goes_back):
    """Return what keeps a key from signing now, as the end of a sentence about it; ``""``: nothing."""
    verdict = judge(key, answers)
    if verdict.value != "published":
        unknown = "DNS cannot be asked whether it shows it"
        told = unknown if verdict.value == "unknown" else "DNS no longer shows it"
        return told if goes_back else f"does not sign yet: {told}"
    # A dry run sees the stamp that the run itself would have made just before.
    published = key if key.published else replace(key, published=run.now)
    earliest = life.signs_from(published, soak(run, manifest, answers.negative_ttl))
    if run.now < earliest and not goes_back:
        return f"is published and signs from {shown_time(earliest)} on"
    return ""


def _witness(run, manifests, ready, old, report):
    """Stamp as *signing* the keys of a hand-written configuration that sign, before others take over from them.

    They sign before anything was stamped, and without the stamp they would lose their retention. Once the tables are
    changed, nobody can tell any more that they signed: not a run that follows one which was killed there.
    """
    for name, one in list(ready.items()):
        key = old.get(name) and manifests[name].key(old[name].selector)
        if key is None or key.stage != "published" or key == one.key:
            continue
        try:
            changed = manifests[name].with_key(life.stamp(key, "signing", run.now))
            run.write(changed)
        except (DkimError, OSError) as err:
            report.errors.append(f"{name}: {one.key.selector} does not sign yet: {err}")
            del ready[name]
        else:
            manifests[name] = changed


def _candidates(run, manifest, present, goes_back):
    """Return the keys of a domain that are to sign next, if DNS shows them; the one that is preferred first.

    :param present: the :class:`mailhost.opendkim.tables.Signer` that the tables name, or ``None``.
    """
    if goes_back:
        earlier = life.predecessor(manifest)
        return [earlier] if earlier else []
    waiting = [key for key in life.waiting(manifest) if key.stage == "published" or run.test]
    by_stamps = life.signer(manifest)
    comes_back = by_stamps and dkim_given_up.may_sign(by_stamps) and not _is_present(run, manifest, present)
    return [*waiting[-1:], *([by_stamps] if comes_back else [])]


def _is_present(run, manifest, present):
    """Tell whether the tables name the key that signs by its stamps."""
    return _signs(run, manifest.domain, life.signer(manifest).selector) == present


def _text_shown(answers):
    return next(seen.values[0] for seen in answers.seen if seen.status == "answer").decode()


def soak(run, manifest, negative_ttl):
    """Return the seconds of :func:`mailhost.dkim.life.soak`.

    There are none where the key that signs has to go, or cannot sign.
    """
    name = manifest.domain
    signs = run.in_force.get(name)
    present = manifest.key(signs.selector) if signs else life.signer(manifest)
    if present and present.given_up in dkim_given_up.SIGNS_NO_MORE:
        return 0
    policy = run.policy(name)
    if policy["soak"] is None and (not signs or not os.path.exists(signs.path)):
        return 0
    return life.soak(manifest, policy, negative_ttl)


def _signs(run, name, selector):
    return opendkim_tables.Signer(selector, f"{run.top}/{name}/{selector}.private")


def _signers_told(run, manifests):
    """Return ``{domain: Signer}`` as manifests say who signs now."""
    signers = {name: life.signer(manifest) for name, manifest in manifests.items()}
    return {name: _signs(run, name, key.selector) for name, key in signers.items() if key}


def _new_signers(run, manifests, ready, old, settled, report):
    """Return who is to sign; a key whose file is not as it must be leaves the old signer, and ``ready``.

    :param settled: those of whom that is known (:mod:`mailhost.dkim.settled`).
    """
    new = dict(settled)
    for name in [*run.wanted, *_until_another_signs(run, old, ready)]:
        if name in settled:
            continue
        signer = _signer(run, name, ready, old.get(name), report) or old.get(name)
        if signer is None:
            report.notes.append(f"{name}: mail is not signed.")
            continue
        new[name] = signer
        if not os.path.exists(signer.path) and signer != run.place.tables.foreseen.get(name):
            report.errors.append(
                f"{name}: OpenDKIM is to sign with {signer.path}, which is gone, so all its mail waits (451). "
                "Put it back from a backup or, to send unsigned until a new key is in DNS, set "
                f"mailserver:domains:{name}:dkim:enabled to false for one run."
            )
    return new


def _until_another_signs(run, old, ready):
    """Return those that are to be signed for by another domain (``sign_as``) and go on signing until that one can."""
    senders = run.place.tables.senders
    return [
        name
        for name in old
        if (domain := senders.get(name)) and name not in run.wanted and domain not in old and domain not in ready
    ]


def _signer(run, name, ready, present, report):
    """Return the :class:`mailhost.opendkim.tables.Signer` of the key that is ready, ``None`` if there is none."""
    if name not in ready:
        return None
    key = ready[name].key
    signer = _signs(run, name, key.selector)
    if signer != present:
        try:
            keystore.check_private(run.place.keys, name, key)
        except DkimError as err:
            report.errors.append(f"{name}: {err}")
            ready.pop(name, None)
            return None
    return signer


def _describe(run, old, new, ready, cut_short, report):
    is_now, no_longer = ("would be", "would no longer be") if run.test else ("is now", "is no longer")
    for name in sorted({*old, *new}):
        before, after = old.get(name), new.get(name)
        if before == after and name not in ready:
            continue
        report.changes[name] = {"old": before and before.selector, "new": after and after.selector}
        what = f"{is_now} signed with {after.selector}" if after else f"{no_longer} signed; its keys stay on the host"
        report.notes.append(f"{name}: mail {what}.")
    if cut_short:
        report.notes.append("An earlier run was cut short while it changed the tables; its change is made anew.")
    if not report.changes:
        report.changes["tables"] = {"old": "not as the signers are", "new": "written again"}


def _prover(run, manifests, ready, probe):
    """Return ``probe`` as :func:`mailhost.opendkim.tables.cutover` calls it, with the record's text as DNS shows it."""

    def prove(name, signer, sender=None):
        key = manifests[name].key(signer.selector)
        text = ready[name].text if name in ready else record_of(name, run.domains[name], key).value
        probe(name, signer.selector, text, **({"sender": sender} if sender else {}))

    return prove


def _take_back(failed, old, new, report):
    """Turn what was said of domains whose probe failed into errors."""
    report.notes = [note for note in report.notes if note.partition(":")[0] not in failed]
    for name, message in failed.items():
        report.changes.pop(name, None)
        back = f"the key {old[name].selector} goes on signing" if name in old else "mail is not signed"
        report.errors.append(f"{name}: signing with {new[name].selector} was tried and undone, {back}: {message}")


def _stamp_signing(run, manifest, key, signed_before, report):
    """Stamp a key as *signing* and those that it follows as *retired*; a key that went back, the other way."""
    try:
        if key.stage == "retired":
            run.write(life.go_back(manifest, run.now))
            return
        # One that came back has the stamp already.
        changed = manifest if key.signing else manifest.with_key(life.stamp(key, "signing", run.now))
        for earlier in manifest.keys[: manifest.keys.index(key)]:
            changed = changed.with_key(_retired(earlier, signed_before, run.now))
        run.write(changed)
    except (DkimError, OSError) as err:
        report.errors.append(f"{manifest.domain}: {key.selector} signs, but this could not be recorded: {err}")


def _retired(key, signed_before, now):
    """Return a key as it is once a later one signs.

    One that signed although nobody saw it in DNS (the key of a hand-made configuration) is noted as such: its mail may
    be on its way.
    """
    if key.stage in ("generated", "published") and signed_before and key.selector == signed_before.selector:
        key = replace(key, given_up=key.given_up or life.UNSEEN)
    return life.stamp(key, "retired", now) if key.stage in ("generated", "published", "signing") else key
