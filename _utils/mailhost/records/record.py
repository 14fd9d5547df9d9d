"""A DNS record and its text: for zone files, providers' web forms and octoDNS, and in messages. Pure."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mailhost.dns import lookup

STRING = 255
"""Bytes: the longest string of a TXT record (RFC 1035 section 3.3.14)."""
PASTED = r"the value has backslashes in it (`\;`), pasted from a zone file: enter it again as plain text, without them"
QUOTED = "the value has quotation marks in it, which belong to zone files only: enter it again without them"


@dataclass(frozen=True)
class Record:
    """A DNS record.

    ``name`` is absolute without its final dot, ``ttl`` in seconds. ``value`` of a TXT record is all its strings joined,
    of an MX record ``10 mx1.example.com``.
    """

    name: str
    ttl: int
    rdtype: str
    value: str


# ---- their text


def txt_strings(value: str) -> list[str]:
    """Return a TXT value cut into strings of at most 255 bytes each (RFC 1035 section 3.3.14)."""
    if value.isascii():
        return [value[start : start + STRING] for start in range(0, len(value) or 1, STRING)]
    strings: list[str] = []
    current: list[str] = []
    size = 0
    for letter in value:
        width = len(letter.encode())
        if size + width > STRING:
            strings.append("".join(current))
            current, size = [], 0
        current.append(letter)
        size += width
    return [*strings, "".join(current)]


def zone_line(record: Record) -> str:
    """Return a record as one line of a zone file (RFC 1035 section 5.1)."""
    return f"{record.name}. {record.ttl} IN {record.rdtype} {_zone_value(record)}"


def as_strings(records: Iterable[Record]) -> dict[str, str | list[str]]:
    """Return ``{"NAME TYPE": value}``, with the value as a web form wants it, or a list if there are several."""
    found: dict[str, list[str]] = {}
    for record in records:
        found.setdefault(f"{record.name} {record.rdtype}", []).append(one_string(record))
    return {name_and_type: values[0] if len(values) == 1 else values for name_and_type, values in found.items()}


def one_string(record: Record) -> str:
    """Return a record's value as a provider's web form wants it: no quotation marks, nothing escaped, not split."""
    return record.value


def to_publish(records: Sequence[Record], zone: str = "") -> list[str]:
    """Return, as lines to copy from, how records are published: for a zone file, and for a provider's web form.

    :param zone: the zone that they lie in; empty if it is not known.
    """
    lines = ["To publish, as a line of the zone:", *(f"  {zone_line(record)}" for record in records)]
    lines += ["To publish, as one string:", *(f"  {one_string(record)}" for record in records)]
    if not zone:
        return lines
    names = dict.fromkeys(lookup.relative(record.name, zone) for record in records)
    return [*lines, f"Its name, in a form that adds the zone {zone} by itself:", *(f"  {name}" for name in names)]


def zone(records: Iterable[Record]) -> str:
    """Return records as a snippet of a zone file, ready for ``$INCLUDE``; those of another zone (PTR) are comments."""
    return "".join(f"{'; ' * (record.rdtype == 'PTR')}{zone_line(record)}\n" for record in records)


def as_data(records: Iterable[Record]) -> list[dict[str, str | int | list[str]]]:
    """Return records as plain data; a TXT record also with the strings that its value is split into."""
    return [
        {
            "name": record.name,
            "ttl": record.ttl,
            "type": record.rdtype,
            "value": record.value,
            **({"strings": txt_strings(record.value)} if record.rdtype == "TXT" else {}),
        }
        for record in records
    ]


def as_json(records: Iterable[Record]) -> str:
    """Return records as JSON text."""
    return json.dumps(as_data(records), indent=2, ensure_ascii=False)


def octodns(records: Iterable[Record], zone: str) -> str:
    """Return TXT records as a zone file of octoDNS's YamlProvider: names relative to ``zone``, in natural order.

    Its values have a backslash before each semicolon (``escaped_semicolons``); octoDNS itself splits them.
    """
    by_name: dict[str, list[Record]] = {}
    for record in records:
        by_name.setdefault(record.name[: -len(zone) - 1], []).append(record)
    lines = ["---"]
    for name in sorted(by_name, key=_natural):
        values = [_yaml(record.value.replace(";", "\\;")) for record in by_name[name]]
        value = f"value: {values[0]}" if len(values) == 1 else f"values: [{', '.join(values)}]"
        lines += [f"{_yaml(name)}:", f"  ttl: {by_name[name][0].ttl}", "  type: TXT", f"  {value}"]
    return "\n".join([*lines, ""])


def _natural(name: str) -> list[int | str]:
    """Return a sort key that orders numbers in names by their value: octoDNS refuses any other order."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _yaml(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _zone_value(record: Record) -> str:
    if record.rdtype in ("MX", "PTR"):
        return f"{record.value}."
    if record.rdtype != "TXT":
        return record.value
    strings = [quoted(string.encode()) for string in txt_strings(record.value)]
    return strings[0] if len(strings) == 1 else f"( {' '.join(strings)} )"


def quoted(string: bytes) -> str:
    """Return bytes as a quoted string; within quotation marks a semicolon needs no backslash."""
    return '"' + "".join(_escaped(byte) for byte in string) + '"'


def _escaped(byte: int) -> str:
    if byte in b'"\\':
        return "\\" + chr(byte)
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03d}"


# ---- what DNS shows, against what is wanted


def lacks_and_has(missing: Sequence[str], surplus: Sequence[str]) -> str:
    """Return what a record lacks and what it has too much, as the end of a sentence; empty if neither."""
    halves = []
    if missing:
        halves.append(f"lacks {' '.join(missing)}")
    if surplus:
        halves.append(f"has {' '.join(surplus)}, which is not wanted")
    return " and ".join(halves)


def as_text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
