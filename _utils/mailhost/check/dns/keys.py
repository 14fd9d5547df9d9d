"""Checks of the DKIM keys in DNS: each record must be as its key's stage requires, and one key a domain must sign."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from mailhost.check.dns.answers import Survey, judged, publish, unknown, where
from mailhost.check.findings import Finding, Status, ok
from mailhost.clock import shown_time
from mailhost.dkim import given_up as dkim_given_up
from mailhost.dkim import keystore, life
from mailhost.dkim import records as dkim_records
from mailhost.dkim import run as dkim_run
from mailhost.dns import lookup
from mailhost.errors import DkimError
from mailhost.shapes import Settings

_MEND = "Do what the message says; until then nothing is known of the domain's keys, and the others are looked at."


@dataclass(frozen=True)
class CheckedKey:
    """A key, and what DNS should show of it (:class:`mailhost.dkim.records.Wanted`)."""

    domain: str
    key: life.KeyRow
    wanted: dkim_records.Wanted

    @property
    def question(self) -> lookup.Question:
        """The question for DNS."""
        return dkim_records.question_of(self.domain, self.key.selector)


@dataclass(frozen=True)
class CheckedKeys:
    """The domains' keys whose records are checked; ``manifests`` by domain; ``troubles`` say why some are unknown.

    Without a ``run`` nothing is known.
    """

    run: dkim_run.Run | None
    manifests: dict[str, life.Manifest]
    rows: tuple[CheckedKey, ...]
    troubles: dict[str, str]


def read(settings: Settings, names: Collection[str], oldest_queued: dkim_run.OldestQueued) -> CheckedKeys:
    """Return the :class:`CheckedKeys` of these domains from the host's manifests; nothing is written.

    :param oldest_queued: see :func:`mailhost.dkim.records.oldest_if_needed`.
    """
    wanted = [name for name in names if settings["domains"][name]["dkim"]["enabled"]]
    if not (wanted and settings["opendkim"]["enabled"]):
        return CheckedKeys(None, {}, (), {})
    try:
        paths = dkim_run.paths_of(settings)
        run = dkim_run.begin(paths, settings["domains"], settings["dns"], test=True)
    except DkimError as err:
        return CheckedKeys(None, {}, (), {settings["hostname"]: str(err)})
    manifests, troubles = keystore.read_each(wanted, run.manifest)
    oldest = dkim_records.oldest_if_needed(run, manifests.values(), oldest_queued)
    rows = tuple(
        CheckedKey(name, key, _wanted(run, name, key, oldest))
        for name, manifest in manifests.items()
        for key in manifest.keys
        if not key.removed and (key.given_up not in life.LEFT or run.is_named(name, key.selector))
    )
    return CheckedKeys(run, manifests, rows, troubles)


def _wanted(run: dkim_run.Run, name: str, key: life.KeyRow, oldest: datetime | None) -> dkim_records.Wanted:
    wanted = dkim_records.wanted_of(run, name, key, oldest)
    # The key reached this stage with an empty p= or without a record, and either may still be there.
    return replace(wanted, why="the key is revoked") if key.revoked and wanted.text else wanted


def questions(survey: Survey) -> list[lookup.Question]:
    """Return the questions to ask."""
    return [row.question for row in _keys(survey).rows]


def findings(survey: Survey) -> Iterator[Finding]:
    """Return the findings about the domains' keys."""
    keys = _keys(survey)
    for about, why in keys.troubles.items():
        yield unknown("dns.dkim", about, "the host knows its keys", why, _MEND)
    if keys.run is None:
        return
    seen = _seen(survey)
    waits: set[str] = set()
    for row in keys.rows:
        found = _shown(keys.run, row, seen[row.question])
        if row.key.stage in ("generated", "published") and found.status != "ok":
            waits.add(row.domain)
        yield found
    # The finding about a missing record already says why mail is not signed.
    yield from (_signer(keys.run, manifest) for name, manifest in keys.manifests.items() if name not in waits)


