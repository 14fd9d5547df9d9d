"""Whether an answer from a signed zone is valid by DNSSEC (RFC 4035 section 5), as a resolver judges it. Pure.

For an answer that is not valid, such resolvers return only SERVFAIL, so the record does not count as published. An
answer that a record does not exist is accepted without proof.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from datetime import datetime, timezone
from types import ModuleType
from typing import TYPE_CHECKING

from mailhost.dns.message import RecordSet, Response, dname_above, plain, records_at, type_of

if TYPE_CHECKING:
    from dns.name import Name
    from dns.rdataset import Rdataset
    from dns.rdtypes.ANY.DNSKEY import DNSKEY
    from dns.rdtypes.ANY.DS import DS
    from dns.rdtypes.ANY.RRSIG import RRSIG

_ALGORITHMS = frozenset((5, 7, 8, 10, 13, 14, 15, 16))
_DIGESTS = frozenset((1, 2, 4))
_MOST = 16
"""Keys, and signatures of one RRset, that are tried. More than that only serve to make validators work."""


def usable_ds(records: Iterable[DS] | None) -> list[DS]:
    """Return the DS records with known algorithms; a zone that has only others counts as unsigned (section 5.2)."""
    known = [one for one in records or () if one.algorithm in _ALGORITHMS and one.digest_type in _DIGESTS]
    # If there is a stronger digest, SHA-1 does not count (RFC 4509 section 3).
    return [one for one in known if one.digest_type != 1] or known


def zone_keys(
    dns: ModuleType, zone: str, ds: Sequence[DS], response: Response, now: float
) -> tuple[dict[Name, Rdataset] | None, str]:
    """Return ``(keys, why not)`` of a zone: the keys that validate its answers, or why there are none.

    :param ds: its usable DS records. :param response: an authoritative response with its DNSKEY records.
    :param now: seconds since 1970.
    """
    records = records_at(response.answer, zone, "DNSKEY")
    if records is None:
        return None, f"{zone} is signed by its DS record, but shows no DNSKEY record"
    name = dns.name.from_text(f"{zone}.")
    trusted = [key for key in list(records)[:_MOST] if any(_is_of(dns, name, key, one) for one in ds[:_MOST])]
    if not trusted:
        return None, f"no DNSKEY record of {zone} is that of its DS record"
    anchor = {name: dns.rdataset.from_rdata_list(records.ttl, trusted)}
    why = _unproven(dns, records, _signatures(response, zone, "DNSKEY"), anchor, now)
    if why:
        return None, f"the DNSKEY records of {zone}: {why}"
    return {name: dns.rdataset.from_rdata_list(records.ttl, list(records)[:_MOST])}, ""


def _is_of(dns: ModuleType, zone: Name, key: DNSKEY, ds: DS) -> bool:
    if key.algorithm != ds.algorithm or dns.dnssec.key_id(key) != ds.key_tag:
        return False
    try:
        return bool(dns.dnssec.make_ds(zone, key, ds.digest_type, validating=True) == ds)
    except (dns.exception.DNSException, ValueError):
        return False


def why_invalid(
    dns: ModuleType, response: Response, name: str, rdtype: str, keys: dict[Name, Rdataset], now: float
) -> str:
    """Return why an answer's records (those asked for, or the DNAME or CNAME) are not valid; ``""`` if they are."""
    found = (
        records_at(response.answer, name, rdtype),
        dname_above(response.answer, name),
        # The CNAME that comes with a DNAME is synthesized and not signed (RFC 6672 section 5.3.1).
        records_at(response.answer, name, "CNAME"),
    )
    records = next((one for one in found if one is not None), None)
    if records is None:
        return ""
    return _unproven(dns, records, _signatures(response, plain(records.name), type_of(records)), keys, now)


def _signatures(response: Response, name: str, rdtype: str) -> list[RRSIG]:
    for one in response.answer:
        if type_of(one) == "RRSIG" and plain(one.name) == name:
            found = [sig for sig in one if type_of(one, sig.type_covered) == rdtype]
            if found:
                return found[:_MOST]
    return []


def _unproven(
    dns: ModuleType, records: RecordSet, signatures: Sequence[RRSIG], keys: dict[Name, Rdataset], now: float
) -> str:
    if not signatures:
        return "it has no signature (RRSIG), though the zone is signed by its DS record"
    reasons = []
    for one in signatures:
        try:
            dns.dnssec.validate_rrsig(records, one, keys, now=now)
        except (dns.exception.DNSException, ValueError, TypeError, OverflowError) as err:
            reasons.append(_reason(one, keys, now, err))
        else:
            return ""
    return reasons[0]


def _reason(signature: RRSIG, keys: Container[Name], now: float, err: Exception) -> str:
    if signature.signer not in keys:
        return f"its signature is by {plain(signature.signer)}, which is another zone"
    if signature.expiration < now:
        return f"its signature expired on {_day(signature.expiration)}"
    if signature.inception > now:
        return f"its signature is not valid before {_day(signature.inception)}, by this host's clock"
    return f"its signature is wrong ({err})"


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
