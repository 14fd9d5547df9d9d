"""Central publishing: what a mail host asks for, and what the host with the DNS credential does about it.

The mail host's rows are not trusted. Only key records of the domains that the master's pillar gives it, in exactly the
form that this formula writes, are published. DNS itself says where they lie: that must be below one of these domains or
in a zone of that pillar. A key never replaces another key, and what was published there for another host is left alone.
"""

import base64
import binascii
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

from mailhost.central import foreign_rows
from mailhost.central import owners as central_owners
from mailhost.central.owners import Owners
from mailhost.dkim.records import change_of, oldest_if_needed, wanted_of
from mailhost.dkim.run import OldestQueued, Run
from mailhost.dns import lookup, wildcards
from mailhost.dns.lookup import Answers, Options, Question
from mailhost.publish import change as publish_change
from mailhost.publish import credential as publish_credential
from mailhost.publish import rfc2136
from mailhost.publish.change import Change
from mailhost.records.allowed_names import AllowedNames
from mailhost.records.key import key_record
from mailhost.records.tags import tags
from mailhost.schema import Domain, Items, Key, Section, Text, Wrong, read
from mailhost.shapes import Dns, DnsCentral
from mailhost.wording import shown

MINE = "mailserver_dkim"
"""The name of the rows in Salt's mine."""
EVENT = "mailserver/dkim/wanted"
"""The tag of the event that asks the master to have them published."""

