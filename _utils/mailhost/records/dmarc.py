"""DMARC: the record, and how what DNS shows differs from it. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

from mailhost.records.record import PASTED, QUOTED, Record, as_text, lacks_and_has
from mailhost.records.tags import listed, tags
from mailhost.shapes import DomainSettings
from mailhost.wording import shown

_Tag = Literal["p", "sp", "np", "psd", "adkim", "aspf", "fo", "rua", "ruf", "t"]
_DMARC_ORDER: tuple[_Tag, ...] = ("p", "sp", "np", "psd", "adkim", "aspf", "fo", "rua", "ruf", "t")
# RFC 9989's defaults, and those of RFC 7489 for the tags that it dropped: some verifiers still read them.
_DMARC_DEFAULTS = {
    "psd": "u",
    "adkim": "r",
    "aspf": "r",
    "fo": "0",
    "t": "n",
    "pct": "100",
    "rf": "afrf",
    "ri": "86400",
}


def dmarc_record(name: str, domain: DomainSettings) -> Record | None:
    """Return the DMARC record of a domain (RFC 9989), or ``None``; only tags that were given are in it."""
    dmarc = domain["dmarc"]
    if not dmarc["enabled"]:
        return None
    tag_list = ["v=DMARC1"]
    for tag in _DMARC_ORDER:
        given = dmarc[tag]
        value = ",".join(_uri(one) for one in given) if isinstance(given, list) else given
        if value:
            tag_list.append(f"{tag}={value}")
    return Record(f"_dmarc.{name}", domain["ttl"], "TXT", dmarc["record"] or "; ".join(tag_list))


def _uri(text: str) -> str:
    """Return a report URI as DMARC wants it: a comma or a semicolon of its own would end it (RFC 9989 section 4.7).

    An exclamation mark would begin the size that a report may have (RFC 7489 section 6.2), and does so at the end.
    """
    size = re.search(r"![0-9]{1,20}[kmgt]?\Z", text)
    address = text[: size.start()] if size else text
    escaped = address.replace("!", "%21").replace(",", "%2C").replace(";", "%3B")
    return escaped + (size[0] if size else "")


def check_dmarc(values: Sequence[bytes], wanted: str) -> str | None:
    """Compare the TXT values at a domain's ``_dmarc`` with its DMARC record; return ``None`` or what is wrong.

    Equal are records with the same tags in any order, ``v=`` first; a tag with its default value counts as left out.
    """
    found = [as_text(value) for value in values if is_dmarc(value)]
    if len(found) > 1:
        return f"there are {len(found)} DMARC records, so verifiers take none (RFC 9989 section 4.10); keep one"
    if not found:
        return _no_dmarc(values)
    if "\\" in found[0]:
        return PASTED
    if found[0].split() == wanted.split():
        return None
    try:
        seen_tags, wanted_tags = tags(found[0]), tags(wanted)
    except ValueError as err:
        return f"the DMARC record is not as wanted: {err}"
    missing, surplus = _unmatched(wanted_tags, seen_tags), _unmatched(seen_tags, wanted_tags)
    difference = lacks_and_has(missing, surplus)
    return f"the DMARC record {difference}" if difference else None


def is_dmarc(value: bytes) -> bool:
    """Tell whether a TXT value is a DMARC record; others at the name do not count (RFC 9989 section 4.10)."""
    return bool(re.match(r"v[ \t]*=[ \t]*DMARC1[ \t]*(\\?;|\Z)", as_text(value)))


def _no_dmarc(values: Sequence[bytes]) -> str:
    near = next((as_text(value) for value in values if "dmarc1" in as_text(value).lower()), "")
    if '"' in near:
        return QUOTED
    if near:
        return f"{shown(near)} is no DMARC record: it must begin with v=DMARC1, in capitals"
    return f"none of the {len(values)} TXT records there is a DMARC record"


def _unmatched(tag_list: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the tags of one record that do not hold in another, neither said there nor by default."""
    policy = other.get("sp", other.get("p"))
    implied = {**_DMARC_DEFAULTS, "sp": policy, "np": policy, **other}
    return [f"{tag}={value}" for tag, value in tag_list.items() if not _same_tag(tag, value, implied.get(tag))]


def _same_tag(tag: str, value: str, other: str | None) -> bool:
    if other is None:
        return False
    if tag in ("rua", "ruf"):
        return {one.strip() for one in value.split(",")} == {one.strip() for one in other.split(",")}
    if tag == "fo":
        return listed(value) == listed(other)
    return value.lower() == other.lower()
