"""A tag list, as in DKIM and DMARC records (RFC 6376 section 3.2)."""

import re

from mailhost.wording import shown

_FWS = " \t\r\n"
_TAG_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_TAG_VALUE = re.compile(r"[\x21-\x3a\x3c-\x7e \t\r\n]*\Z")


def tags(text: str) -> dict[str, str]:
    """Return a tag=value list as a dict in its own order (RFC 6376 section 3.2).

    :raises ValueError: it is not such a list; the message says why.
    """
    specs = text.split(";")
    if len(specs) > 1 and not specs[-1].strip(_FWS):
        specs.pop()
    found: dict[str, str] = {}
    for spec in specs:
        name, equals, value = (part.strip(_FWS) for part in spec.partition("="))
        if not equals or not _TAG_NAME.match(name):
            raise ValueError(f"{shown(spec.strip(_FWS))} is not tag=value")
        if name in found:
            raise ValueError(f"the tag {name}= is there twice")
        if not _TAG_VALUE.match(value):
            raise ValueError(f"the tag {name}= has a character that is not allowed: {shown(value)}")
        found[name] = value
    return found


def listed(value: str) -> set[str]:
    return {one.strip(_FWS) for one in value.split(":")}
