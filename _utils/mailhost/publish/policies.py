"""Publishing the policy records of domains (SPF, DMARC, MTA-STS, TLS-RPT): planned, sent, and remembered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mailhost import files as safe_files
from mailhost.dns import lookup, wildcards
from mailhost.publish import credential as publish_credential
from mailhost.publish import remembered, rfc2136
from mailhost.publish.change import Change, Result, Sent
from mailhost.records import policies as record_policies
from mailhost.records import shared as shared_records
from mailhost.shapes import Dns, DomainSettings


@dataclass(frozen=True)
class PolicyResult:
    """The outcome of a record: that of :class:`mailhost.publish.change.Sent`, or ``due`` if it would be sent.

    ``now`` are the texts of its kind that were there, ``wanted`` is ours.
    """

    change: Change
    result: Result
    detail: str = ""
    now: tuple[str, ...] = ()

    def as_data(self) -> dict[str, str | list[str] | None]:
        """Return the outcome as a row of a plan."""
        return {
            "name": self.change.name,
            "record": self.change.kind,
            "result": self.result,
            "now": list(self.now),
            "wanted": self.change.wanted,
            **({"why": self.detail} if self.detail else {}),
        }


def changes_of(domains: Mapping[str, DomainSettings]) -> list[Change]:
    """Return a :class:`mailhost.publish.change.Change` for each policy record that these domains' settings want."""
    return [
        Change(record.name, "", record.ttl, record.value, kind=kind.label, is_beside=_is_beside(kind, domain))
        for name, domain in domains.items()
        for kind, record in record_policies.of_domain(name, domain)
    ]


def _is_beside(kind: record_policies.PolicyKind, domain: DomainSettings) -> bool:
    return kind.label == "SPF" and not domain["spf"]["exact"]


def publish(
    changes: Sequence[Change], path: Path, dns: Dns, test: bool = False, read: rfc2136.Reader | None = None
) -> list[PolicyResult]:
    """Send changes to the primary server, except where a record is in the way that was not published from here.

    A record that already says what is wanted becomes ours, whoever published it: the pillar says the same.

    :param path: the file of published records (:mod:`mailhost.publish.remembered`).
    :param dns: the settings ``dns`` of this host, with its credential.
    :param test: only plan.
    :return: an :class:`PolicyResult` for each change, in their order.
    :raises PublishError: the credential or the file of published records cannot be read.
    :raises WriteError: that file cannot be written, so nothing was sent.
    """
    credential, options = publish_credential.read_credential(dns["rfc2136"]), lookup.options(dns)
    if test:
        return _outcomes(changes, remembered.read_texts(path), credential, options, True, read)
    with safe_files.locked(path.parent):
        before = remembered.read_texts(path)
        _remember(path, {**before, **_with_wanted(before, changes)})
        outcomes = _outcomes(changes, before, credential, options, False, read)
        _remember(path, _known(before, outcomes))
    return outcomes


def _key(change: Change) -> str:
    return remembered.key_of(change.name, change.kind)


def _with_wanted(before: Mapping[str, Sequence[str]], changes: Iterable[Change]) -> dict[str, list[str]]:
    return {_key(one): list(dict.fromkeys([*before.get(_key(one), ()), one.text])) for one in changes}


def _known(before: Mapping[str, list[str]], outcomes: Iterable[PolicyResult]) -> dict[str, list[str]]:
    """Return what is ours after a run. For a record with an unknown outcome that is the older text and the new one."""
    after = dict(before)
    for one in outcomes:
        if one.result in ("sent", "already"):
            after[_key(one.change)] = [one.change.text]
        elif one.result == "unknown":
            after.update(_with_wanted(before, [one.change]))
    return after


def _remember(path: Path, texts: Mapping[str, Sequence[str]]) -> None:
    if texts != remembered.read_texts(path):
        remembered.write_texts(path, texts)


def _outcomes(
    changes: Sequence[Change],
    ours: Mapping[str, Sequence[str]],
    credential: publish_credential.Credential,
    options: lookup.Options,
    test: bool,
    read: rfc2136.Reader | None,
) -> list[PolicyResult]:
    """Return the outcomes of changes, in their order; DNS says which zone each belongs to."""
    answers = _ask(changes, options)
    known = [replace(change, expected=tuple(ours.get(_key(change), ()))) for change in changes]
    troubles = {change: _trouble(change, answers[change.name]) for change in known}
    ready = [replace(one, zone=answers[one.name].zone) for one in known if not troubles[one]]
    sent = iter(rfc2136.publish(ready, credential, options, read, test))
    return [troubles[change] or _outcome(next(sent)) for change in known]


def _outcome(sent: Sent) -> PolicyResult:
    return PolicyResult(sent.change, sent.result, sent.detail, sent.now)


def _trouble(change: Change, answers: lookup.Answers) -> PolicyResult | None:
    """Return the outcome of a change that cannot be sent because of what DNS says of its name, or ``None``."""
    if not answers.zone:
        return PolicyResult(change, "unknown", f"{change.name}: its zone could not be found out: {answers.trouble}")
    if answers.target not in ("", change.name):
        why = f"it is an alias (CNAME) of {answers.target}, whose record is for its owner to publish."
        return PolicyResult(change, "refused", f"{change.name}: {why}")
    return None


def _ask(changes: Iterable[Change], options: lookup.Options) -> dict[str, lookup.Answers]:
    """Return what DNS shows at the names of changes, without wildcards' records: ``{name: Answers}``."""
    questions = {change.name: lookup.Question(change.name, "TXT") for change in changes}

    def ask(asked: Iterable[lookup.Question]) -> dict[lookup.Question, lookup.Answers]:
        return lookup.ask(asked, options)

    answers = wildcards.unmasked(ask(questions.values()), ask) if questions else {}
    return {name: answers[question] for name, question in questions.items()}


def seen(changes: Sequence[Change], dns: Dns) -> list[PolicyResult]:
    """Return an :class:`PolicyResult` for each change by what DNS shows: ``already``, ``due`` or ``unknown``.

    This is for a host without a credential: only the publisher knows whether a record in the way is its own.
    """
    answers = _ask(changes, lookup.options(dns))
    return [_seen(change, answers[change.name]) for change in changes]


def _seen(change: Change, answers: lookup.Answers) -> PolicyResult:
    kind = record_policies.KINDS[change.kind]
    check = shared_records.check_spf_beside if change.is_beside else kind.check
    verdict = lookup.judge(answers, lambda values: check(values, change.text))
    texts = dict.fromkeys(
        value.decode("utf-8", "replace") for one in answers.seen for value in one.values if kind.counts(value)
    )
    if verdict.value == "published":
        return PolicyResult(change, "already", now=tuple(texts))
    result: Result = "unknown" if verdict.value == "unknown" else "due"
    return PolicyResult(change, result, " ".join(verdict.findings[:3]), tuple(texts))


def by_result(outcomes: Iterable[PolicyResult]) -> dict[str, list[str]]:
    """Return outcomes as data: the names of records that were ``sent`` and of those that are there ``already``, and
    sentences for those that were ``refused`` or are ``unknown``.
    """
    found: dict[str, list[str]] = {"sent": [], "already": [], "refused": [], "unknown": []}
    for one in outcomes:
        found[one.result].append(one.detail or one.change.name)
    return found
