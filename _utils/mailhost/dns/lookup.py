"""What DNS shows of a record: every authoritative server is asked at every address, and the answers are judged.

A recursive resolver is not asked for the name itself before all authoritative servers have it. The resolver would cache
a negative answer, and one for ``_domainkey.example.com`` denies all names below it (RFC 8020 section 2).
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import ModuleType

from mailhost.dns import roots
from mailhost.dns.message import (
    RECURSION_DESIRED,
    Said,
    Values,
    dnspython,
    read_resolver,
    read_response,
    type_number,
    within,
)
from mailhost.dns.names import canonical_address, canonical_name
from mailhost.dns.queries import Asking, ServerAddress, Trouble, Unanswered
from mailhost.dns.sockets import name_wire
from mailhost.dns.zones import IGNORED, Zone, Zones
from mailhost.errors import DnsError
from mailhost.scale import garbage
from mailhost.shapes import Dns
from mailhost.wording import plain

LONGEST_CHAIN = 11
"""CNAMEs of a chain that are followed: as many as BIND (``max-query-restarts``, MAX_RESTARTS before 9.20) and Unbound
(MAX_RESTART_COUNT) follow."""


Check = Callable[[Values], str | None]
"""Takes the values of an answer; returns ``None`` if they are right, else a sentence that says what is wrong."""


_MOST_ASTRAY = 100
"""Questions of a run whose records are also looked for at wrong names: no report shows more than that."""


_LATE = 60
"""Seconds after the end of a run's lifetime in which everything has ended: each query has its own limit."""
_TASKS_A_QUERY = 2
"""Questions in progress for each query in progress: one waits for a zone's servers while another asks them."""


@dataclass(frozen=True)
class Options:
    """Limits of a run: seconds for one query (``timeout``) and for all (``lifetime``), and queries at once to one
    address (``in_flight``).

    ``root_servers`` are the addresses at which the walk to a zone begins; without any, the resolver is trusted.
    """

    timeout: float = 5
    lifetime: float = 30
    in_flight: int = 100
    ignore_servers: tuple[str, ...] = ()
    resolvers: tuple[str, ...] = ()
    root_servers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """A name and the type of record that is looked for there (``TXT``, ``MX``, …).

    The name is kept in lower case without a final dot, since DNS ignores case (RFC 4343).
    """

    name: str
    rdtype: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", canonical_name(self.name))


@dataclass(frozen=True)
class ServerAnswer:
    """What one server answered at one address.

    ``status`` is ``answer``, ``absent``, ``bogus`` (not valid by DNSSEC) or ``unknown``. ``values`` has one value for
    each record, sorted (TXT: bytes, its strings joined, as a :class:`mailhost.dns.message.Split` if there are several;
    MX: preference and exchange; CNAME, NS and PTR: a name; others, such as A, TLSA and CAA: text). ``ttl`` is in
    seconds. ``detail`` says why it is absent (``NXDOMAIN``, ``no TXT record``) or unknown. An empty ``address`` means
    that the server could not be asked.
    """

    server: str
    address: str
    status: str
    values: Values = ()
    ttl: int | None = None
    detail: str = ""


@dataclass(frozen=True)
class Answers:
    """All that was seen for a question.

    ``target`` is the name at the end of the CNAME chain, ``zone`` its zone, ``negative_ttl`` how many seconds a
    resolver may cache that a name is absent there (RFC 2308 section 5). ``seen`` has the authoritative servers first,
    then the resolvers named in the pillar (server ``resolver``). ``left_out`` has a text for each address that was not
    asked. ``trouble`` says why the authoritative servers could not be found. ``remarks`` are notes on the zones on the
    way: differences between their delegation and their own NS records, and whether a resolver was trusted. ``astray``
    has ``(name, values)`` of records at names where people put them by mistake; it is filled if none is at the right
    one.
    """

    question: Question
    target: str = ""
    zone: str = ""
    negative_ttl: int | None = None
    seen: tuple[ServerAnswer, ...] = ()
    left_out: tuple[str, ...] = ()
    trouble: str = ""
    remarks: tuple[str, ...] = ()
    astray: tuple[tuple[str, Values], ...] = ()


