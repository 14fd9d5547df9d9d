"""Records for TLS between mail servers (MTA-STS, TLS-RPT, TLSA, CAA), and PTR; and how DNS differs. Pure."""

import ipaddress
import re
from collections.abc import Iterable, Sequence

from mailhost.records import mta_sts
from mailhost.records.addresses import is_private
from mailhost.records.hosts import address_records, within
from mailhost.records.record import Record, lacks_and_has
from mailhost.shapes import DomainSettings
from mailhost.wording import shown

_RPT = re.compile(rb"v=TLSRPTv1[ \t]*(;|\Z)")


# ---- the records


def mta_sts_record(name: str, domain: DomainSettings) -> Record | None:
    """Return the MTA-STS record of a domain (RFC 8461 section 3.1), or ``None``; its id is computed from the policy."""
    if not domain["mta_sts"]["mode"]:
        return None
    id = mta_sts.policy_id(mta_sts.policy_text(domain))
    return Record(f"_mta-sts.{name}", domain["ttl"], "TXT", f"v=STSv1; id={id}")


def tls_rpt_record(name: str, domain: DomainSettings) -> Record | None:
    """Return the record for TLS reports (RFC 8460 section 3), or ``None``."""
    rua = ",".join(_uri(one) for one in domain["tls_rpt"]["rua"])
    return Record(f"_smtp._tls.{name}", domain["ttl"], "TXT", f"v=TLSRPTv1; rua={rua}") if rua else None


def _uri(text: str) -> str:
    """Return a report URI as TLS-RPT needs it (RFC 8460 section 3)."""
    return text.replace("!", "%21").replace(",", "%2C").replace(";", "%3B")


def policy_addresses(name: str, domain: DomainSettings) -> list[Record]:
    """Return the A and AAAA records of the host that serves a domain's MTA-STS policy."""
    return address_records(f"mta-sts.{name}", domain["mta_sts"]["addresses"], domain["ttl"])


def caa_records(name: str, domain: DomainSettings) -> list[Record]:
    """Return the CAA records of a domain (RFC 8659)."""
    return [Record(name, domain["ttl"], "CAA", one) for one in domain["caa"]]


def tlsa_record(hostname: str, data: str, ttl: int) -> Record:
    """Return the TLSA record of a host: DANE-EE, its public key, SHA-256 (RFC 7672 section 3.1.1)."""
    return Record(f"_25._tcp.{hostname}", ttl, "TLSA", f"3 1 1 {data}")


def pointer_records(hostname: str, addresses: Iterable[str], ttl: int) -> list[Record]:
    """Return the PTR records of the host's public addresses, to be published by whoever has the reverse zones."""
    return [Record(pointer(one), ttl, "PTR", hostname) for one in addresses if not is_private(one)]


def records_of(
    name: str, domain: DomainSettings, hostname: str, addresses: Iterable[str], tlsa: str | None = None
) -> list[Record]:
    """Return the records of a domain for TLS and, if the host's name lies in the domain, those of the host.

    :param tlsa: the certificate data of the host's TLSA record, hexadecimal; ``None`` if it should have none.
    """
    is_here, ttl = within(hostname, name), domain["ttl"]
    return [
        *(record for record in (mta_sts_record(name, domain), tls_rpt_record(name, domain)) if record),
        *policy_addresses(name, domain),
        *caa_records(name, domain),
        *([tlsa_record(hostname, tlsa, ttl)] if is_here and tlsa else []),
        *(pointer_records(hostname, addresses, ttl) if is_here else []),
    ]


def pointer(address: str) -> str:
    """Return the name of an address's PTR record (RFC 1035 section 3.5, RFC 3596 section 2.5)."""
    return ipaddress.ip_address(address).reverse_pointer


# ---- what DNS shows, against what is wanted


def is_tls_rpt(value: bytes) -> bool:
    """Tell whether a TXT value counts as a TLS-RPT record (RFC 8460 section 3)."""
    return bool(_RPT.match(value))


def check_mta_sts(values: Sequence[bytes], wanted: str) -> str | None:
    """Compare the TXT values at a domain's ``_mta-sts`` with its record; return ``None`` or what is wrong.

    Only the id is compared: senders fetch the policy again when it changes (RFC 8461 section 3.1).
    """
    found = [value for value in values if mta_sts.is_record(value)]
    if len(found) != 1:
        return _count(values, found, "MTA-STS", "RFC 8461 section 3.1")
    problem = mta_sts.record_problem(found[0])
    if problem:
        return f"the MTA-STS record {shown(_text(found[0]))}: {problem}"
    seen, ours = (mta_sts.id_of(value) for value in (found[0], wanted.encode()))
    return None if seen == ours else f"the MTA-STS record {lacks_and_has([f'id={ours}'], [f'id={seen}'])}"


def check_tls_rpt(values: Sequence[bytes], wanted: str) -> str | None:
    """Compare the TXT values at a domain's ``_smtp._tls`` with its record; the order of addresses may differ."""
    found = [value for value in values if is_tls_rpt(value)]
    if len(found) != 1:
        return _count(values, found, "TLS-RPT", "RFC 8460 section 3")
    seen, ours = reports(_text(found[0])), reports(wanted)
    missing, surplus = ([one for one in a if one not in b] for a, b in ((ours, seen), (seen, ours)))
    told = lacks_and_has(missing, surplus)
    return f"the TLS-RPT record {told}" if told else None


def reports(record: str) -> list[str]:
    """Return the addresses in the ``rua=`` of a TLS-RPT record."""
    return [one.strip() for one in re.findall(r";[ \t]*rua[ \t]*=([^;]*)", record) for one in one.split(",")]


def _count(values: Sequence[bytes], found: Sequence[bytes], label: str, rule: str) -> str:
    if found:
        return f"there are {len(found)} {label} records, of which senders take none ({rule}); keep one"
    return f"none of the {len(values)} TXT records there is {label}"


def check_tlsa(values: Iterable[str], wanted: str) -> str | None:
    """Compare TLSA values with the certificate's record; there may be others, for the next certificate."""
    seen = [" ".join([*value.split()[:3], "".join(value.split()[3:]).lower()]) for value in values]
    return None if wanted in seen else f"the TLSA record {lacks_and_has([wanted], seen)}"


def check_caa(values: Iterable[str], wanted: Iterable[str]) -> str | None:
    """Compare CAA values with those wanted, in full: each record in DNS allows somebody to issue."""
    seen, ours = {_caa(one): one for one in values}, {_caa(one): one for one in wanted}
    missing, surplus = ([a[key] for key in a if key not in b] for a, b in ((ours, seen), (seen, ours)))
    told = lacks_and_has(missing, sorted(surplus))
    return f"the CAA record {told}" if told else None


def _caa(value: str) -> tuple[int, str, str]:
    flags, tag, rest = value.split(None, 2)
    return int(flags), tag.lower(), rest.strip('"')


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
