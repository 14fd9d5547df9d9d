"""A domain's SPF record where another host or a service sends for it, too: extended, never made narrower. Pure.

A host knows its own addresses. What a record in DNS allows besides may be another host's, so it stays unless the pillar
says that it has the whole record (``spf:exact``).
"""

import re

from mailserver_records import check_spf, is_spf, spf_terms

_END = re.compile(r"[-~?+]?all", re.IGNORECASE)
_REDIRECT = re.compile(r"redirect=\S+", re.IGNORECASE)
# RFC 7208 section 12; a term that no verifier knows is a permerror, and is not kept.
_TERM = re.compile(
    r"[-~?+]?(include:\S+|exists:\S+|ip4:[0-9./]+|ip6:[0-9A-Fa-f:./]+|(a|mx|ptr)(:[^\s/]+)?(/\d+)?(//\d+)?)"
    r"|(?!redirect=|v=)[A-Za-z][A-Za-z0-9_.-]*=\S*",
    re.IGNORECASE,
)


def spf_beside(text, values):
    """Return the SPF record that a name is to have, given its TXT values now: ours, with what others have there.

    Our terms come first, so that none of others' ends an evaluation before them. ``-all`` for others' senders would be
    narrower than their ``~all``, which stays.
    """
    found = [value.decode("utf-8", "replace") for value in values if is_spf(value)]
    found = [one for one in found if not set('\\"') & set(one)]
    kept = list(dict.fromkeys(term for one in found for term in one.split()[1:] if _TERM.fullmatch(term)))
    others = set(spf_terms(text, kept)) - set(spf_terms(text))
    if not others and not any(map(_redirect, found)):
        return text
    ours = [term for term in text.split()[1:] if not _END.fullmatch(term)]
    missing = [term for term in ours if not set(spf_terms(text, [term])) <= set(spf_terms(text, kept))]
    end = _end(found, text)
    if len(found) == 1 and not missing and found[0].split()[1:] == [*kept, end]:
        return found[0]
    return " ".join(["v=spf1", *missing, *kept, end])


def check_spf_beside(values, wanted):
    """Compare the TXT values at a name with an SPF record beside which others may have theirs.

    What :func:`mailserver_records.check_spf` returns.
    """
    return check_spf(values, spf_beside(wanted, values))


def _redirect(text):
    return next((term for term in text.split()[1:] if _REDIRECT.fullmatch(term)), "")


def _end(found, text):
    """Return how the record is to end: as softly as one of those found, but never so that every address passes."""
    ends = [term for one in found for term in one.split()[1:] if _END.fullmatch(term)]
    strict = sorted((term for term in ends if term[0] in "~-"), key=_is_strict)
    if ends:
        return strict[0] if strict else _last(text)
    return next(filter(None, map(_redirect, found)), _last(text))


def _is_strict(term):
    return term[0] == "-"


def _last(text):
    return next((term for term in text.split()[1:] if _END.fullmatch(term)), "-all")