@dataclass(frozen=True)
class Verdict:
    """``published``, ``absent``, ``different`` or ``unknown``, and a sentence for each thing that is not as wanted.

    ``zone`` is the record's zone, if it is known.
    """

    value: str
    findings: tuple[str, ...] = ()
    zone: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "findings", tuple(map(plain, self.findings)))


def options(dns_settings: Dns) -> Options:
    """Return the options that the pillar's section ``dns`` asks for."""
    return Options(
        timeout=dns_settings["timeout"],
        lifetime=dns_settings["lifetime"],
        in_flight=dns_settings["in_flight"],
        ignore_servers=tuple(dns_settings["ignore_servers"]),
        resolvers=tuple(dns_settings["resolvers"]),
        root_servers=roots.addresses(dns_settings.get("root_servers")),
    )


def ask(
    questions: Iterable[Question], options: Options, recursive: Iterable[str] | None = None
) -> dict[Question, Answers]:
    """Ask every authoritative server of every question's zone, all at once, and return what each of them answered.

    Questions that have no answer after ``options.lifetime`` are unknown, and so are names that DNS cannot hold. Trouble
    with servers never raises an exception.

    :param recursive: addresses of the resolvers that find zones and servers; by default those of ``/etc/resolv.conf``.
    :raises DnsError: a question's type is not a type of record.
    :raises MissingPackage: dnspython is not installed.
    """
    dns = dnspython()
    asked: list[Question] = []
    found: dict[Question, Answers] = {}
    for question in dict.fromkeys(questions):
        why = _why_impossible(dns, question)
        if why:
            # One name that DNS cannot hold must not hide the answers for all others.
            found[question] = Answers(question, trouble=f"{question.name!r} is no name that DNS can hold: {why}.")
        else:
            asked.append(question)
    run = _Run(dns, options, _system_resolvers(dns) if recursive is None else tuple(map(canonical_address, recursive)))
    # This needs its own thread: Salt may have an event loop in this one, running or not, and asyncio.run() would unset
    # it. Each question has tasks and futures: with thousands, garbage collection would take longer than the answers.
    with garbage.kept(), ThreadPoolExecutor(1) as thread:
        return found | thread.submit(asyncio.run, run.answers(asked)).result()


def _why_impossible(dns: ModuleType, question: Question) -> str:
    try:
        type_number(question.rdtype)
    except dns.exception.DNSException as err:
        raise DnsError(f"{question.name!r} {question.rdtype} is no question for DNS: {err}") from err
    try:
        name_wire(dns, question.name)
    except dns.exception.DNSException as err:
        return str(err).rstrip(".")
    return ""


def judge(answers: Answers, check: Check) -> Verdict:
    """Judge whether everything seen is as wanted. The worst counts: different, then absent, unknown, published."""
    question = answers.question
    found: dict[str, list[str]] = {"different": [], "absent": [], "unknown": []}
    if answers.trouble:
        found["unknown"].append(answers.trouble)
    elif all(seen.server == "resolver" for seen in answers.seen):
        found["unknown"].append(f"No authoritative server was asked for {question.name} {question.rdtype}.")
    for seen in answers.seen:
        wrong = check(seen.values) if seen.status == "answer" else None
        if seen.status == "bogus":
            found["different"].append(
                f"{server_of(seen)}: its answer for {question.name} fails DNSSEC validation, so resolvers that "
                f"validate say SERVFAIL: {seen.detail}."
            )
        elif wrong:
            found["different"].append(f"{server_of(seen)}: {wrong}")
        elif seen.status == "absent":
            found["absent"].append(f"{server_of(seen)} shows no {question.rdtype} at {question.name} ({seen.detail}).")
        elif seen.status != "answer":
            found["unknown"].append(f"{server_of(seen)} gave no usable answer for {question.name}: {seen.detail}.")
    if found["absent"]:
        found["absent"] += _found_astray(answers, check)
    findings = tuple(sentence for sentences in found.values() for sentence in sentences)
    value = next((value for value, sentences in found.items() if sentences), "published")
    return Verdict(value, findings, answers.zone)


