"""Judging a received message by SPF, DKIM and DMARC, for the self-test and the reflector alike."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mailhost.receiver import dmarc as receiver_dmarc
from mailhost.receiver import dmarc_suffix
from mailhost.receiver.dkim import dkim_results, signatures
from mailhost.receiver.dmarc import Lookup, Verdict
from mailhost.receiver.header import Header, author_domains
from mailhost.receiver.spf import SpfCheck


@dataclass(frozen=True)
class Queries:
    """How DNS is asked: ``texts`` goes from a name to its TXT records, and raises ``Unanswered``."""

    spf: SpfCheck
    texts: Lookup


@dataclass(frozen=True)
class Judgement:
    """The results of a message.

    ``domain`` is the envelope sender's and ``author`` that in From (``""`` if there is not exactly one). ``spf`` has
    the address, result and explanation of each client, ``dkim`` the domain, selector, result and reason of each
    signature that was verified, ``left_out`` counts the others. ``older`` is DMARC by RFC 7489, if that was wanted.
    """

    domain: str
    author: str
    spf: list[dict[str, str]]
    dkim: list[dict[str, str]]
    left_out: int
    dmarc: Verdict
    older: Verdict | None = None


def judge(
    message: bytes,
    clients: Sequence[str],
    helo: str,
    sender: str,
    queries: Queries,
    most: int | None = None,
    older: bool = False,
) -> Judgement:
    """Judge a message as a receiver does; a name in DNS is asked for only once.

    :param clients: the addresses that it came from, or may come from. SPF passes if it does for each of them; it is
        left out if there are none.
    :param sender: the envelope sender, an address.
    :param most: verify no more signatures than this; all, if left out.
    :param older: judge by RFC 7489, too.
    """
    texts = functools.cache(queries.texts)
    domain = sender.rpartition("@")[2].lower()
    spf = [_spf(client, *queries.spf(client, sender, helo)) for client in clients]
    dkim = dkim_results(message, texts, most)
    authors = author_domains(Header(message))
    no_author = _no_author(authors)
    passed_spf = domain if spf and _passed(spf) == spf else None
    passed_dkim = [one["domain"] for one in _passed(dkim)]

    def dmarc(rules: receiver_dmarc.Rules) -> Verdict:
        return no_author or rules(authors[0], passed_spf, passed_dkim, texts)

    return Judgement(
        domain=domain,
        author="" if no_author else authors[0],
        spf=spf,
        dkim=dkim,
        left_out=len(signatures(message)) - len(dkim),
        dmarc=dmarc(receiver_dmarc.judge),
        older=dmarc(dmarc_suffix.judge) if older else None,
    )


def _spf(client: str, result: str, explanation: str) -> dict[str, str]:
    return {"address": client, "result": result, "explanation": explanation}


def _passed(results: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    return [one for one in results if one["result"] == "pass"]


def _no_author(authors: Sequence[str]) -> Verdict | None:
    """Return the result for a message whose From has not exactly one domain (RFC 9989 section 5.3.1)."""
    if len(authors) == 1 and authors[0]:
        return None
    reason = {0: "there is no address in From", 1: "the address in From has no valid domain"}.get(
        len(authors), "From has addresses of several domains"
    )
    return {"result": "permerror", "domain": "", "policy": None, "reason": reason}
