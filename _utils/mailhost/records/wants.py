"""What a mail host and its domains want in DNS, and the report on how DNS compares. Pure: it is given the answers."""

import ipaddress
from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mailhost.dns import lookup
from mailhost.dns.lookup import Answers, Question, Verdict
from mailhost.dns.message import Values
from mailhost.records import hosts as records_hosts
from mailhost.records import policies as record_policies
from mailhost.records import record as mail_records
from mailhost.records import shared as shared_records
from mailhost.records import transport as transport_records
from mailhost.records.record import Record
from mailhost.shapes import Domains, DomainSettings
from mailhost.wording import plain

DETAILS = 20
"""How many findings a report shows at most: with 1,000 domains it must stay readable, and the state's return small."""

_SAID = {
    "absent": "is absent",
    "different": "is different",
    "unknown": "could not be seen, so nothing is known",
}


@dataclass(frozen=True)
class Want:
    """The right answer to one of ``questions``, wanted by a domain or host.

    ``of`` is the domain or host, ``label`` the usual name of what is wanted (``SPF``). ``check`` takes the values of an
    answer and returns ``None`` or a sentence that says what is wrong. ``publish`` are the records to publish if it is
    absent. ``may_be_absent``: no record is right as well. ``alias``: the name may be a CNAME. ``is_beside``: what
    others have in the record stays (:mod:`mailhost.records.shared`).
    """

    of: str
    label: str
    questions: tuple[Question, ...]
    check: lookup.Check
    publish: tuple[Record, ...] = ()
    may_be_absent: bool = False
    alias: bool = True
    is_beside: bool = False


@dataclass(frozen=True)
class Comparison:
    """How DNS compares to a want: ``value`` as in :class:`mailhost.dns.lookup.Verdict`, a sentence for each problem."""

    want: Want
    value: str
    sentences: tuple[str, ...] = ()
    zone: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sentences", tuple(map(plain, self.sentences)))


def wants(
    domains: Domains,
    hostname: str,
    addresses: Collection[str],
    tlsa: str | None = None,
    only: Container[str] | None = None,
    families: Iterable[int] = (4, 6),
) -> list[Want]:
    """Return what the host and its domains want in DNS, without DKIM keys, which have states of their own.

    :param domains: the settings ``domains``, with all defaults.
    :param addresses: the addresses that the host's name must resolve to; if they are not known (none), nothing is
        wanted for them.
    :param families: the address families that the host uses. For another family nothing is wanted, not even absence.
    :param only: the domains whose own wants are returned; all, if left out.
    :param tlsa: the certificate data for the host's TLSA record, hexadecimal; ``None`` if it should have none.
    """
    found = [*_host_wants(domains, hostname, addresses, families), *_tlsa_wants(domains, hostname, tlsa)]
    others: dict[str, Want] = {}
    for name, domain in domains.items():
        if only is None or name in only:
            found.extend(_domain_wants(name, domain, hostname))
        others.update({host: _other_host(host) for host in domain["mx"] if host != hostname})
    return [*found, *others.values()]


def _host_wants(domains: Domains, hostname: str, addresses: Collection[str], families: Iterable[int]) -> Iterator[Want]:
    records = records_hosts.address_records(hostname, addresses, _ttl(domains, hostname))
    used = {*families, *(ipaddress.ip_address(one).version for one in addresses)}
    for rdtype in [name for family, name in ((4, "A"), (6, "AAAA")) if family in used and addresses]:
        yield _addresses(hostname, hostname, rdtype, rdtype, records, alias=False)


def _ttl(domains: Domains, hostname: str) -> int:
    # If the host's name lies in none of our domains, the TTL that its zone uses is not known here.
    return next((domain["ttl"] for name, domain in domains.items() if records_hosts.within(hostname, name)), 3600)


def _addresses(of: str, name: str, label: str, rdtype: str, records: Iterable[Record], alias: bool) -> Want:
    publish = tuple(record for record in records if record.rdtype == rdtype)
    wanted = [str(ipaddress.ip_address(record.value)) for record in publish]
    check = partial(records_hosts.check_addresses, addresses=wanted)
    return Want(of, label, _ask(name, rdtype), check, publish, not publish, alias)


