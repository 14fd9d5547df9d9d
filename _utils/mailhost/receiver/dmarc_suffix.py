"""Judging a message by the older DMARC rules (RFC 7489) and the public suffix list, with authheaders.

Many receivers still use them, so a message can pass at one receiver and fail at another. authheaders reads the records
and the public suffix list; the conclusion is drawn here. authheaders 0.16 applies ``sp=`` to the domain that published
it, cuts off an SPF domain at its first hyphen, and takes all names in a top-level domain that is not in its list for
one organization.
"""

import functools
from collections.abc import Callable, Iterable
from types import ModuleType

from mailhost.dns.message import dnspython
from mailhost.errors import MissingPackage
from mailhost.receiver import dmarc as receiver_dmarc
from mailhost.receiver.dmarc import Found, Lookup, Unanswered, Verdict


def authheaders() -> ModuleType:
    """Return the module of authheaders that looks up DMARC records.

    :raises MissingPackage: it is not installed.
    """
    dnspython()
    try:
        import authheaders.dmarc_lookup as found
    except ImportError as err:
        raise MissingPackage(
            f"the Python package authheaders is not installed in Salt's own Python ({err}): "
            "set mailserver:python:install to true, or run `salt-pip install authheaders`"
        ) from err
    return found  # type: ignore[no-any-return]  # authheaders has no types


@functools.cache
def organizational_domain(domain: str) -> str:
    """Return the organizational domain by the public suffix list (RFC 7489 section 3.2), in lower case."""
    domain = domain.lower().rstrip(".")
    found = authheaders().get_org_domain(domain) if domain else ""
    return found if found and "." in found else ".".join(domain.split(".")[-2:])


def judge(author: str, spf: str | None, dkim: Iterable[str], lookup: Lookup) -> Verdict:
    """Return DMARC's result like :func:`mailhost.receiver.dmarc.judge`, by the rules of RFC 7489."""
    author = author.lower().rstrip(".")
    package = authheaders()
    try:
        found = _applicable(author, lambda name: _record(lookup(name)))
    except Unanswered as err:
        return {"result": "temperror", "domain": author, "policy": None, "reason": str(err)}
    except package.DMARCException as err:
        return {"result": "permerror", "domain": author, "policy": None, "reason": str(err)}
    return receiver_dmarc.conclude(author, spf, dkim, found, organizational_domain)


def _applicable(author: str, dnsfunc: Callable[[str], str | None]) -> Found | None:
    for domain in dict.fromkeys((author, organizational_domain(author))):
        tags = authheaders().lookup_receiver_record(domain, dnsfunc)
        if tags:
            return Found(domain, tags)
    return None


def _record(texts: Iterable[str]) -> str | None:
    """Return the single DMARC record in the form that authheaders takes from a resolver function; else ``None``."""
    records = [text for text in texts if receiver_dmarc.policy_record([text]) is not None]
    return records[0] if len(records) == 1 else None
