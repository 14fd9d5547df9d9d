"""The TXT records of a host's keys: what DNS should show of each key now, and whether it does."""

import base64
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from mailhost.dkim import given_up as dkim_given_up
from mailhost.dkim import life
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.dkim.run import OldestQueued, Run
from mailhost.dns import lookup, wildcards
from mailhost.errors import DkimError
from mailhost.publish import change
from mailhost.records import key as records_key
from mailhost.records import tags
from mailhost.records.record import Record
from mailhost.shapes import DomainSettings
from mailhost.wording import did_you_mean

_KeyName = TypeVar("_KeyName")
"""What tells keys apart in mappings: (domain, selector), or the question for DNS."""
_Check = Callable[[tuple[bytes, ...]], str | None]
"""Takes the TXT values that a server shows; returns what is wrong with them, or ``None``."""

TESTING = "the record of the key {} has t=y (a test), so recipients may take its signatures for none; publish ours"
_NOT_SHOWN = ("absent", "different")


@dataclass(frozen=True)
class Wanted:
    """What DNS should show of a key: the ``text`` of its record (``""``: none), and ``why`` it is not the key itself.

    ``or_revoked``: the revoked record, or none, is right as well, because its revocation may have begun. ``left``: the
    record is not this host's business and must not be published, changed or removed for it; ``text`` is then empty.
    """

    text: str
    why: str = ""
    or_revoked: bool = False
    left: bool = False


def record_of(name: str, domain: DomainSettings, key: KeyRow) -> Record:
    """Return the :class:`mailhost.records.record.Record` of a key.

    Revoked, its ``p=`` is empty (RFC 6376 section 3.6.1).
    """
    public = "" if key.revoked else key.public
    return records_key.key_record(name, key.selector, public, domain["dkim"]["ttl"], key.algorithm)


def revoked_record_of(name: str, domain: DomainSettings, key: KeyRow) -> Record:
    """Return the record that a key has from its revocation on."""
    return records_key.key_record(name, key.selector, "", domain["dkim"]["ttl"], key.algorithm)


def question_of(name: str, selector: str) -> lookup.Question:
    """Return the DNS question for the record of a key."""
    return lookup.Question(f"{selector}._domainkey.{name}", "TXT")


def wanted_of(run: Run, name: str, key: KeyRow, oldest_queued: datetime | None) -> Wanted:
    """Return what DNS should show of a key that is not removed.

    :param oldest_queued: see :func:`mailhost.dkim.life.keeps_record`.
    """
    return wanted(name, run.domains[name], key, run.is_named(name, key.selector), run.now, oldest_queued)


def wanted(
    name: str, domain: DomainSettings, key: KeyRow, is_named: bool, now: datetime, oldest_queued: datetime | None
) -> Wanted:
    """Return what DNS should show of a key, like :func:`wanted_of`, without a run.

    :param domain: the settings of the domain ``name``.
    :param is_named: OpenDKIM's tables name the key.
    """
    record, policy = record_of(name, domain, key).value, domain["dkim"]
    if dkim_given_up.is_left(key, is_named):
        return Wanted("", left=True)
    if key.revoked:
        if life.keeps_revoked(key, policy, now):
            return Wanted(record)
        return Wanted("", "it has been revoked for long enough")
    if key.stage == "retired" and not is_named:
        if not life.keeps_record(key, policy, now, oldest_queued):
            return Wanted(revoked_record_of(name, domain, key).value, "it is due to be revoked")
        # An earlier run may have begun the revocation when the queue held no old mail. That this run cannot read the
        # queue does not undo that.
        is_over = now >= life.retention_ends(key, policy)
        return Wanted(record, or_revoked=is_over and oldest_queued is None)
    return Wanted(record)


def change_of(run: Run, name: str, key: KeyRow, wanted: Wanted) -> change.Change:
    """Return the :class:`mailhost.publish.change.Change` that makes DNS show what is wanted of a key.

    It may replace only records that are ours: this key's own record, or its revoked one.
    """
    record = record_of(name, run.domains[name], replace(key, revoked=None))
    revoked = revoked_record_of(name, run.domains[name], key)
    ours = (record.value, revoked.value) if wanted.why else ()
    return change.Change(record.name, "", record.ttl, wanted.text or None, ours)


def oldest_if_needed(run: Run, manifests: Iterable[Manifest], oldest_queued: OldestQueued | None) -> datetime | None:
    """Return ``oldest_queued(run)``. It is called only if a key is retired: nothing else waits for the mail queue."""
    retired = any(key.stage == "retired" for manifest in manifests for key in manifest.keys)
    return oldest_queued(run) if retired and oldest_queued else None


def testing(answers: lookup.Answers) -> bool:
    """Tell whether any server shows a key's record with the test flag (t=y, RFC 6376 section 3.6.1)."""
    return any(records_key.is_testing(value) for one in answers.seen for value in one.values)


def judge(key: KeyRow, answers: lookup.Answers) -> lookup.Verdict:
    """Return the :class:`mailhost.dns.lookup.Verdict` on whether DNS shows a key itself."""
    return lookup.judge(answers, _check(key.public, key.algorithm))


