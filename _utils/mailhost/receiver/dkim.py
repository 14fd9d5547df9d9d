"""Verifying a message's DKIM signatures as a receiver does, with dkimpy."""

import importlib
import logging
import re
import sys
from collections.abc import Callable
from types import ModuleType

from mailhost.dns.message import dnspython
from mailhost.errors import MissingPackage
from mailhost.receiver.dmarc import Lookup, Unanswered
from mailhost.wording import plain

LONGEST_KEY = 2048
"""Characters of a key record: an RSA key of 8192 bits has about 1,400, and larger keys take seconds to verify."""

LONGEST = 16384
"""Characters of a TXT record, and bytes of a signature, that are read: a key of 16,384 bits has 2,800."""
_MOST_BLANKS = 100


def dkim_results(message: bytes, lookup: Lookup, most: int | None = None) -> list[dict[str, str]]:
    """Verify the signatures of ``message``; return dicts of domain, selector, result and reason, the top one first.

    The result is pass, fail, neutral (it cannot be read) or temperror (DNS did not answer): RFC 8601 section 2.7.1.

    :param lookup: a function from a name to the texts of its TXT records; it raises :class:`Unanswered`.
    :param most: verify no more signatures than this; all, if left out.
    """
    found = (_verified(message, number, field, lookup) for number, field in enumerate(signatures(message)[:most]))
    return [{name: plain(value) for name, value in one.items()} for one in found]


def signatures(message: bytes) -> list[bytes]:
    """Return the values of the DKIM-Signature fields in dkimpy's order; none if it cannot read the header."""
    dkim = dkimpy()
    try:
        fields, _ = dkim.rfc822_parse(message)
    except (dkim.DKIMException, IndexError):  # IndexError: the first line is a continuation line
        return []
    return [value for name, value in fields if name.lower() == b"dkim-signature"]


def _verified(message: bytes, number: int, field: bytes, lookup: Lookup) -> dict[str, str]:
    if len(field) > LONGEST or re.search(rb"\s{%d}" % _MOST_BLANKS, field):  # dkimpy needs quadratic time for these
        return {"domain": "", "selector": "", "result": "neutral", "reason": "it is longer than any that can be read"}
    named = _named(field)
    found = {"domain": named.get("d", "").lower(), "selector": named.get("s", "")}
    if named.get("a", "").lower() == "rsa-sha1":
        return {**found, "result": "fail", "reason": "it is made with SHA-1, which no longer counts (RFC 8301)"}
    try:
        valid, reason = verify(message, number, lambda name: _key_text(name, lookup))
    except Unanswered as err:
        return {**found, "result": "temperror", "reason": str(err)}
    except _NoKey as err:
        return {**found, "result": "fail", "reason": str(err)}
    except Exception as err:  # whatever dkimpy raises on input from a stranger
        return {**found, "result": "neutral", "reason": f"dkimpy cannot read it: {type(err).__name__}: {err}"}
    return {**found, "result": "pass" if valid else "fail", "reason": reason}


def _named(field: bytes) -> dict[str, str]:
    """Return the tags of a signature as dkimpy reads them, since it verifies by those."""
    dkim = dkimpy()
    try:
        tags = dkim.util.parse_tag_value(field)
    except dkim.util.InvalidTagValueList:
        return {}
    return {name.decode("ascii", "replace"): value.decode("ascii", "replace") for name, value in tags.items()}


class _NoKey(Exception):
    """There is not exactly one key of a reasonable size at a key's name."""


def _key_text(name: str, lookup: Lookup) -> str | None:
    texts = lookup(name)
    if len(texts) > 1:  # which of them a verifier uses is undefined (RFC 6376 section 3.6.2.2)
        raise _NoKey(f"there are {len(texts)} TXT records at {name}; verifiers take any of them, or none")
    if texts and len(texts[0]) > LONGEST_KEY:
        raise _NoKey(f"the TXT record at {name} has more than {LONGEST_KEY} characters")
    return texts[0] if texts else None


def verify(message: bytes, index: int, txt: Callable[[str], str | None]) -> tuple[bool, str]:
    """Verify a DKIM signature with dkimpy; return whether it is valid, and the reason if it is not.

    :param index: the number of the signature, 0 for the top one.
    :param txt: a function from a name (text, no final dot) to the text of its TXT record, ``None`` if there is none.
    """
    dkim = dkimpy()
    reasons = _Reasons()
    log = logging.Logger("dkimpy", logging.INFO)
    log.addHandler(reasons)

    def found(name: bytes, timeout: float = 5) -> bytes:
        place = name.decode("ascii", "replace").rstrip(".").lower()
        text = txt(place)
        if text is None:
            raise dkim.ValidationError(f"there is no TXT record at {place}")
        return text.encode("utf-8", "surrogateescape")

    try:
        valid = dkim.DKIM(message, logger=log).verify(idx=index, dnsfunc=found)
    except (dkim.DKIMException, ValueError) as err:
        return False, str(err)
    return bool(valid), "" if valid else "; ".join(reasons.said) or "the signature is not of this key"


def dkimpy() -> ModuleType:
    """Return the package ``dkim`` (dkimpy), even if Salt left another module of that name in ``sys.modules``.

    While Salt loads execution modules, their folder is in the path, and one of them is called dkim.py.

    :raises MissingPackage: dkimpy or dnspython is not installed.
    """
    dnspython()
    if not hasattr(sys.modules.get("dkim"), "__path__"):
        sys.modules.pop("dkim", None)
        importlib.invalidate_caches()
    try:
        dkim = importlib.import_module("dkim")
    except ImportError as err:
        raise MissingPackage(_missing(err)) from err
    if not hasattr(dkim, "DKIM"):
        sys.modules.pop("dkim", None)
        raise MissingPackage(_missing(f"{dkim.__file__} is another module called dkim"))
    return dkim


def _missing(reason: str | ImportError) -> str:
    return (
        f"the Python package dkimpy is not installed for {sys.executable}: {reason}. "
        "mailserver:python:install installs it, or run: salt-call --local pip.install dkimpy"
    )


class _Reasons(logging.Handler):
    """Collects what dkimpy logs about a bad key or signature; its return value is only False."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())
