"""The walk from the DNS root down to a zone, as a resolver with an empty cache does it: each parent says who serves it.

For a zone on the way, one server is asked. For the last one's parent, up to three servers are asked for the delegation,
since they can differ. Everything is asked once a run, however many names lie below.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mailhost.dns.message import (
    AUTHORITATIVE,
    USABLE,
    RecordSet,
    Response,
    plain,
    rcode,
    records_at,
    type_of,
    values,
    within,
)
from mailhost.dns.names import canonical_address
from mailhost.dns.queries import Asking, ContextVar, ServerAddress, Trouble, Unanswered, no_route

PARENTS = 3
"""Servers of a zone that are asked for a delegation. Registries get no more queries than that for each zone."""
MOST_SERVERS = 32
"""Name servers that a zone may have. The root has 13, and no zone needs more than this."""
_MOST_ADDRESSES = 8
_MOST_TRIED = 5
_ROOTS_AT_ONCE = 3
_MOST_ALIASES = 4
# Servers without addresses whose own zones have such servers, and so on: somebody may have built a deep tree of them.
_MOST_UNGLUED = 4
_depth: ContextVar[int] = ContextVar("mailserver_dns_unglued", default=0)
_SAMPLE = 5
"""Names directly below a zone or deeper that are checked before the zone is assumed to delegate none."""
# IPv6 reverse names have 34 labels: from this many labels on, the walk takes several at once.
_DEEP = 8
ROOT_SERVER = "root server"
Delegated = tuple[tuple[str, tuple[str, ...]], ...]
"""The servers of a zone as its parent names them: the name of each, and the addresses that the parent gives (glue)."""


@dataclass(frozen=True)
class Cut:
    """A zone as the servers of its parent zone, ``above``, delegate it.

    ``servers`` has ``(name, (address, …))`` of each, sorted, with the addresses that the parent gives (glue).
    ``denied`` has ``(server, address, why)`` of the parent's servers that do not delegate it. ``both`` are
    ``(server, address)`` of those that serve the parent and also answered for the zone itself.
    """

    name: str
    servers: Delegated
    denied: tuple[tuple[str, str, str], ...] = ()
    above: Cut | None = None
    both: tuple[ServerAddress, ...] = ()


@dataclass(frozen=True)
class _Told:
    """What one server says of a name: the zone below its own that holds the name and that zone's servers, or none."""

    owner: str = ""
    servers: Delegated = ()
    why: str = ""
    is_own: bool = False


