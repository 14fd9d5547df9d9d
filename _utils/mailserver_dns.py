"""What DNS shows of a record: every authoritative server asked at every address, and the verdict on what they say.

No recursive resolver is asked for the name itself before all authoritative servers have it: the resolver would keep a
negative answer, and one for ``_domainkey.example.com`` denies all names below it (RFC 8020 section 2).
"""

import asyncio
import collections
import errno
import ipaddress
import itertools
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import mailserver_garbage
from mailserver_dns_message import (
    AUTHORITATIVE,
    RECURSION_DESIRED,
    USABLE,
    Said,
    dnspython,
    rcode,
    read_resolver,
    read_response,
    records_at,
    values,
    within,
)
from mailserver_dns_way import Way
from mailserver_errors import DnsError
from mailserver_wording import plain

_IGNORED = "ignored by mailserver:dns:ignore_servers"
_LONGEST_CHAIN = 8
# So many unanswered questions, and an address is left alone: a dead server must not use up the time of all questions.
_PATIENCE = 3
# So many servers may have their share of queries at once: a resolver that is asked first holds up no other.
_SERVERS_AT_ONCE = 4
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


@dataclass(frozen=True)
class Options:
    """Bounds of a run: seconds a query (``timeout``) and for all (``lifetime``), queries at once to one address
    (``in_flight``)."""

    timeout: float = 5
    lifetime: float = 30
    in_flight: int = 100
    ignore_servers: tuple = ()
    resolvers: tuple = ()


@dataclass(frozen=True)
class Question:
    """A name (lower case, no final dot) and the type of record that is looked for there (``TXT``, ``MX``, …)."""

    name: str
    rdtype: str


@dataclass(frozen=True)
class Seen:
    """What one server answered at one address.

    ``status`` is ``answer``, ``absent`` or ``unknown``; ``values`` holds one value a record (TXT: bytes, its strings
    joined; MX: preference and exchange; CNAME, NS and PTR: a name; others, as A, TLSA and CAA: text), sorted; ``ttl``
    is in seconds; ``detail`` says why it is absent (``NXDOMAIN``, ``no TXT record``) or unknown. An empty ``address``
    means that the server could not be asked.
    """

    server: str
    address: str
    status: str
    values: tuple = ()
    ttl: int | None = None
    detail: str = ""


@dataclass(frozen=True)
class Answers:
    """All that was seen for a question.

    ``target`` is the name at the end of the CNAME chain, ``zone`` its zone, ``negative_ttl`` how many seconds a
    resolver may remember that a name is absent there (RFC 2308 section 5). ``seen`` has the authoritative servers
    first, then the resolvers named in pillar (server ``resolver``). ``left_out`` has a text on each address that was
    not asked, ``trouble`` one on why the authoritative servers could not be found.
    """

    question: Question
    target: str = ""
    zone: str = ""
    negative_ttl: int | None = None
    seen: tuple = ()
    left_out: tuple = ()
    trouble: str = ""


@dataclass(frozen=True)
class Verdict:
    """``published``, ``absent``, ``different`` or ``unknown``, and a sentence for everything that is not as wanted."""

    value: str
    findings: tuple = ()

    def __post_init__(self):
        object.__setattr__(self, "findings", tuple(map(plain, self.findings)))


def options(dns_settings: dict) -> Options:
    """Return the options that the pillar's section ``dns`` asks for."""
    return Options(
        timeout=dns_settings["timeout"],
        lifetime=dns_settings["lifetime"],
        in_flight=dns_settings["in_flight"],
        ignore_servers=tuple(dns_settings["ignore_servers"]),
        resolvers=tuple(dns_settings["resolvers"]),
    )


def ask(questions: Iterable[Question], options: Options, recursive: tuple | None = None) -> dict[Question, Answers]:
    """Ask every authoritative server of every question's zone, all at once, and say what each of them answered.

    What has not been answered when ``options.lifetime`` has passed is unknown; servers in trouble never raise.

    :param recursive: addresses of the resolvers that find zones and servers; those of ``/etc/resolv.conf`` by default.
    :raises DnsError: a question's name is no domain name, or its type no type of record.
    :raises MissingPackage: dnspython is not installed.
    """
    dns = dnspython()
    questions = list(dict.fromkeys(questions))
    for question in questions:
        try:
            dns.name.from_text(question.name)
            dns.rdatatype.from_text(question.rdtype)
        except dns.exception.DNSException as err:
            raise DnsError(f"{question.name!r} {question.rdtype} is no question for DNS: {err}") from err
    run = _Run(dns, options, _system_resolvers(dns) if recursive is None else tuple(recursive))
    # A thread of its own: Salt may have an event loop in this one, running or not, and asyncio.run() would unset it.
    # Each question has tasks and futures: with thousands, the search for cycles would take longer than the answers.
    with mailserver_garbage.kept(), ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, run.answers(questions)).result()


