"""How the reflector reads a message that anybody may have written: its envelope, and some fields, however broken."""

import re
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.header import decode_header
from email.utils import parsedate_to_datetime

from mailhost import wording
from mailhost.receiver.header import MOST_HEADER, Header, header_of

MOST_LINES, MOST_BLANKS = 2000, 200
"""Lines of the longest header that is read, and the longest run of blanks in a message: dkimpy's time grows with the
square of these, and of the header's bytes."""
_MOST_SUBJECT, _MOST_DATE = 1000, 200
"""Characters that are read of a subject and a date: Python's own parsers of these can be slow, too."""
_BLANKS = re.compile(rb"[ \t]{%d}|(?:[ \t]?\r?\n[ \t]){%d}" % (MOST_BLANKS, MOST_BLANKS))

_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,250}>")
_SENDER = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@(?=.{4,253}\Z)([A-Za-z0-9-]{1,63}\.)+[A-Za-z0-9-]{2,63}")


@dataclass(frozen=True)
class Envelope:
    """What Postfix reports about a message: its sender, the client's address and HELO name, and the login, if any."""

    sender: str = ""
    client: str = ""
    helo: str = ""
    login: str = ""

    @property
    def domain(self) -> str:
        return self.sender.rpartition("@")[2].lower()


def excess(message: bytes) -> str:
    """Return which limit a message exceeds, ``""`` if none, so that later regular expressions see only bounded text."""
    header = header_of(message)
    if len(header) > MOST_HEADER:
        return f"its header has more than {MOST_HEADER} bytes"
    if header.count(b"\n") > MOST_LINES:
        return f"its header has more than {MOST_LINES} lines"
    if _BLANKS.search(message):
        return f"it has more than {MOST_BLANKS} blanks in a row"
    return ""


def is_address(sender: str) -> bool:
    """Tell whether an envelope sender is an ordinary address, in ASCII and without quotes."""
    return bool(_SENDER.fullmatch(sender)) and not re.search(r"(^|\.)\.|\.@|[@.]-|-\.|-$", sender)


def subject(header: Header) -> str:
    """Return the subject in readable form, on one line; what cannot be decoded is replaced."""
    value = next(iter(header.all("subject")), "")[:_MOST_SUBJECT]
    try:
        parts = decode_header(value)
    except (HeaderParseError, ValueError):
        return plain(value)
    return plain("".join(part if isinstance(part, str) else _decoded(part, charset) for part, charset in parts))


def _decoded(part: bytes, charset: str | None) -> str:
    try:
        return part.decode(charset or "utf-8", "replace")
    except (LookupError, ValueError):  # unknown charset, or not one for text
        return part.decode("utf-8", "replace")


def plain(text: str, most: int = 200) -> str:
    """Return ``text`` on one line, without unprintable characters, and at most ``most`` characters long."""
    shown = " ".join("".join(one if wording.is_seen(one) else " " for one in text[: 4 * most]).split())
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def without_comments(text: str) -> str:
    """Return a value without its comments, also nested ones (RFC 5322 section 3.2.2); an unclosed one runs on."""
    kept: list[str] = []
    depth, is_quoted = 0, False
    for one in text:
        is_paren = one in "()" and not is_quoted
        is_quoted = one == "\\" and not is_quoted
        depth += is_paren and one == "("
        if not depth and not is_paren:
            kept.append(one)
        depth -= is_paren and one == ")" and depth > 0
    return "".join(kept)


def message_ids(header: Header, name: str) -> list[str]:
    """Return the message ids in a field (RFC 5322 section 3.6.4)."""
    return [one for value in header.all(name) for one in _MESSAGE_ID.findall(value)]


def arrival(header: Header) -> float | None:
    """Return when this host received the message, by the field that its Postfix put on top; seconds, or ``None``."""
    received = next(iter(header.all("received")), "")
    try:
        return parsedate_to_datetime(received.rpartition(";")[2].strip()[:_MOST_DATE]).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
