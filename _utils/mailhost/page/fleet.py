"""All mail hosts as one: what each told is put together by host, by domain and by finding. Pure."""

from collections.abc import Container, Iterable, Iterator, Mapping, ValuesView
from dataclasses import dataclass, field
from typing import TypedDict

from mailhost.check.findings import STATUSES, Finding, Status, worst
from mailhost.errors import OverviewError
from mailhost.page import form as page_form

STALE = 2 * 3600
"""Seconds after which what a host said is called old: the mine is filled anew each hour (``mine_interval``)."""
AHEAD = 300
"""Seconds that a host's clock may be ahead of the master's."""


@dataclass(frozen=True)
class FleetHost:
    """A minion: what it told, or ``None`` if nothing of it can be used; ``trouble`` says why, then.

    ``age`` in seconds is that of what it told.
    """

    name: str
    status: Status
    overview: page_form.Overview | None = None
    age: int = 0
    trouble: str = ""

    @property
    def is_stale(self) -> bool:
        """Tell whether what the host told is old."""
        return self.age > STALE


@dataclass(frozen=True)
class SharedFinding:
    """A finding, the hosts that have it in exactly these words, and the domain that it is of (``""``: of the hosts)."""

    finding: Finding
    hosts: tuple[str, ...]
    domain: str


@dataclass
class FleetDomain:
    """A domain on all its hosts, each by the minion's name: the worst finding, keys, and why they could not be read."""

    name: str
    statuses: dict[str, Status] = field(default_factory=dict)
    keys: dict[str, tuple[page_form.KeyTimes, ...]] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        """The worst status on any host."""
        return max(self.statuses.values(), key=STATUSES.index)

    @property
    def rotates_at(self) -> int | None:
        """When the first of the keys that sign is to get a successor (seconds since 1970), or ``None``."""
        moments = (key.due for keys in self.keys.values() for key in keys if key.stage == "signing" and key.due)
        return min(moments, default=None)


@dataclass(frozen=True)
class Fleet:
    """What the page shows: ``hosts`` by name, ``seen`` and ``domains`` with the worst first.

    ``others`` are minions that were asked and are no mail hosts; ``now`` is seconds since 1970.
    """

    hosts: tuple[FleetHost, ...]
    seen: tuple[SharedFinding, ...]
    domains: tuple[FleetDomain, ...]
    others: tuple[str, ...]
    now: int

    @property
    def status(self) -> Status:
        """The worst status of any host."""
        return max((host.status for host in self.hosts), key=STATUSES.index, default="unknown")


class FleetSummary(TypedDict):
    """A fleet in short, plain data (:func:`summary`)."""

    status: Status
    hosts: dict[str, Status]
    domains: int
    findings: dict[Status, int]
    others: list[str]


def fleet(answers: Mapping[str, object], troubles: Mapping[str, Finding], others: Iterable[str], now: int) -> Fleet:
    """Return the :class:`Fleet`.

    :param answers: what each minion answered to ``mailserver.overview``, by its name.
    :param troubles: the finding of each minion that did not answer, by its name.
    :param others: the names of minions without the formula's modules; those with them say themselves what they are.
    :param now: seconds since 1970.
    """
    idle = [name for name, answer in answers.items() if page_form.is_no_mail_host(answer)]
    hosts: list[FleetHost] = []
    found = [(name, [finding]) for name, finding in troubles.items()]
    for name, answer in answers.items():
        if name in idle:
            continue
        host, findings = _host(name, answer, now)
        hosts.append(host)
        found.append((name, findings))
    hosts += [FleetHost(name, finding.status, trouble=finding.seen) for name, finding in troubles.items()]
    names = {name for host in hosts if host.overview for name in host.overview.domains}
    seen = _merged(found, names)
    by_name = sorted(hosts, key=lambda host: host.name)
    domains = sorted(_domains(by_name, seen), key=lambda one: (-STATUSES.index(one.status), one.name))
    return Fleet(tuple(by_name), seen, tuple(domains), tuple(sorted({*others, *idle})), now)


def _host(name: str, answer: object, now: int) -> tuple[FleetHost, list[Finding]]:
    """Return ``(host, its findings)``."""
    try:
        told = page_form.read(answer)
    except OverviewError as err:
        finding = unusable(name, str(err))
        return FleetHost(name, finding.status, trouble=finding.seen), [finding]
    age = now - told.time
    findings = [*told.findings, *_age(name, age)]
    return FleetHost(name, max(told.status, worst(findings), key=STATUSES.index), told, age), findings


