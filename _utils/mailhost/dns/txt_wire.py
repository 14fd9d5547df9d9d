"""Answers with TXT records, parsed directly from their bytes, since key records are queried by the thousand.

Anything else than a plain answer of TXT records and the NS records of its zone is handed to dnspython.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dns.name import Name

_NS, _TXT, _IN = 2, 16, 1
_HEAD = 12
_POINTER = 0xC0
_ASKED = b"\xc0\x0c"
"""A pointer to the name that was asked for (RFC 1035 section 4.1.4)."""
_MOST_LABELS = 127


@dataclass(frozen=True)
class TxtData:
    """The data of a TXT record."""

    strings: tuple[bytes, ...]


@dataclass(frozen=True)
class NameServerData:
    """The data of an NS record."""

    target: Name


@dataclass(frozen=True)
class Records:
    """Records of one name and type in dnspython's form: a name, a type, the smallest TTL, and the data of each."""

    name: Name
    rdtype: int
    ttl: int
    data: tuple[TxtData, ...] | tuple[NameServerData, ...]

    def __iter__(self) -> Iterator[TxtData | NameServerData]:
        return iter(self.data)

    def __getitem__(self, number: int) -> TxtData | NameServerData:
        return self.data[number]


@dataclass(frozen=True)
class TextResponse:
    """A response whose answer is TXT records, with the same attributes as dnspython's message."""

    flags: int
    answer: tuple[Records, ...]
    authority: tuple[Records, ...] = ()
    additional: tuple[Records, ...] = ()

    def rcode(self) -> int:
        return 0


def read_texts(dns: ModuleType, wire: bytes, question: bytes) -> TextResponse | None:
    """Return the :class:`TextResponse` of a message, or ``None`` if dnspython must read it.

    :param wire: the message; its question was already compared with ``question``.
    :param question: the bytes of the question: name, type, class.
    """
    answers = int.from_bytes(wire[6:8], "big")
    if wire[3] & 0x0F or not answers or question[-4:] != b"\0\x10\0\1" or wire[4:6] != b"\0\1":
        return None
    try:
        texts, least, at = _texts(wire, answers, _HEAD + len(question))
        servers = _servers(dns, wire, int.from_bytes(wire[8:10], "big"), at)
    except (IndexError, ValueError):
        return None
    name = _name(dns, _labels(question, 0)[0])
    return TextResponse(int.from_bytes(wire[2:4], "big"), (Records(name, _TXT, least, texts),), servers)


def _texts(wire: bytes, count: int, at: int) -> tuple[tuple[TxtData, ...], int, int]:
    """Return the data of ``count`` TXT records of the name asked for, their smallest TTL, and where they end."""
    found: list[TxtData] = []
    least = 2**31 - 1
    for _ in range(count):
        if wire[at : at + 2] != _ASKED:
            raise ValueError("a record of another name")
        kind, ttl, begin, at = _record(wire, at + 2)
        if kind != _TXT:
            raise ValueError("another type of record")
        strings = []
        while begin < at:
            strings.append(wire[begin + 1 : begin + 1 + wire[begin]])
            begin += 1 + wire[begin]
        if begin != at or at > len(wire):
            raise ValueError("a string that is cut off")
        found.append(TxtData(tuple(strings)))
        least = min(least, ttl)
    # The same record twice counts once (RFC 2181 section 5).
    return tuple(dict.fromkeys(found)), least, at


def _servers(dns: ModuleType, wire: bytes, count: int, at: int) -> tuple[Records, ...]:
    """Return the NS records of the authority section, grouped by name."""
    found: dict[tuple[bytes, ...], list[tuple[int, NameServerData]]] = {}
    for _ in range(count):
        owner, at = _labels(wire, at)
        kind, ttl, begin, at = _record(wire, at)
        if kind != _NS:
            raise ValueError("no NS record")
        target, ends = _labels(wire, begin)
        if ends != at:
            raise ValueError("a name that is cut off")
        found.setdefault(owner, []).append((ttl, NameServerData(_name(dns, target))))
    return tuple(
        Records(_name(dns, owner), _NS, min(ttl for ttl, _ in some), tuple(one for _, one in some))
        for owner, some in found.items()
    )


def _record(wire: bytes, at: int) -> tuple[int, int, int, int]:
    """Return a record's type and TTL, and where its data begins and ends; ``at`` is where its name ended."""
    if wire[at + 2 : at + 4] != b"\0\1":
        raise ValueError("another class than IN")
    begin = at + 10
    ends = begin + int.from_bytes(wire[at + 8 : begin], "big")
    if ends > len(wire):
        raise ValueError("a record that is cut off")
    ttl = int.from_bytes(wire[at + 4 : at + 8], "big")
    return int.from_bytes(wire[at : at + 2], "big"), (0 if ttl > 0x7FFFFFFF else ttl), begin, ends


def _labels(wire: bytes, at: int) -> tuple[tuple[bytes, ...], int]:
    """Return the labels of the name at an offset, and the offset that follows it."""
    labels: list[bytes] = []
    ends = None
    while size := wire[at]:
        if size >= _POINTER:
            there = int.from_bytes(wire[at : at + 2], "big") & 0x3FFF
            ends = ends or at + 2
            if there >= at:
                raise ValueError("a pointer that does not lead back")
            at = there
        elif size > 63 or len(labels) > _MOST_LABELS:
            raise ValueError("no name")
        else:
            labels.append(wire[at + 1 : at + 1 + size])
            at += 1 + size
    return tuple(labels), ends or at + 1


@functools.lru_cache(maxsize=4096)
def _name(dns: ModuleType, labels: tuple[bytes, ...]) -> Name:
    name: Name = dns.name.Name((*labels, b""))
    return name