def _keys(survey: Survey) -> CheckedKeys:
    return survey.keys or CheckedKeys(None, {}, (), {})


def _seen(survey: Survey) -> dict[lookup.Question, lookup.Answers]:
    """Return what DNS shows of the keys without wildcards' records (one more question for each that looks wrong)."""
    wants = {row.question: (row.key, row.wanted) for row in _keys(survey).rows}
    options = lookup.options(survey.settings["dns"])
    return dkim_records.without_wildcards(
        wants,
        {question: survey.answers[question] for question in wants},
        lambda asked: survey.means.ask(asked, options),
    )


def _shown(run: dkim_run.Run, row: CheckedKey, answers: lookup.Answers) -> Finding:
    """Judge what DNS shows of a key by its stage (docs/lifecycle.md).

    Without the record, mail that was signed with the key cannot be verified (RFC 6376 section 6.1.2). A key that waits
    to sign, or whose record must go, harms no mail.
    """
    key, wanted = row.key, row.wanted
    verdict = dkim_records.judge_wanted(key, wanted, answers)
    about, words = row.question.name, _in_words(key, wanted)
    if verdict.value == "published" and dkim_records.testing(answers):
        seen = dkim_records.TESTING.format(key.selector)
        return Finding("dns.dkim", "warn", about, words, seen, _remedy(run, row, answers.zone))
    return judged(
        *("dns.dkim", about, words, verdict.value, verdict.findings),
        *(_status(run, row), _remedy(run, row, answers.zone), f"so {where(answers)}"),
    )


def _status(run: dkim_run.Run, row: CheckedKey) -> Status:
    key, late = row.key, life.deadline(row.key, run.policy(row.domain))
    if key.stage == "generated":
        return "fail" if run.now >= late else "warn"
    needed = key.stage == "signing" or (key.stage == "retired" and not row.wanted.why)
    return "fail" if needed else "warn"


def _in_words(key: life.KeyRow, wanted: dkim_records.Wanted) -> str:
    if key.stage == "generated":
        return "DNS shows the new key, which signs nothing before that"
    if wanted.left:
        return f"the key that signs is not given up, as this one is: {dkim_given_up.WHY[key.given_up]}"
    if not wanted.why:
        return f"DNS shows the {key.stage} key"
    return f"DNS shows {'an empty p=, or no record' if wanted.text else 'no record'}, because {wanted.why}"


def _remedy(run: dkim_run.Run, row: CheckedKey, zone: str) -> str:
    key, domain = row.key, run.domains[row.domain]
    if row.wanted.left:
        return f"Publish the record of the newest key (salt-call dkim.records {row.domain}), and not this one again."
    if not row.wanted.text:
        return f"Take away all TXT records at {row.question.name}."
    record = replace(dkim_records.record_of(row.domain, domain, key), value=row.wanted.text)
    ends = life.deadline(key, run.policy(row.domain))
    waits = f"a failure from {shown_time(ends)} on: mailserver:dkim:publish_deadline"
    return publish([record], waits if key.stage == "generated" else "docs/dns.md: how it gets there", zone)


def _signer(run: dkim_run.Run, manifest: life.Manifest) -> Finding:
    """Return whether a key of a domain signs; a published key that soaks will sign later."""
    name, wanted, signer = manifest.domain, "a key signs the domain's mail", life.signer(manifest)
    # If there is no KeyTable at all, the checks of the configuration report that.
    if signer and (run.is_named(name, signer.selector) or not run.paths.tables.key_table.exists()):
        return ok("dns.dkim.signs", name, wanted, f"{signer.selector} signs since {shown_time(signer.at('signing'))}")
    waiting = life.successor(manifest)
    seen = f"{waiting.selector} is {waiting.stage}, and does not sign yet" if waiting else "no key that may sign"
    remedy = f"Run salt-call dkim.advance, as the schedule does; salt-call dkim.status {name} says what keys wait for."
    return Finding("dns.dkim.signs", "warn", name, wanted, seen, remedy)