def _tlsa_wants(domains: Domains, hostname: str, tlsa: str | None) -> Iterator[Want]:
    if tlsa:
        record = transport_records.tlsa_record(hostname, tlsa, _ttl(domains, hostname))
        check = partial(transport_records.check_tlsa, wanted=record.value)
        yield Want(hostname, "TLSA", _ask(record.name, "TLSA"), check, (record,))


def _domain_wants(name: str, domain: DomainSettings, hostname: str) -> Iterator[Want]:
    mx = records_hosts.mx_records(name, domain)
    if mx:
        is_beside = shared_records.has_mx_of_others(domain, hostname)
        check = shared_records.check_mx_beside if is_beside else records_hosts.check_mx
        yield Want(*(name, "MX", _ask(name, "MX"), partial(check, hosts=domain["mx"]), tuple(mx)), is_beside=is_beside)
    for kind, record in record_policies.of_domain(name, domain):
        is_beside = kind.label == "SPF" and not domain["spf"]["exact"]
        check_text = shared_records.check_spf_beside if is_beside else kind.check
        yield Want(
            *(name, kind.label, _ask(record.name, "TXT"), partial(check_text, wanted=record.value), (record,)),
            is_beside=is_beside,
        )
    hosts = transport_records.policy_addresses(name, domain)
    for rdtype in ("A", "AAAA") if hosts else ():
        yield _addresses(name, f"mta-sts.{name}", f"{rdtype} of mta-sts", rdtype, hosts, alias=True)
    if domain["caa"]:
        check_caa = partial(transport_records.check_caa, wanted=domain["caa"])
        yield Want(name, "CAA", _ask(name, "CAA"), check_caa, tuple(transport_records.caa_records(name, domain)))


def _other_host(host: str) -> Want:
    return Want(host, "address", _ask(host, "A", "AAAA"), lambda values: None, alias=False)


def _ask(name: str, *rdtypes: str) -> tuple[Question, ...]:
    return tuple(Question(name, rdtype) for rdtype in rdtypes)


def questions(wanted: Iterable[Want]) -> list[Question]:
    """Return all questions to ask, each once."""
    return list(dict.fromkeys(question for want in wanted for question in want.questions))


def text_questions(records: Iterable[Record]) -> list[Question]:
    """Return the questions that show the present TXT records at the records' names."""
    return [Question(record.name.lower(), "TXT") for record in records if record.rdtype == "TXT"]


def present(answers: Mapping[Question, Answers]) -> dict[tuple[str, str], Values]:
    """Return the present values at names, in the form that :func:`mailhost.records.nsupdate.nsupdate` takes.

    They are those of the first authoritative server that answered. A name without such an answer is left out. An alias
    is returned as a CNAME.
    """
    found: dict[tuple[str, str], Values] = {}
    for question, one in answers.items():
        if one.target not in ("", question.name):
            found[question.name, "CNAME"] = (one.target,)
        told = [seen for seen in one.seen if seen.status in ("answer", "absent") and seen.server != "resolver"]
        if told:
            found[question.name, question.rdtype] = told[0].values
    return found


def compare(wanted: Iterable[Want], answers: Mapping[Question, Answers]) -> list[Comparison]:
    """Return a finding for each want."""
    return [
        _finding(_beside(want, answers), [_judged(want, answers[question]) for question in want.questions])
        for want in wanted
    ]


def _beside(want: Want, answers: Mapping[Question, Answers]) -> Want:
    """Return a want whose records to publish include what others have in DNS now."""
    if not want.is_beside:
        return want
    now = present({question: answers[question] for question in want.questions})
    if want.label == "MX":
        values = now.get((want.questions[0].name, "MX"), ())
        return replace(want, publish=tuple(shared_records.mx_beside(want.publish, values)))
    return replace(want, publish=tuple(beside(record, now) for record in want.publish))


def beside(record: Record, present: Mapping[tuple[str, str], Values]) -> Record:
    """Return an SPF record extended by the terms that others have in it now.

    :param present: the return value of :func:`present`.
    """
    values = present.get((record.name.lower(), "TXT"), ())
    return replace(record, value=shared_records.spf_beside(record.value, values))


