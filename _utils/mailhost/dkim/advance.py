"""A whole run over a host's keys, and what operators may ask for out of turn (revoke, roll back)."""

from collections.abc import Collection
from dataclasses import dataclass, replace

from mailhost.dkim import keystore, life
from mailhost.dkim.check import Announce, Publish, check_published, publisher
from mailhost.dkim.given_up import COMPROMISED, WHY
from mailhost.dkim.make import make_keys, make_successors
from mailhost.dkim.report import Report, merged
from mailhost.dkim.run import OldestQueued, Run
from mailhost.dkim.settled import AnySurvey, Only, Survey
from mailhost.dkim.sign import Probe, Reload, sign
from mailhost.errors import DkimError


@dataclass(frozen=True)
class SigningHost:
    """What a whole run needs from the host: its name for selectors, and its daemons.

    For ``reload`` and ``probe`` see :func:`mailhost.dkim.sign.sign`, for ``oldest_queued``
    :func:`mailhost.dkim.check.check_published`, for ``announce`` :func:`mailhost.dkim.check.publisher`.
    """

    name: str
    reload: Reload
    probe: Probe
    oldest_queued: OldestQueued | None = None
    announce: Announce | None = None


def advance(
    run: Run,
    host: SigningHost,
    also: Collection[str] = (),
    instead: Collection[str] = (),
    force: bool = False,
    everything: bool = False,
) -> Report:
    """Do everything that is due for all keys: make, publish, check in DNS, sign, revoke, remove. Return one report.

    :param also, force: see :func:`mailhost.dkim.make.make_keys`.
    :param instead: see :func:`mailhost.dkim.sign.sign`.
    :param everything: see :func:`mailhost.dkim.check.check_published`.
    """
    survey = Survey(run, {*also, *instead}, thorough=True)
    made = make_keys(run, host.name, also, force, survey, hold=instead)
    seen, fresh = check_in_dns(run, host.name, host.oldest_queued, publisher(run, host.announce), everything, survey)
    return merged(made, seen, sign(run, host.reload, host.probe, instead, fresh))


def check_in_dns(
    run: Run,
    host: str,
    oldest_queued: OldestQueued | None,
    publish: Publish | None,
    everything: bool,
    survey: AnySurvey,
) -> tuple[Report, AnySurvey]:
    """Check keys in DNS. Where a key turns out to be lost, make a successor and check that one as well.

    For the parameters see :func:`mailhost.dkim.check.check_published`, and for ``host``
    :func:`mailhost.dkim.make.make_keys`. Return the report, and the :class:`mailhost.dkim.settled.Survey` for the
    rest of the run.
    """
    seen = check_published(run, oldest_queued, publish, everything, survey)
    lost = tuple(name for name in dict.fromkeys(seen.lost) if name not in run.planned.made)
    if not lost:
        return seen, survey
    made = make_successors(run, host, lost)
    settled = {name: known for name, known in survey.settled.items() if name not in lost}
    fresh = Only(tuple(name for name in run.wanted if name not in settled), settled)
    # The keys that a dry run would have made do not exist, so they cannot be checked.
    again = run.do(check_published, run, oldest_queued, publish, False, Only(lost)) if made.changes else None
    return merged(seen, made, *([again] if again else [])), fresh


def give_up(run: Run, name: str, selector: str) -> None:
    """Give up a key because others may know it. Once another key can sign, it never signs again and is revoked.

    A key that OpenDKIM's tables name keeps signing until then, whatever its stamps say.

    :raises DkimError: there is no such key, or it is revoked already.
    """
    manifest = run.manifest(name)
    key = next((one for one in manifest.keys if one.selector.lower() == selector.lower()), None)
    if key is None or key.revoked:
        selectors = ", ".join(one.selector for one in manifest.keys if not one.revoked) or "none"
        raise DkimError(f"{name}: no key {selector} to revoke; those that are not revoked: {selectors}")
    keystore.mark_compromised(run.paths.keys, name, key.selector)
    marked = run.manifest(name)
    row = next(one for one in marked.keys if one.selector == key.selector)
    run.write(marked.with_key(replace(row, given_up=COMPROMISED)))


def check_can_go_back(run: Run, name: str) -> None:
    """Check that a domain has a predecessor that can sign again. The run itself finds out whether DNS shows it.

    :raises DkimError: it has none, the last one was given up, or its key file is missing or wrong.
    """
    manifest = run.manifest(name)
    earlier = life.predecessor(manifest)
    if earlier is None:
        given_up = [key for key in manifest.keys if key.stage == "retired" and key.signing and key.given_up]
        why = "".join(f"; {key.selector} is not used again: {WHY.get(key.given_up, key.given_up)}" for key in given_up)
        raise DkimError(f"{name}: no earlier key that DNS still shows{why}; dkim.status lists the domain's keys")
    keystore.check_private(run.paths.keys, name, earlier)
