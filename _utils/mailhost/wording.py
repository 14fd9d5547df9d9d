"""How text from strangers is shown to people: on one line, without anything that a terminal would interpret.

DNS, server replies, certificates, headers, logs and policies contain text from strangers. A carriage return in it would
forge a line, an escape sequence would move the cursor, and a bidirectional override would reorder the words.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

LONGEST = 4000
"""Characters of a text that are shown."""
_MOST_MARKS = 2
"""Combining marks in a row on a letter: real languages use no more, and more would cover the lines above."""
# Default_Ignorable_Code_Point of Unicode: letters and marks that Python calls printable but that are invisible.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)


def plain(text: object, most: int = LONGEST) -> str:
    """Return a text on one line of at most ``most`` characters; unprintable ones are shown like ``\\x1b``.

    :param text: text, or bytes, which should be UTF-8; anything else is converted with ``str``. Plain text is returned
        unchanged.
    """
    if isinstance(text, bytes):
        text = text[: 4 * most + 1].decode("utf-8", "backslashreplace")
    text = text if isinstance(text, str) else str(text)
    if text.isascii() and text.isprintable() and len(text) <= most:
        return text
    found = "".join(_shown(text[: most + 1]))
    return found if len(found) <= most else f"{found[: most - 1]}…"


def lines(text: object, most: int = LONGEST) -> str:
    """Return a text of several lines, each of them plain; only for text that this formula itself composed."""
    return "\n".join(plain(line, most) for line in str(text).split("\n"))


def indented(text: str) -> str:
    """Return a text with each of its lines indented by two blanks."""
    return "\n".join(f"  {line}" for line in text.split("\n"))


def brief(value: object, most: int = 300) -> str:
    """Return a value of any kind on one plain line of at most ``most`` characters."""
    try:
        return plain(value if isinstance(value, str) else repr(value), most)
    except (RecursionError, ValueError):
        return _too_much(value)


def _too_much(value: object) -> str:
    """Return what is said of a value that Python does not write out: nested too deep, or of thousands of digits."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name} that is too deep, or too large, to be shown"


def told(found: Any) -> Any:
    """Return plain data (mappings, lists) with all its text made plain, line by line, including keys of mappings."""
    if isinstance(found, dict):
        return {told(name): told(value) for name, value in found.items()}
    if isinstance(found, (list, tuple)):
        return [told(one) for one in found]
    return lines(found) if isinstance(found, (str, bytes)) else found


def is_seen(one: str) -> bool:
    """Tell whether a character is visible and harmless on a terminal."""
    return one.isprintable() and not _UNSEEN.match(one)


def _shown(text: str) -> Iterator[str]:
    marks = 0
    for one in text:
        marks = marks + 1 if unicodedata.combining(one) else 0
        if one == "\t":
            yield " "
        elif is_seen(one) and marks <= _MOST_MARKS:
            yield one
        else:
            yield one.encode("unicode_escape", "surrogatepass").decode("ascii")


def shown(value: object) -> str:
    """Return ``value`` in the form for quoting in a message: short, on one line."""
    try:
        text = plain(repr(value[:80]) if isinstance(value, str) else str(value))
    except (RecursionError, ValueError):
        text = _too_much(value)
    return text if len(text) <= 60 else text[:57] + "..."


def path_in(where: str, name: object) -> str:
    """Return the place of a key within another one for a message: on one line, whatever the name is."""
    text = name if isinstance(name, str) else shown(name)
    return f"{where}:{text if text.isprintable() else shown(text)}"


def did_you_mean(name: object, valid: Iterable[object]) -> str:
    """Return words that lead from a wrong ``name`` to the nearest one in ``valid``, or list them all."""
    text = name if isinstance(name, str) else shown(name)
    spelled = {str(one): one for one in valid}
    near = difflib.get_close_matches(text, spelled, n=1, cutoff=0.6)
    if near:
        return f"did you mean {spelled[near[0]]!r}?"
    return "valid here: " + ", ".join(sorted(str(one) for one in valid))