class Walk:
    """The zones found so far on the walks of one run."""

    def __init__(self, asking: Asking, is_ignored: Callable[[str], bool]) -> None:
        self._asking, self._is_ignored = asking, is_ignored
        self._root: Cut | None = None
        self._samples: dict[str, list[str]] = {}
        self.denied: set[str] = set()
        """Names that do not exist, according to the zone above (RFC 8020)."""

    async def why_not(self) -> str:
        """Return why the walk cannot start at the root; ``""`` if it can. Three root servers are asked at a time."""
        given = dict.fromkeys(map(canonical_address, self._asking.options.root_servers))
        hints = [address for address in given if not no_route(address)]
        if not hints:
            return "this host has no route to any root server"
        asked = random.sample(hints, min(_ROOTS_AT_ONCE, len(hints)))
        waiting = {asyncio.ensure_future(self._prime(address)) for address in asked}
        reasons: dict[str, str] = {}
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            reasons.update(one.result() for one in done)
            good = [address for address, why in reasons.items() if not why]
            if good:
                rest = [one for one in hints if one not in reasons]
                self._root = Cut("", ((ROOT_SERVER, tuple(dict.fromkeys((*good, *rest)))),))
                return ""
        return "; ".join(f"{ROOT_SERVER} {address}: {why}" for address, why in sorted(reasons.items()))

    async def _prime(self, address: str) -> tuple[str, str]:
        try:
            response = await self._asking.query(address, "", "NS")
        except Unanswered as err:
            return address, str(err)
        if response.flags & AUTHORITATIVE and records_at(response.answer, "", "NS") is not None:
            return address, ""
        code = rcode(response)
        redirected = "it does not answer as a root server does; is port 53 redirected to a resolver?"
        return address, redirected if code in USABLE else code

    async def cut_of(self, name: str) -> Cut:
        """Return the :class:`Cut` of the zone that encloses a name, according to the zones above.

        :raises Trouble: the servers of a zone on the way do not answer usably.
        """
        if not name:
            if self._root is None:
                raise Trouble("no more addresses can be found without the walk from the root")
            return self._root
        labels = name.split(".")
        above = ".".join(labels[1 if len(labels) <= _DEEP else min(4, len(labels) - _DEEP) :])
        cut = await self._asking.once(self.cut_of, above)
        if above in self.denied:
            self.denied.add(name)
            return cut
        while cut.name != name:
            below = await self._below(cut, name)
            if below is None:
                break
            cut = below
        return cut

    async def cut_to_ask(self, name: str) -> Cut:
        """Return the :class:`Cut` of the zone whose servers must be asked for names below ``name``.

        This is the zone that encloses it. If one zone has many such names, it is that zone as soon as the first few
        turned out to be its own; if it delegates one after all, its servers refer to the zone below when asked.

        :raises Trouble: the servers of a zone on the way do not answer usably.
        """
        cut = await self._asking.once(self.cut_of, name.partition(".")[2])
        sample = self._samples.setdefault(cut.name, [])
        # Top-level domains are asked for each delegation: that is what their servers are for.
        if len(sample) == _SAMPLE and "." in cut.name and await self._asking.once(self._delegates_none, cut):
            return cut
        if len(sample) < _SAMPLE and name not in sample:
            sample.append(name)
        return await self._asking.once(self.cut_of, name)

    async def _delegates_none(self, cut: Cut) -> bool:
        """Tell whether the first names that were checked below a cut all lie in its own zone."""
        try:
            found = [await self._asking.once(self.cut_of, name) for name in self._samples[cut.name]]
        except Trouble:
            return False
        return all(one.name == cut.name for one in found)

    async def _below(self, cut: Cut, name: str) -> Cut | None:
        """Return the cut below ``cut`` that encloses a name, or ``None``; if there is one, more servers are asked."""
        limit = PARENTS if cut.name else 1
        told: dict[str, tuple[ServerAddress, _Told]] = {}
        reasons: dict[ServerAddress, str | Trouble] = {}
        for find in (self._glued, self._unglued):
            for server_address in await find(cut, reasons):
                if len(told) >= limit or len(reasons) >= _MOST_TRIED or server_address[0] in told:
                    continue
                said = await self._ask(server_address, cut, name)
                if isinstance(said, str):
                    reasons[server_address] = said
                    continue
                told[server_address[0]] = (server_address, said)
                if len(told) == 1 and not said.owner:
                    # If another server does delegate it, that shows later: the question itself goes to all of them.
                    self.denied.update([name] * (said.why == "NXDOMAIN"))
                    return None
        if not told:
            raise _trouble(f"No server of {cut.name or 'the root'} says who serves {name}", reasons)
        return _joined(cut, list(told.values()))

    async def _ask(self, server_address: ServerAddress, cut: Cut, name: str) -> _Told | str:
        """Return the :class:`_Told` of a zone's server on a name below the zone, or why it gives none."""
        brief = name.count(".") == cut.name.count(".") + bool(cut.name)
        try:
            response = await self._asking.query(server_address[1], name, "NS", brief=brief)
        except Unanswered as err:
            return str(err)
        code = rcode(response)
        if code not in USABLE:
            return code
        if not response.flags & AUTHORITATIVE:
            return _referral(response, cut, name) or "not authoritative (lame)"
        own = records_at(response.answer, name, "NS")
        if own is not None:
            return _told(name, [own], response, cut, is_own=True)
        zone = next((plain(one.name) for one in response.authority if type_of(one) == "SOA"), cut.name)
        if not within(zone, cut.name):
            return f"it speaks for the zone {zone or '.'}, not for {cut.name} (lame)"
        if zone not in (cut.name, name) and within(name, zone):
            return await self._ask(server_address, cut, zone)
        return _Told(why="NXDOMAIN" if code == "NXDOMAIN" else "no NS record")

    def usable(self, server: str, addresses: Iterable[str]) -> list[ServerAddress]:
        """Return the addresses of a server that can be asked and are not ignored."""
        if self._is_ignored(server):
            return []
        return [(server, one) for one in addresses if not self._is_ignored(one) and not no_route(one)]

    async def _glued(self, cut: Cut, _reasons: dict[ServerAddress, str | Trouble]) -> list[ServerAddress]:
        """Return the addresses of the servers with glue, in random order; those that were silent come last."""
        server_addresses = [
            server_address for server, addresses in cut.servers for server_address in self.usable(server, addresses)
        ]
        known = {address for _, address in server_addresses}
        server_addresses += [server_address for server_address in cut.both if server_address[1] not in known]
        return sorted(
            random.sample(server_addresses, len(server_addresses)),
            key=lambda server_address: self._asking.silence[server_address[1]],
        )

    async def _unglued(self, cut: Cut, reasons: dict[ServerAddress, str | Trouble]) -> list[ServerAddress]:
        """Return the addresses of some servers, which must be looked up; note why some have none."""
        named = [server for server, addresses in cut.servers if not addresses and not self._is_ignored(server)]
        found: list[ServerAddress] = []
        depth = _depth.get()
        if depth >= _MOST_UNGLUED:
            return []
        _depth.set(depth + 1)
        for server in random.sample(named, min(PARENTS, len(named))):
            try:
                found += self.usable(server, await self._asking.once(self.addresses, server))
            except Trouble as err:
                reasons[server, ""] = err
        _depth.set(depth)
        return found

    async def first(self, cut: Cut, name: str, rdtype: str, signed: bool = False) -> Response:
        """Return the first authoritative response that a zone's servers give.

        :raises Trouble: none of them gives one.
        """
        reasons: dict[ServerAddress, str | Trouble] = {}
        for find in (self._glued, self._unglued):
            for server, address in await find(cut, reasons):
                if len(reasons) >= _MOST_TRIED:
                    break
                try:
                    response = await self._asking.query(address, name, rdtype, signed=signed)
                except Unanswered as err:
                    reasons[server, address] = str(err)
                    continue
                if response.flags & AUTHORITATIVE and rcode(response) in USABLE:
                    return response
                code = rcode(response)
                reasons[server, address] = "not authoritative (lame)" if code in USABLE else code
        raise _trouble(f"no server of {cut.name or 'the root'} answers for {name} {rdtype}", reasons)

    async def addresses(self, name: str, aliases: int = 0) -> tuple[str, ...]:
        """Return the addresses of a host, from the servers of its own zone.

        :raises Trouble: they do not answer usably.
        """
        cut = await self._asking.once(self.cut_of, name)
        found: list[str] = []
        for rdtype in ("A", "AAAA"):
            response = await self.first(cut, name, rdtype)
            alias = records_at(response.answer, name, "CNAME")
            if alias is not None:
                if aliases >= _MOST_ALIASES:
                    raise Trouble(f"{name} is an alias (CNAME), and so is what it leads to")
                return await self._asking.once(self.addresses, plain(alias[0].target), aliases + 1)
            records = records_at(response.answer, name, rdtype)
            found += [] if records is None else values(records)[:_MOST_ADDRESSES]
        return tuple(dict.fromkeys(map(canonical_address, found)))


