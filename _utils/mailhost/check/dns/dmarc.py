"""Checks of DMARC: the record, what it asks of receivers, and whether its report addresses accept its reports."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from urllib.parse import urlsplit

from mailhost.check.dns.answers import (
    Survey,
    answered,
    askable,
    in_short,
    judged,
    publish,
    text,
    unknown,
    where,
    why_unknown,
)
from mailhost.check.findings import Finding, ok
from mailhost.dns import lookup as dns_lookup
from mailhost.dns.lookup import Answers, Question
from mailhost.receiver import dmarc as receiver_dmarc
from mailhost.receiver.dmarc import Found, Unanswered
from mailhost.records import dmarc as records_dmarc
from mailhost.records import record as mail_records
from mailhost.shapes import DomainSettings


def questions(survey: Survey) -> list[Question]:
    """Return the questions that follow from the answers so far."""
    found = [Question(f"_dmarc.{name}", "TXT") for name in survey.domains]
    for name in survey.domains:
        for host in filter(_is_host, _outside(survey, name)):
            found.append(_permission(name, host))
            found += [Question(one, "TXT") for domain in (name, host) for one in _walked(domain)]
    return found


def findings(survey: Survey) -> Iterator[Finding]:
    """Return the findings about the domains' DMARC records."""
    for name, domain in survey.domains.items():
        published = _published(survey, name, domain)
        yield from [published] if published else []
        tags = _tags(survey, name)
        if tags is not None:
            yield _policy(survey, name, tags)
            yield _reports(survey, name, tags)


def _answers(survey: Survey, name: str) -> Answers:
    return survey.shown(f"_dmarc.{name}", "TXT")


def _texts(survey: Survey, name: str) -> list[str]:
    answers = survey.answers_to(f"_dmarc.{name}", "TXT")
    servers = answered(answers) if answers else []
    return [text(value) for value in servers[0].values] if servers else []


def _tags(survey: Survey, name: str) -> dict[str, str] | None:
    """Return the tags of the domain's own record; ``None`` if it has none, or several."""
    return receiver_dmarc.policy_record(_texts(survey, name))


def _published(survey: Survey, name: str, domain: DomainSettings) -> Finding | None:
    """Compare a domain's record with the settings; ``None`` if they want none. Mail is delivered without one as well.

    If there are several records, receivers ignore them all (RFC 9989 section 4.10).
    """
    wanted = records_dmarc.dmarc_record(name, domain)
    if wanted is None:
        return None
    answers = _answers(survey, name)
    verdict = dns_lookup.judge(answers, partial(records_dmarc.check_dmarc, wanted=wanted.value))
    remedy = publish([wanted], f"or, if DNS is right, change mailserver:domains:{name}:dmarc", answers.zone)
    seen = f"so {where(answers)}"
    return judged("dns.dmarc", name, wanted.value, verdict.value, verdict.findings, "warn", remedy, seen)


def _policy(survey: Survey, name: str, tags: Mapping[str, str]) -> Finding:
    """Return what a record asks for: a policy, or reports that help to decide on one (RFC 9989 sections 4.7 and 5.1.3).

    ``p=none`` is how everybody starts, and the formula's default. If it asks for no reports either, that is only noted.
    """
    wanted = "receivers go by the record"
    at = where(_answers(survey, name))
    policy = receiver_dmarc.policy_for(name, Found(name, tags))
    if policy is not None:
        testing = ", for a test (t=y)" if tags.get("t", "n").lower() == "y" else ""
        hint = _hint(name, tags) if policy == "none" else ""
        return ok("dns.dmarc.policy", name, wanted, f"p={policy}{testing} {at}{hint}")
    seen = f"no usable p= and no rua=, so that the record does not count (RFC 9989 section 4.10.1) {at}"
    remedy = (
        f"Set mailserver:domains:{name}:dmarc:p (none, quarantine or reject), and publish what salt-call "
        f"mailserver.records {name} format=zone shows then."
    )
    return Finding("dns.dmarc.policy", "warn", name, wanted, seen, remedy)


def _hint(name: str, tags: Mapping[str, str]) -> str:
    if tags.get("rua"):
        return ": reports only"
    return f": nobody hears of forged mail; mailserver:domains:{name}:dmarc:rua would ask for reports"


