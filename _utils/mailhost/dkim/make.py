"""Keys are made where a domain needs one, or taken over. The files of existing keys are put right."""

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from mailhost import files as safe_files
from mailhost.dkim import keystore, life
from mailhost.dkim import plan as dkim_plan
from mailhost.dkim import selectors as dkim_selectors
from mailhost.dkim import settled as dkim_settled
from mailhost.dkim.given_up import FOREIGN
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.dkim.records import record_of
from mailhost.dkim.report import Report
from mailhost.dkim.run import Run, read_manifests
from mailhost.dkim.steps import ADOPT, DESTROY, FAIL, GENERATE, SETTLE, Step
from mailhost.errors import DkimError
from mailhost.records import record as mail_records


def make_keys(
    run: Run,
    host: str,
    also: Collection[str] = (),
    force: bool = False,
    survey: dkim_settled.Survey | None = None,
    hold: Iterable[str] = (),
) -> Report:
    """Make a key for each domain that has none that signs or may sign, or whose signer is due for rotation.

    A key that a hand-written OpenDKIM configuration already signs with, or that an interrupted run left on disk, is
    taken over instead of being replaced. The files of other keys get their owner and mode back. Files of revoked keys
    are destroyed, if an earlier run was cut short before it did that.

    :param host: the host's name, for selectors.
    :param also: domains that get a successor whether or not it is due; with ``force`` even where one is waiting.
    :param survey: a thorough :class:`mailhost.dkim.settled.Survey` in which ``also`` are not settled; a new one, if
        left out.
    :param hold: domains that get no key in this run, since an earlier key is about to sign again.
    """
    survey = survey or dkim_settled.Survey(run, also, thorough=True)
    run.do(_sweep, run, survey.settled)
    asked = dict.fromkeys(also, dkim_plan.ANOTHER if force else dkim_plan.SUCCESSOR)
    asked.update(dict.fromkeys(hold, dkim_plan.EARLIER))
    manifests, plans, done = _plans(run, survey.rest, asked)
    for name, manifest in manifests.items():
        done += _note_what_is_seen(run, manifest, plans[name])
    for manifest in manifests.values():
        done += _settle(run, manifest)
    run.do(survey.note, manifests)
    return run.report([*done, *_make(run, host, manifests, plans)])


def make_successors(run: Run, host: str, names: Collection[str]) -> Report:
    """Make a key for each of these domains, whose present key was given up, unless one is already waiting."""
    manifests, plans, done = _plans(run, names, dict.fromkeys(names, dkim_plan.SUCCESSOR))
    return run.report([*done, *_make(run, host, manifests, plans)])


def _plans(
    run: Run, names: Iterable[str], asked: Mapping[str, str]
) -> tuple[dict[str, Manifest], dict[str, tuple[Step, ...]], list[Step]]:
    """Return ``{domain: manifest}`` as the host shows it, ``{domain: steps}``, and the steps that failed."""
    manifests, failed = read_manifests(run, names, run.on_disk)
    plans = {}
    for name, manifest in manifests.items():
        seen = dkim_plan.OnHost(run.view(manifest), _adopts(run, manifest), asked.get(name, ""))
        plans[name] = dkim_plan.plan(manifest, run.policy(name), run.now, seen)
        manifests[name] = dkim_plan.after(manifest, plans[name], run.machine)
    return manifests, plans, failed


def _adopts(run: Run, manifest: Manifest) -> str:
    """Return the selector of a key that the tables name and whose file is here, but that the manifest lacks."""
    name, signs = manifest.domain, run.in_force.get(manifest.domain)
    if signs is None or manifest.key(signs.selector):
        return ""
    path = run.path(name, signs.selector)
    is_here = signs.path == str(path) and (path.exists() or run.paths.tables.foreseen.get(name) == signs)
    return signs.selector if is_here else ""


def _note_what_is_seen(run: Run, manifest: Manifest, planned: Iterable[Step]) -> list[Step]:
    """Write what the host shows of a domain's keys where its manifest says otherwise; return the steps of that."""
    steps = [step for step in planned if step.kind not in (GENERATE, ADOPT)]
    try:
        if steps:
            run.write(manifest)
    except DkimError as err:
        return [Step(FAIL, manifest.domain, reason=str(err))]
    return steps


def _make(run: Run, host: str, manifests: Mapping[str, Manifest], plans: Mapping[str, Sequence[Step]]) -> list[Step]:
    """Make or take over the keys that are planned; return the steps that were done or failed."""
    named: list[Step] = []
    failed: list[Step] = []
    for step in (step for steps in plans.values() for step in steps if step.kind in (GENERATE, ADOPT)):
        try:
            named.append(_named(run, manifests[step.domain], step, host))
        except DkimError as err:
            failed.append(Step(FAIL, step.domain, reason=f"no key can be made: {err}"))
    troubles = run.do(_write_all, run, manifests, named)
    if troubles is None:
        run.planned.made.update(step.domain for step in named)
        return [*failed, *named]
    return [*failed, *(troubles.get(step.domain, step) for step in named)]


