"""Records of a host's addresses and of where a domain's mail goes, and how DNS differs from them. Pure."""

import ipaddress
from collections.abc import Iterable, Sequence

from mailhost.dns.message import Exchange
from mailhost.records.dmarc import dmarc_record
from mailhost.records.record import Record, lacks_and_has
from mailhost.records.spf import spf_record
from mailhost.shapes import DomainSettings


def mx_records(name: str, domain: DomainSettings) -> list[Record]:
    """Return the MX records of a domain; the first host is the most preferred one."""
    return [Record(name, domain["ttl"], "MX", f"{10 * rank} {host}") for rank, host in enumerate(domain["mx"], 1)]


def address_records(hostname: str, addresses: Iterable[str], ttl: int) -> list[Record]:
    """Return the A and AAAA records of the host."""
    return [Record(hostname, ttl, "A" if ipaddress.ip_address(one).version == 4 else "AAAA", one) for one in addresses]


def domain_records(name: str, domain: DomainSettings, hostname: str, addresses: Iterable[str]) -> list[Record]:
    """Return all records of a domain except its DKIM keys; the host's addresses if its name lies in the domain."""
    host = address_records(hostname, addresses, domain["ttl"]) if within(hostname, name) else []
    policies = (spf_record(name, domain), dmarc_record(name, domain))
    return [*host, *mx_records(name, domain), *(record for record in policies if record)]


def within(hostname: str, domain: str) -> bool:
    """Tell whether a host's name lies in a domain."""
    return hostname == domain or hostname.endswith(f".{domain}")


def check_mx(values: Iterable[Exchange], hosts: Sequence[str]) -> str | None:
    """Compare MX values, pairs of preference and host, with the hosts wanted; preferences may differ."""
    seen = sorted({host.lower().rstrip(".") for _, host in values})
    if seen == [""]:
        return "the MX record is the null MX (RFC 7505), which says that the domain takes no mail"
    missing, surplus = ([one for one in a if one not in b] for a, b in ((hosts, seen), (seen, hosts)))
    difference = lacks_and_has(missing, surplus)
    return f"the MX record {difference}" if difference else None


def check_addresses(values: Iterable[str], addresses: Iterable[str]) -> str | None:
    """Compare A or AAAA values with the addresses wanted."""
    wanted, seen = ({str(ipaddress.ip_address(one)): one for one in some} for some in (addresses, values))
    missing = [one for address, one in wanted.items() if address not in seen]
    surplus = sorted(one for address, one in seen.items() if address not in wanted)
    difference = lacks_and_has(missing, surplus)
    return f"the name {difference}" if difference else None
