"""Who signs: a key takes over once DNS shows it and it has soaked, proven by a probe and undone where that fails."""

import os
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import dropwhile, takewhile
from typing import Protocol

from mailhost.dkim import keystore, life
from mailhost.dkim import plan as dkim_plan
from mailhost.dkim import settled as dkim_settled
from mailhost.dkim.life import Manifest
from mailhost.dkim.records import question_of, record_of
from mailhost.dkim.report import Report
from mailhost.dkim.run import Run, read_manifests
from mailhost.dkim.steps import FAIL, NOTE, SIGN, STOP, WITNESS, WRITE, Step
from mailhost.dns.lookup import Answers
from mailhost.errors import CutoverError, DkimError, ProbeError
from mailhost.opendkim import tables as opendkim_tables
from mailhost.opendkim.tables import Prove, Signer

Reload = Callable[[], str | None]
"""Has OpenDKIM read its tables; returns what people should know of it, or ``None``."""


class Probe(Protocol):
    """Checks that a message came back signed with a selector, and verified; raises ProbeError otherwise."""

    def __call__(self, domain: str, selector: str, record: str, /, *, sender: str = ...) -> None: ...


_Ready = dict[str, Sequence[Step]]
"""The steps of the domains for which a key is to sign that does not yet."""


def sign(
    run: Run,
    reload: Reload,
    probe: Probe,
    instead: Collection[str] = (),
    survey: dkim_settled.AnySurvey | None = None,
) -> Report:
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
    :param survey: the :class:`mailhost.dkim.settled.Survey` of an earlier part of the same highstate, to which
        ``instead`` are not settled; one of its own, if left out.
    """
    now, done = _signers_now(run, survey or dkim_settled.Survey(run, instead))
    if now.signers and not run.domains:
        text = (
            f"The pillar lists no domain, but this host signs for {len(now.signers)} "
            f"({', '.join(sorted(now.signers)[:3])}…): did the pillar arrive? They are still signed for. "
            "To sign for none, set mailserver:opendkim:enabled to false."
        )
        return run.report([*done, Step(FAIL, reason=text)])
    plans, texts = _plans(run, now, instead)
    done += [step for steps in plans.values() for step in takewhile(_is_before_signing, steps)]
    ready = {name: steps for name, steps in plans.items() if any(step.kind == SIGN for step in steps)}
    done += _witness(run, now.manifests, ready)
    new, steps = _new_signers(run, ready, now)
    done += steps
    is_written = new == now.signers and (now.is_written or opendkim_tables.is_written(run.paths.tables, new))
    if is_written and not ready and not now.is_cut_short:
        return run.report(done)
    prove = opendkim_tables.patient(_prover(run, now.manifests, {name: texts[name] for name in ready}, probe))
    return run.report(_cut_over(run, now, new, ready, done, reload, prove))


@dataclass(frozen=True)
class _Now:
    """Who signs before anything is changed.

    ``manifests`` are those that were read, ``signers`` maps domains to what the tables name, and ``settled`` has those
    of them whose manifests need not be read. ``is_written`` says whether the tables are known to say just that, and
    ``is_cut_short`` whether an earlier run was killed while it changed them.
    """

    manifests: dict[str, Manifest]
    signers: dict[str, Signer]
    settled: dict[str, Signer]
    is_written: bool
    is_cut_short: bool


def _signers_now(run: Run, survey: dkim_settled.AnySurvey) -> tuple[_Now, list[Step]]:
    """Return :class:`_Now`, and the steps of what failed."""
    tables = run.paths.tables
    is_cut_short = opendkim_tables.is_cut_short(tables)
    manifests, failed = read_manifests(run, survey.rest)
    settled = {name: _signs(run, name, known.signer) for name, known in survey.settled.items()}
    signers = {**settled, **_signers_by_stamps(run, manifests)}
    if not is_cut_short and opendkim_tables.is_written(tables, signers):
        return _Now(manifests, signers, settled, True, is_cut_short), failed
    # The tables are not as the manifests say: who signs is to be found out domain by domain.
    more, also_failed = read_manifests(run, list(settled))
    signers = opendkim_tables.signers_in_force(tables)
    return _Now({**manifests, **more}, signers, {}, False, is_cut_short), [*failed, *also_failed]


def _cut_over(
    run: Run, now: _Now, new: Mapping[str, Signer], ready: _Ready, done: list[Step], reload: Reload, prove: Prove
) -> list[Step]:
    """Put the new signers in place of those that sign now, and write down who signs; return all steps to report.

    :param done: the steps that were done before.
    """
    changes = _changes(now, new, ready)
    said: list[Step] = []

    def have_read() -> None:
        note = reload()
        said.extend([Step(NOTE, reason=note)] if note else [])

    try:
        failed = run.do(opendkim_tables.cutover, run.paths.tables, now.signers, new, have_read, prove, ready) or {}
    except (CutoverError, OSError) as err:
        return [*(step for step in done if step.kind == FAIL), Step(FAIL, reason=str(err))]
    done = [step for step in (*done, *changes, *said) if step.domain not in failed or step.kind == FAIL]
    done += [_undone(name, now.signers, new, message) for name, message in failed.items()]
    for name, steps in ready.items():
        if name not in failed:
            done += run.do(_record, run, now.manifests[name], steps) or ()
    return done


def _is_before_signing(step: Step) -> bool:
    return step.kind != SIGN


def _plans(run: Run, now: _Now, instead: Container[str]) -> tuple[dict[str, Sequence[Step]], dict[str, str]]:
    """Return what is due at OpenDKIM's tables, ``{domain: steps}``, and the texts that DNS shows of the new keys."""
    seen = {name: _at_tables(run, one, now.signers.get(name), name in instead) for name, one in now.manifests.items()}
    candidates = {name: dkim_plan.candidates(one, seen[name]) for name, one in now.manifests.items()}
    key_names = [(name, key.selector) for name, keys in candidates.items() for key in keys]
    answers = run.answers({key_name: question_of(*key_name) for key_name in key_names})
    plans: dict[str, Sequence[Step]] = {}
    texts: dict[str, str] = {}
    for name, keys in candidates.items():
        if keys:
            shown = {key.selector: answers[name, key.selector] for key in keys}
            found = replace(seen[name], can_sign=_can_sign(now.signers.get(name)), answers=shown)
            plans[name] = dkim_plan.plan(now.manifests[name], run.policy(name), run.now, found)
            texts.update((name, _text_shown(shown[one.selector])) for one in plans[name] if one.kind == SIGN)
    return plans, texts