def _write_all(run: Run, manifests: Mapping[str, Manifest], steps: Sequence[Step]) -> dict[str, Step]:
    """Write the keys of these steps; return ``{domain: failure}``.

    Each key is written while the next ones are being made, so that disk time is not added to processor time.
    """
    failed = {}
    made = iter(keystore.generate([run.policy(step.domain)["bits"] for step in steps if step.kind == GENERATE]))
    for step in steps:
        pem = next(made) if step.kind == GENERATE else None
        try:
            _write(run, manifests[step.domain], step.selector, pem)
        except (DkimError, OSError) as err:
            failed[step.domain] = Step(FAIL, step.domain, step.selector, str(err))
    return failed


def _sweep(run: Run, settled: Collection[str]) -> None:
    """Delete unfinished files of killed runs. Settled folders are skipped: they were swept before."""
    folders = safe_files.folders(run.paths.keys)
    changed = [folder for folder in folders if os.path.basename(folder) not in settled]
    safe_files.sweep(run.paths.keys, *changed)


def _named(run: Run, manifest: Manifest, step: Step, host: str) -> Step:
    """Return the step of a new key with its selector; a key file that an interrupted run left is taken over.

    :raises DkimError: DNS cannot hold the record.
    """
    name = manifest.domain
    if step.kind == ADOPT:
        dkim_selectors.check(step.selector, name)
        return step
    selector = _selector(run, manifest, host)
    if run.path(name, selector).exists():
        return dkim_plan.adopted(name, selector, "an interrupted run left its file")
    return replace(step, selector=selector)


def _selector(run: Run, manifest: Manifest, host: str) -> str:
    """Return a selector for a new key, one that this domain never used."""
    name, signs = manifest.domain, run.in_force.get(manifest.domain)
    taken = {key.selector for key in manifest.keys}
    # A selector that the tables name is not used either: a new key at its path would sign at once, before DNS shows it.
    taken |= {signs.selector} if signs else set()
    # A manifest restored from a backup does not know later keys, but their record files for people are still there.
    known = {path.stem for path in run.path(name, "x").parent.glob("*.txt")}
    taken |= {one for one in known if not run.path(name, one).exists()}
    # Two machines with the same keys make new ones at the same moment, since their files say the same.
    own = run.machine[:4] if any(key.given_up == FOREIGN for key in manifest.keys) else ""
    return dkim_selectors.new_selector(run.policy(name)["selector"], host, run.now, taken, name, own)


def _write(run: Run, manifest: Manifest, selector: str, pem: str | None) -> None:
    """Write a key's file first (``pem``, unless it exists), then its record for people, and its manifest row last."""
    name, keys, owner = manifest.domain, run.paths.keys, run.paths.owner
    path = run.path(name, selector)
    keystore.make_folder(keys, name, owner)
    if pem:
        keystore.write_private(keys, name, selector, pem, owner)
    public, bits = keystore.public_half(keystore.read_private(path), str(path))
    key = life.KeyRow(selector, "rsa", bits, public, run.now)
    keystore.settle_key(keys, name, key, owner)
    line = mail_records.zone_line(record_of(name, run.domains[name], key))
    keystore.write_record(keys, name, selector, line)
    run.write(replace(manifest.with_key(key), machine=run.machine or manifest.machine))


def _settle(run: Run, manifest: Manifest) -> list[Step]:
    """Put the files of a domain's keys right. One that fails does not keep the others from it. Return the steps."""
    done = []
    for key in manifest.keys:
        try:
            step = _wrong(run, manifest.domain, key)
            if step:
                run.do(_put_right, run, key, step)
                done.append(step)
        except (DkimError, OSError) as err:
            done.append(Step(FAIL, manifest.domain, key.selector, str(err)))
    return done


def _wrong(run: Run, name: str, key: KeyRow) -> Step | None:
    """Return the step that puts a key's file right, or ``None``.

    :raises KeyFileError: the file is missing, and the key must be able to sign.
    """
    if key.revoked:
        is_there = run.path(name, key.selector).exists()
        return Step(DESTROY, name, key.selector, "its record is revoked") if is_there else None
    if key.given_up and not run.path(name, key.selector).exists():
        # The file is not missed: nothing will sign with it.
        return None
    if keystore.settle_key(run.paths.keys, name, key, run.paths.owner, test=True):
        why = "OpenDKIM insists on its owner and mode"
        return Step(SETTLE, name, key.selector, why, "wrong owner or mode", "0600")
    return None


def _put_right(run: Run, key: KeyRow, step: Step) -> None:
    if step.kind == DESTROY:
        run.destroy(step.domain, key.selector)
    else:
        keystore.settle_key(run.paths.keys, step.domain, key, run.paths.owner)