# ---- reports


def report_hosts(tags: Mapping[str, str]) -> list[str]:
    """Return the hosts that a record has reports sent to, each once (RFC 9989 section 4.7)."""
    uris = [uri.strip() for tag in ("rua", "ruf") for uri in tags.get(tag, "").split(",") if uri.strip()]
    return list(dict.fromkeys(host for host in map(_host, uris) if host))


def _host(uri: str) -> str:
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "mailto":
        try:
            return (urlsplit(uri).hostname or "").rstrip(".")
        except ValueError:
            return uri
    # A size limit after the address (dmarc@example.com!10m) is from RFC 7489, and still in use.
    return re.split(r"[!?]", rest.rpartition("@")[2])[0].strip().lower().rstrip(".")


def _is_host(text: str) -> bool:
    """Tell whether text from a URI may be a host name that DNS can be asked for."""
    return bool(re.fullmatch(r"[a-z0-9._-]+", text)) and askable(text)


def _outside(survey: Survey, name: str) -> list[str]:
    """Return the hosts of a domain's reports that may belong to somebody else."""
    tags = _tags(survey, name)
    return [host for host in report_hosts(tags) if host != name] if tags else []


def _permission(name: str, host: str) -> Question:
    return Question(f"{name}._report._dmarc.{host}", "TXT")


def _walked(domain: str) -> list[str]:
    """Return the names that the tree walk queries for a domain (RFC 9989 section 4.10)."""
    names: list[str] = []

    def lookup(name: str) -> list[str]:
        names.append(name)
        return []

    receiver_dmarc.walk(domain, lookup)
    return names


def _reports(survey: Survey, name: str, tags: Mapping[str, str]) -> Finding:
    """Check the permission of each other organization that a domain's reports go to.

    Without a record at its ``DOMAIN._report._dmarc`` nobody sends them there (RFC 9990 section 4, RFC 9991 section 5).
    """
    wanted = "whoever gets the domain's reports says that they may be sent there"
    hosts = _outside(survey, name)
    unseen, refused = [], []
    for host in hosts:
        try:
            why = _refused(survey, name, host)
        except Unanswered as err:
            unseen.append(str(err))
        else:
            refused += [(host, why)] if why else []
    if refused:
        remedy = _permit(name, [host for host, _ in refused if _is_host(host)])
        return Finding("dns.dmarc.reports", "warn", name, wanted, in_short([why for _, why in refused]), remedy)
    if unseen:
        return unknown("dns.dmarc.reports", name, wanted, in_short(unseen))
    return ok("dns.dmarc.reports", name, wanted, f"reports go to {', '.join(report_hosts(tags)) or 'nobody'}")


def _permit(name: str, hosts: Sequence[str]) -> str:
    elsewhere = f"send the reports elsewhere: mailserver:domains:{name}:dmarc:rua, ruf"
    names = [_permission(name, host).name for host in hosts]
    records = [mail_records.Record(one, 3600, "TXT", "v=DMARC1") for one in names]
    return publish(records, f"whoever runs {', '.join(hosts)} can; or {elsewhere}") if hosts else elsewhere.capitalize()


def _refused(survey: Survey, name: str, host: str) -> str:
    """Return why a host gets no reports about a domain, or ``""``; one of the same organization always gets them."""
    question = _permission(name, host)
    if not (_is_host(host) and askable(question.name)):
        return f"{host} is no host that reports could be sent to"

    def lookup(asked: str) -> list[str]:
        return _known(survey, Question(asked, "TXT"))

    ours, theirs = (receiver_dmarc.organizational_domain(one, receiver_dmarc.walk(one, lookup)) for one in (name, host))
    if ours == theirs or any(re.match(r"v\s*=\s*DMARC1\s*(;|$)", one) for one in _known(survey, question)):
        return ""
    return (
        f"no v=DMARC1 at {question.name} {where(survey.answers[question])}, so no reports on {name} are sent to {host}"
    )


def _known(survey: Survey, question: Question) -> list[str]:
    answers = survey.answers.get(question)
    servers = answered(answers) if answers else []
    if not servers:
        raise Unanswered(why_unknown(answers) if answers else f"{question.name} was not asked")
    return [text(value) for value in servers[0].values]