def judge_wanted(key: KeyRow, wanted: Wanted, answers: lookup.Answers) -> lookup.Verdict:
    """Return the verdict on whether DNS shows what is wanted of a key; ``published`` means: as wanted, everywhere.

    A key that must be revoked is also revoked if there is no record. A key that must be removed needs to have no
    record. If the record is left to others, DNS must show the key as long as it signs, and must not once it is retired.
    """
    ours = _check(key.public, key.algorithm)
    if wanted.left:
        if key.stage not in ("retired", "revoked"):
            return judge(key, answers)
        verdict = lookup.judge(answers, lambda values: None if _lacks(values, ours) else "it is there")
    elif wanted.or_revoked:
        revoked = _check("", key.algorithm)
        verdict = lookup.judge(answers, lambda values: revoked(values) and ours(values))
    elif not wanted.why:
        return judge(key, answers)
    elif wanted.text:
        verdict = lookup.judge(answers, _check("", key.algorithm))
    else:
        verdict = lookup.judge(answers, lambda _values: "the record is still there; take it away")
    if verdict.value != "absent":
        return verdict
    if answers.trouble or any(one.status == "unknown" for one in answers.seen):
        return lookup.Verdict("unknown", verdict.findings)
    return lookup.Verdict("published")


def without_wildcards(
    wants: Mapping[_KeyName, tuple[KeyRow, Wanted]],
    seen: Mapping[_KeyName, lookup.Answers],
    ask: wildcards.Ask,
) -> dict[_KeyName, lookup.Answers]:
    """Return what DNS shows of keys, without what wildcards synthesize for names that do not exist (RFC 4592).

    Names that show what is wanted are not queried again. A wildcard that shows the very key counts, since a verifier
    accepts it.

    :param wants: ``{key_name: (key, Wanted)}``.
    :param seen: ``{key_name: Answers}``.
    :param ask: takes questions, and returns ``{Question: Answers}``.
    """
    odd = {key_name: one for key_name, one in seen.items() if judge_wanted(*wants[key_name], one).value in _NOT_SHOWN}
    keys = {one.question: wants[key_name][0] for key_name, one in odd.items()}

    def is_the_key(question: lookup.Question, values: tuple[bytes, ...]) -> bool:
        key = keys[question]
        return any(_check(key.public, key.algorithm)((value,)) is None for value in values)

    found = wildcards.unmasked({one.question: one for one in odd.values()}, ask, is_the_key)
    return {**seen, **{key_name: found[one.question] for key_name, one in odd.items()}}


def _lacks(values: Iterable[bytes], ours: _Check) -> bool:
    return all(ours((value,)) for value in values)


def shows(key: KeyRow, answers: lookup.Answers) -> str:
    """Return what DNS shows in place of a key: a ``"revoked"`` record, ``"another"`` key, or ``""`` for neither.

    No record of ours had an empty ``p=`` before this host asked for that, so one server that shows it is enough.
    Another key counts only if no server shows ours.
    """
    texts = [seen.values for seen in answers.seen if seen.status == "answer"]
    ours = _check(key.public, key.algorithm)
    if key.public and all(ours(values) is None for values in texts):
        return ""
    if any(_is_key_record(values, is_empty=True) for values in texts):
        return "revoked"
    another = texts and all(_lacks(values, ours) for values in texts)
    return "another" if another and all(_is_key_record(values, is_empty=False) for values in texts) else ""


def _is_key_record(values: tuple[bytes, ...], is_empty: bool) -> bool:
    """Tell whether TXT values are a single key record, with an empty ``p=`` or with a whole key."""
    if len(values) != 1:
        return False
    try:
        public = "".join(tags.tags(values[0].decode("ascii"))["p"].split())
        return not public if is_empty else _is_whole(base64.b64decode(public, validate=True))
    except (ValueError, KeyError):
        return False


def _is_whole(key: bytes) -> bool:
    """Tell whether bytes may be a whole public key: 32 bytes (Ed25519), or as long as its DER says (RSA)."""
    return len(key) == 32 or (key[:2] == b"\x30\x82" and len(key) == 4 + int.from_bytes(key[2:4], "big"))


def _check(public: str, algorithm: str) -> _Check:
    return lambda values: records_key.check_key(values, public, algorithm)


def key_records(run: Run, only: str | None = None, oldest_queued: OldestQueued | None = None) -> list[Record]:
    """Return the records of all keys as DNS should show them now, for all domains with DKIM or for ``only`` one.

    :raises DkimError: the host has no such domain, or a manifest is damaged.
    """
    if only is not None and only not in run.domains:
        near = did_you_mean(only, run.domains) if run.domains else "its pillar lists none"
        raise DkimError(f"{only} is not among the domains of this host; {near}")
    found = records_by_domain(run, run.wanted if only is None else [only], oldest_queued)
    return [record for records in found.values() for record in records]


def records_by_domain(
    run: Run, names: Iterable[str], oldest_queued: OldestQueued | None = None
) -> dict[str, list[Record]]:
    """Return ``{domain: records}`` of all keys of these domains as DNS should show them now.

    :raises ManifestError: a manifest is damaged.
    """
    manifests = [run.manifest(name) for name in names]
    oldest = oldest_if_needed(run, manifests, oldest_queued)
    return {manifest.domain: _records_of(run, manifest, oldest) for manifest in manifests}


def _records_of(run: Run, manifest: Manifest, oldest: datetime | None) -> list[Record]:
    found: list[Record] = []
    name = manifest.domain
    for key in manifest.keys:
        wanted = Wanted("") if key.removed else wanted_of(run, name, key, oldest)
        if wanted.text:
            found.append(replace(record_of(name, run.domains[name], key), value=wanted.text))
    return found