def _at_tables(run: Run, manifest: Manifest, signer: Signer | None, goes_back: bool = False) -> dkim_plan.AtTables:
    """Return the :class:`mailhost.dkim.plan.AtTables` of a domain by the tables alone.

    :param signer: the :class:`mailhost.opendkim.tables.Signer` that the tables name, or ``None``.
    """
    selector = signer.selector if signer else ""
    is_own = signer is not None and signer == _signs(run, manifest.domain, selector)
    return dkim_plan.AtTables(selector, is_own, goes_back=goes_back)


def _can_sign(signer: Signer | None) -> bool:
    return signer is not None and os.path.exists(signer.path)


def _witness(run: Run, manifests: dict[str, Manifest], ready: _Ready) -> list[Step]:
    """Write down who signed so far, where that was not known, before the tables are changed; return what failed.

    Once they are changed, nobody can tell any more: not a run that follows one which was killed there. So where it
    cannot be written, the domain's key does not sign yet, and is not ``ready`` any more.
    """
    failed = []
    for name, steps in list(ready.items()):
        witnessed = [step for step in steps if step.kind == WITNESS]
        if not witnessed:
            continue
        changed = dkim_plan.after(manifests[name], witnessed)
        try:
            run.write(changed)
        except (DkimError, OSError) as err:
            selector = next(step.selector for step in steps if step.kind == SIGN)
            failed.append(Step(FAIL, name, selector, f"{selector} does not sign yet: {err}"))
            del ready[name]
        else:
            manifests[name] = changed
    return failed


def _text_shown(answers: Answers) -> str:
    text: bytes = next(seen.values[0] for seen in answers.seen if seen.status == "answer")
    return text.decode()


def at_tables_now(run: Run, manifest: Manifest) -> dkim_plan.AtTables:
    """Return the :class:`mailhost.dkim.plan.AtTables` of a domain, for which DNS is not asked."""
    signer = run.in_force.get(manifest.domain)
    return replace(_at_tables(run, manifest, signer), can_sign=_can_sign(signer))


def _signs(run: Run, name: str, selector: str) -> Signer:
    return Signer(selector, f"{run.top}/{name}/{selector}.private")


def _signers_by_stamps(run: Run, manifests: Mapping[str, Manifest]) -> dict[str, Signer]:
    """Return ``{domain: Signer}`` of the keys that sign by their stamps."""
    signers = {name: life.signer(manifest) for name, manifest in manifests.items()}
    return {name: _signs(run, name, key.selector) for name, key in signers.items() if key}


