"""Values of Postfix parameters: the words of a list, the meaning of `$name`, and the tables that they name. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

ParameterValue: TypeAlias = bool | int | str | Sequence[bool | int | str]
"""A parameter's value, of the pillar or the formula, before :func:`mailhost.postfix.parameters.as_text`."""
_BETWEEN = ", \t\r\n"
_NAME = re.compile(r"\w+")
_KEY = re.compile(r"/(?:[^/\\]|\\.)*/|[^\s=]*")
"""The key of a row in a table: a pattern between slashes, or a word."""

TYPES = frozenset(
    "btree cdb cidr dbm environ fail hash inline internal ldap lmdb memcache mongodb mysql netinfo nis nisplus pcre "
    "pgsql pipemap proxy randmap regexp sdbm socketmap sqlite static tcp texthash unionmap unix".split()
)
"""All table types of Postfix (DATABASE_README); a host's Postfix may have fewer (``postconf -m``)."""

_LIST_ENDS = tuple(
    f"_{end}"
    for end in (
        "actions checks classes clients commands curves destinations digests directories domains environment "
        "exceptions exclude_ciphers exclusions extensions fallback_relay files groups hosts interfaces keywords macros "
        "maps match mechanism_filter milters networks options ports prefixes protocols restrictions sites subdomains "
        "transports users workarounds"
    ).split()
)
_LISTS = frozenset(
    "alias_database debug_peer_list fallback_relay forward_path hash_queue_names lmtp_host_lookup "
    "mailbox_delivery_lock message_drop_headers milter_macro_defaults mydestination mynetworks postscreen_access_list "
    "smtp_host_lookup use_srv_lookup virtual_mailbox_lock".split()
)


def is_list(name: str) -> bool:
    """Tell whether one of Postfix's own parameters takes several values (postconf(5))."""
    return name in _LISTS or name.endswith(_LIST_ENDS)


def is_map(name: str) -> bool:
    """Tell whether each word of a parameter must be a table, ``type:name``."""
    return name.endswith(("_maps", "_checks")) or name in ("address_verify_map", "alias_database")


def words(text: str) -> list[str]:
    """Return the words of a list, separated by blanks and commas; text in braces is one word (postconf(5))."""
    found: list[str] = []
    word: list[str] = []
    depth = 0
    for char in text:
        if char in _BETWEEN and depth == 0:
            found.append("".join(word))
            word = []
            continue
        depth = max(depth + (char == "{") - (char == "}"), 0)
        word.append(char)
    return [one for one in (*found, "".join(word)) if one]


def inner(word: str) -> str:
    """Return the text in the braces of a word, ``""`` if it has none: ``{ inet:localhost:11332, timeout = 5s }``."""
    return word[1:-1].strip() if word.startswith("{") and word.endswith("}") else ""


class _Unknown(Exception):
    """A value depends on something that is unknown here."""


def expanded(
    text: str, values: Mapping[str, str], is_builtin: Callable[[str], bool] = lambda name: False
) -> str | None:
    """Return ``text`` with each ``$name`` filled in (postconf(5)); ``None`` if it depends on something unknown.

    :param values: parameters and their texts.
    :param is_builtin: tells which other parameters have a default value in Postfix; the rest are empty.
    """
    try:
        return _expanded(text, values, is_builtin, ())
    except _Unknown:
        return None


def _expanded(text: str, values: Mapping[str, str], is_builtin: Callable[[str], bool], within: tuple[str, ...]) -> str:
    found: list[str] = []
    at = 0
    while at < len(text):
        if text[at] != "$":
            following = text.find("$", at)
            following = len(text) if following < 0 else following
            found.append(text[at:following])
            at = following
        elif text[at : at + 2] == "$$":
            found.append("$")
            at += 2
        else:
            written, at = _reference(text, at + 1)
            found.append(_filled(written, values, is_builtin, within))
    return "".join(found)


def _reference(text: str, at: int) -> tuple[str, int]:
    """Return the text after a ``$``, without brackets, and the position after it."""
    if text[at : at + 1] in ("{", "("):
        ends = _closing(text, at)
        return text[at + 1 : ends], ends + 1
    name = _NAME.match(text, at)
    if not name:
        raise _Unknown
    return name[0], name.end()


def _closing(text: str, at: int) -> int:
    opens, closes, depth = text[at], {"{": "}", "(": ")"}[text[at]], 0
    for here in range(at, len(text)):
        depth += (text[here] == opens) - (text[here] == closes)
        if depth == 0:
            return here
    raise _Unknown


def _filled(written: str, values: Mapping[str, str], is_builtin: Callable[[str], bool], within: tuple[str, ...]) -> str:
    """Return the value of ``name``, ``name?text``, ``name:text`` or ``name?{text}:{text}``."""
    name = _NAME.match(written)
    if not name or name[0] in within:  # a comparison of two texts, or a circular reference
        raise _Unknown
    rest = written[name.end() :]
    if name[0] not in values and is_builtin(name[0]):
        raise _Unknown
    value = _expanded(values.get(name[0]) or "", values, is_builtin, (*within, name[0]))
    if not rest:
        return value
    chosen = _chosen(rest[0], rest[1:], bool(value))
    return _expanded(chosen, values, is_builtin, within)


def _chosen(mark: str, text: str, is_given: bool) -> str:
    if mark not in "?:":
        raise _Unknown
    if mark == ":":
        return "" if is_given else (inner(text.strip()) or text)
    first, other = text, ""
    if text.lstrip().startswith("{"):
        text = text.lstrip()
        ends = _closing(text, 0)
        first, other = text[1:ends].strip(), text[ends + 1 :].strip().removeprefix(":").strip()
        other = inner(other) or other
    return first if is_given else other


def names(text: str) -> set[str]:
    """Return the parameters that a text refers to."""
    return set(re.findall(r"\$[{(]?(\w+)", text))


def tables(text: str) -> Iterator[tuple[str, str]]:
    """Yield (type, name) for each table in a value, also within ``proxy:``, ``pipemap:`` and ``unionmap:``."""
    for word in words(text):
        if inner(word):
            yield from tables(inner(word))
            continue
        kind, colon, name = word.lstrip("!").partition(":")
        if not colon or kind not in TYPES or not name:
            continue
        if kind == "proxy":
            yield from tables(name)
            continue
        yield kind, name
        if kind in ("pipemap", "unionmap"):
            yield from tables(inner(name))


def rows(name: str) -> list[tuple[str, str]]:
    """Return the (key, value) rows of an ``inline:`` table, or of a ``cidr:``, ``pcre:``, ``regexp:`` one in braces."""
    found = []
    for row in filter(None, map(inner, words(inner(name)))):
        start = _KEY.match(row)
        key = start[0] if start else ""
        flags = _NAME.match(row, len(key)) if key.startswith("/") and row[len(key) : len(key) + 1].isalpha() else None
        key += flags[0] if flags else ""
        found.append((key.strip(), row[len(key) :].strip().removeprefix("=").strip()))
    return found
