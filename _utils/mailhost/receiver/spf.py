"""SPF as a receiver evaluates it: by pyspf, with lookups through the system's resolver."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from mailhost.dns.message import dnspython
from mailhost.errors import MissingPackage
from mailhost.wording import plain

LONGEST = 4096
"""Bytes of an SPF record that is evaluated: pyspf's time grows with the square of a term's length. A record should fit
into 512 bytes together with everything else at the name (RFC 7208 section 3.4)."""


SpfCheck: TypeAlias = Callable[[str, str, str], tuple[str, str]]
"""From (address, sender, HELO name) to SPF's (result, explanation)."""


@dataclass(frozen=True)
class Evaluated:
    """The outcome of an evaluation.

    ``result`` is pass, fail, softfail, neutral, none, permerror or temperror. ``lookups`` counts the terms that queried
    DNS, ``void`` the lookups that found nothing: at most 10 and 2 are allowed (RFC 7208 section 4.6.4).
    """

    result: str
    explanation: str = ""
    lookups: int = 0
    void: int = 0


class Evaluate(Protocol):
    """Evaluates SPF for an address, a sender and a HELO name (:func:`evaluator`)."""

    def __call__(self, address: str, sender: str, hostname: str, /, strict: bool = True) -> Evaluated: ...


def evaluator(timeout: float) -> Evaluate:
    """Return the function that evaluates SPF for (address, sender, HELO name) and returns an :class:`Evaluated`.

    With ``strict=False`` too many lookups are counted and do not end the evaluation.

    :param timeout: seconds for a lookup; an evaluation takes at most four times as long.
    :raises MissingPackage: dnspython or pyspf is not installed.
    """
    dns = dnspython()
    try:
        import spf
    except ImportError as err:
        raise MissingPackage(
            f"the Python package pyspf is not installed in Salt's own Python ({err}): "
            "set mailserver:python:install to true, or run `salt-pip install pyspf`"
        ) from err

    class Query(spf.query):  # type: ignore[misc]  # pyspf has no types
        """A pyspf query that never gets a text that takes long to parse; a record that is too long is a permerror."""

        def dns_txt(self, *arguments: Any, **options: Any) -> list[bytes]:
            found = super().dns_txt(*arguments, **options)
            if any(len(one) > LONGEST and one[:6].lower() == b"v=spf1" for one in found):
                raise spf.PermError(f"an SPF record has more than {LONGEST} bytes")
            return [one for one in found if len(one) <= LONGEST]

    def evaluate(address: str, sender: str, hostname: str, strict: bool = True) -> Evaluated:
        try:
            # pyspf uses dnspython's resolver for the whole process, whose resolv.conf was read when Salt started.
            dns.resolver.reset_default_resolver()
            query = Query(i=address, s=sender, h=hostname, strict=strict, timeout=timeout, querytime=4 * timeout)
            result, _, explanation = query.check()
        except (dns.exception.DNSException, OSError) as err:
            return Evaluated("temperror", plain(f"DNS gave no answer: {err}"))
        return Evaluated(result, plain(explanation), query.lookups, query.void_lookups)

    return evaluate


def spf_check(timeout: float) -> SpfCheck:
    """Return the function that checks SPF.

    :param timeout: seconds for a lookup.
    :raises MissingPackage: dnspython or pyspf is not installed.
    """
    evaluate = evaluator(timeout)

    def check(address: str, sender: str, hostname: str) -> tuple[str, str]:
        found = evaluate(address, sender, hostname)
        return found.result, found.explanation

    return check
