"""Central publishing of policy records: what a mail host asks for, and what the publisher does about it. Pure.

The mail host's rows are not trusted. Only records of the domains that the master's pillar gives it are accepted, at the
names where such records belong, in exactly the form that this formula writes, and with the content that pillar wants.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict, cast

from mailhost.central import foreign_rows
from mailhost.pillar.keys import DOMAIN
from mailhost.publish.change import Change
from mailhost.records.policies import KINDS, PolicyKind
from mailhost.records.tags import tags
from mailhost.schema import Choice, Domain, Key, Section, Text, Wrong, read
from mailhost.shapes import DomainSettings
from mailhost.wording import shown

MINE = "mailserver_records"
"""The name of the rows in Salt's mine."""
EVENT = "mailserver/records/wanted"
"""The tag of the event that asks the master to have them published."""

_ROW = Section(
    {
        "name": Key(Domain(underscores=True), "The record's name."),
        "kind": Key(Choice(tuple(KINDS)), "What it is."),
        "ttl": Key(foreign_rows.TTL, "Its TTL."),
        "wanted": Key(Text(), "Its text."),
    }
)
Read = dict[str, str | list[str]]
"""What the text of a record says, as a section of the pillar would say it."""


class PolicyRequest(TypedDict):
    """A policy record as a mail host asks for it."""

    name: str
    kind: str
    ttl: int
    wanted: str | None


def rows(changes: Iterable[Change]) -> list[PolicyRequest]:
    """Return changes as a publisher needs them: plain data, public."""
    return [{"name": one.name, "kind": one.kind, "ttl": one.ttl, "wanted": one.wanted} for one in changes]


def read_rows(given: object, allowed: Mapping[str, Mapping[str, Any] | None]) -> tuple[list[Change], list[str]]:
    """Return the changes that a mail host may ask for, and a sentence for each row that it may not.

    :param allowed: maps the domains whose records it may have published to what its pillar says of them: the sections
        ``spf``, ``dmarc``, ``mta_sts`` and ``tls_rpt``, or ``None`` if that is not known.
    """
    return foreign_rows.read_each(given, lambda row, where: read_row(row, allowed, where))


def read_row(row: object, allowed: Mapping[str, Mapping[str, Any] | None], where: str) -> Change:
    """Return a row as a :class:`mailhost.publish.change.Change` whose zone is not known yet.

    :raises Wrong: it is malformed, of no domain in ``allowed``, at a name that does not fit its kind, or not a record
        as this formula writes it.
    """
    problems: list[str] = []
    found = read(_ROW, row, where, problems)
    if not problems and None in found.values():
        problems.append(f"{where}: name, kind, ttl or wanted is missing")
    if problems:
        raise Wrong("; ".join(problems))
    kind, name, text = KINDS[found["kind"]], found["name"], found["wanted"]
    domain = name.removeprefix(kind.prefix)
    if kind.name_of(domain) != name or domain not in allowed:
        raise Wrong(
            f"{where}: {shown(name)} is not the name of the {kind.label} record of a domain of the host that asks, by "
            "its pillar"
        )
    if not kind.counts(text.encode()) or not is_ours(kind, text, allowed[domain]):
        raise Wrong(f"{where}: {shown(text)} is no {kind.label} record as this formula writes it for {domain}")
    return Change(name, "", found["ttl"], text, kind=kind.label)


def is_ours(kind: PolicyKind, text: str, pillar: Mapping[str, Any] | None = None) -> bool:
    """Tell whether a text is the record that this formula writes for a domain, and that its pillar wants.

    If the pillar is known, it decides, except for what it leaves to the host: the id of an MTA-STS policy, and SPF's
    addresses if it names none.
    """
    if kind.label == "MTA-STS":
        is_wanted = pillar is None or (pillar.get("mta_sts") or {}).get("mode")
        return bool(is_wanted and re.fullmatch(r"v=STSv1; id=[0-9a-f]{20}", text))
    name, reader = _READERS[kind.label]
    problems: list[str] = []
    try:
        section = _section(name, (pillar or {}).get(name), problems)
        if pillar is None:
            section = _section(name, reader(text), problems)
        elif name == "spf" and section["addresses"] is None:
            # If the pillar names all hosts of the domain, their names take the place of addresses.
            said = {} if section["record"] or section["hosts"] else reader(text)
            section["addresses"] = _section(name, said, problems)["addresses"] or []
        if name == "spf":
            section["hosts"] = section["hosts"] or []
    except (ValueError, KeyError):
        return False
    if problems:
        return False
    # Of a domain's settings a kind reads only the TTL and its own section.
    record = kind.make("domain.invalid", cast(DomainSettings, {"ttl": 0, name: section}))
    return record is not None and record.value == text


def _section(name: str, given: object, problems: list[str]) -> Any:
    return read(DOMAIN.keys[name].kind, given, name, problems)


def _spf(text: str) -> Read:
    _, *terms, end = text.split(" ")
    pairs = [term.split(":", 1) for term in terms]
    addresses = [value for mechanism, value in pairs if mechanism in ("ip4", "ip6")]
    hosts = [value for mechanism, value in pairs if mechanism == "a"]
    include = [value for _, value in pairs[len(addresses) + len(hosts) :]]
    return {"addresses": addresses, "hosts": hosts, "include": include, "all": end}


def _dmarc(text: str) -> Read:
    found = tags(text)
    del found["v"]
    return {tag: value.split(",") if tag in ("rua", "ruf") else value for tag, value in found.items()}


def _tls_rpt(text: str) -> Read:
    return {"rua": tags(text)["rua"].split(",")}


_READERS: dict[str, tuple[str, Callable[[str], Read]]] = {
    "SPF": ("spf", _spf),
    "DMARC": ("dmarc", _dmarc),
    "TLS-RPT": ("tls_rpt", _tls_rpt),
}
