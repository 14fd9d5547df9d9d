"""The zones of a run and all their servers, found by a walk from the root or, if that fails, by a resolver."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mailhost.dns import dnssec
from mailhost.dns.message import (
    AUTHORITATIVE,
    RECURSION_DESIRED,
    USABLE,
    RecordSet,
    Response,
    rcode,
    read_resolver,
    records_at,
    values,
    within,
)
from mailhost.dns.names import canonical, canonical_address
from mailhost.dns.queries import Asking, ServerAddress, Trouble, Unanswered, no_route
from mailhost.dns.walk import MOST_SERVERS, PARENTS, ROOT_SERVER, Cut, Walk

if TYPE_CHECKING:
    from dns.name import Name
    from dns.rdataset import Rdataset

IGNORED = "ignored by mailserver:dns:ignore_servers"
NEGATIVE_CAP = 86400
"""Longest time in seconds for which a resolver denies a name, whatever the zone says.

RFC 2308 section 5 calls one to three hours sensible, and more than a day problematic. Resolvers have limits of their
own: BIND 3 hours (max-ncache-ttl), Unbound and PowerDNS 1 hour (cache-max-negative-ttl, max-negative-ttl), Knot a day.
"""
_MOST_ADDRESSES = 64
_BELIEVED = (
    "this host's resolver is trusted for zones and their servers, and that may be an internal view. To see the public "
    "view as well, name public resolvers in mailserver:dns:resolvers"
)
Unasked = tuple[str, str, str, str]
"""What is reported of a server that is not asked for a zone's records: its name, its address, a status and a detail."""
_Part = tuple[list[ServerAddress], list[Unasked], list[str]]
"""What one server adds to a zone: where to ask, what is not asked and why, and what is left out."""


@dataclass(frozen=True)
class Zone:
    """A zone, the (server, address) pairs to ask, what is known of its other servers, and remarks.

    ``cut`` is its delegation.
    """

    name: str
    asked: tuple[ServerAddress, ...]
    unasked: tuple[Unasked, ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]
    cut: Cut

    def __hash__(self) -> int:
        # Computed for each of thousands of questions: hashing all servers and remarks would take longer than those.
        return hash(self.name)


@dataclass(frozen=True)
class Signed:
    """What authenticates a zone: its DNSSEC ``keys``, none if it is not signed; or ``wrong``, why they do not."""

    keys: dict[Name, Rdataset] | None = field(default=None, hash=False)
    wrong: str = ""


