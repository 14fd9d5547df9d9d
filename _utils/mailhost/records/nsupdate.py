"""Records as input for ``nsupdate``: each update guarded, so that nobody else's record is taken away. Pure."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from mailhost.dns.message import Split, Values
from mailhost.records import key, tags
from mailhost.records import policies as record_policies
from mailhost.records import record as mail_records
from mailhost.records.record import Record
from mailhost.wording import plain, shown

_OWN_NAMES = tuple(kind.prefix for kind in record_policies.KINDS.values() if kind.prefix)
"""Beginnings of names that are for one record each, so that any other text there is a mistake of somebody's."""


def nsupdate(records: Iterable[Record], present: Mapping[tuple[str, str], Values]) -> str:
    """Return input for ``nsupdate`` that publishes records, each in an update of its own.

    :param present: maps pairs of name, in lower case, and type to the values that DNS shows now, as
        :class:`mailhost.dns.lookup.ServerAnswer` has them; a name that is missing was not seen.

    An update takes back exactly the older record that it replaces, and the server refuses it if anything at the name
    is not as it was seen (RFC 2136 section 2.4). What may be somebody else's is left alone. All that is
    no TXT record is a comment: what it would replace may be another host's, or lie in another zone.
    """
    return "".join(f"{block}\n" for block in (_update(record, present) for record in records))


def _update(record: Record, present: Mapping[tuple[str, str], Values]) -> str:
    if record.rdtype != "TXT":
        return f"; {mail_records.zone_line(record)}"
    seen = tuple(present.get((record.name.lower(), "TXT"), ()))
    same_kind, check = _kind(record)
    older = [value for value in seen if same_kind(value)]
    if older and check(seen) is None:
        return f"; {record.name} TXT: in DNS as wanted"
    alias = present.get((record.name.lower(), "CNAME"))
    if alias:
        line = mail_records.zone_line(record)
        return f"; {record.name} TXT: the name is an alias (CNAME) of {plain(alias[0])}; publish it there: {line}"
    if (record.name.startswith(_OWN_NAMES) or "._domainkey." in record.name) and len(older) < len(seen):
        strange = next(_text(value) for value in seen if value not in older)
        return (
            f"; {record.name} TXT: DNS shows another's record, {shown(strange)}; it is not replaced. "
            "If nobody needs it, take it away, then run this again"
        )
    prerequisites = [f"prereq yxrrset {record.name}. IN TXT {_rdata(value)}" for value in seen]
    return "\n".join(
        [
            *(prerequisites or [f"prereq nxrrset {record.name}. IN TXT"]),
            *(f"update delete {record.name}. IN TXT {_rdata(value)}" for value in older),
            f"update add {record.name}. {record.ttl} IN TXT {_rdata(record.value.encode())}",
            "send",
        ]
    )


def _kind(record: Record) -> tuple[Callable[[bytes], bool], Callable[[Sequence[bytes]], str | None]]:
    """Return two functions for a TXT record: is a value an older version of it, and is it in DNS as wanted."""
    if "._domainkey." in record.name:
        wanted = tags.tags(record.value)
        public, algorithm = wanted["p"], wanted.get("k", "rsa")
        return partial(_own_key, public), lambda values: key.check_key(values, public, algorithm)
    kind = record_policies.kind_at(record.name)
    return kind.counts, lambda values: kind.check(values, record.value)


def _own_key(public: str, value: bytes) -> bool:
    """Tell whether a TXT value is our key, whole or damaged; when ours is revoked, a key of this selector is."""
    found = re.search(r"(?:^|;)p=([^;]*)", re.sub(r'[\s"\\]', "", _text(value)))
    if not found:
        return False
    seen = found[1]
    return not public or not seen or seen == public or public.startswith(seen)


def _rdata(value: bytes) -> str:
    """Return a TXT value as strings: those in which DNS shows it, or as many as it needs (RFC 1035 section 3.3.14)."""
    size = mail_records.STRING
    usual = (value[start : start + size] for start in range(0, len(value) or 1, size))
    return " ".join(mail_records.quoted(one) for one in (value.strings if isinstance(value, Split) else usual))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
