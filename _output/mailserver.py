"""
What ``mailserver.check``, ``mailserver.records``, ``mailserver.selftest`` and the runs of ``dkim`` return, for people.

Each is known by its shape; anything else, such as an error, is shown by ``nested``. What needs attention comes first.
Text is wrapped at the width of the terminal, but lines to copy, such as records to publish, stay whole. ``--out=json``
and the like show the same as data.
"""

import re
import shutil
import textwrap

import salt.loader

__virtualname__ = "mailserver"

_WIDTH = 120
"""Width in columns where there is no terminal."""
_LEAST = 40
"""Least width of text, however narrow the terminal is."""
_STATUSES = ("fail", "warn", "unknown", "ok")
"""The order in which findings are shown."""
_ATTENTION = ("wrong", "unknown")
"""Results of the self-test's messages that are shown first."""
_COPIED = "    "
"""What a line to copy begins with in the texts of a run: what says where it belongs is indented less."""
_DELIVERY = "\n[Delivery]\n"
_STRING = r'"(?:[^"\\]|\\.)*"'
_RECORD = re.compile(
    rf"[^\s;]+\. \d{{1,10}} IN (?:TXT (?:{_STRING}|\( (?:{_STRING} )+\))|(?:A|AAAA|CNAME|PTR) [^\s;]+"
    rf"|MX \d+ [^\s;]+|CAA \d+ \w+ (?:{_STRING}|[^\s;]+)|TLSA \d \d \d \w+)"
)
"""A line of a zone file."""
_LEAD = re.compile(r"(?:^|can )[Pp]ublish: ")
"""What remedies have before their records. Elsewhere a stranger's text may look like one."""


def __virtual__():
    return __virtualname__


def output(data, **_kwargs):
    """
    Return the text that shows ``{minion: what a function returned}``.

    CLI Example:

    .. code-block:: bash

        salt '*' mailserver.check
        salt '*' dkim.advance
    """
    width = max(_LEAST, shutil.get_terminal_size((_WIDTH, 0)).columns)
    return "\n".join(text(minion, told, width) for minion, told in data.items())


def text(minion, told, width):
    """Return what a function returned on a host as text."""
    shapes = ((_is_check, check), (_is_run, run), (_are_records, records), (_is_selftest, selftest))
    for fits, lines in shapes:
        if fits(told):
            return "\n".join(line.rstrip() for line in lines(minion, told, width))
    return salt.loader.outputters(__opts__)["nested"]({minion: _harmless(told)}).rstrip("\n")


# ---- mailserver.check


def _is_check(told):
    return (
        isinstance(told, dict)
        and isinstance(told.get("counts"), dict)
        and all(isinstance(one, int) for one in told["counts"].values())
        and _are_dicts(told.get("findings"), "id", "status", "about", "wanted", "seen", "remedy")
        and all(one["status"] in _STATUSES for one in told["findings"])
    )


def check(minion, told, width):
    """Return the findings of a host as lines: how many, then each that is not ok, then the names of those that are."""
    counts = [f"{told['counts'][one]:,} {one}" for one in _STATUSES if told["counts"].get(one)]
    lines = [f"{minion}: {', '.join(counts) or 'nothing to check'}"]
    for one in sorted(told["findings"], key=lambda one: _STATUSES.index(one["status"])):
        lines.append(_plain(f"{one['status'].upper()}  {one['id']}  {one['about']}"))
        if one["status"] != "ok":
            lines += [*_labelled("wanted", one["wanted"], width), *_labelled("seen", one["seen"], width)]
            lines += _remedy(str(one["remedy"]), width)
    return lines


def _remedy(told, width):
    """Return a remedy as lines, with each record to publish on a line of its own."""
    lead, copied = _LEAD.search(told), []
    begin = end = lead.end() if lead else len(told)
    while found := _RECORD.match(told, end):
        copied.append(f"{_label()}{_plain(found[0])}")
        end = found.end() + 2 * told.startswith("; ", found.end())
    if not copied:
        return _labelled("do", told, width)
    return [*_labelled("do", told[:begin], width), *copied, *_labelled("", told[end:], width)]


def _label(name=""):
    return f"    {name:6}  "


def _labelled(name, told, width):
    return _wrapped(told, width, _label(name), _label())


# ---- dkim.plan, advance, rotate, revoke, rollback


def _is_run(told):
    return (
        isinstance(told, dict)
        and set(told) == {"changes", "notes", "waiting", "errors"}
        and isinstance(told["changes"], dict)
        and all(isinstance(one, dict) for one in told["changes"].values())
        and all(isinstance(told[part], list) for part in ("notes", "waiting", "errors"))
    )