def judge(answers: Answers, check: Callable[[tuple], str | None]) -> Verdict:
    """Say whether what was seen is what is wanted everywhere: different before absent before unknown before published.

    :param check: takes a server's values; returns None if they are right, else a sentence of what is different.
    """
    question = answers.question
    found = {"different": [], "absent": [], "unknown": []}
    if answers.trouble:
        found["unknown"].append(answers.trouble)
    elif all(seen.server == "resolver" for seen in answers.seen):
        found["unknown"].append(f"No authoritative server was asked for {question.name} {question.rdtype}.")
    for seen in answers.seen:
        wrong = check(seen.values) if seen.status == "answer" else None
        if wrong:
            found["different"].append(f"{place(seen)}: {wrong}")
        elif seen.status == "absent":
            found["absent"].append(f"{place(seen)} shows no {question.rdtype} at {question.name} ({seen.detail}).")
        elif seen.status != "answer":
            found["unknown"].append(f"{place(seen)} gave no usable answer for {question.name}: {seen.detail}.")
    findings = tuple(sentence for sentences in found.values() for sentence in sentences)
    return Verdict(next((value for value, sentences in found.items() if sentences), "published"), findings)


def place(seen):
    """Return where something was seen: the server with its address."""
    return f"{seen.server} ({seen.address})" if seen.address else seen.server


def starting_name(name, is_domain=False, of_parent=False):
    """Return the name from which the zone of ``name`` is searched upward with a recursive resolver's help.

    It lies above every label with an underscore. A name without one may not exist yet either, so its parent is taken,
    except for a mail domain itself (``is_domain``) and for a name of two labels, whose parent would be a registry. A DS
    record is the parent zone's (``of_parent``; RFC 4035 section 3.1.4.1).
    """
    labels = name.split(".")
    if of_parent:
        return ".".join(labels[1:])
    underscores = [number for number, label in enumerate(labels) if label.startswith("_")]
    if underscores:
        return ".".join(labels[underscores[-1] + 1 :])
    return name if is_domain or len(labels) <= 2 else ".".join(labels[1:])


def _upward(name):
    """Return ``name`` and all names that enclose it, the root (an empty string) included."""
    labels = name.split(".") if name else []
    return [".".join(labels[number:]) for number in range(len(labels) + 1)]


def _canonical(server):
    """Return the name or address of a server in the form in which it is compared."""
    try:
        return str(ipaddress.ip_address(server))
    except ValueError:
        return str(server).lower().rstrip(".")


def _system_resolvers(dns):
    try:
        return tuple(str(address) for address in dns.resolver.Resolver().nameservers)
    except dns.resolver.NoResolverConfiguration:
        return ()


def _no_route(address):
    """Return whether this host knows no way to ``address``: connecting a UDP socket fails, and sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 53))
    except OSError as err:
        return err.errno in _NO_ROUTE
    return False


class _Unanswered(Exception):
    """A server did not answer a query."""


class _Trouble(Exception):
    """A zone's servers could not be found."""


@dataclass(frozen=True)
class _Zone:
    """A zone, the (server, address) pairs to be asked, and those that cannot be."""

    name: str
    asked: tuple = ()
    unasked: tuple = ()
    left_out: tuple = ()


@dataclass
class _Trail:
    """How far one question has come: through which zones and names, and what was seen on the way."""

    target: str = ""
    zone: _Zone | None = None
    visited: set = field(default_factory=set)
    seen: dict = field(default_factory=dict)
    left_out: dict = field(default_factory=dict)

    def see(self, name, seen):
        self.seen[name, seen.server, seen.address] = seen


