"""What the templates of the page of all hosts write: findings in groups, and a line for each domain. Pure."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from mailhost.check.findings import STATUSES, Status
from mailhost.dkim.life import STAGES
from mailhost.page import message, timeline
from mailhost.page.fleet import Fleet, FleetDomain, FleetHost, SharedFinding
from mailhost.page.form import KeyTimes
from mailhost.page.timeline import Picture, Window

MEANING = {
    "ok": "as wanted",
    "unknown": "could not be found out; no fault is known",
    "warn": "mail goes, but something is weak, or will fail",
    "fail": "mail is lost, refused, unsigned or open to others, or will be soon",
}
"""What each status says, as docs/findings.md has it."""
FEW = 30
"""Up to so many findings are shown unfolded; of more, the failures."""
PUBLISH = "publish"
"""The mark of what has a record to publish."""
FILTERS = {
    "everything": "",
    "what needs attention": "fail|warn|unknown",
    "what I have to do": "fail|warn",
    "records to publish": PUBLISH,
}
"""What the page can be narrowed to, and the marks (:attr:`Item.on`) of which one is wanted; ``""``: any."""


@dataclass(frozen=True)
class Item:
    """A finding with its number on the page.

    ``on`` has a mark for each host, its number among the hosts and a status (``0fail 2fail``); so has a domain's line.
    """

    number: int
    seen: SharedFinding
    on: str

    @property
    def where(self) -> str:
        """The hosts that have it, or nothing if it is about the host itself."""
        hosts = ", ".join(self.seen.hosts)
        return hosts if hosts != self.seen.finding.about else ""


@dataclass(frozen=True)
class FindingGroup:
    """Findings of one status and id; ``brief`` says what they are about."""

    status: Status
    id: str
    brief: str
    is_open: bool
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Line:
    """A domain: ``cells`` are (host, status or ``None``), ``lanes`` (host, picture), ``items`` its findings.

    ``stages`` are its keys: (stage, the keys in that stage of each host in :attr:`FleetDomain.keys`).
    """

    domain: FleetDomain
    on: str
    cells: tuple[tuple[str, Status | None], ...]
    lanes: tuple[tuple[str, Picture], ...]
    items: tuple[Item, ...]
    stages: tuple[tuple[str, list[list[KeyTimes]]], ...]


def verdict(fleet: Fleet) -> str:
    """Return the answer to: is my mail all right?"""
    total = len(fleet.hosts)
    bad = {status: sum(host.status == status for host in fleet.hosts) for status in STATUSES}
    if not total:
        return "No mail host is known, so nothing is known of the mail."
    if bad["fail"]:
        return f"{_of(bad['fail'], total)} in trouble: {MEANING['fail']}."
    if bad["warn"]:
        which = _of(bad["warn"], total)
        return f"Mail goes, but {which[0].lower()}{which[1:]} weak somewhere, or will fail."
    if bad["unknown"]:
        return f"No fault is known, but of {count(bad['unknown'], 'host')} not everything could be found out."
    return "All is right."


def count(number: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def worst_first(hosts: Iterable[FleetHost]) -> list[FleetHost]:
    """Return hosts, the worst first."""
    return sorted(hosts, key=lambda host: (-STATUSES.index(host.status), host.name))


def items(fleet: Fleet) -> list[Item]:
    """Return the fleet's findings, each with its number."""
    numbers = numbers_of(fleet.hosts)
    return [Item(number, seen, _of_finding(numbers, seen)) for number, seen in enumerate(fleet.seen, 1)]


def groups(found: Collection[Item]) -> list[FindingGroup]:
    """Return :class:`FindingGroup` for neighbours of one status and id."""
    by = groupby(found, key=lambda item: (item.seen.finding.status, item.seen.finding.id))
    return [_group(status, id, tuple(of), len(found)) for (status, id), of in by]


def lines(fleet: Fleet, found: Iterable[Item], hosts: Sequence[str], shown: Window) -> list[Line]:
    """Return a :class:`Line` for each domain.

    :param found: the findings, as :func:`items` returns them.
    :param hosts: the names of the hosts that have a column.
    :param shown: the span of the time line.
    """
    numbers = numbers_of(fleet.hosts)
    of_domain: dict[str, list[Item]] = {}
    for item in found:
        if item.seen.domain:
            of_domain.setdefault(item.seen.domain, []).append(item)
    return [_line(domain, numbers, tuple(of_domain.get(domain.name, ())), hosts, shown) for domain in fleet.domains]


def months_with_room(shown: Window) -> list[tuple[float, str]]:
    """Return the months whose names have room: beside *now*, before the end, and one beside the other."""
    here = shown.share(shown.now)
    found: list[tuple[float, str]] = []
    for share, name in timeline.months(shown):
        has_room = not -0.14 < share - here < 0.07 and share < 0.94 and (not found or share - found[-1][0] > 0.07)
        if has_room:
            found.append((share, name))
    return found


def numbers_of(hosts: Iterable[FleetHost]) -> dict[str, int]:
    """Return the number of each host: a name may be anything, and a number is safe in a mark."""
    return {host.name: number for number, host in enumerate(hosts)}


def _of(number: int, total: int) -> str:
    if number == total:
        return "The only host is" if total == 1 else f"All {total} hosts are"
    return f"{number:,} of {total:,} hosts {'is' if number == 1 else 'are'}"


def _marks(numbers: Mapping[str, int], words: Iterable[tuple[str, str]]) -> str:
    """Return ``0fail 2ok`` of pairs of host and word."""
    return " ".join(dict.fromkeys(f"{numbers[host]}{word}" for host, word in words))


def _of_finding(numbers: Mapping[str, int], seen: SharedFinding) -> str:
    words = (seen.finding.status, *((PUBLISH,) if message.names_records(seen.finding.remedy) else ()))
    return _marks(numbers, ((host, word) for word in words for host in seen.hosts))


def _group(status: Status, id: str, of: tuple[Item, ...], total: int) -> FindingGroup:
    about = sorted({item.seen.finding.about for item in of})
    brief = about[0] if len(about) == 1 else f"{about[0]} and {len(about) - 1:,} more"
    return FindingGroup(status, id, brief, total <= FEW or (status == "fail" and len(of) <= FEW), of)


def _line(
    domain: FleetDomain, numbers: Mapping[str, int], found: tuple[Item, ...], hosts: Sequence[str], shown: Window
) -> Line:
    publishing = (host for item in found if PUBLISH in item.on for host in item.seen.hosts if host in domain.statuses)
    return Line(
        domain=domain,
        on=_marks(numbers, [*domain.statuses.items(), *((host, PUBLISH) for host in publishing)]),
        cells=tuple((host, domain.statuses.get(host)) for host in hosts),
        lanes=tuple((host, timeline.picture(keys, shown)) for host, keys in domain.keys.items()),
        items=found,
        stages=tuple(_stages(domain)),
    )


def _stages(domain: FleetDomain) -> Iterator[tuple[str, list[list[KeyTimes]]]]:
    """Yield each stage that a key of the domain is in, with the keys of each host beside each other."""
    there = {key.stage for keys in domain.keys.values() for key in keys}
    for stage in STAGES:
        if stage in there:
            yield stage, [[key for key in keys if key.stage == stage] for keys in domain.keys.values()]
