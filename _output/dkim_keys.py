"""
The keys that ``dkim.status`` returned as a table, one line each, for people.

Keys that need attention come first, marked with ``!``, with their full text. For the others the last column is cut off
at the width of the terminal. ``--out=json`` and the like show the same as data.
"""

import shutil
import textwrap

import salt.loader

__virtualname__ = "dkim_keys"

_HEADS = ("domain", "selector", "stage", "since", "signs", "next")
_STAGES = ("generated", "published", "signing", "retired", "revoked", "removed")
_LEAST = 16
"""Least width of the last column, however narrow the terminal is."""
_ROOMY = 100
"""Width in columns from which times are shown to the minute."""
_WIDTH = 120
"""Width in columns where there is no terminal."""


def __virtual__():
    return __virtualname__


def output(data, **_kwargs):
    """
    Return the text that shows ``{minion: {domain: {selector: row}}}``. Anything of another shape, such as an error, is
    shown by ``nested``.

    CLI Example:

    .. code-block:: bash

        salt '*' dkim.status
    """
    width = shutil.get_terminal_size((_WIDTH, 0)).columns
    parts = [
        table(minion, told, width)
        if _are_keys(told)
        else salt.loader.outputters(__opts__)["nested"]({minion: told}).rstrip("\n")
        for minion, told in data.items()
    ]
    return "\n".join(parts)


def _are_keys(told):
    return isinstance(told, dict) and all(
        isinstance(keys, dict) and all(isinstance(row, dict) and "stage" in row for row in keys.values())
        for keys in told.values()
    )


def table(minion, domains, width):
    """Return the keys of a host as lines of text: what needs attention first, then by domain and stage."""
    rows = [(domain, selector, row) for domain, keys in domains.items() for selector, row in keys.items()]
    if not rows:
        return f"{minion}: no keys"
    rows.sort(key=lambda one: (not one[2].get("attention"), one[0], _STAGES.index(one[2]["stage"])))
    wanting = sum(bool(row.get("attention")) for _, _, row in rows)
    head = f"{minion}: {_count(len(rows), 'key')} of {_count(len(domains), 'domain')}"
    head += f", {_count(wanting, 'needs', 'need')} attention" if wanting else ""
    lines = [_cells(*one, to_the_minute=width >= _ROOMY) for one in rows]
    widths = [max(map(len, column)) for column in zip(_HEADS[:-1], *(cells[:-1] for cells in lines), strict=True)]
    shown = [*_wrapped("  ", _HEADS, widths, width)]
    for cells, (_, _, row) in zip(lines, rows, strict=True):
        wrapped = _wrapped("! " if row.get("attention") else "  ", cells, widths, width)
        shown += wrapped if row.get("attention") else wrapped[:1]
    return "\n".join([head, *(line.rstrip() for line in shown)])


def _cells(domain, selector, row, to_the_minute):
    since = _moment(row.get("since", ""))[: 16 if to_the_minute else 10]
    told = row.get("waits") or row.get("next", "")
    if row.get("given_up"):
        told = f"given up: {row['given_up']}. {told}".rstrip(". ")
    if row.get("fails_from"):
        told = f"{told}; fails from {_moment(row['fails_from'])} UTC"
    cells = (domain, selector, row["stage"], since, "yes" if row.get("signs") else "no", told)
    return tuple("".join(one if one.isprintable() else "?" for one in str(cell)) for cell in cells)


def _moment(text):
    return text.replace("T", " ")[:16]


def _wrapped(mark, cells, widths, width):
    """Return a row as lines: what does not fit the first line continues below it."""
    begin = mark + "".join(f"{cell:{size}}  " for cell, size in zip(cells, widths, strict=False))
    width = max(width, len(begin) + _LEAST)
    return textwrap.wrap(cells[-1], width, initial_indent=begin, subsequent_indent=" " * 6) or [begin]


def _count(number, one, many=""):
    return f"{number:,} {one if number == 1 else many or one + 's'}"