def _age(name: str, age: int) -> Iterator[Finding]:
    id, wanted = "report.age", f"what the host tells is from the last {STALE // 3600} hours"
    if age > STALE:
        remedy = (
            f"Run: salt '{name}' mine.update; then look why the mine was not filled: salt '{name}' test.ping, its "
            "mine_interval, its log. Or ask the hosts themselves: mailserver.report without mine=True."
        )
        yield Finding(id, "unknown", name, wanted, f"it is {in_words(age)} old; what is shown was so then", remedy)
    if age < -AHEAD:
        seen = f"it says that it is of a time to come, in {in_words(-age)}"
        yield Finding(id, "unknown", name, wanted, seen, "Set the clock of that host right, or the master's.")


def summary(fleet: Fleet) -> FleetSummary:
    """Return a fleet in short, plain data: ``status``, ``hosts`` (each with its worst), ``domains``, ``findings``."""
    return {
        "status": fleet.status,
        "hosts": {host.name: host.status for host in fleet.hosts},
        "domains": len(fleet.domains),
        "findings": {status: sum(one.finding.status == status for one in fleet.seen) for status in STATUSES[:0:-1]},
        "others": list(fleet.others),
    }


def unusable(name: str, why: str) -> Finding:
    """Return the finding of a minion from which nothing came that can be used."""
    remedy = (
        f"Run: salt '{name}' saltutil.sync_all, and on the master: salt-run saltutil.sync_runners; salt-run "
        f"saltutil.sync_utils; then see what the host itself says: salt '{name}' mailserver.overview"
    )
    return Finding("report.answer", "unknown", name, "the host tells of itself", why, remedy)


def silent(name: str, why: str) -> Finding:
    """Return the finding of a minion that did not answer."""
    remedy = (
        f"Run: salt '{name}' test.ping. If it answers, ask again with a larger timeout; if not, see whether the host "
        "is up and its salt-minion runs. Of its mail nothing is known."
    )
    return Finding("report.answer", "unknown", name, "the host tells of itself", why, remedy)


def not_mined(name: str) -> Finding:
    """Return the finding of a minion of which nothing is in the mine."""
    why = "nothing of it is in the mine"
    remedy = (
        f"If it is a mail host: add mine_functions: {{mailserver.overview: []}} to its pillar or its minion's "
        f"configuration, then run: salt '{name}' saltutil.refresh_pillar; salt '{name}' mine.update. If it is none, "
        "name a narrower target."
    )
    return Finding("report.answer", "unknown", name, "the host tells of itself", why, remedy)


def in_words(seconds: int) -> str:
    """Return a time span as people say it: the largest unit of which there are two."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


def _merged(found: Iterable[tuple[str, Iterable[Finding]]], names: Container[str]) -> tuple[SharedFinding, ...]:
    """Return :class:`SharedFinding` for each finding, once for all hosts that have it in the same words."""
    hosts: dict[Finding, list[str]] = {}
    for name, findings in found:
        for finding in findings:
            hosts.setdefault(finding, []).append(name)
    seen = [SharedFinding(one, tuple(sorted(set(where))), domain_of(one.about, names)) for one, where in hosts.items()]
    return tuple(sorted(seen, key=_rank))


def _rank(seen: SharedFinding) -> tuple[int, str, str, tuple[str, ...], str]:
    one = seen.finding
    return -STATUSES.index(one.status), one.id, one.about, seen.hosts, one.seen


def domain_of(about: str, names: Container[str]) -> str:
    """Return which of the domains a finding is of, by what it is about; ``""``: none.

    It is about the domain, or about a record of it below a name with an underscore (RFC 8552).
    """
    labels = about.split(".")
    marked = [number for number, label in enumerate(labels) if label.startswith("_")]
    name = ".".join(labels[marked[-1] + 1 :]) if marked else about
    return name if name in names else ""


def _domains(hosts: Iterable[FleetHost], seen: Iterable[SharedFinding]) -> ValuesView[FleetDomain]:
    domains: dict[str, FleetDomain] = {}
    for host in hosts:
        if host.overview is None:
            continue
        floor = _floor(host.overview)
        for name, keys in host.overview.domains.items():
            domain = domains.setdefault(name, FleetDomain(name))
            domain.statuses[host.name] = floor
            domain.keys[host.name] = keys
        for name, why in host.overview.unread.items():
            if name in domains and host.name in domains[name].statuses:
                domains[name].unread[host.name] = why
                domains[name].statuses[host.name] = "unknown"
    for one in seen:
        if one.domain:
            statuses = domains[one.domain].statuses
            for name in one.hosts:
                if name in statuses:
                    statuses[name] = max(statuses[name], one.finding.status, key=STATUSES.index)
    return domains.values()


def _floor(overview: page_form.Overview) -> Status:
    """Return what is the best that can be said of a host's domains: of an area that broke nothing is known."""
    return "unknown" if any(one.id.endswith(".check") for one in overview.findings) else "ok"
