"""The record of a DKIM key, and how DNS differs from it. Pure."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence

from mailhost.records import tags as records_tags
from mailhost.records.record import PASTED, QUOTED, Record, as_text
from mailhost.wording import shown

_FLAGS = re.compile(rb"t[ \t\r\n]*=")

_ED25519_SPKI = bytes.fromhex("302a300506032b6570032100")


def key_record(domain_name: str, selector: str, public: str, ttl: int, algorithm: str = "rsa") -> Record:
    """Return a DKIM key record (RFC 6376 section 3.6.1).

    :param public: the base64 text of ``p=``; empty for a key that is revoked.
    """
    return Record(f"{selector}._domainkey.{domain_name}", ttl, "TXT", key_text(public, algorithm))


def key_text(public: str, algorithm: str = "rsa") -> str:
    """Return the text of a DKIM key record as this host emits it (RFC 6376 section 3.6.1)."""
    return f"v=DKIM1; k={algorithm}; p={public}"


def check_key(values: Sequence[bytes], public: str, algorithm: str = "rsa") -> str | None:
    """Compare the TXT values at a key's name with our key; return ``None`` or a sentence that says what is wrong.

    :param public: base64 text of our public key; empty if the key must be revoked.

    Keys are equal if their decoded bytes and ``k=`` are equal; white space within ``p=`` and other tags do not matter.
    """
    if not values:
        return "there is no key record"
    if len(values) > 1:
        return _several_keys(values, public, algorithm)
    text = as_text(values[0])
    if text == key_text(public, algorithm):
        return None  # the usual case for thousands of keys: nothing needs to be parsed
    if "\\" in text:
        return PASTED
    if '"' in text:
        return QUOTED
    try:
        seen = records_tags.tags(text)
    except ValueError as err:
        return f"it is not a key record: {err}; publish ours in its place"
    return _wrong_form(seen, text) or _wrong_use(seen, algorithm) or _wrong_key(seen["p"], public)


def _several_keys(values: Sequence[bytes], public: str, algorithm: str) -> str:
    others = [value for value in values if check_key((value,), public, algorithm)]
    head = f"there are {len(values)} TXT records at this name; which one counts is undefined (RFC 6376 section 3.6.2.2)"
    listed = ", ".join(_shown(value) for value in others)
    if len(others) == len(values):
        return f"{head}; none is ours: take away {listed} and publish ours"
    if not others:
        return f"{head}; each of them holds our key: keep one"
    return f"{head}; keep ours and take away {listed}"


def _wrong_form(seen: Mapping[str, str], text: str) -> str | None:
    if "p" not in seen:
        return f"it is not a key record, having no p=: {shown(text)}; publish ours in its place"
    if "v" in seen and (seen["v"] != "DKIM1" or next(iter(seen)) != "v"):
        return (
            "v= must be DKIM1, in capitals, and the first tag (RFC 6376 section 3.6.1); publish our record in its place"
        )
    return None


def _wrong_use(seen: Mapping[str, str], algorithm: str) -> str | None:
    kind = seen.get("k", "rsa")
    if kind != algorithm:
        return f"it says k={kind}, but our key is k={algorithm}; publish our record in its place"
    if "h" in seen and "sha256" not in records_tags.listed(seen["h"]):
        return f"it allows only h={seen['h']}, but we sign with sha256 (RFC 8301); take h= away"
    if "s" in seen and seen["s"] not in ("*", "email"):
        # A list that includes email is valid (RFC 6376 section 3.6.1), but dkimpy, and filters that use it, reject it.
        return f"it is for s={seen['s']} only, which not every verifier takes for email; take s= away"
    return None


def is_testing(value: bytes) -> bool:
    """Tell whether a key record has t=y: verifiers may ignore its signatures (RFC 6376 section 3.6.1)."""
    if not _FLAGS.search(value):
        return False
    try:
        return "y" in records_tags.listed(records_tags.tags(as_text(value)).get("t", ""))
    except ValueError:
        return False


def _wrong_key(value: str, public: str) -> str | None:
    seen = re.sub(r"\s", "", value)
    if seen == public:
        return None
    if not public:
        return (
            f"it still holds a key (p={shown(seen)}), but the key must be revoked: publish the record with an empty p="
        )
    if not seen:
        return "its p= is empty, which says that the key is revoked; publish the record with our p="
    if public.startswith(seen):
        return (
            f"the key is cut: p= has {len(seen)} of {len(public)} characters. A TXT string holds 255 bytes, so "
            "the value has to be split into several strings of one record"
        )
    return _other_key(seen, public)


def _other_key(seen: str, public: str) -> str:
    ours = base64.b64decode(public)
    try:
        theirs = base64.b64decode(seen, validate=True)
    except (binascii.Error, ValueError):
        return f"its p= is damaged: {len(seen)} characters, no base64, {len(public)} wanted; publish our record again"
    if theirs == ours:
        return f"its p= ends with what does not belong there: {_from(seen, len(public) - 4)}; publish our record again"
    if theirs == _ED25519_SPKI + ours:
        return (
            "its p= is wrapped (MCow…), but RFC 8463 section 4 wants a bare Ed25519 key of 32 bytes; publish our record"
        )
    start = next(
        (index for index, pair in enumerate(zip(seen, public, strict=False)) if len(set(pair)) > 1), len(public)
    )
    # All RSA keys of a size begin alike, so only the octet where they start to differ says anything.
    return (
        f"it holds a different key: from character {start + 1} on p= is {_from(seen, start)}, "
        f"ours is {_from(public, start)}. If ours was made again, publish ours; if another host signs with this "
        "selector, give the two different ones"
    )


def _from(text: str, start: int) -> str:
    rest = text[start : start + 12]
    return f"{rest}…" if rest else "at its end"


def _shown(value: bytes) -> str:
    return shown(as_text(value))
