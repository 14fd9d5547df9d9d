"""Checks of what the world sees of the mail server in DNS, on every authoritative server; see docs/findings.md.

Questions that depend on an answer are asked when it is known: first the domains' own records, then what they name (MX
hosts, names of addresses, hosts for reports), then the zones of TLSA records. All questions of a round are asked at
once.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Protocol

from mailhost.check.dns import dane as check_dane
from mailhost.check.dns import dmarc as check_dmarc
from mailhost.check.dns import hosts as check_hosts
from mailhost.check.dns import keys as check_keys
from mailhost.check.dns import policy as check_policy
from mailhost.check.dns import spf as check_spf
from mailhost.check.dns.answers import Means, Survey, in_short
from mailhost.check.findings import CheckedHost, Finding, ok
from mailhost.dns import lookup
from mailhost.dns.lookup import Question
from mailhost.postfix import queue as postfix_queue
from mailhost.receiver import spf as receiver_spf
from mailhost.records import mta_sts
from mailhost.shapes import Settings


class Part(Protocol):
    """A module with some of the checks; ``questions`` are all that follow from the answers so far."""

    def questions(self, survey: Survey) -> Iterable[Question]: ...

    def findings(self, survey: Survey) -> Iterable[Finding]: ...


PARTS: tuple[Part, ...] = (
    check_hosts,
    check_spf,
    check_keys,
    check_dmarc,
    check_policy,
    check_dane,
)
ROUNDS = 3


def findings(host: CheckedHost, domains: Collection[str], means: Means | None = None) -> list[Finding]:
    """Return what DNS shows of the host and these of its domains, compared with what is wanted.

    A server that does not answer, or is lame, makes a finding unknown, never a failure.

    :param means: how DNS and other hosts are queried (:class:`mailhost.check.dns.answers.Means`); for tests.
    :raises MissingPackage: dnspython is not installed.
    """
    survey = _survey(host.settings, domains, means or _means())
    for _ in range(ROUNDS):
        named = (question for part in PARTS for question in part.questions(survey))
        fresh = [question for question in dict.fromkeys(named) if question not in survey.answers]
        if not fresh:
            break
        survey.answers.update(survey.means.ask(fresh, lookup.options(survey.settings["dns"])))
    return [*(finding for part in PARTS for finding in part.findings(survey)), *_left_out(survey)]


def _means() -> Means:
    return Means(lookup.ask, receiver_spf.evaluator, mta_sts.fetch, postfix_queue.oldest_for)


def _survey(settings: Settings, names: Collection[str], means: Means) -> Survey:
    keys = check_keys.read(settings, names, means.oldest_queued)
    return Survey(settings, {name: settings["domains"][name] for name in names}, means, keys)


def _left_out(survey: Survey) -> Iterator[Finding]:
    """Report the servers that were not asked, as every report does, and where a zone and its parent differ."""
    wanted = "every zone has the same name servers by its parent, as the root leads to it, and by itself"
    remarks = lookup.remarks(survey.answers.values())
    texts = sorted({text for answers in survey.answers.values() for text in answers.left_out})
    if remarks:
        remedy = "Give a zone the same NS records above and in itself, or this host a way to the root (docs/dns.md)."
        yield Finding("dns.servers", "warn", survey.settings["hostname"], wanted, in_short([*remarks, *texts]), remedy)
    elif texts:
        wanted = "every name server is queried that can be and should be"
        yield ok("dns.servers", survey.settings["hostname"], wanted, f"not asked: {'; '.join(texts)}")
