"""The system's resolver, used as a receiver uses it."""

import re
from typing import Any

from mailhost.dns.message import dnspython
from mailhost.errors import ResolverError
from mailhost.receiver.dkim import LONGEST
from mailhost.receiver.dmarc import Unanswered

_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\Z")


class Resolver:
    """The system's resolver, with the present resolv.conf.

    :param timeout: seconds for one query; a question takes at most twice as long.
    :raises ResolverError: it is not configured.
    :raises MissingPackage: dnspython is not installed.
    """

    def __init__(self, timeout: float) -> None:
        self._dns = dnspython()
        try:
            self._resolver = self._dns.resolver.Resolver()
        except self._dns.exception.DNSException as err:
            raise ResolverError(f"this system's resolver is not configured: {err}") from err
        self._resolver.timeout, self._resolver.lifetime = timeout, 2 * timeout

    def texts(self, name: str) -> list[str]:
        """Return the texts of the TXT records at ``name``; empty if there are none.

        :raises Unanswered: DNS neither returned records nor said that there are none.
        """
        return [b"".join(one.strings).decode("utf-8", "surrogateescape")[:LONGEST] for one in self._ask(name, "TXT")]

    def takes_mail(self, domain: str) -> bool:
        """Tell whether mail to ``domain`` can be delivered anywhere (RFC 5321 section 5.1, RFC 7505).

        :raises Unanswered: as for :meth:`texts`.
        """
        exchanges = [one.exchange.to_text() for one in self._ask(domain, "MX")]
        if exchanges:
            return exchanges != ["."]
        return self.has_address(domain)

    def has_address(self, name: str) -> bool:
        """Tell whether a name has an address.

        :raises Unanswered: as for :meth:`texts`.
        """
        return any(self._ask(name, rdtype) for rdtype in ("A", "AAAA"))

    def _ask(self, name: str, rdtype: str) -> list[Any]:
        if not _NAME.match(name):  # a message may contain a name that cannot be in DNS
            return []
        dns = self._dns
        try:
            return list(self._resolver.resolve(f"{name}.", rdtype))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError) as err:
            raise Unanswered(f"DNS gave no answer for {name} {rdtype}: {err}") from err