class _Run:
    """The questions of one run: the zones and servers known so far, and the bounds that all queries share."""

    def __init__(self, dns, options, recursive):
        self._dns, self._options, self._recursive = dns, options, recursive
        self._ignored = {_canonical(server) for server in options.ignore_servers}
        self._tasks = {}
        self._silence = collections.Counter()

    async def answers(self, questions):
        self._clock = asyncio.get_running_loop().time
        self._deadline = self._clock() + self._options.lifetime
        self._free = asyncio.Semaphore(_SERVERS_AT_ONCE * self._options.in_flight)
        self._free_at = collections.defaultdict(lambda: asyncio.Semaphore(self._options.in_flight))
        self._way = Way(self._dns)
        try:
            found = await asyncio.gather(*(self._answers(question) for question in questions))
        finally:
            self._way.close()
        return dict(zip(questions, found, strict=True))

    async def _answers(self, question):
        trail, trouble, negative_ttl = _Trail(), "", None
        try:
            start = starting_name(question.name, question.rdtype in ("MX", "TXT"), question.rdtype == "DS")
            zone = await self._once(self._enclosing_zone, start)
            await self._follow(trail, question.name, question.rdtype, zone, (question.name,))
            negative_ttl = await self._once(self._negative_ttl, trail.zone)
        except _Trouble as err:
            trouble = str(err)
        seen = tuple(trail.seen.values())
        if not trouble and not seen:
            trouble = f"Every server of {trail.zone.name} is {_IGNORED}."
        if not trouble and all(one.status == "answer" for one in seen):
            asked = (self._resolver(address, question) for address in self._options.resolvers)
            seen += tuple(await asyncio.gather(*asked))
        zone = trail.zone.name if trail.zone else ""
        return Answers(question, trail.target, zone, negative_ttl, seen, tuple(trail.left_out), trouble)

    def _once(self, work, *arguments):
        """Return the task that does ``work``: one that was begun earlier with the same arguments, if there is one."""
        key = (work.__name__, arguments)
        if key not in self._tasks:
            self._tasks[key] = asyncio.ensure_future(work(*arguments))
        return self._tasks[key]

    async def _follow(self, trail, name, rdtype, zone, chain):
        """Ask the servers of ``zone`` for ``name``, then those to which they refer: of zones below, and of CNAMEs."""
        if (name, zone) in trail.visited:
            return
        trail.visited.add((name, zone))
        trail.target, trail.zone = name, zone
        trail.left_out.update(dict.fromkeys(zone.left_out))
        for seen in zone.unasked:
            trail.see(name, seen)
        asked = [self._ask(address, name, rdtype, zone.name) for _, address in zone.asked]
        said = [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked)
        aliases, children = {}, {}
        for place, one in zip(zone.asked, said, strict=True):
            if one.status:
                trail.see(name, Seen(*place, one.status, one.values, one.ttl, one.detail))
            if one.alias:
                aliases.setdefault(one.alias, []).append(place)
            if one.child:
                servers, places = children.get(one.child, (frozenset(), ()))
                children[one.child] = (servers | one.child_servers, (*places, place))
        for child, (servers, places) in children.items():
            await self._follow(trail, name, rdtype, await self._once(self._child, child, servers, places), chain)
        for alias, places in aliases.items():
            if alias in chain or len(chain) > _LONGEST_CHAIN:
                detail = f"CNAME chain without an end: {' -> '.join((*chain, alias))}"
                for place in places:
                    trail.see(name, Seen(*place, "unknown", detail=detail))
                continue
            near = within(alias, zone.name)
            onward = zone if near else await self._once(self._enclosing_zone, starting_name(alias))
            await self._follow(trail, alias, rdtype, onward, (*chain, alias))

    async def _ask(self, address, name, rdtype, zone):
        try:
            return read_response(await self._query(address, name, rdtype), name, rdtype, zone)
        except _Unanswered as err:
            return Said("unknown", detail=str(err))

    async def _resolver(self, address, question):
        try:
            response = await self._query(address, question.name, question.rdtype, flags=RECURSION_DESIRED)
            said = read_resolver(response, question.rdtype)
        except _Unanswered as err:
            said = Said("unknown", detail=str(err))
        return Seen("resolver", address, said.status, said.values, said.ttl, said.detail)

    async def _enclosing_zone(self, start):
        for name in _upward(start):
            found = await self._once(self._recurse, name, "SOA")
            if records_at(found.answer, name, "SOA") is not None:
                servers = records_at((await self._once(self._recurse, name, "NS")).answer, name, "NS")
                if servers is not None:
                    return await self._once(self._zone, name, frozenset(values(servers)))
        raise _Trouble(f"The system's resolver knows no zone that encloses {start}.")

    async def _child(self, name, servers, parents):
        """Return a zone that its parent's servers told of: with the servers that parent and child name."""
        servers |= await self._apex_servers(name, () if servers else parents)
        zone = await self._once(self._zone, name, servers)
        return await self._once(self._zone, name, servers | await self._apex_servers(name, zone.asked))

    async def _zone(self, name, servers):
        parts = await asyncio.gather(*(self._once(self._server, server) for server in sorted(servers)))
        return _Zone(name, *(tuple(itertools.chain(*column)) for column in zip(*parts, strict=True)))

    async def _server(self, name):
        """Return a name server's part of a :class:`_Zone`: places to ask, why there are none, what is left out."""
        if name in self._ignored:
            return [], [], [f"{name}: {_IGNORED}"]
        asked, ignored, unreachable, troubles = [], [], [], []
        for rdtype in ("A", "AAAA"):
            try:
                addresses = read_resolver(await self._recurse(name, rdtype), rdtype).values
            except _Trouble as err:
                addresses = ()
                troubles.append(str(err).rstrip("."))
            for address in addresses:
                listed = _canonical(address) in self._ignored
                (ignored if listed else unreachable if _no_route(address) else asked).append(address)
        if not (asked or ignored or troubles) or (unreachable and not asked):
            troubles.append("no route to any of its addresses" if unreachable else "it has no address")
        left_out = [f"{address} ({name}): {_IGNORED}" for address in ignored]
        left_out += [f"{one} ({name}): no route to {'IPv6' if ':' in one else 'IPv4'}" for one in unreachable]
        places = [(name, address) for address in asked]
        return places, [Seen(name, "", "unknown", detail="; ".join(troubles))] if troubles else [], left_out

    async def _negative_ttl(self, zone):
        found = await self._apex(zone.name, "SOA", zone.asked)
        return None if found is None else min(found[0].minimum, found.ttl)

    async def _apex_servers(self, zone, places):
        found = await self._apex(zone, "NS", places)
        return frozenset() if found is None else frozenset(values(found))

    async def _apex(self, zone, rdtype, places):
        """Return the records of a zone's own name from the first server that has them; silent servers come last."""
        for _, address in sorted(places, key=lambda place: self._silence[place[1]]):
            try:
                response = await self._query(address, zone, rdtype)
            except _Unanswered:
                continue
            found = records_at(response.answer, zone, rdtype)
            if found is not None and response.flags & AUTHORITATIVE:
                return found
        return None

    async def _recurse(self, name, rdtype):
        """Ask the system's resolvers, one after the other until one has an answer; silent ones come last."""
        reasons = []
        for address in sorted(self._recursive, key=self._silence.__getitem__):
            try:
                response = await self._query(address, name, rdtype, flags=RECURSION_DESIRED)
            except _Unanswered as err:
                reasons.append(f"{address}: {err}")
                continue
            if rcode(response) in USABLE:
                return response
            reasons.append(f"{address}: {rcode(response)}")
        reason = "; ".join(reasons) or "/etc/resolv.conf names none"
        raise _Trouble(f"The system's resolver has no answer for {name or '.'} {rdtype} ({reason}).")

    async def _query(self, address, name, rdtype, flags=0):
        """Return the response of the server at ``address``, by UDP (asked twice if need be), or by TCP if truncated."""
        dns, limits = self._dns, self._options
        async with self._free_at[address], self._free:
            for share in (1 / 3, 2 / 3):
                left = self._deadline - self._clock()
                if left <= 0:
                    raise _Unanswered(f"no answer within the {limits.lifetime:g} s for all questions")
                if self._silence[address] >= _PATIENCE:
                    raise _Unanswered(f"given up after it left {_PATIENCE} questions of this run unanswered")
                try:
                    response = await self._way.ask(address, name, rdtype, flags, min(left, limits.timeout * share))
                except (asyncio.TimeoutError, dns.exception.Timeout):
                    continue
                except (OSError, EOFError, dns.exception.DNSException) as err:
                    raise _Unanswered(f"{type(err).__name__}: {err}".rstrip(": ")) from err
                self._silence[address] = 0
                return response
        self._silence[address] += 1
        raise _Unanswered(f"no answer in {min(left, limits.timeout):g} s")
