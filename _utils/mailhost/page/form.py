"""The form in which a host's overview travels to the master: small enough for Salt's bus, and read with distrust. Pure.

``{"format", "hostname", "time", "status", "counts", "findings", "domains", "unread"}``: ``findings`` are those that are
not ok. ``domains`` maps each name to a row for each of its keys: selector, bits, when by time alone its next stage may
begin (or ``None``), and a stamp for each stage reached, in the order of a key's life (:data:`STAGES`), ``None`` for one
that was left out. ``unread`` says of which domains the keys could not be read, and why. Times are seconds since 1970.
"""

import base64
import binascii
import json
import lzma
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypedDict, cast

from mailhost.check.findings import STATUSES, Finding, Status
from mailhost.dkim.life import STAGES
from mailhost.errors import OverviewError
from mailhost.wording import brief, lines

NO_MAIL_HOST = "no mail host"
"""A key of the answer of a minion that has these modules, but is no mail host."""
FORMAT = 1
"""To be raised when what a page needs of this changes: a page calls a host with another format unknown."""
PACKED_FROM = 100_000
"""Bytes of JSON from which an overview is compressed: the event bus cuts out what is over ``max_event_size``, 1 MiB."""
LARGEST = 32 * 1024 * 1024
"""Bytes that a compressed overview may unfold to: ten thousand domains take 3 MB, and a finding of each 10 MB more."""
MEMORY = 64 * 1024 * 1024
"""Bytes that unfolding may take besides."""
MOST_VALUES = 2_000_000
"""Values in an overview: in Python's memory each is some 70 bytes, however little it takes as text."""
MOST = {"domains": 50_000, "unread": 50_000, "findings": 100_000, "keys": 200_000}
"""How many an overview may tell of."""
LONGEST, LONGEST_NAME = 4000, 300
"""Characters of a text that are kept, and of a name."""
_END_OF_TIME = 253402300800
"""The first second that is no time any more (the year 10000)."""


class HostReport(TypedDict):
    """What a host tells, as it travels; before a master has read it, it may be anything."""

    format: int
    hostname: str
    time: int
    status: str
    counts: Mapping[str, int]
    findings: Sequence[Mapping[str, str]]
    domains: Mapping[str, Sequence[Sequence[str | int | None]]]
    unread: Mapping[str, str]


class Packed(TypedDict):
    """The same, compressed."""

    format: int
    packed: str


@dataclass(frozen=True)
class KeyTimes:
    """A key as its host tells of it: ``due`` is when its next stage may begin; a stamp for each stage reached."""

    selector: str
    bits: int
    due: int | None
    stamps: tuple[int | None, ...]

    @property
    def made(self) -> int:
        """When the key was made; no key is without this stamp (:func:`read`)."""
        return cast(int, self.stamps[0])

    @property
    def stage(self) -> str:
        """The name of the last stage reached."""
        return STAGES[len(self.stamps) - 1]

    def at(self, stage: str) -> int | None:
        """Return when the key reached ``stage``, or ``None``."""
        number = STAGES.index(stage)
        return self.stamps[number] if number < len(self.stamps) else None


@dataclass(frozen=True)
class Overview:
    """What a host told of itself; ``domains`` and ``unread`` are by name."""

    hostname: str
    time: int
    status: Status
    counts: dict[Status, int]
    findings: tuple[Finding, ...]
    domains: dict[str, tuple[KeyTimes, ...]]
    unread: dict[str, str]


def packed(data: HostReport) -> HostReport | Packed:
    """Return an overview as it travels: as it is or, where it is large, compressed (``{"format", "packed"}``)."""
    text = json.dumps(data, separators=(",", ":")).encode()
    if len(text) < PACKED_FROM:
        return data
    return {"format": data["format"], "packed": base64.b64encode(lzma.compress(text, preset=2)).decode("ascii")}


