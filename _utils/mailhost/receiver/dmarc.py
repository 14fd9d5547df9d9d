"""Judging a message by DMARC (RFC 9989): the tree walk, alignment and the policy that applies."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypedDict

from mailhost.wording import plain

QUERIES = 8
_POLICIES = ("none", "quarantine", "reject")
Lookup: TypeAlias = Callable[[str], Sequence[str]]
"""From a name to the texts of its TXT records; it raises :class:`Unanswered`."""


class Unanswered(Exception):
    """DNS did not answer a question: neither with a record nor with its absence."""


class Verdict(TypedDict):
    """DMARC's result for a message (:func:`judge`)."""

    result: str
    domain: str
    policy: str | None
    reason: str


Rules: TypeAlias = Callable[[str, str | None, Iterable[str], Lookup], Verdict]
"""A function like :func:`judge`."""


@dataclass(frozen=True)
class Found:
    """A DMARC policy record, and the domain whose ``_dmarc`` name has it."""

    domain: str
    tags: Mapping[str, str]


def walk(domain: str, lookup: Lookup) -> list[Found]:
    """Return the policy records on the way from ``domain`` up to the root, the longest name first.

    The name itself is queried, and at most seven labels above it. A record with ``psd=n`` or ``psd=y`` ends the walk
    (RFC 9989 section 4.10: at most eight queries).

    :param lookup: a function from a name to the texts of its TXT records; it raises :class:`Unanswered`.
    """
    labels = domain.lower().rstrip(".").split(".")
    above = labels[-(QUERIES - 1) :] if len(labels) >= QUERIES else labels[1:]
    names = [labels, *(above[start:] for start in range(len(above)))]
    found = []
    for name in (".".join(one) for one in names):
        tags = policy_record(lookup(f"_dmarc.{name}"))
        if tags is not None:
            found.append(Found(name, tags))
            if psd(tags) in ("n", "y"):
                break
    return found


def policy_record(texts: Iterable[str]) -> dict[str, str] | None:
    """Return the tags of the single DMARC record among ``texts``; ``None`` if there is none, or more than one."""
    records = [text for text in texts if re.match(r"v\s*=\s*DMARC1\s*(;|$)", text)]
    return tags(records[0]) if len(records) == 1 else None


def tags(text: str) -> dict[str, str]:
    """Return the tags of a DMARC record; anything else is ignored (RFC 9989 section 4.8).

    Upper and lower case differ in a tag's name (section 4.7, RFC 6376 section 3.2), but not in most values.
    """
    pairs = (part.partition("=") for part in text.split(";") if "=" in part)
    return {name.strip(): value.strip() for name, _, value in pairs}


def psd(tags: Mapping[str, str]) -> str:
    """Return whether a record says that its domain is a public suffix: ``y``, ``n``, or ``u``, not known."""
    return tags.get("psd", "u").lower()


def organizational_domain(domain: str, found: Sequence[Found]) -> str:
    """Choose the organizational domain of ``domain`` from what the tree walk found (RFC 9989 section 4.10.2)."""
    domain = domain.lower().rstrip(".")
    for one in found:
        if psd(one.tags) == "n":
            return one.domain
        if psd(one.tags) == "y" and one.domain != domain:
            return ".".join(domain.split(".")[-(one.domain.count(".") + 2) :])
    return found[-1].domain if found else domain


def aligned(author: str, authenticated: str, mode: str, organization: Callable[[str], str]) -> bool:
    """Tell whether a domain authenticated by SPF or DKIM is aligned with the author's (RFC 9989 section 3.2.10).

    :param mode: ``s`` strict: the same domain; ``r`` relaxed: the same organizational domain.
    :param organization: a function from a domain to its organizational domain.
    """
    author, authenticated = author.lower().rstrip("."), authenticated.lower().rstrip(".")
    if author == authenticated:
        return True
    return mode != "s" and organization(author) == organization(authenticated)


def judge(author: str, spf: str | None, dkim: Iterable[str], lookup: Lookup) -> Verdict:
    """Return DMARC's result for mail from ``author`` as a dict of result, domain, policy and reason.

    :param author: the domain in From.
    :param spf: the domain that passed SPF, or ``None``.
    :param dkim: the domains whose signatures passed.
    :param lookup: as for :func:`walk`.

    The result is pass, fail, none (no record), permerror (a record without a usable policy) or temperror (no answer).
    """
    try:
        return _judge(author.lower().rstrip("."), spf, dkim, lookup)
    except Unanswered as err:
        return {"result": "temperror", "domain": author, "policy": None, "reason": plain(str(err))}


def _judge(author: str, spf: str | None, dkim: Iterable[str], lookup: Lookup) -> Verdict:
    def organization(domain: str) -> str:
        return organizational_domain(domain, walk(domain, lookup))

    return conclude(author, spf, dkim, applicable(author, lookup), organization)


def conclude(
    author: str, spf: str | None, dkim: Iterable[str], found: Found | None, organization: Callable[[str], str]
) -> Verdict:
    """Return what :func:`judge` returns, given the record ``found`` (or ``None``) for a lower-case ``author``.

    :param organization: a function from a domain to its organizational domain.
    """
    if found is None:
        reason = f"there is no DMARC record at _dmarc.{author}, nor at a domain above it"
        return {"result": "none", "domain": author, "policy": None, "reason": reason}
    policy = policy_for(author, found)
    if policy is None:
        reason = f"the record at _dmarc.{found.domain} has no usable p= and no rua=, so it does not count"
        return {"result": "permerror", "domain": found.domain, "policy": None, "reason": reason}
    modes = {"DKIM": found.tags.get("adkim", "r").lower(), "SPF": found.tags.get("aspf", "r").lower()}
    passing = [("DKIM", domain) for domain in dkim] + ([("SPF", spf)] if spf else [])
    for name, domain in passing:
        if aligned(author, domain, modes[name], organization):
            reason = f"{name} passes for {domain}, which is aligned with {author}"
            return {"result": "pass", "domain": found.domain, "policy": policy, "reason": reason}
    reason = f"neither SPF nor DKIM passes for a domain that is aligned with {author}"
    if passing:
        reason += f" (passing: {', '.join(f'{name} {domain}' for name, domain in passing)})"
    return {"result": "fail", "domain": found.domain, "policy": policy, "reason": plain(reason)}


def applicable(author: str, lookup: Lookup) -> Found | None:
    """Return the record that applies to ``author``: its own, its organizational domain's, or the public suffix's.

    Names above the author's are only queried if it has none of its own (RFC 9989 section 4.10.1).
    """
    own = policy_record(lookup(f"_dmarc.{author}"))
    if own is not None:
        return Found(author, own)
    found = walk(author, lookup)
    by_domain = {one.domain: one for one in found}
    suffix = next((one for one in found if psd(one.tags) == "y"), None)
    return by_domain.get(organizational_domain(author, found)) or suffix


def policy_for(author: str, found: Found) -> str | None:
    """Return the policy that ``found`` asks for; ``None`` if it is not usable (RFC 9989 section 4.10.1)."""
    own = found.domain == author
    asked = found.tags.get("p", "") if own else found.tags.get("sp", found.tags.get("p", ""))
    given = [found.tags[name].lower() for name in ("p", "sp", "np") if name in found.tags]
    if "p" in found.tags and all(one in _POLICIES for one in given):
        return asked.lower()
    return "none" if re.search(r"[a-z]:[^\s,]", found.tags.get("rua", "")) else None