def _judged(want: Want, answers: Answers) -> Verdict:
    verdict = lookup.judge(answers, want.check)
    if not want.alias and verdict.value == "published" and answers.target not in ("", answers.question.name):
        rule = "the name of a mail host must have addresses of its own (RFC 2181 section 10.3)"
        return Verdict("different", (f"it is an alias (CNAME) of {answers.target}; {rule}",))
    return verdict


def _finding(want: Want, verdicts: Sequence[Verdict]) -> Comparison:
    values = [verdict.value for verdict in verdicts]
    value = next(one for one in ("published", "different", "unknown", "absent") if one in values)
    if value == "published" or (value == "absent" and want.may_be_absent):
        return Comparison(want, "published")
    sentences = (sentence for verdict in verdicts if verdict.value == value for sentence in verdict.findings)
    zone = next((verdict.zone for verdict in verdicts if verdict.zone), "")
    return Comparison(want, value, tuple(dict.fromkeys(sentences)), zone)


def is_publishable(finding: Comparison) -> bool:
    """Tell whether a finding is about a policy record that must be published (:mod:`mailhost.records.policies`)."""
    return finding.want.label in record_policies.KINDS and finding.value in ("absent", "different")


def is_of(finding: Comparison, names: Container[str]) -> bool:
    """Tell whether a finding is publishable (:func:`is_publishable`) and about the record at one of these names."""
    return is_publishable(finding) and any(record.name in names for record in finding.want.publish)


def troubles(findings: Iterable[Comparison]) -> list[Comparison]:
    """Return the findings that are not as wanted; those that are unknown come last."""
    return sorted((one for one in findings if one.value != "published"), key=lambda one: one.value == "unknown")


def comment(findings: Sequence[Comparison], todo: bool = True) -> str:
    """Return the report as text of a few lines, however many domains there are.

    :param todo: with the lines to publish.
    """
    bad = troubles(findings)
    lines = [_summary(findings)]
    names = list(dict.fromkeys(finding.want.of for finding in findings))
    if len(names) <= DETAILS:
        for name in names:
            right = [one.want.label for one in findings if one.want.of == name and one.value == "published"]
            lines += [f"{name}: {', '.join(right)} as wanted"] if right else []
    for finding in bad[:DETAILS]:
        lines += [_sentence(finding), *(f"  {line}" for line in _to_publish(finding) if todo)]
    return "\n".join([*lines, *_more(bad)])


def warnings(findings: Iterable[Comparison]) -> list[str]:
    """Return a sentence for each finding that is not as wanted."""
    bad = troubles(findings)
    return [*map(_sentence, bad[:DETAILS]), *_more(bad)]


def todo(findings: Iterable[Comparison]) -> dict[str, str]:
    """Return ``{sentence: lines}``: what is not as wanted, and what must be published, ready to copy."""
    found = {_sentence(one): "\n".join(_to_publish(one)) for one in troubles(findings)}
    return {sentence: lines for sentence, lines in found.items() if lines}


def _summary(findings: Sequence[Comparison]) -> str:
    count = Counter(finding.value for finding in findings)
    parts = [f"{count['published']:,} of {len(findings):,} as wanted in DNS"]
    parts += [f"{count[value]:,} {value}" for value in _SAID if count[value]]
    return ", ".join(parts)


def _sentence(finding: Comparison) -> str:
    want = finding.want
    told = "; ".join(sentence.rstrip(".") for sentence in finding.sentences[:3])
    further = f"; and {len(finding.sentences) - 3} more like these" if len(finding.sentences) > 3 else ""
    return f"{want.of}: {want.label} {_SAID[finding.value]}{': ' if told else ''}{told}{further}."


def _to_publish(finding: Comparison) -> list[str]:
    records = finding.want.publish
    if finding.value == "unknown" or not records:
        return []
    return mail_records.to_publish(records, finding.zone)


def _more(bad: Sequence[Comparison]) -> list[str]:
    rest = len(bad) - DETAILS
    return (
        [f"… and {rest:,} more; for all that a domain needs: salt-call mailserver.records DOMAIN"] if rest > 0 else []
    )