def is_no_mail_host(answer: object) -> bool:
    """Tell whether a minion said that it is no mail host."""
    return isinstance(answer, dict) and NO_MAIL_HOST in answer


def read(answer: object) -> Overview:
    """Return the :class:`Overview` out of what a host answered; every value is of the type that it must have.

    :raises OverviewError: it is of another format, damaged, or no overview.
    """
    if not isinstance(answer, dict) or "format" not in answer:
        raise OverviewError(f"what came back is no overview of a mail host: {brief(answer)}")
    if answer["format"] != FORMAT:
        raise OverviewError(
            f"its overview has the format {brief(answer['format'], 60)}, and not {FORMAT}: host and master have "
            "different versions of the formula"
        )
    try:
        return _read(_unfolded(answer["packed"]) if "packed" in answer else answer)
    except RecursionError:
        # Without its cause, which has a thousand lines.
        raise OverviewError("its overview is damaged (it is nested too deep)") from None
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error, lzma.LZMAError) as err:
        raise OverviewError(f"its overview is damaged ({type(err).__name__}: {brief(str(err))})") from err


def _unfolded(text: Any) -> Any:
    unfolding = lzma.LZMADecompressor(memlimit=MEMORY)
    plain = unfolding.decompress(base64.b64decode(text, validate=True), LARGEST)
    if not unfolding.eof:
        raise ValueError(f"it is cut short, or of more than {LARGEST} bytes")
    if sum(map(plain.count, (b",", b"[", b"{"))) > MOST_VALUES:
        raise ValueError(f"it has more than {MOST_VALUES} values")
    return json.loads(plain)


def _read(data: Any) -> Overview:
    counts = {status: _whole(data["counts"][status]) for status in STATUSES}
    for part in ("domains", "unread", "findings"):
        _check_number(part, len(data[part]))
    _check_number("keys", sum(map(len, data["domains"].values())))
    domains = {_name(name): tuple(_key(*row) for row in rows) for name, rows in data["domains"].items()}
    return Overview(
        hostname=_name(data["hostname"]),
        time=_whole(data["time"]),
        status=_one_of(STATUSES, data["status"]),
        counts=counts,
        findings=tuple(_finding(one) for one in data["findings"]),
        domains=domains,
        unread={_name(name): _text(why) for name, why in data["unread"].items()},
    )


def _check_number(part: str, number: int) -> None:
    if number > MOST[part]:
        raise ValueError(f"it has {number} {part}, at most {MOST[part]} are read")


def _finding(row: object) -> Finding:
    if not isinstance(row, dict) or len(row) > len(fields(Finding)):
        raise ValueError("a finding that has other parts than findings have")
    parts: dict[str, Any] = {_text(name): _text(value) for name, value in row.items()}
    found = Finding(**parts)
    _one_of(STATUSES, found.status)
    return found


def _key(selector: object, bits: object, due: object, *stamps: object) -> KeyTimes:
    if not 1 <= len(stamps) <= len(STAGES) or stamps[0] is None or stamps[-1] is None:
        raise ValueError(f"a key with the stamps {brief(stamps, 60)}")
    times = tuple(moment if moment is None else _whole(moment) for moment in (due, *stamps))
    return KeyTimes(_name(selector), _whole(bits), times[0], times[1:])


def _text(value: object, longest: int = LONGEST) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{brief(value, 60)} is not text")
    return lines(value if len(value) <= longest else f"{value[: longest - 1]}…", longest)


def _name(value: object) -> str:
    return _text(value, LONGEST_NAME).replace("\n", " ")


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{brief(value, 60)} is no whole number")
    if not 0 <= value < _END_OF_TIME:
        raise ValueError(f"{brief(value, 60)} is out of range")
    return value


def _one_of(known: Sequence[Status], value: object) -> Status:
    if value not in known:
        raise ValueError(f"{brief(value, 60)} is none of {', '.join(known)}")
    return known[known.index(value)]