def run(minion, told, width):
    """Return what a run over keys did, or would do, as lines: errors, what waits, changes, notes."""
    changes = [line for domain, change in told["changes"].items() for line in _changes(domain, change)]
    parts = {"Errors": told["errors"], "Waits": told["waiting"], "Changes": changes, "Notes": told["notes"]}
    lines = []
    for title, texts in parts.items():
        lines += [f"  {title}:"] * bool(texts)
        lines += [line for one in texts for line in _paragraph(one, width)]
    return [f"{minion}:", *lines] if lines else [f"{minion}: nothing to do, and nothing that waits"]


def _changes(domain, change):
    """Return the changes of a domain's keys and of its signer (``mailhost.dkim.report.Changes``), a line each."""
    keys = {name: one for name, one in change.items() if isinstance(one, dict)}
    lines = [f"{domain}: {name} {_from_to(one.get('old'), one.get('new') or 'gone')}" for name, one in keys.items()]
    if "new" in change and "new" not in keys:
        lines.append(f"{domain}: signer {_from_to(change.get('old') or 'none', change['new'] or 'none')}")
    return lines


def _from_to(old, new):
    return " → ".join(str(one) for one in dict.fromkeys((old, new)) if one)


def _paragraph(told, width):
    """Return a text of a run, wrapped line by line, except lines to copy."""
    lines = []
    for line in str(told).split("\n"):
        begin = "    " + line[: len(line) - len(line.lstrip(" "))]
        is_copied = line.startswith(_COPIED)
        lines += [f"    {_plain(line)}"] if is_copied else _wrapped(line, width, begin, f"{begin}  ")
    return lines


# ---- mailserver.records


def _are_records(told):
    return _are_dicts(told, "name", "ttl", "type", "value")


def records(minion, told, _width):
    """Return records as lines of a table; each value is whole."""
    heads = ("name", "ttl", "type", "value")
    rows = [heads, *(tuple(_plain(one[head]) for head in heads) for one in told)]
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  " + "  ".join(f"{cell:{size}}" for cell, size in zip(row, sizes, strict=True)) for row in rows]
    number = f"{len(told):,} record{'s' * (len(told) != 1)}"
    return [f"{minion}: {number}", *lines] if told else [f"{minion}: no records"]


# ---- mailserver.selftest


def _is_selftest(told):
    return (
        isinstance(told, dict)
        and isinstance(told.get("overall"), str)
        and isinstance(told.get("report", ""), str)
        and _are_dicts(told.get("delivery"), "kind", "address", "result")
    )


def selftest(minion, told, width):
    """Return a self-test's report as lines; what did not arrive is the first of its part on delivery."""
    rows = sorted(told["delivery"], key=lambda one: [*_ATTENTION, one["result"]].index(one["result"]))
    report = told.get("report") or told["overall"]
    if rows and _DELIVERY in report:
        report = report.rpartition(_DELIVERY)[0]
    lines = [f"{minion}:"]
    for line in report.rstrip("\n").split("\n"):
        lines += _wrapped(line, width, "  ", "    ") or [""]
    return lines + (["", "  [Delivery]", *(line for one in rows for line in _delivered(one, width))] if rows else [])


def _delivered(row, width):
    by = f" by {row['agent']}" if row.get("agent") else ""
    said = f" ({' '.join(str(row['words']).split())})" if row.get("words") else ""
    begin = "! " if row["result"] in _ATTENTION else "  "
    return _wrapped(f"{row['kind']} {row['address']}: {row['result']}{by}{said}", width, begin, "    ")


# ---- text


def _are_dicts(told, *names):
    return isinstance(told, list) and all(isinstance(one, dict) and one.keys() >= set(names) for one in told)


def _wrapped(told, width, begin, below):
    """Return a text as lines; ``begin`` is what the first begins with, and ``below`` the others."""
    lines = {"initial_indent": begin, "subsequent_indent": below}
    return textwrap.wrap(_plain(told).strip(), width, break_long_words=False, break_on_hyphens=False, **lines)


def _plain(told):
    """Return a text without anything that a terminal would interpret."""
    return "".join(one if one.isprintable() else "?" for one in str(told))


def _harmless(told):
    """Return data with all its text plain, line by line."""
    if isinstance(told, dict):
        return {_harmless(name): _harmless(one) for name, one in told.items()}
    if isinstance(told, (list, tuple)):
        return [_harmless(one) for one in told]
    return "\n".join(map(_plain, told.split("\n"))) if isinstance(told, str) else told
