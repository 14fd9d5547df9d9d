"""Splits a message into words, code and DNS records, so that the page can show each in its own way. Pure."""

import re
from collections.abc import Iterator

WORDS, CODE, RECORD = "words", "code", "record"
"""The kinds of pieces."""
_CODE = re.compile(r"`([^`]+)`")
_LEAD = re.compile(r"(?:^|can )[Pp]ublish: ")
"""What the remedies of the checks say before their records."""
_HEAD = re.compile(r"\S+\. \d{1,10} IN (A|AAAA|CAA|CNAME|MX|PTR|TLSA|TXT) ")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_CAA = re.compile(r"\d{1,3} [A-Za-z0-9]+ (?=\")")
"""What comes before the value of a CAA record, a string that may have blanks in it (RFC 8659 section 4.1)."""
_SIZES = {"A": 1, "AAAA": 1, "CAA": 3, "CNAME": 1, "MX": 2, "PTR": 1, "TLSA": 4}
"""How many words the data of a record has (RFC 1035, 6698 and 8659); those of TXT are strings."""


Piece = tuple[str, str]
"""A kind, and the text that is of it."""


def prose(text: str) -> list[Piece]:
    """Return ``[(kind, text)]`` of a message: what stands between two backticks is code."""
    if "`" not in text:
        return [(WORDS, text)]
    # Every second piece of what is split is the text between two backticks.
    pieces = [((WORDS, CODE)[number % 2], piece) for number, piece in enumerate(_CODE.split(text))]
    return [piece for piece in pieces if piece[1]]


def remedy(text: str) -> list[Piece]:
    """Return ``[(kind, text)]`` of a remedy: like :func:`prose`, and its lines of a zone file are records.

    They stand after *Publish:*. Elsewhere a stranger's text may look like a record, and nobody is to copy that.
    """
    found: list[Piece] = []
    after = 0
    for begin, end in _records(text):
        found += [*_between(text[after:begin]), (RECORD, text[begin:end])]
        after = end
    return [*found, *_between(text[after:], is_last=True)] if found else prose(text)


def names_records(text: str) -> bool:
    """Tell whether a remedy has a record in it."""
    return next(_records(text), None) is not None


def _between(text: str, is_last: bool = False) -> list[Piece]:
    """Return the pieces beside records; a semicolon that only parts two records is left out."""
    words = text.strip() if is_last else text.lstrip("; ").rstrip()
    return prose(words) if words else []


def _records(text: str) -> Iterator[tuple[int, int]]:
    """Yield where each record in a text begins and ends, as :func:`mailhost.check.dns.answers.publish` writes them."""
    lead = _LEAD.search(text)
    begin = lead.end() if lead else len(text)
    while head := _HEAD.match(text, begin):
        end = _end(text, head[1], head.end())
        if end is None:
            return
        yield begin, end
        if not text.startswith("; ", end):
            return
        begin = end + 2


def _end(text: str, rdtype: str, begin: int) -> int | None:
    """Return where the data of a record ends, or ``None`` if it is no such data."""
    if rdtype == "TXT":
        return _strings_end(text, begin)
    if rdtype == "CAA" and (head := _CAA.match(text, begin)):
        return _strings_end(text, head.end())
    return _words_end(text, _SIZES[rdtype], begin)


def _words_end(text: str, size: int, begin: int) -> int | None:
    words = text[begin:].split(" ", size)[:size]
    if len(words) < size or not all(words):
        return None
    return begin + len(" ".join(words).rstrip(";"))


def _strings_end(text: str, begin: int) -> int | None:
    is_in_brackets = text.startswith("( ", begin)
    at = begin + 2 * is_in_brackets
    while string := _STRING.match(text, at):
        if not is_in_brackets:
            return string.end()
        at = string.end() + 1
        if text.startswith(")", at):
            return at + 1
    return None
