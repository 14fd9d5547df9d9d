"""SPF as a receiver evaluates it: by pyspf, whose look-ups go to this system's resolver."""

from dataclasses import dataclass

from mailserver_dns_message import dnspython
from mailserver_errors import MissingPackage


@dataclass(frozen=True)
class Evaluated:
    """What became of an evaluation.

    ``result`` is pass, fail, softfail, neutral, none, permerror or temperror; ``lookups`` are the terms that asked DNS,
    ``void`` the look-ups that found nothing: at most 10 and 2 (RFC 7208 section 4.6.4).
    """

    result: str
    explanation: str = ""
    lookups: int = 0
    void: int = 0


def evaluator(timeout):
    """Return the function that evaluates SPF for (address, sender, HELO name), and returns an :class:`Evaluated`.

    Its ``strict`` may be given as ``False``: then too many look-ups are counted, instead of ending the evaluation.

    :param timeout: seconds for a look-up; an evaluation takes four times as long at most.
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

    def evaluate(address, sender, hostname, strict=True):
        try:
            # pyspf asks the resolver that dnspython keeps for the whole process, as resolv.conf was when Salt started.
            dns.resolver.reset_default_resolver()
            query = spf.query(i=address, s=sender, h=hostname, strict=strict, timeout=timeout, querytime=4 * timeout)
            result, _, explanation = query.check()
        except (dns.exception.DNSException, OSError) as err:
            return Evaluated("temperror", f"DNS gave no answer: {err}")
        return Evaluated(result, explanation, query.lookups, query.void_lookups)

    return evaluate
