"""What a DNS message says, read from dnspython's form of it; nothing else in the formula imports dnspython."""

import functools
import importlib
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mailhost.errors import MissingPackage

if TYPE_CHECKING:
    from dns.name import Name

AUTHORITATIVE, RECURSION_DESIRED = 0x0400, 0x0100
_SHOWN_AS_IS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
USABLE = ("NOERROR", "NXDOMAIN")

Exchange = tuple[int, str]
"""The value of an MX record: preference and host."""
Values = tuple[Any, ...]
"""The values of an answer, sorted. Their type is that of the records: ``bytes`` for TXT, :data:`Exchange` for MX,
``str`` for all others."""


class RecordSet(Protocol):
    """Records of one name and type: an RRset of dnspython, or :class:`mailhost.dns.txt_wire.Records`.

    Which attributes each record has depends on their type.
    """

    @property
    def name(self) -> "Name": ...
    @property
    def rdtype(self) -> int: ...
    @property
    def ttl(self) -> int: ...
    def __iter__(self) -> Iterator[Any]: ...
    def __getitem__(self, number: int, /) -> Any: ...


class Response(Protocol):
    """What is read of a server's response: a message of dnspython, or one of those that are read without it."""

    @property
    def flags(self) -> int: ...
    @property
    def answer(self) -> Sequence[RecordSet]: ...
    @property
    def authority(self) -> Sequence[RecordSet]: ...
    @property
    def additional(self) -> Sequence[RecordSet]: ...
    def rcode(self) -> int: ...


_Some = TypeVar("_Some", bound=RecordSet)
_known: dict[str, ModuleType] = {}


def dnspython() -> ModuleType:
    """Return the package ``dns`` of dnspython with the parts used here."""
    if sys.modules.get("dns") is _known.get("dns", _known):
        # Called for each of thousands of records: a dozen imports each time would take longer than reading them.
        return _known["dns"]
    if not hasattr(sys.modules.get("dns"), "__path__"):
        # If the process started without dnspython, an import may have loaded salt/utils/dns.py under this name.
        sys.modules.pop("dns", None)
        importlib.invalidate_caches()
    try:
        import dns.asyncbackend
        import dns.asyncquery
        import dns.dnssec
        import dns.exception
        import dns.message
        import dns.name
        import dns.rcode
        import dns.rdataset
        import dns.rdatatype
        import dns.rdtypes.ANY.TXT
        import dns.resolver
        import dns.tsig
        import dns.update
    except ImportError as err:
        raise MissingPackage(
            "dnspython, with which DNS is asked, is not installed in Salt's own Python: "
            "set mailserver:python:install to true, or run `salt-pip install dnspython`"
        ) from err
    _known["dns"] = dns
    return dns


def within(name: str, zone: str) -> bool:
    """Return whether ``name`` is ``zone`` or below it; names are lower case, without a final dot, the root is empty."""
    return not zone or name == zone or name.endswith("." + zone)


@dataclass(frozen=True)
class Said:
    """What one response says: a status with its details, a CNAME's target, or a zone below and its servers."""

    status: str = ""
    values: Values = ()
    ttl: int | None = None
    detail: str = ""
    alias: str = ""
    child: str = ""
    child_servers: frozenset[str] = frozenset()
    is_minimal: bool = field(default=False, compare=False)
    """The answer has no authority section that shows its zone (RFC 1034 section 4.3.2 wants one; BIND's
    ``minimal-responses``, and many providers, leave it out)."""


def read_response(response: Response, name: str, rdtype: str, zone: str) -> Said:
    """Read an authoritative server's response to a question within ``zone``.

    Only answers with the AA bit count. Without it, the response refers to a zone below, or the server is lame (RFC 1034
    section 4.3.2). A server that serves a zone and the zone below it answers directly. Unless its responses are
    minimal, the authority section then shows that ``name`` is in the lower zone, which may have more servers.
    """
    child, servers = _zone_below(response, name, zone)
    if response.flags & AUTHORITATIVE:
        alias = "" if rdtype == "CNAME" else _alias(response.answer, name)
        if alias:
            return Said(alias=alias, child=child, child_servers=servers, is_minimal=not response.authority)
        others = {plain(one.name) for one in response.answer}
        if others and name not in others:
            return Said("unknown", detail=f"it answers with records of {', '.join(sorted(others))}, not of {name}")
        said, is_minimal = _read_end(response, name, rdtype, zone), not response.authority
        return replace(said, child=child, child_servers=servers, is_minimal=is_minimal) if child or is_minimal else said
    code = rcode(response)
    if code == "NOERROR" and servers and not response.answer:
        return Said(child=child, child_servers=servers)
    return Said("unknown", detail="not authoritative (lame)" if code in USABLE else code)


