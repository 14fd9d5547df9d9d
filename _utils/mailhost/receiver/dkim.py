"""What a receiver finds of a message: its signatures by dkimpy and SPF by pyspf, from this system's own resolver."""

import re

from mailhost.dns.message import dnspython
from mailhost.errors import ResolverError
from mailhost.opendkim import milter as milters
from mailhost.receiver import spf as receiver_spf
from mailhost.receiver.dmarc import Unanswered
from mailhost.wording import plain

LONGEST_KEY = 2048
"""Characters of a key record: RSA with 8192 bits has some 1,400, and with more bits a verification takes seconds."""

LONGEST = 16384
"""Characters of a TXT record, and bytes of a signature, that are read: a key of 16,384 bits takes 2,800."""
_MOST_BLANKS = 100
_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\Z")


class Resolver:
    """This system's resolver, anew from resolv.conf.

    :param timeout: seconds for one query; a question takes twice as long at most.
    :raises ResolverError: it is not configured.
    :raises MissingPackage: dnspython is not installed.
    """

    def __init__(self, timeout):
        self._dns = dnspython()
        try:
            self._resolver = self._dns.resolver.Resolver()
        except self._dns.exception.DNSException as err:
            raise ResolverError(f"this system's resolver is not configured: {err}") from err
        self._resolver.timeout, self._resolver.lifetime = timeout, 2 * timeout

    def texts(self, name):
        """Return the texts of the TXT records at ``name``, none if there are none.

        :raises Unanswered: DNS said neither that there are some nor that there are none.
        """
        return [b"".join(one.strings).decode("utf-8", "surrogateescape")[:LONGEST] for one in self._ask(name, "TXT")]

    def takes_mail(self, domain):
        """Tell whether mail to ``domain`` has anywhere to go (RFC 5321 section 5.1, RFC 7505).

        :raises Unanswered: as for :meth:`texts`.
        """
        exchanges = [one.exchange.to_text() for one in self._ask(domain, "MX")]
        if exchanges:
            return exchanges != ["."]
        return self.has_address(domain)

    def has_address(self, name):
        """Tell whether a name has an address.

        :raises Unanswered: as for :meth:`texts`.
        """
        return any(self._ask(name, rdtype) for rdtype in ("A", "AAAA"))

    def _ask(self, name, rdtype):
        if not _NAME.match(name):  # a name that cannot be in DNS, as a message may have it
            return []
        dns = self._dns
        try:
            return list(self._resolver.resolve(f"{name}.", rdtype))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError) as err:
            raise Unanswered(f"DNS gave no answer for {name} {rdtype}: {err}") from err


def spf_check(timeout):
    """Return the function that checks SPF: from (address, sender, HELO name) to SPF's (result, explanation).

    :param timeout: seconds for a look-up.
    :raises MissingPackage: dnspython or pyspf is not installed.
    """
    evaluate = receiver_spf.evaluator(timeout)

    def check(address, sender, hostname):
        found = evaluate(address, sender, hostname)
        return found.result, found.explanation

    return check


def dkim_results(message, lookup, most=None):
    """Verify the signatures of ``message``: a list of dicts of domain, selector, result and reason, the top one first.

    The result is pass, fail, neutral (it cannot be read) or temperror (DNS did not answer): RFC 8601 section 2.7.1.

    :param lookup: a function from a name to the texts of its TXT records; it raises :class:`Unanswered`.
    :param most: no more signatures than this are verified; all, if left out.
    """
    found = (_verified(message, number, field, lookup) for number, field in enumerate(signatures(message)[:most]))
    return [{name: plain(value) for name, value in one.items()} for one in found]


def signatures(message):
    """Return the values of the DKIM-Signature fields, as dkimpy numbers them; none of a header that it cannot read."""
    dkim = milters.dkimpy()
    try:
        fields, _ = dkim.rfc822_parse(message)
    except (dkim.DKIMException, IndexError):  # the latter where the first line continues one that is not there
        return []
    return [value for name, value in fields if name.lower() == b"dkim-signature"]


def _verified(message, number, field, lookup):
    if len(field) > LONGEST or re.search(rb"\s{%d}" % _MOST_BLANKS, field):  # dkimpy takes the square of their time
        return {"domain": "", "selector": "", "result": "neutral", "reason": "it is longer than any that can be read"}
    named = _named(field)
    found = {"domain": named.get("d", "").lower(), "selector": named.get("s", "")}
    if named.get("a", "").lower() == "rsa-sha1":
        return {**found, "result": "fail", "reason": "it is made with SHA-1, which no longer counts (RFC 8301)"}
    try:
        valid, reason = milters.verify(message, number, lambda name: _key_text(name, lookup))
    except Unanswered as err:
        return {**found, "result": "temperror", "reason": str(err)}
    except _NoKey as err:
        return {**found, "result": "fail", "reason": str(err)}
    except Exception as err:  # whatever dkimpy trips over in what a stranger wrote
        return {**found, "result": "neutral", "reason": f"dkimpy cannot read it: {type(err).__name__}: {err}"}
    return {**found, "result": "pass" if valid else "fail", "reason": reason}


def _named(field):
    """Return the tags of a signature as dkimpy reads them, which alone are those that it verifies by."""
    dkim = milters.dkimpy()
    try:
        tags = dkim.util.parse_tag_value(field)
    except dkim.util.InvalidTagValueList:
        return {}
    return {name.decode("ascii", "replace"): value.decode("ascii", "replace") for name, value in tags.items()}


class _NoKey(Exception):
    """There is no single key of a reasonable size at a key's name."""


def _key_text(name, lookup):
    texts = lookup(name)
    if len(texts) > 1:  # which of them a verifier takes is undefined (RFC 6376 section 3.6.2.2)
        raise _NoKey(f"there are {len(texts)} TXT records at {name}; verifiers take any of them, or none")
    if texts and len(texts[0]) > LONGEST_KEY:
        raise _NoKey(f"the TXT record at {name} has more than {LONGEST_KEY} characters")
    return texts[0] if texts else None