def _new_signers(run: Run, ready: _Ready, now: _Now) -> tuple[dict[str, Signer], list[Step]]:
    """Return who is to sign, and the steps to report; a key whose file is not as it must be leaves ``ready``."""
    new = dict(now.settled)
    steps: list[Step] = []
    for name in [*run.wanted, *_until_another_signs(run, now.signers, ready)]:
        if name in now.settled:
            continue
        signer, failed = _signer(run, name, ready, now.signers.get(name))
        steps += failed
        if signer is None:
            steps.append(Step(NOTE, name, reason="mail is not signed."))
            continue
        new[name] = signer
        if not os.path.exists(signer.path) and signer != run.paths.tables.foreseen.get(name):
            text = (
                f"OpenDKIM is to sign with {signer.path}, which is gone, so all its mail waits (451). "
                "Put it back from a backup or, to send unsigned until a new key is in DNS, set "
                f"mailserver:domains:{name}:dkim:enabled to false for one run."
            )
            steps.append(Step(FAIL, name, signer.selector, text))
    return new, steps


def _until_another_signs(run: Run, old: Mapping[str, Signer], ready: _Ready) -> list[str]:
    """Return those that are to be signed for by another domain (``sign_as``) and go on signing until that one can."""
    senders = run.paths.tables.senders
    return [
        name
        for name in old
        if (domain := senders.get(name)) and name not in run.wanted and domain not in old and domain not in ready
    ]


def _signer(run: Run, name: str, ready: _Ready, present: Signer | None) -> tuple[Signer | None, list[Step]]:
    """Return who is to sign for a domain, and what failed: the key that is ready, or else who signs now."""
    if name not in ready:
        return present, []
    key = next(step.key for step in ready[name] if step.kind == SIGN and step.key)
    signer = _signs(run, name, key.selector)
    if signer != present:
        try:
            keystore.check_private(run.paths.keys, name, key)
        except DkimError as err:
            del ready[name]
            return present, [Step(FAIL, name, key.selector, str(err))]
    return signer, []


def _changes(now: _Now, new: Mapping[str, Signer], ready: _Ready) -> list[Step]:
    """Return the steps of a change of OpenDKIM's tables, in the order of the domains' names."""
    starts = [step for steps in ready.values() for step in steps if step.kind == SIGN]
    stops = [Step(STOP, name, old=signer.selector) for name, signer in now.signers.items() if name not in new]
    changes = sorted([*starts, *stops], key=lambda step: step.domain)
    if now.is_cut_short:
        text = "An earlier run was cut short while it changed the tables; its change is made again."
        changes.append(Step(NOTE, reason=text))
    written = Step(WRITE, "tables", old="not as the signers are", new="written again")
    return [*changes, *([] if starts or stops else [written])]


def _prover(run: Run, manifests: Mapping[str, Manifest], texts: Mapping[str, str], probe: Probe) -> Prove:
    """Return ``probe`` as :func:`mailhost.opendkim.tables.cutover` calls it, with the record's text as DNS shows it."""

    def prove(name: str, signer: Signer, sender: str | None = None) -> None:
        if name in texts:
            text = texts[name]
        elif key := manifests[name].key(signer.selector) if name in manifests else None:
            text = record_of(name, run.domains[name], key).value
        else:
            raise ProbeError(f"no manifest has the key {signer.selector}, so it cannot be verified what it signs")
        probe(name, signer.selector, text, **({"sender": sender} if sender else {}))

    return prove


def _undone(name: str, old: Mapping[str, Signer], new: Mapping[str, Signer], message: str) -> Step:
    """Return the failure of a domain whose probe failed, and which is signed for as before."""
    back = f"the key {old[name].selector} goes on signing" if name in old else "mail is not signed"
    text = f"signing with {new[name].selector} was tried and undone, {back}: {message}"
    return Step(FAIL, name, new[name].selector, text)


def _record(run: Run, manifest: Manifest, planned: Iterable[Step]) -> list[Step]:
    """Write down that a key signs, and which ones it follows; return what failed."""
    steps = list(dropwhile(_is_before_signing, planned))
    failed = [step for step in steps if step.kind == FAIL]
    if failed:
        return failed
    try:
        run.write(dkim_plan.after(manifest, steps))
    except (DkimError, OSError) as err:
        return [dkim_plan.unrecorded(manifest.domain, steps[0].selector, err)]
    return []
