"""The DNS of the model of years: a root, a top-level domain and providers' name servers, as messages without a network.

What the product asks is what it asks in the world, by its own code down to the sockets; only these are left out.
"""

import asyncio
import contextlib
import functools
from unittest import mock

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from mailhost.dns import queries

ROOT, TLD = "127.55.0.1", "127.55.0.2"
TTL, NEGATIVE_TTL = 300, 60


class Zone:
    """A copy of a zone: the NS records that it names for itself and others, and its other records.

    ``cuts`` maps the names of zones below it to their servers, ``{zone: {server: address}}``; a server's address is
    part of the referral.
    """

    def __init__(self, servers, texts=None, cuts=None, addresses=None):
        self.servers, self.texts = tuple(servers), {} if texts is None else texts
        self.cuts, self.addresses = cuts or {}, addresses or {}

    def records(self, name, rdtype, zone):
        """Return the texts of records at a name."""
        if name == zone and rdtype == "NS":
            return tuple(f"{server}." for server in self.servers)
        if rdtype == "A" and name in self.addresses:
            return (self.addresses[name],)
        return (self.texts[name],) if rdtype == "TXT" and name in self.texts else ()

    def has(self, name, zone):
        """Tell whether there is a name: with records, or with names below it (RFC 8020)."""
        names = (zone, *self.texts, *self.addresses)
        return any(one == name or one.endswith(f".{name}") for one in names)


class Servers:
    """All name servers, ``{address: {zone: Zone}}``; those of ``deaf`` do not answer."""

    def __init__(self):
        self.zones, self.deaf = {}, set()

    @contextlib.contextmanager
    def instead_of_sockets(self):
        """Have all questions of the product answered by these servers."""
        with mock.patch.object(queries, "Way", functools.partial(_Way, self)):
            yield

    def answer(self, address, name, rdtype):
        """Return the response of a server to a question without recursion (RFC 1034 section 4.3.2)."""
        response = dns.message.QueryMessage()
        response.flags |= dns.flags.QR
        zones = self.zones[address]
        over = [one for one in zones if _within(name, one) and not (rdtype == "DS" and one == name and one)]
        if not over:
            response.set_rcode(dns.rcode.REFUSED)
            return response
        zone = max(over, key=len)
        here = zones[zone]
        cut = next((one for one in here.cuts if _within(name, one) and not (rdtype == "DS" and one == name)), None)
        if cut:
            response.authority.append(_rrset(cut, TTL, "NS", tuple(f"{one}." for one in here.cuts[cut])))
            response.additional += [_rrset(one, TTL, "A", (at,)) for one, at in here.cuts[cut].items()]
            return response
        response.flags |= dns.flags.AA
        found = here.records(name, rdtype, zone)
        if found:
            response.answer.append(_rrset(name, TTL, rdtype, found))
            response.authority.append(_rrset(zone, TTL, "NS", here.records(zone, "NS", zone)))
            return response
        if not here.has(name, zone) and name not in here.cuts:
            response.set_rcode(dns.rcode.NXDOMAIN)
        soa = f"a.test. hostmaster.test. 1 3600 600 86400 {NEGATIVE_TTL}"
        response.authority.append(_rrset(zone, TTL, "SOA", (soa,)))
        return response


def _within(name, zone):
    return not zone or name == zone or name.endswith(f".{zone}")


@functools.lru_cache(maxsize=4096)
def _rrset(name, ttl, rdtype, texts):
    if rdtype == "TXT":
        texts = [" ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255)) for text in texts]
    return dns.rrset.from_text(f"{name}.", ttl, "IN", rdtype, *texts)


class _Way:
    """As :class:`mailhost.dns.sockets.Way`, with these servers at its end."""

    def __init__(self, servers, _dns):
        self._servers = servers

    def close(self):
        pass

    def doubt(self, address):
        pass

    async def ask(self, address, name, rdtype, _flags, _timeout, signed=False, brief=False):
        if address in self._servers.deaf:
            raise asyncio.TimeoutError
        return self._servers.answer(address, name, rdtype)