def _trouble(what: str, reasons: Mapping[ServerAddress, str | Trouble]) -> Trouble:
    """Return the trouble that no server answers; ``reasons`` has for each server why, a text or a :class:`Trouble`."""
    told = [
        f"{server}{f' ({address})' if address else ''}: {str(why).rstrip('.')}"
        for (server, address), why in reasons.items()
    ]
    circular = any(isinstance(why, Trouble) and why.circular for why in reasons.values())
    return Trouble(f"{what} ({'; '.join(told) or 'none has an address'}).", circular)


def _referral(response: Response, cut: Cut, name: str) -> _Told | str | None:
    """Read a referral to a zone below ``cut`` that holds ``name``; ``None`` if the response is not one.

    A server that refers upward, or to a zone elsewhere, does not serve the zone.
    """
    owners = {plain(one.name) for one in response.authority if type_of(one) == "NS"}
    fit = [one for one in owners if one != cut.name and within(one, cut.name) and within(name, one)]
    if response.answer or not fit:
        return None
    owner = max(fit, key=len)
    named = [one for one in response.authority if type_of(one) == "NS" and plain(one.name) == owner]
    return _told(owner, named, response, cut)


def _told(owner: str, named: Iterable[RecordSet], response: Response, cut: Cut, is_own: bool = False) -> _Told | str:
    """Return the :class:`_Told` of NS records, or why there is none.

    Addresses count as glue only for names within the zone that was asked: it has no authority over other names (RFC
    5452 section 6).
    """
    servers: dict[str, list[str]] = {server: [] for records in named for server in values(records)}
    if len(servers) > MOST_SERVERS:
        return f"it names {len(servers)} servers of {owner}, of which no more than {MOST_SERVERS} are believed"
    for records in response.additional:
        server = plain(records.name)
        if type_of(records) in ("A", "AAAA") and server in servers and within(server, cut.name):
            servers[server] += map(canonical_address, values(records))
    glued = tuple((one, tuple(found[:_MOST_ADDRESSES])) for one, found in sorted(servers.items()))
    return _Told(owner, glued, is_own=is_own)


def _joined(cut: Cut, told: Sequence[tuple[ServerAddress, _Told]]) -> Cut:
    """Return the cut that some of a zone's servers described, with all servers that any of them names."""
    owner = told[0][1].owner
    servers: dict[str, list[str]] = {}
    for _, said in told:
        for server, addresses in said.servers if said.owner == owner else ():
            servers.setdefault(server, []).extend(addresses)
    denied = tuple((*server_address, said.why) for server_address, said in told if not said.owner)
    joined = tuple((server, tuple(dict.fromkeys(found))) for server, found in sorted(servers.items()))
    both = tuple(server_address for server_address, said in told if said.owner == owner and said.is_own)
    return Cut(owner, joined, denied, cut, both)
