"""SPF and MX records that a domain shares with other hosts or services: extended, never narrowed. Pure.

A host knows its own name and addresses. Anything else in a DNS record may belong to another host, so it stays unless
the pillar says that it describes the whole record (``spf:exact``, ``hosts``, ``mx``).
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from mailhost.dns.message import Exchange
from mailhost.records.hosts import check_mx
from mailhost.records.record import Record
from mailhost.records.spf import check_spf, is_spf, spf_terms
from mailhost.shapes import DomainSettings

_END = re.compile(r"[-~?+]?all", re.IGNORECASE)
_REDIRECT = re.compile(r"redirect=\S+", re.IGNORECASE)
# RFC 7208 section 12. A term that no verifier knows makes the record a permerror, so it is not kept.
_TERM = re.compile(
    r"[-~?+]?(include:\S+|exists:\S+|ip4:[0-9./]+|ip6:[0-9A-Fa-f:./]+|(a|mx|ptr)(:[^\s/]+)?(/\d+)?(//\d+)?)"
    r"|(?!redirect=|v=)[A-Za-z][A-Za-z0-9_.-]*=\S*",
    re.IGNORECASE,
)


def spf_beside(text: str, values: Iterable[bytes]) -> str:
    """Return the SPF record for a name, given its TXT values now: our terms, and the terms of others there.

    Our terms come first, so that no other term ends an evaluation before them. The others' ``~all`` stays, since our
    ``-all`` would be stricter for their senders.
    """
    found = [value.decode("utf-8", "replace") for value in values if is_spf(value)]
    found = [one for one in found if not set('\\"') & set(one)]
    kept = list(dict.fromkeys(term for one in found for term in one.split()[1:] if _is_term(term)))
    others = set(spf_terms(text, kept)) - set(spf_terms(text))
    if not others and not any(map(_redirect, found)):
        return text
    ours = [term for term in text.split()[1:] if not _END.fullmatch(term)]
    missing = [term for term in ours if not set(spf_terms(text, [term])) <= set(spf_terms(text, kept))]
    end = _end(found, text)
    if len(found) == 1 and not missing and found[0].split()[1:] == [*kept, end]:
        return found[0]
    return " ".join(["v=spf1", *missing, *kept, end])


def _is_term(term: str) -> bool:
    """Tell whether verifiers know a term. One invalid address makes the record a permerror (RFC 7208 section 4.6)."""
    if not _TERM.fullmatch(term):
        return False
    kind, _, address = term.lstrip("-~?+").lower().partition(":")
    if kind not in ("ip4", "ip6"):
        return True
    try:
        return ipaddress.ip_network(address, strict=False).version == int(kind[2])
    except ValueError:
        return False


def check_spf_beside(values: Sequence[bytes], wanted: str) -> str | None:
    """Compare the TXT values at a name with an SPF record that may also have terms of others.

    Returns what :func:`mailhost.records.spf.check_spf` returns.
    """
    return check_spf(values, spf_beside(wanted, values))


def _redirect(text: str) -> str:
    return next((term for term in text.split()[1:] if _REDIRECT.fullmatch(term)), "")


def _end(found: Iterable[str], text: str) -> str:
    """Return the last term: the softest one found, but never one by which every address passes."""
    ends = [term for one in found for term in one.split()[1:] if _END.fullmatch(term)]
    strict = sorted((term for term in ends if term[0] in "~-"), key=_is_strict)
    if ends:
        return strict[0] if strict else _last(text)
    return next(filter(None, map(_redirect, found)), _last(text))


def _is_strict(term: str) -> bool:
    return term[0] == "-"


def _last(text: str) -> str:
    return next((term for term in text.split()[1:] if _END.fullmatch(term)), "-all")


def has_mx_of_others(domain: DomainSettings, hostname: str) -> bool:
    """Tell whether the MX records may name hosts that a domain's settings do not mention."""
    return not domain["hosts"] and domain["mx"] == [hostname]


def mx_beside(records: Sequence[Record], values: Sequence[Exchange]) -> list[Record]:
    """Return the MX records for a name, given its values now: ours, and those of others there.

    A new host of ours comes last, so that mail keeps going where it went.
    """
    ours = {record.value.split()[1] for record in records}
    others = sorted((preference, host) for preference, host in values if host and host not in ours)
    if not others:
        return list(records)
    there = {host: preference for preference, host in values}
    last = min(max(preference for preference, _ in others) + 10, 65535)
    own = [(there.get(host, last), host) for host in sorted(ours)]
    return [replace(records[0], value=f"{preference} {host}") for preference, host in sorted([*others, *own])]


def check_mx_beside(values: Iterable[Exchange], hosts: Sequence[str]) -> str | None:
    """Compare MX values with the wanted host; there may be others. Returns what ``check_mx`` returns."""
    said = check_mx(values, hosts)
    return said and said.replace("which is not wanted", "of which this host's pillar says nothing (domains:NAME:hosts)")