class Zones:
    """What is known of zones in one run."""

    def __init__(self, asking: Asking, recursive: Sequence[str]) -> None:
        self._asking, self._recursive = asking, recursive
        self._ignored = {canonical(server) for server in asking.options.ignore_servers}
        self._walk = Walk(asking, lambda server: server in self._ignored)
        self._now = time.time()

    async def enclosing(self, start: str, for_below: bool = False) -> Zone:
        """Return the zone that encloses a name, with all its servers.

        :param for_below: the question is for a name below ``start``. Then a zone above is good enough: its servers
            refer such a question to the right zone.
        :raises Trouble: it could not be found.
        """
        why = await self._why_not_walked(start)
        if why is None:
            cut = await (self._walk.cut_to_ask(start) if for_below else self._asking.once(self._walk.cut_of, start))
            return await self._asking.once(self.whole, cut)
        try:
            zone = await self._asking.once(self._told_by_resolver, start)
        except Trouble as err:
            raise Trouble(f"{why}. {err}" if why else str(err)) from err
        return replace(zone, remarks=(*((f"{why}: {_BELIEVED}.",) if why else ()), *zone.remarks))

    async def _why_not_walked(self, start: str) -> str | None:
        """Return ``None`` if the walk from the root leads to a name, or why not; ``""`` if no walk is wanted."""
        if not self._asking.options.root_servers:
            return ""
        why = await self._asking.once(self._walk.why_not)
        if why:
            return f"The delegation could not be followed from the root ({why})"
        top = start.rpartition(".")[2]
        await self._asking.once(self._walk.cut_of, top)
        return f"The root of DNS has no {top}, so its names are internal ones" if top in self._walk.denied else None

    async def below(
        self, child: str, servers: frozenset[str], server_addresses: tuple[ServerAddress, ...], zone: Zone
    ) -> Zone:
        """Return a zone below ``zone``, to which some of its servers refer, with the servers that anyone names."""
        if zone.cut.above is not None or await self._is_walked():
            cut = await self._asking.once(self._walk.cut_of, child)
            if cut.name != child:
                cut = Cut(child, (), (), zone.cut)
            known = dict(cut.servers)
            named = tuple(sorted({**dict.fromkeys(servers, ()), **known}.items()))
            return await self._asking.once(self.whole, replace(cut, servers=named))
        if not servers:
            servers = await self._apex_servers(child, server_addresses)
        return await self._asking.once(self.whole, Cut(child, tuple((one, ()) for one in sorted(servers))))

    async def between(self, zone: Zone, name: str, server_addresses: tuple[ServerAddress, ...]) -> str:
        """Return the zone below ``zone`` that encloses a name, as far as its servers show it; ``""`` if there is none.

        Where the resolver is trusted, some of these servers are asked instead: the resolver might cache a denial.
        """
        if zone.cut.above is None:
            labels, above = name.split("."), zone.name.split(".") if zone.name else []
            names = (".".join(labels[number:]) for number in range(len(labels) - len(above)))
            for one in names:
                if await self._asking.once(self._apex_servers, one, server_addresses[:PARENTS]):
                    return one
            return ""
        try:
            cut = await self._asking.once(self._walk.cut_of, name)
        except Trouble:
            return ""
        return cut.name if cut.name != zone.name and within(cut.name, zone.name) else ""

    async def _is_walked(self) -> bool:
        return bool(self._asking.options.root_servers) and not await self._asking.once(self._walk.why_not)

    async def whole(self, cut: Cut) -> Zone:
        """Return a zone with the servers of its delegation; :meth:`further` has those that only it names itself."""
        denied = tuple(
            (server, address, "absent", f"{why}: it does not delegate {cut.name}")
            for server, address, why in cut.denied
        )
        zone = _put_together(cut, await self._servers(cut, dict(cut.servers)))
        return replace(zone, unasked=(*denied, *zone.unasked))

    async def further(self, zone: Zone) -> Zone:
        """Return a zone with only the servers that it names itself, at any of its servers, and the differences.

        :raises Trouble: there are too many.
        """
        cut = zone.cut
        own: dict[ServerAddress, frozenset[str]] = {}
        names = {server for server, _ in cut.servers}
        parts: dict[str, _Part] = {}
        fresh: Sequence[ServerAddress] = zone.asked if cut.name else ()
        while fresh:
            said = await asyncio.gather(
                *(self._asking.once(self._apex_servers, cut.name, (server_address,)) for server_address in fresh)
            )
            own.update((server_address, named) for server_address, named in zip(fresh, said, strict=True) if named)
            more = set().union(*own.values()) - names
            names |= more
            if len(names) > MOST_SERVERS or len(own) > _MOST_ADDRESSES:
                raise Trouble(f"{cut.name} has {len(names)} name servers, of which {MOST_SERVERS} at most are asked.")
            found = await self._servers(cut, dict.fromkeys(more, ()))
            parts.update(found)
            fresh = [server_address for part in found.values() for server_address in part[0]]
        return replace(_put_together(cut, parts), remarks=tuple(_differences(cut, own)))

    async def _servers(self, cut: Cut, glue: Mapping[str, tuple[str, ...]]) -> dict[str, _Part]:
        """Return ``{server: its part of a zone}``; ``glue`` has the addresses that the delegation gives."""
        found = await asyncio.gather(*(self._server(cut, *one) for one in glue.items()))
        return dict(zip(glue, found, strict=True))

    async def _server(self, cut: Cut, name: str, glue: tuple[str, ...]) -> _Part:
        """Return a name server's part of a :class:`Zone`: whom to ask, why there are none, and what is left out."""
        if name in self._ignored:
            return [], [], [f"{name}: {IGNORED}"]
        addresses = list(glue)
        troubles: list[str] = []
        if name != ROOT_SERVER:
            try:
                addresses += await self._asking.once(self._addresses, name, cut.above is not None)
            except Trouble as err:
                troubles = [str(err).rstrip(".")] if not glue else []
        asked: list[str] = []
        ignored: list[str] = []
        unreachable: list[str] = []
        for address in dict.fromkeys(addresses):
            (ignored if address in self._ignored else unreachable if no_route(address) else asked).append(address)
        if not (asked or ignored or troubles) or (unreachable and not asked):
            troubles.append("no route to any of its addresses" if unreachable else "it has no address")
        left_out = [f"{address} ({name}): {IGNORED}" for address in ignored]
        left_out += [f"{one} ({name}): no route to {'IPv6' if ':' in one else 'IPv4'}" for one in unreachable]
        return (
            [(name, one) for one in asked],
            [(name, "", "unknown", "; ".join(troubles))] if troubles else [],
            left_out,
        )

    async def _addresses(self, name: str, is_walked: bool) -> tuple[str, ...]:
        if is_walked and await self._why_not_walked(name) is None:
            return await self._asking.once(self._walk.addresses, name)
        found: list[str] = []
        troubles: list[str] = []
        for rdtype in ("A", "AAAA"):
            try:
                found += map(canonical_address, read_resolver(await self._recurse(name, rdtype), rdtype).values)
            except Trouble as err:
                troubles.append(str(err).rstrip("."))
        if troubles and not found:
            raise Trouble("; ".join(troubles))
        return tuple(found)

    async def _told_by_resolver(self, start: str) -> Zone:
        """Return the zone that encloses a name, found by the system's resolver."""
        labels = start.split(".") if start else []
        for name in (".".join(labels[number:]) for number in range(len(labels) + 1)):
            found = await self._asking.once(self._recurse, name, "SOA")
            if records_at(found.answer, name, "SOA") is not None:
                servers = records_at((await self._asking.once(self._recurse, name, "NS")).answer, name, "NS")
                if servers is not None:
                    cut = Cut(name, tuple((one, ()) for one in sorted(set(values(servers)))))
                    return await self._asking.once(self.whole, cut)
        raise Trouble(f"The system's resolver knows no zone that encloses {start}.")

    async def negative_ttl(self, zone: Zone) -> int | None:
        """Return for how many seconds resolvers may deny a name of a zone, or ``None`` if that is not known."""
        found = await self._apex(zone.name, "SOA", zone.asked)
        return None if found is None else min(found[0].minimum, found.ttl, NEGATIVE_CAP)

    async def _apex_servers(self, zone: str, server_addresses: tuple[ServerAddress, ...]) -> frozenset[str]:
        found = await self._apex(zone, "NS", server_addresses)
        return frozenset() if found is None else frozenset(values(found))

    async def _apex(self, zone: str, rdtype: str, server_addresses: Iterable[ServerAddress]) -> RecordSet | None:
        """Return the records at a zone's apex from the first server that has them; silent servers come last."""
        for _, address in sorted(server_addresses, key=lambda server_address: self._asking.silence[server_address[1]]):
            try:
                response = await self._asking.query(address, zone, rdtype)
            except Unanswered:
                continue
            found = records_at(response.answer, zone, rdtype)
            if found is not None and response.flags & AUTHORITATIVE:
                return found
        return None

    async def signed(self, zone: Zone) -> Signed:
        """Return how a zone is :class:`Signed`, by the DS record at its parent (RFC 4035 section 5.2).

        :raises Trouble: it could not be found out.
        """
        return await self._asking.once(self._signed, zone.cut, zone.asked)

    async def _signed(self, cut: Cut, server_addresses: tuple[ServerAddress, ...]) -> Signed:
        if not cut.name:
            return Signed()
        above = Signed() if cut.above is None else await self._asking.once(self._signed, cut.above, ())
        if above.wrong:
            return above
        try:
            response = await self._response(cut.above, cut.name, "DS", server_addresses=())
        except Trouble:
            if cut.above is None and await self._is_insecure_above(cut.name):
                return Signed()
            raise
        records = records_at(response.answer, cut.name, "DS")
        ds = dnssec.usable_ds(records)
        if not ds:
            return Signed()
        if above.keys:
            wrong = dnssec.why_invalid(self._asking.dns, response, cut.name, "DS", above.keys, self._now)
            if wrong:
                return Signed(wrong=f"the DS record of {cut.name}: {wrong}")
        response = await self._response(cut, cut.name, "DNSKEY", server_addresses)
        return Signed(*dnssec.zone_keys(self._asking.dns, cut.name, ds, response, self._now))

    async def _is_insecure_above(self, name: str) -> bool:
        """Tell whether a zone above a name, other than the root, is known to have no DS record.

        Then nothing below it is validated (RFC 4035 section 4.3), and it does not matter that the zone's parent does
        not answer whether the zone itself has one.
        """
        labels = name.split(".")
        for above in (".".join(labels[-count:]) for count in range(1, len(labels))):
            try:
                servers = await self._asking.once(self._recurse, above, "NS")
                ds = await self._asking.once(self._recurse, above, "DS")
            except Trouble:
                return False
            if records_at(servers.answer, above, "NS") is not None and records_at(ds.answer, above, "DS") is None:
                return True
        return False

    async def _response(
        self, cut: Cut | None, name: str, rdtype: str, server_addresses: Iterable[ServerAddress]
    ) -> Response:
        """Return a response with signatures from these, the zone's servers or, without a cut, the resolver."""
        if cut is None:
            return await self._recurse(name, rdtype)
        for _, address in sorted(server_addresses, key=lambda server_address: self._asking.silence[server_address[1]]):
            try:
                response = await self._asking.query(address, name, rdtype, signed=True)
            except Unanswered:
                continue
            if response.flags & AUTHORITATIVE and rcode(response) in USABLE:
                return response
        return await self._walk.first(cut, name, rdtype, signed=True)

    def why_invalid(self, response: Response, name: str, rdtype: str, keys: dict[Name, Rdataset]) -> str:
        """Return why an answer of a signed zone is not valid; ``""`` if it is."""
        return dnssec.why_invalid(self._asking.dns, response, name, rdtype, keys, self._now)

    async def _recurse(self, name: str, rdtype: str) -> Response:
        """Ask the system's resolvers, one after another, until one has an answer; silent ones come last."""
        reasons = []
        for address in sorted(self._recursive, key=self._asking.silence.__getitem__):
            try:
                response = await self._asking.query(address, name, rdtype, flags=RECURSION_DESIRED)
            except Unanswered as err:
                reasons.append(f"{address}: {err}")
                continue
            if rcode(response) in USABLE:
                return response
            reasons.append(f"{address}: {rcode(response)}")
        reason = "; ".join(reasons) or "/etc/resolv.conf names none"
        raise Trouble(f"The system's resolver has no answer for {name or '.'} {rdtype} ({reason}).")


def _put_together(cut: Cut, parts: Mapping[str, _Part]) -> Zone:
    columns = zip(*(parts[server] for server in sorted(parts)), strict=True)
    asked, unasked, left_out = (tuple(itertools.chain(*column)) for column in columns) if parts else ((), (), ())
    return Zone(cut.name, asked, unasked, left_out, (), cut)


def _differences(cut: Cut, own: Mapping[ServerAddress, frozenset[str]]) -> Iterator[str]:
    """Yield a sentence for each set of servers that a zone names differently from its delegation."""
    parent = {server for server, _ in cut.servers}
    by_set: dict[frozenset[str], ServerAddress] = {}
    for server_address, named in own.items():
        by_set.setdefault(named, server_address)
    for named, (server, address) in sorted(by_set.items(), key=lambda one: one[1]):
        if named != parent:
            delegated = "is delegated to" if cut.above is not None else "has, by this host's resolver, the servers"
            yield (
                f"{cut.name} {delegated} {', '.join(sorted(parent))}, but {server} ({address}) names "
                f"{', '.join(sorted(named))}. Resolvers go by either, so all of them are asked; give the zone the "
                "same NS records above (at the registrar) and in itself, at each of its servers."
            )
