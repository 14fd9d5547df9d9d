"""The SPF record, and how DNS differs from it. Pure."""

import ipaddress
import re
from collections.abc import Iterable, Sequence

from mailhost.records.record import PASTED, QUOTED, Record, as_text, lacks_and_has
from mailhost.shapes import DomainSettings
from mailhost.wording import shown


def spf_record(name: str, domain: DomainSettings) -> Record | None:
    """Return the SPF record of a domain (RFC 7208), or ``None`` if it should have none.

    While the addresses that its mail leaves from are not known (``None``), there is none: it would forbid that mail.

    :param domain: the domain's settings, as in the pillar with all defaults.
    """
    spf = domain["spf"]
    if not spf["enabled"] or (spf["addresses"] is None and not spf["record"]):
        return None
    addresses = [f"ip{ipaddress.ip_address(one).version}:{one}" for one in spf["addresses"] or ()]
    hosts = [f"a:{one}" for one in spf.get("hosts", ())]
    terms = ["v=spf1", *addresses, *hosts, *(f"include:{one}" for one in spf["include"]), spf["all"]]
    return Record(name, domain["ttl"], "TXT", spf["record"] or " ".join(terms))


def check_spf(values: Sequence[bytes], wanted: str) -> str | None:
    """Compare the TXT values at a domain's name with its SPF record; return ``None`` or a sentence that says what is
    wrong.

    Other TXT values do not count. Two records are equal if a verifier reads them alike: case, white space, ``+``, the
    order of terms with the same qualifier, and the spelling of an address may differ.
    """
    found = [as_text(value) for value in values if is_spf(value)]
    if len(found) > 1:
        return (
            f"there are {len(found)} SPF records, which makes every check a permerror (RFC 7208 section 4.5); keep one"
        )
    if not found:
        near = next((as_text(value) for value in values if "v=spf1" in as_text(value).lower()), "")
        quoted = f"; {shown(near)} is none: {QUOTED}" if '"' in near else f"; {shown(near)} is none" if near else ""
        return f"none of the {len(values)} TXT records there is an SPF record{quoted}"
    if "\\" in found[0]:
        return PASTED
    if _spf(found[0]) == _spf(wanted):
        return None
    seen_terms, wanted_terms = spf_terms(found[0]), spf_terms(wanted)
    missing = [term for term in wanted_terms if term not in seen_terms]
    surplus = [term for term in seen_terms if term not in wanted_terms]
    return f"the SPF record {lacks_and_has(missing, surplus) or 'has its terms in another order, or some twice'}"


def is_spf(value: bytes) -> bool:
    """Tell whether a TXT value is an SPF record (RFC 7208 section 4.5)."""
    return bool(re.match(r"v=spf1( |\Z)", as_text(value), re.IGNORECASE))


def spf_terms(text: str, only: Iterable[str] | None = None) -> list[str]:
    """Return the terms of an SPF record, or the terms in ``only``, each in canonical spelling."""
    return [_spf_term(term) for term in (text.split()[1:] if only is None else only)]


def _spf_term(term: str) -> str:
    # In a macro the case of the letter has a meaning (RFC 7208 section 7.3).
    term = "".join(part if part.startswith("%{") else part.lower() for part in re.split(r"(%\{[^{}%]*\})", term))
    term = term.removeprefix("+")
    network = re.fullmatch(r"([-~?]?)(ip[46]):(.+)", term)
    if not network:
        return term
    try:
        address = ipaddress.ip_network(network[3], strict=False)
    except ValueError:
        return term
    text = str(address.network_address) if address.prefixlen == address.max_prefixlen else str(address)
    return f"{network[1]}{network[2]}:{text}"


def _spf(text: str) -> tuple[list[tuple[str, set[str]]], set[str]]:
    """Return an SPF record as a verifier reads it: runs of terms with the same qualifier, and modifiers."""
    runs: list[tuple[str, set[str]]] = []
    modifiers: set[str] = set()
    for term in spf_terms(text):
        if re.match(r"[a-z][a-z0-9_.-]*=", term):
            modifiers.add(term)
            continue
        qualifier = term[0] if term[0] in "-~?" else "+"
        if not runs or runs[-1][0] != qualifier:
            runs.append((qualifier, set()))
        runs[-1][1].add(term)
    return runs, modifiers
