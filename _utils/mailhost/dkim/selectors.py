"""Selectors: made from the pillar's template, and checked against what a DNS name and a signature can hold. Pure."""

import re
from collections.abc import Iterable
from datetime import datetime

from mailhost.errors import SelectorError

LONGEST_LABEL, LONGEST_NAME = 63, 253
"""Characters of a label and of a name, without its final dot (RFC 1035 section 2.3.4)."""
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII | re.IGNORECASE)
_TAKEN_OVER = re.compile(r"[a-z0-9_-]+", re.ASCII | re.IGNORECASE)


def filled(template: str, host: str, day: str) -> str:
    """Return the selector that a template makes: ``{date}`` is the day (20261124), ``{host}`` the first label of the
    host's name. DNS names are not case-sensitive, so the selector is in lower case.
    """
    return template.replace("{date}", day).replace("{host}", host.partition(".")[0]).lower()


def trouble(selector: str, domain: str, label: re.Pattern[str] = _LABEL) -> str | None:
    """Return why no record of a domain can have this selector, or ``None``.

    A selector is one label or several with dots between them, of letters, digits and inner hyphens (RFC 6376 section
    3.1, RFC 5321 section 4.1.2).
    """
    name = f"{selector}._domainkey.{domain}"
    for part in selector.split("."):
        if not label.fullmatch(part):
            what = f"its label {part!r} is not letters, digits and inner hyphens" if part else "it has an empty label"
            return f"the selector {selector!r} is not possible: {what} (RFC 6376 section 3.1)"
        if len(part) > LONGEST_LABEL:
            return (
                f"the selector {selector!r} is not possible: the label {part!r} has {len(part)} characters, "
                f"{LONGEST_LABEL} are allowed (RFC 1035 section 2.3.4)"
            )
    if len(name) > LONGEST_NAME:
        return (
            f"the selector {selector!r} is not possible: the record's name, {name}, has {len(name)} characters, "
            f"{LONGEST_NAME} are allowed (RFC 1035 section 2.3.4)"
        )
    return None


def is_possible(selector: str, domain: str) -> bool:
    """Tell whether DNS can hold the record of a key not made here; hand-made selectors may have underscores."""
    return trouble(selector, domain, _TAKEN_OVER) is None


def check(selector: str, domain: str) -> None:
    """Check a selector that is taken over.

    :raises SelectorError: DNS cannot hold its record.
    """
    why = trouble(selector, domain, _TAKEN_OVER)
    if why:
        raise SelectorError(f"{why}. A new key needs another: mailserver:dkim:selector, or that of the domain")


def new_selector(
    template: str, host: str, now: datetime, taken: Iterable[str], domain: str = "example.com", own: str = ""
) -> str:
    """Return a selector made from the pillar's template, different from all that are ``taken``.

    A second key on the same day gets ``-2``; if that makes a label too long, the label's end is cut off. A selector is
    never used twice, since a verifier may have the old key in its cache. Like DNS, the comparison ignores case.

    :param own: what distinguishes this machine's selectors from those of another with the same keys; may be empty.
    :raises SelectorError: the template makes no selector for this host and domain.
    """
    name, used = filled(template, host, f"{now:%Y%m%d}"), {one.lower() for one in taken}
    why = trouble(name, domain)
    if why:
        raise SelectorError(f"{why}. Give another template: mailserver:dkim:selector, or that of the domain")
    name = _longer(name, f"-{own}", domain) if own else name
    number, selector = 1, name
    while selector in used:
        number += 1
        selector = _longer(name, f"-{number}", domain)
    return selector


def _longer(name: str, end: str, domain: str) -> str:
    head, dot, last = name.rpartition(".")
    room = LONGEST_NAME - len(f"{head}{dot}._domainkey.{domain}")
    last = last[: min(LONGEST_LABEL, room) - len(end)].rstrip("-") if min(LONGEST_LABEL, room) > len(end) else ""
    if not last:
        raise SelectorError(
            f"the selector {name}{end} is not possible: the record's name would have more than {LONGEST_NAME} "
            "characters (RFC 1035 section 2.3.4). Give a shorter template: mailserver:dkim:selector"
        )
    return f"{head}{dot}{last}{end}"
