"""Text that another host sent, as a terminal or a page may show it. Pure.

What moves a cursor, deletes, colours, turns the order of letters round or takes no room (C0 and C1 controls, bidi and
other format characters) would have a screen show something else than what is there: it is written as an escape.
"""

_SHOWN = frozenset("\n ")


def visible(text, longest=None):
    """Return text in which nothing is invisible; ``longest`` is how many characters are kept at most.

    Line breaks stay: a finding may have several lines.
    """
    if longest is not None and len(text) > longest:
        text = f"{text[:longest]}…"
    # What a daemon printed may hold half of a surrogate pair, which no file takes.
    text = text.encode("utf-8", "replace").decode("utf-8")
    return text if text.isprintable() else "".join(map(_visible, text))


def _visible(letter):
    return letter if letter in _SHOWN or letter.isprintable() else ascii(letter)[1:-1]


def brief(value, longest=300):
    """Return a value of any kind in a few visible words."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except (RecursionError, ValueError):
        text = f"a {type(value).__name__} that is too deep, or too large, to be shown"
    return visible(text, longest)