_BYTES = {"rsa": (130, 1100), "ed25519": (32, 32)}
"""Sizes of a public key in bytes: RSA from 1024 bits (RFC 8301 section 3.2) to 8192, Ed25519 (RFC 8463 section 4)."""
_NAME = Text(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\._domainkey\.[A-Za-z0-9.-]+", "the name of a key record")
_ROW = Section(
    {
        "name": Key(_NAME, "The record's name."),
        "ttl": Key(foreign_rows.TTL, "Its TTL."),
        "wanted": Key(Text(), "Its text; null: it is to be gone."),
        "expected": Key(Items(Text()), "Texts of the same key that may be there now.", ()),
    }
)


class KeyRequest(TypedDict):
    """A key record as a mail host asks for it."""

    name: str
    ttl: int
    wanted: str | None
    expected: list[str]


PublishResults = dict[str, list[str]]
"""What came of the records: the names of those ``sent`` and ``already`` there, a sentence for each that was not."""


# ---- on the mail host


def rows(run: Run, names: Iterable[str], oldest_queued: OldestQueued) -> list[KeyRequest]:
    """Return the records at ``names`` (of keys of this host) as a publisher needs them: plain data, public.

    :param oldest_queued: see :func:`mailhost.dkim.check.check_published`.
    :return: ``{"name", "ttl", "wanted", "expected"}`` for each, as in :class:`mailhost.publish.change.Change`.
    """
    asked = set(names)
    domains = sorted({name.partition("._domainkey.")[2] for name in asked})
    manifests = [run.manifest(domain) for domain in domains if domain in run.wanted]
    oldest = oldest_if_needed(run, manifests, oldest_queued)
    wants = [
        (manifest.domain, key, wanted_of(run, manifest.domain, key, oldest))
        for manifest in manifests
        for key in manifest.keys
        if not key.removed
    ]
    changes = [change_of(run, *want) for want in wants if not want[2].left]
    return [
        {"name": one.name, "ttl": one.ttl, "wanted": one.wanted, "expected": list(one.expected)}
        for one in changes
        if one.name in asked
    ]


def ask_publisher(
    salt: Mapping[str, Callable[..., Any]],
    central: DnsCentral,
    mine: str,
    function: str,
    names: Collection[str],
    event: str,
) -> bool:
    """Put records into the mine, where only the publisher may read them, and tell the master that they are waiting.

    :param salt: Salt's execution functions, by their names.
    :param central: the pillar section ``dns:central``.
    :param function: the function that returns the records at ``names``. If there are none, the master is not notified.
    :return: whether the minion passed it on.
    """
    passed_on = salt["mine.send"](
        mine,
        mine_function=function,
        names=list(names),
        allow_tgt=central["publisher"],
        allow_tgt_type=central["publisher_type"],
    )
    if passed_on and names:
        passed_on = salt["event.send"](event, {})
    return bool(passed_on)


# ---- on the host that holds the credential


def publish_rows(
    given: object,
    domains: Collection[str],
    dns: Dns,
    minion: str = "",
    zones: Iterable[str] = (),
    path: Path | None = None,
) -> PublishResults:
    """Publish another host's :func:`rows`; return ``{"sent", "already": names, "refused", "unknown": sentences}``.

    :param domains: the domains whose records it may have published.
    :param dns: the settings of this host's pillar section ``dns``.
    :param minion: its id; ``zones`` are further zones that aliases of its keys may lead to.
    :param path: the file that says for which host a key was published (:mod:`mailhost.central.owners`); ``None`` to
        use no such file.
    :raises PublishError: the credential or that file cannot be read.
    """
    credential = publish_credential.read_credential(dns["rfc2136"])
    options, allowed = lookup.options(dns), AllowedNames(frozenset(domains), frozenset(zones))
    told: PublishResults = {"sent": [], "already": [], "refused": [], "unknown": []}
    changes, told["refused"] = foreign_rows.read_each(given, lambda row, where: read_row(row, domains, where))
    ends = _at_alias_ends(changes, options, allowed, told)
    holding: AbstractContextManager[Owners | None] = central_owners.held(path, minion) if path else nullcontext()
    with holding as owners:
        if owners:
            ends = _of_this_host(ends, owners, allowed, told)
            owners.claim(one.name for one in ends if one.wanted is not None)
        sent = rfc2136.publish(ends, credential, options)
        if owners:
            owners.settle(sent, allowed)
    for one in sent:
        told[one.result].append(one.detail or one.change.name)
    told["unknown"] = foreign_rows.brief(told["unknown"])
    told["refused"] = foreign_rows.brief(told["refused"])
    return told


def _at_alias_ends(
    changes: Sequence[Change], options: Options, allowed: AllowedNames, told: PublishResults
) -> list[Change]:
    """Return the changes at the ends of their aliases, if these may be the host's; report the others."""
    found = _seen(changes, options)
    ends: list[Change] = []
    for change in changes:
        answers = found[change.name]
        end = publish_change.at_alias_end(change, answers)
        refusal = allowed.refusal(change.name, end.name)
        if not answers.zone:
            told["unknown"].append(f"{change.name}: its zone could not be found out: {answers.trouble}")
        elif refusal:
            told["refused"].append(refusal)
        else:
            ends.append(end)
    return ends


def _seen(changes: Iterable[Change], options: Options) -> dict[str, Answers]:
    """Return what DNS shows at the names of changes, without records synthesized from wildcards."""
    questions = {change.name: lookup.Question(change.name.lower(), "TXT") for change in changes}
    if not questions:
        return {}

    def ask(asked: Iterable[Question]) -> dict[Question, Answers]:
        return lookup.ask(asked, options)

    found = wildcards.unmasked(ask(questions.values()), ask)
    return {name: found[question] for name, question in questions.items()}


def _of_this_host(
    changes: Iterable[Change], owners: Owners, allowed: AllowedNames, told: PublishResults
) -> list[Change]:
    """Return the changes at names that no other host has. Beyond its domains, only its own records are replaced."""
    kept: list[Change] = []
    for change in changes:
        if owners.others(change.name):
            told["refused"].append(owners.refusal(change.name))
        elif allowed.is_of_domain(change.name) or owners.has(change.name):
            kept.append(change)
        else:
            kept.append(replace(change, expected=()))
    return kept


def read_row(row: object, domains: Collection[str], where: str) -> Change:
    """Return a row as a :class:`mailhost.publish.change.Change` whose zone is not known yet.

    Its ``expected`` can only narrow what may be replaced, never widen it: a key replaces no other key, a revoked record
    replaces one key, and only a revoked record is removed.

    :raises Wrong: it is malformed, of no domain in ``domains``, or not a key record as this formula writes them.
    """
    problems: list[str] = []
    found = read(_ROW, row, where, problems)
    if not problems and (found["name"] is None or found["ttl"] is None):
        problems.append(f"{where}: name or ttl is missing")
    if problems:
        raise Wrong("; ".join(problems))
    domain = found["name"].lower().partition("._domainkey.")[2]
    if domain not in domains:
        raise Wrong(f"{where}: {shown(domain)} is not among the domains of the host that asks, by its pillar")
    for text in (found["wanted"], *found["expected"]):
        if text is not None and not _is_key_record(text):
            raise Wrong(f"{where}: {shown(text)} is no key record as this formula writes them")
    expected = _replaced(found["wanted"], found["expected"], where)
    return Change(found["name"], "", found["ttl"], found["wanted"], expected)


def _replaced(wanted: str | None, expected: Sequence[str], where: str) -> tuple[str, ...]:
    keys = {text for text in expected if tags(text)["p"]}
    if wanted is None:
        return tuple(text for text in expected if text not in keys)
    if tags(wanted)["p"] and expected:
        raise Wrong(f"{where}: a key would replace another record, which is never done")
    if len(keys) > 1:
        raise Wrong(f"{where}: {len(keys)} keys would be revoked by one record")
    return tuple(expected)


def _is_key_record(text: str) -> bool:
    try:
        found = tags(text)
        same = key_record("", "", found["p"], 0, found["k"]).value
        size = len(base64.b64decode(found["p"], validate=True))
        least, most = _BYTES[found["k"]]
    except (ValueError, KeyError, binascii.Error):
        return False
    return text == same and (not size or least <= size <= most)


def domains_of(names: Iterable[object], underscores: bool = False) -> set[str]:
    """Return the domains of a pillar as in DNS (lower case, A-labels); anything else is left out.

    :param underscores: also accept names of records, which have underscores.
    """
    found = set()
    for name in names:
        try:
            found.add(Domain(underscores=underscores).read(name))
        except Wrong:
            continue
    return found
