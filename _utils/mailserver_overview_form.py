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
from dataclasses import dataclass

from mailserver_dkim import STAGES
from mailserver_errors import OverviewError
from mailserver_findings import STATUSES, Finding
from mailserver_wording import plain

NO_MAIL_HOST = "no mail host"
"""A key of the answer of a minion that has these modules, but is no mail host."""
FORMAT = 1
"""To be raised when what a page needs of this changes: a page calls a host with another format unknown."""
PACKED_FROM = 100_000
"""Bytes of JSON from which an overview is compressed: the event bus cuts out what is over ``max_event_size``, 1 MiB."""
LARGEST = 256 * 1024 * 1024
"""Bytes that a compressed overview may unfold to."""
MEMORY = 64 * 1024 * 1024
"""Bytes that unfolding may take besides."""
_END_OF_TIME = 253402300800
"""The first second that is no time any more (the year 10000)."""


@dataclass(frozen=True)
class KeyTimes:
    """A key as its host tells of it: ``due`` is when its next stage may begin; a stamp for each stage reached."""

    selector: str
    bits: int
    due: int | None
    stamps: tuple

    @property
    def stage(self):
        """The name of the last stage reached."""
        return STAGES[len(self.stamps) - 1]

    def at(self, stage):
        """Return when the key reached ``stage``, or ``None``."""
        number = STAGES.index(stage)
        return self.stamps[number] if number < len(self.stamps) else None


@dataclass(frozen=True)
class Overview:
    """What a host told of itself; ``domains`` maps names to tuples of :class:`KeyTimes`."""

    hostname: str
    time: int
    status: str
    counts: dict
    findings: tuple
    domains: dict
    unread: dict


def packed(data):
    """Return an overview as it travels: as it is or, where it is large, compressed (``{"format", "packed"}``)."""
    text = json.dumps(data, separators=(",", ":")).encode()
    if len(text) < PACKED_FROM:
        return data
    return {"format": data["format"], "packed": base64.b64encode(lzma.compress(text, preset=2)).decode("ascii")}


def is_no_mail_host(answer):
    """Tell whether a minion said that it is no mail host."""
    return isinstance(answer, dict) and NO_MAIL_HOST in answer


def read(answer):
    """Return the :class:`Overview` out of what a host answered; every value is of the type that it must have.

    :raises OverviewError: it is of another format, damaged, or no overview.
    """
    if not isinstance(answer, dict) or "format" not in answer:
        raise OverviewError(f"what came back is no overview of a mail host: {str(answer)[:300]}")
    if answer["format"] != FORMAT:
        raise OverviewError(
            f"its overview has the format {answer['format']!r}, and not {FORMAT}: host and master have different "
            "versions of the formula"
        )
    try:
        return _read(_unfolded(answer["packed"]) if "packed" in answer else answer)
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error, lzma.LZMAError) as err:
        raise OverviewError(f"its overview is damaged ({type(err).__name__}: {err})") from err


def _unfolded(text):
    unfolding = lzma.LZMADecompressor(memlimit=MEMORY)
    plain = unfolding.decompress(base64.b64decode(text, validate=True), LARGEST)
    if not unfolding.eof:
        raise ValueError(f"it is cut short, or of more than {LARGEST} bytes")
    return json.loads(plain)


def _read(data):
    counts = {status: _whole(data["counts"][status]) for status in STATUSES}
    domains = {_text(name): tuple(_key(*row) for row in rows) for name, rows in data["domains"].items()}
    return Overview(
        hostname=_text(data["hostname"]),
        time=_whole(data["time"]),
        status=_one_of(STATUSES, data["status"]),
        counts=counts,
        findings=tuple(_finding(one) for one in data["findings"]),
        domains=domains,
        unread={_text(name): _text(why) for name, why in data["unread"].items()},
    )


def _finding(row):
    found = Finding(**{_text(name): _text(value) for name, value in row.items()})
    _one_of(STATUSES, found.status)
    return found


def _key(selector, bits, due, *stamps):
    if not 1 <= len(stamps) <= len(STAGES) or stamps[0] is None or stamps[-1] is None:
        raise ValueError(f"a key with the stamps {stamps!r}")
    times = tuple(moment if moment is None else _whole(moment) for moment in (due, *stamps))
    return KeyTimes(_text(selector), _whole(bits), times[0], times[1:])


def _text(value):
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not text")
    return plain(value)


def _whole(value):
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    if not 0 <= value < _END_OF_TIME:
        raise ValueError(f"{value!r} is out of range")
    return value


def _one_of(known, value):
    if value not in known:
        raise ValueError(f"{value!r} is none of {', '.join(known)}")
    return value
