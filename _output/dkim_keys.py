"""
The keys that ``dkim.status`` returned as a table, one line each, for people. ``salt-run mailserver.keys`` shows those
of all hosts in one.

Keys that need attention come first, marked with ``!``, with their full text. For the others the last column is cut off
at the width of the terminal. ``--out=json`` and the like show the same as data.
"""

import shutil
import textwrap

import salt.loader

__virtualname__ = "dkim_keys"

_HEADS = ("selector", "stage", "since", "signs", "next")
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
    Return the text that shows ``{minion: {domain: {selector: row}}}``, or what ``salt-run mailserver.keys`` returns.
    Anything of another shape, such as an error, is shown by the outputter ``mailserver``.

    CLI Example:

    .. code-block:: bash

        salt '*' dkim.status
        salt-run mailserver.keys
    """
    width = shutil.get_terminal_size((_WIDTH, 0)).columns
    if _are_of_all(data):
        return table_of_all(data["domains"], data["unanswered"], width)
    parts = [
        table(minion, told, width)
        if _are_keys(told)
        else salt.loader.outputters(__opts__)["mailserver"]({minion: told}).rstrip("\n")
        for minion, told in data.items()
    ]
    return "\n".join(parts)


def _are_of_all(data):
    return (
        data.keys() == {"domains", "unanswered"}
        and isinstance(data["domains"], dict)
        and all(_are_keys(hosts) for hosts in data["domains"].values())
        and isinstance(data["unanswered"], dict)
        and all(isinstance(why, str) for why in data["unanswered"].values())
    )


def _are_keys(told):
    return isinstance(told, dict) and all(
        isinstance(keys, dict) and all(isinstance(row, dict) and "stage" in row for row in keys.values())
        for keys in told.values()
    )


def table(minion, domains, width):
    """Return the keys of a host as lines of text: what needs attention first, then by domain and stage."""
    rows = [((domain, selector), row) for domain, keys in domains.items() for selector, row in keys.items()]
    if not rows:
        return f"{minion}: no keys"
    head = f"{minion}: {_count(len(rows), 'key')} of {_count(len(domains), 'domain')}{_wanting(rows)}"
    return "\n".join([head, *_lines(("domain", *_HEADS), rows, width)])


def table_of_all(domains, unanswered, width):
    """Return the keys of all hosts, ``{domain: {minion: {selector: row}}}``, as lines of text.

    First are the hosts that gave no answer, ``{minion: why}``, then the keys as :func:`table` has them.
    """
    rows = [
        ((domain, host, selector), row)
        for domain, hosts in domains.items()
        for host, keys in hosts.items()
        for selector, row in keys.items()
    ]
    hosts = {host for hosts in domains.values() for host in hosts}
    head = "no keys"
    if rows:
        head = f"{_count(len(rows), 'key')} of {_count(len(domains), 'domain')} on {_count(len(hosts), 'host')}"
    lines = [f"{head}{_wanting(rows)}"]
    for host, why in unanswered.items():
        lines += textwrap.wrap(_plain(f"! {host}: {why}"), max(width, _LEAST), subsequent_indent=" " * 6)
    return "\n".join([*lines, *(_lines(("domain", "host", *_HEADS), rows, width) if rows else [])])


def _wanting(rows):
    wanting = sum(bool(row.get("attention")) for _, row in rows)
    return f", {_count(wanting, 'needs', 'need')} attention" if wanting else ""


def _lines(heads, rows, width):
    """Return ``[(where a key is, its row)]`` as the lines of a table."""
    rows = sorted(rows, key=lambda one: (not one[1].get("attention"), one[0][:-1], _rank(one[1]["stage"])))
    lines = [_cells(*one, to_the_minute=width >= _ROOMY) for one in rows]
    widths = [max(map(len, column)) for column in zip(heads[:-1], *(cells[:-1] for cells in lines), strict=True)]
    shown = [*_wrapped("  ", heads, widths, width)]
    for cells, (_, row) in zip(lines, rows, strict=True):
        wrapped = _wrapped("! " if row.get("attention") else "  ", cells, widths, width)
        shown += wrapped if row.get("attention") else wrapped[:1]
    return [line.rstrip() for line in shown]


def _rank(stage):
    return _STAGES.index(stage) if stage in _STAGES else len(_STAGES)


def _cells(where, row, to_the_minute):
    since = _moment(row.get("since", ""))[: 16 if to_the_minute else 10]
    told = row.get("waits") or row.get("next", "")
    if row.get("given_up"):
        told = f"given up: {row['given_up']}. {told}".rstrip(". ")
    if row.get("fails_from"):
        told = f"{told}; fails from {_moment(row['fails_from'])} UTC"
    return tuple(map(_plain, (*where, row["stage"], since, "yes" if row.get("signs") else "no", told)))


def _plain(told):
    """Return a text without anything that a terminal would interpret."""
    return "".join(one if one.isprintable() else "?" for one in str(told))


def _moment(text):
    return str(text).replace("T", " ")[:16]


def _wrapped(mark, cells, widths, width):
    """Return a row as lines: what does not fit the first line continues below it."""
    begin = mark + "".join(f"{cell:{size}}  " for cell, size in zip(cells, widths, strict=False))
    width = max(width, len(begin) + _LEAST)
    return textwrap.wrap(cells[-1], width, initial_indent=begin, subsequent_indent=" " * 6) or [begin]


def _count(number, one, many=""):
    return f"{number:,} {one if number == 1 else many or one + 's'}"