def read_resolver(response: Response, rdtype: str) -> Said:
    """Read a recursive resolver's response: it has followed CNAMEs, and it is not authoritative."""
    end = next((plain(records.name) for records in response.answer if type_of(records) == rdtype), "")
    return _read_end(response, end, rdtype, "")


def rcode(response: Response) -> str:
    """Return the response's code as text (``NOERROR``, ``SERVFAIL``)."""
    text: str = dnspython().rcode.to_text(response.rcode())
    return text


def records_at(section: Iterable[_Some], name: str, rdtype: str) -> _Some | None:
    """Return the records with this name and type in a section of a response, or None."""
    return next((one for one in section if plain(one.name) == name and type_of(one) == rdtype), None)


class Split(bytes):
    """A TXT value of several strings, joined, which ``strings`` has one by one.

    Whoever reads the record joins them (RFC 7208 section 3.3); but for an update that names the record, the same text
    in other strings is another record (RFC 2136 section 1.1.1).
    """

    strings: tuple[bytes, ...]

    def __new__(cls, strings: Sequence[bytes]) -> "Split":
        made = super().__new__(cls, b"".join(strings))
        made.strings = tuple(strings)
        return made


def _joined(strings: Sequence[bytes]) -> bytes:
    return strings[0] if len(strings) == 1 else Split(strings)


def values(records: RecordSet) -> Values:
    """Return one value for each record, sorted, as in :class:`mailhost.dns.lookup.ServerAnswer`."""
    rdtype = type_of(records)
    if rdtype == "TXT":
        return tuple(sorted(_joined(record.strings) for record in records))
    if rdtype == "MX":
        return tuple(sorted((record.preference, plain(record.exchange)) for record in records))
    if rdtype in ("CNAME", "NS", "PTR"):
        return tuple(sorted(plain(record.target) for record in records))
    return tuple(sorted(record.to_text() for record in records))


def _read_end(response: Response, name: str, rdtype: str, zone: str) -> Said:
    code = rcode(response)
    if code not in USABLE:
        return Said("unknown", detail=code)
    records = records_at(response.answer, name, rdtype)
    if records is not None:
        return Said("answer", values(records), records.ttl)
    zones = [plain(one.name) for one in response.authority if type_of(one) == "SOA"]
    if zones and not within(zones[0], zone):
        return Said("unknown", detail=f"it speaks for the zone {zones[0] or '.'}, not for {zone} (lame)")
    return Said("absent", detail="NXDOMAIN" if code == "NXDOMAIN" else f"no {rdtype} record")


def _alias(answer: Sequence[RecordSet], name: str) -> str:
    """Return the target of an alias: of its CNAME, or of the DNAME above it (RFC 6672 section 2.2)."""
    records = records_at(answer, name, "CNAME")
    if records is not None:
        return plain(records[0].target)
    above = dname_above(answer, name)
    return "" if above is None else f"{name.removesuffix(plain(above.name))}{plain(above[0].target)}".rstrip(".")


def dname_above(answer: Iterable[RecordSet], name: str) -> RecordSet | None:
    """Return the DNAME record in an answer that lies above a name, or ``None``."""
    found = (one for one in answer if type_of(one) == "DNAME" and plain(one.name) != name)
    return next((one for one in found if within(name, plain(one.name))), None)


def _zone_below(response: Response, name: str, zone: str) -> tuple[str, frozenset[str]]:
    """Return the zone below ``zone`` that holds ``name`` as the authority section shows it, and its servers."""
    child = ""
    servers: frozenset[str] = frozenset()
    for records in response.authority:
        owner = plain(records.name)
        if type_of(records) in ("NS", "SOA") and owner != zone and within(owner, zone) and within(name, owner):
            child = owner
            servers |= frozenset(values(records)) if type_of(records) == "NS" else frozenset()
    return child, servers


def type_of(records: RecordSet, rdtype: int | None = None) -> str:
    """Return the type of dnspython's records as text, or the text of a type's number."""
    return _type_text(records.rdtype if rdtype is None else rdtype)


@functools.cache
def _type_text(rdtype: int) -> str:
    text: str = dnspython().rdatatype.to_text(rdtype)
    return text


@functools.cache
def type_number(rdtype: str) -> int:
    """Return the number of a type of record that is given as text.

    :raises dns.exception.DNSException: there is no such type.
    """
    return int(dnspython().rdatatype.from_text(rdtype))


def plain(name: "Name") -> str:
    """Return dnspython's form of a name as text: lower case, without a final dot; the root is empty."""
    joined = b".".join(name.labels)
    if _SHOWN_AS_IS.issuperset(joined) and joined.count(b".") == len(name.labels) - 1:
        return joined.decode().lower().rstrip(".")
    return name.to_text().lower().rstrip(".")