def _found_astray(answers: Answers, check: Check) -> Iterator[str]:
    """Yield a sentence for each wrong name at which the wanted record was found."""
    name, zone = answers.question.name, answers.zone
    for other, seen in answers.astray:
        if not check(seen):
            yield (
                f"It is at {other} instead. A form that adds the zone {zone} by itself wants only "
                f"{relative(name, zone)} as the name."
            )


def relative(name: str, zone: str) -> str:
    """Return a name as it is entered in a form that adds the zone itself; ``@`` is the zone (RFC 1035 section 5.1)."""
    name = canonical_name(name)
    return "@" if name == zone else name.removesuffix(f".{zone}") if zone else name


def remarks(answers: Iterable[Answers]) -> list[str]:
    """Return the remarks on the zones of many answers, each sentence once."""
    return list(dict.fromkeys(one for each in answers for one in each.remarks))


def server_of(seen: ServerAnswer) -> str:
    """Return where something was seen: the server with its address."""
    return f"{seen.server} ({seen.address})" if seen.address else seen.server


def starting_name(name: str, is_domain: bool = False, of_parent: bool = False) -> str:
    """Return the name at which the upward search for the zone of ``name`` starts.

    It lies above every label with an underscore. A name without one may not exist yet either, so the search starts at
    its parent, except for a mail domain itself (``is_domain``) and for a name of two labels, whose parent would be a
    registry. A DS record belongs to the parent zone (``of_parent``; RFC 4035 section 3.1.4.1).
    """
    labels = name.split(".")
    if of_parent:
        return ".".join(labels[1:])
    underscores = [number for number, label in enumerate(labels) if label.startswith("_")]
    if underscores:
        return ".".join(labels[underscores[-1] + 1 :])
    return name if is_domain or len(labels) <= 2 else ".".join(labels[1:])


def mistaken_names(name: str, zone: str) -> list[str]:
    """Return the names at which people put a record by mistake that is meant for ``name``.

    A form may add the zone to a name that already has it, or the name is entered without the part of the domain below
    the zone, or without ``_domainkey``.
    """
    found = [f"{name}.{zone}"]
    selector, key, domain = name.partition("._domainkey.")
    if key:
        found += [f"{selector}.{domain}"]
        found += [f"{selector}._domainkey.{zone}"] if domain != zone else []
    return [one for one in found if len(one) <= 253]


def _system_resolvers(dns: ModuleType) -> tuple[str, ...]:
    try:
        found = (str(address) for address in dns.resolver.Resolver().nameservers)
        # dnspython also accepts the URL of a DNS-over-HTTPS resolver, which cannot be used here.
        return tuple(canonical_address(one) for one in found if "://" not in one)
    except dns.resolver.NoResolverConfiguration:
        return ()


@dataclass
class _Trail:
    """How far one question has come: through which zones and names, and what was seen so far."""

    target: str = ""
    zone: Zone | None = None
    visited: set[tuple[str, Zone]] = field(default_factory=set)
    seen: dict[tuple[str, str, str], ServerAnswer] = field(default_factory=dict)
    left_out: dict[str, None] = field(default_factory=dict)
    remarks: dict[str, None] = field(default_factory=dict)

    def see(self, name: str, seen: ServerAnswer) -> None:
        self.seen[name, seen.server, seen.address] = seen


