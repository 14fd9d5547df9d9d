"""Judging a message by the older DMARC rules (RFC 7489) and the public suffix list of the package publicsuffixlist.

Many receivers still use them, so a message can pass at one receiver and fail at another.
"""

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING

from mailhost.errors import MissingPackage
from mailhost.receiver import dmarc as receiver_dmarc
from mailhost.receiver.dmarc import Found, Lookup, Unanswered, Verdict
from mailhost.wording import plain

if TYPE_CHECKING:
    from publicsuffixlist import PublicSuffixList


@functools.cache
def suffixes() -> "PublicSuffixList":
    """Return the public suffix list; a top-level domain that it lacks is a suffix, too.

    :raises MissingPackage: publicsuffixlist is not installed.
    """
    try:
        from publicsuffixlist import PublicSuffixList
    except ImportError as err:
        raise MissingPackage(
            f"the Python package publicsuffixlist is not installed in Salt's own Python ({err}): "
            "set mailserver:python:install to true, or run `salt-pip install publicsuffixlist`"
        ) from err
    return PublicSuffixList()


@functools.cache
def organizational_domain(domain: str) -> str:
    """Return the organizational domain by the public suffix list (RFC 7489 section 3.2), in lower case.

    That of a public suffix is itself.
    """
    domain = domain.lower().rstrip(".")
    return suffixes().privatesuffix(domain) or domain


def judge(author: str, spf: str | None, dkim: Iterable[str], lookup: Lookup) -> Verdict:
    """Return DMARC's result like :func:`mailhost.receiver.dmarc.judge`, by the rules of RFC 7489."""
    author = author.lower().rstrip(".")
    try:
        found = _applicable(author, lookup)
    except Unanswered as err:
        return {"result": "temperror", "domain": author, "policy": None, "reason": plain(str(err))}
    return receiver_dmarc.conclude(author, spf, dkim, found, organizational_domain)


def _applicable(author: str, lookup: Lookup) -> Found | None:
    """Return the author's own record, or that of its organizational domain (RFC 7489 section 6.6.3)."""
    for domain in dict.fromkeys((author, organizational_domain(author))):
        tags = receiver_dmarc.policy_record(lookup(f"_dmarc.{domain}"))
        if tags is not None:
            return Found(domain, tags)
    return None