class _Run:
    """The questions of one run."""

    def __init__(self, dns: ModuleType, options: Options, recursive: tuple[str, ...]) -> None:
        self._options, self._asking, self._astray_left = options, Asking(dns, options), _MOST_ASTRAY
        self._zones = Zones(self._asking, recursive)

    async def answers(self, questions: Sequence[Question]) -> dict[Question, Answers]:
        self._asking.begin()
        waiting = iter(questions)
        found: dict[Question, Answers] = {}

        async def work() -> None:
            for question in waiting:
                found[question] = await self._answers(question)

        # More tasks would only wait for each other: a task that waits for another's result wakes up when it is there.
        number = min(len(questions), _TASKS_A_QUERY * self._asking.most_at_once)
        tasks = [asyncio.ensure_future(work()) for _ in range(number)]
        try:
            await self._ended(tasks)
        finally:
            self._asking.close()
        late = f"There was no answer {_LATE} s after the {self._options.lifetime:g} s for all questions were over."
        return {question: found.get(question) or Answers(question, trouble=late) for question in questions}

    async def _ended(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Wait until the tasks have ended, or are so late that they never will: the run holds the lock of the keys."""
        if not tasks:
            return
        ended, late = await asyncio.wait(
            tasks, timeout=self._options.lifetime + _LATE, return_when=asyncio.FIRST_EXCEPTION
        )
        for task in late:
            task.cancel()
        for task in ended:
            task.result()

    async def _answers(self, question: Question) -> Answers:
        trail, trouble, negative_ttl = _Trail(), "", None
        try:
            start = starting_name(question.name, question.rdtype in ("MX", "TXT"), question.rdtype == "DS")
            trail.zone = await self._zones.enclosing(start, for_below=start != question.name)
            await self._follow(trail, question.name, question.rdtype, trail.zone, (question.name,))
            negative_ttl = await self._asking.once(self._zones.negative_ttl, trail.zone)
        except Trouble as err:
            trouble = str(err)
        seen = tuple(trail.seen.values())
        zone = trail.zone.name if trail.zone else ""
        if not trouble and not seen:
            trouble = f"Every server of {zone} is {IGNORED}."
        if not trouble and all(one.status == "answer" for one in seen):
            asked = (self._resolver(address, question) for address in self._options.resolvers)
            seen += tuple(await asyncio.gather(*asked))
        astray: tuple[tuple[str, Values], ...] = ()
        if trail.zone and not trouble and question.rdtype == "TXT":
            astray = await self._astray(question, trail, trail.zone, seen)
        left_out, remarks = tuple(trail.left_out), tuple(trail.remarks)
        return Answers(question, trail.target, zone, negative_ttl, seen, left_out, trouble, remarks, astray)

    async def _follow(self, trail: _Trail, name: str, rdtype: str, zone: Zone, chain: tuple[str, ...]) -> None:
        """Ask the servers of ``zone`` for ``name``, then those of zones below and of CNAME targets they refer to."""
        if (name, zone) in trail.visited:
            return
        trail.visited.add((name, zone))
        trail.target, trail.zone = name, zone
        # The zone's own NS records are queried together with the question, so that a dead server is waited for once.
        further = self._asking.once(self._zones.further, zone)
        told = await self._told(trail, name, rdtype, zone)
        told += await self._told(trail, name, rdtype, await further)
        minimal = tuple(server_address for server_address, one in told if one.is_minimal)
        hidden = await self._hidden_zone(name, zone, minimal) if minimal else ""
        aliases: dict[str, list[ServerAddress]] = {}
        children: dict[str, tuple[frozenset[str], tuple[ServerAddress, ...], tuple[ServerAddress, ...]]] = {}
        for server_address, one in told:
            child = one.child or (hidden if one.is_minimal else "")
            is_judged_below = one.status == "bogus" and child
            if one.status and not is_judged_below:
                trail.see(name, ServerAnswer(*server_address, one.status, one.values, one.ttl, one.detail))
            if one.alias:
                aliases.setdefault(one.alias, []).append(server_address)
            if child:
                servers, server_addresses, again = children.get(child, (frozenset(), (), ()))
                again += (server_address,) if is_judged_below else ()
                children[child] = (servers | one.child_servers, (*server_addresses, server_address), again)
        for child, (servers, server_addresses, again) in children.items():
            below = await self._asking.once(self._zones.below, child, servers, server_addresses, zone)
            # A server of both zones signs its answers from the lower one with the lower zone's keys.
            asked = tuple(dict.fromkeys((*below.asked, *again)))
            await self._follow(trail, name, rdtype, replace(below, asked=asked) if again else below, chain)
        for alias, tellers in aliases.items():
            if alias in chain or len(chain) > LONGEST_CHAIN:
                detail = f"CNAME chain without an end: {' -> '.join((*chain, alias))}"
                for server_address in tellers:
                    trail.see(name, ServerAnswer(*server_address, "unknown", detail=detail))
                continue
            near = within(alias, zone.name)
            onward = zone if near else await self._zones.enclosing(starting_name(alias))
            await self._follow(trail, alias, rdtype, onward, (*chain, alias))

    async def _hidden_zone(self, name: str, zone: Zone, server_addresses: tuple[ServerAddress, ...]) -> str:
        """Return a zone between ``zone`` and ``name`` that these servers also serve without showing it; or ``""``."""
        above = name.partition(".")[2]
        if not within(above, zone.name) or above == zone.name:
            return ""
        return await self._asking.once(self._zones.between, zone, above, server_addresses)

    async def _told(self, trail: _Trail, name: str, rdtype: str, zone: Zone) -> list[tuple[ServerAddress, Said]]:
        """Ask all servers of a zone, and return ``(server address, Said)`` of each; note which cannot be asked."""
        trail.left_out.update(dict.fromkeys(zone.left_out))
        trail.remarks.update(dict.fromkeys(zone.remarks))
        for server, address, status, detail in zone.unasked:
            trail.see(name, ServerAnswer(server, address, status, detail=detail))
        asked = [self._ask(address, name, rdtype, zone) for _, address in zone.asked]
        # A task for each of thousands of questions would cost as much as the question, so one is awaited directly.
        said = await asyncio.gather(*asked) if len(asked) > 1 else [await one for one in asked]
        return list(zip(zone.asked, said, strict=True))

    async def _ask(self, address: str, name: str, rdtype: str, zone: Zone) -> Said:
        try:
            signed = await self._zones.signed(zone)
            response = await self._asking.query(address, name, rdtype, signed=bool(signed.keys))
            said = read_response(response, name, rdtype, zone.name)
        except Unanswered as err:
            return Said("unknown", detail=str(err))
        except Trouble as err:
            return Said("unknown", detail=f"whether the zone is signed could not be found out: {err}".rstrip("."))
        if said.status != "answer" and not said.alias:
            return said
        wrong = signed.wrong or (signed.keys and self._zones.why_invalid(response, name, rdtype, signed.keys))
        return replace(said, status="bogus", values=(), ttl=None, detail=wrong, alias="") if wrong else said

    async def _resolver(self, address: str, question: Question) -> ServerAnswer:
        address = canonical_address(address)
        try:
            response = await self._asking.query(address, question.name, question.rdtype, flags=RECURSION_DESIRED)
            said = read_resolver(response, question.rdtype)
        except Unanswered as err:
            said = Said("unknown", detail=str(err))
        return ServerAnswer("resolver", address, said.status, said.values, said.ttl, said.detail)

    async def _astray(
        self, question: Question, trail: _Trail, zone: Zone, seen: Iterable[ServerAnswer]
    ) -> tuple[tuple[str, Values], ...]:
        """Return records at names where people put them by mistake, if none is at the right name; asks one server."""
        absent = [one.address for one in seen if one.status == "absent" and one.server != "resolver"]
        server_addresses = [address for _, address in zone.asked if address in absent]
        if not server_addresses or trail.target != question.name or self._astray_left <= 0:
            return ()
        self._astray_left -= 1
        found: list[tuple[str, Values]] = []
        for name in mistaken_names(question.name, zone.name):
            said = await self._ask(server_addresses[0], name, "TXT", zone)
            found += [(name, said.values)] if said.status == "answer" else []
        return tuple(found)
