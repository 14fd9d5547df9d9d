"""OpenDKIM's tables: who signs for which domain, and changing the signers as one transaction."""

import os
import re
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ParamSpec, Protocol, TypeAlias

from mailhost import files as safe_files
from mailhost.errors import CutoverError, ProbeError, WriteError
from mailhost.files import AnyPath, replace_file, sweep, sync_folder
from mailhost.shapes import DomainSettings

_P = ParamSpec("_P")

PROBE_LIMIT = 15
PROBED_SENDERS = 20
"""How many further senders that a domain signs for are probed when its signer changes."""


@dataclass(frozen=True)
class Signer:
    """The key that signs for a domain: its selector, and the path of its private key file."""

    selector: str
    path: str


_Keys: TypeAlias = dict[str, tuple[str, Signer]]
"""The rows of a KeyTable: by its name, each row's domain and signer."""


class Prove(Protocol):
    """Checks that a signer signs for a domain or, where it is given, for a sender that the domain signs for."""

    def __call__(self, domain: str, signer: Signer, sender: str = ..., /) -> None: ...


@dataclass(frozen=True)
class Tables:
    """The paths of OpenDKIM's tables.

    The signing table exists twice: with patterns (``*@domain``, read as ``refile:``) and, beside it with ``.domains``
    added to its name, with bare domains (read as ``file:``). Both always name the same signers, so that OpenDKIM signs
    the same with either of them.

    ``senders`` are those whose mail another domain signs (:func:`senders_of`). ``foreseen`` are the signers that the
    dry run of a highstate would have taken over so far (:mod:`mailhost.takeover.plan`).
    """

    key_table: Path
    signing_table: Path
    senders: Mapping[str, str] = field(default_factory=dict)
    foreseen: Mapping[str, Signer] = field(default_factory=dict)

    @property
    def domains_table(self) -> Path:
        return self.signing_table.with_name(f"{self.signing_table.name}.domains")

    @property
    def all(self) -> tuple[Path, ...]:
        return (self.key_table, self.signing_table, self.domains_table)

    @property
    def kept(self) -> dict[Path, Path]:
        """Where the working tables are kept while others are tried."""
        return {path: path.with_name(f".{path.name}.worked") for path in self.all}


def tables(
    key_table: AnyPath,
    signing_table: AnyPath,
    domains: Mapping[str, DomainSettings] | None = None,
    foreseen: Mapping[str, Signer] | None = None,
) -> Tables:
    """Return :class:`Tables` for two paths and the settings of the host's domains."""
    return Tables(Path(key_table), Path(signing_table), senders_of(domains or {}), foreseen or {})


def senders_of(domains: Mapping[str, DomainSettings]) -> dict[str, str]:
    """Return ``{sender: domain that signs}`` for senders whose mail another domain signs.

    A sender is a domain or, with a dot before it, everything below one: the keys that OpenDKIM tries in a ``file:``
    table when the domain itself has no row, the nearest first (opendkim.conf(5), SigningTable).

    :param domains: the settings of the domains; in those of an earlier version of the formula both keys are missing.
    """
    senders = {}
    for name, domain in domains.items():
        policy = domain["dkim"]
        other = policy.get("sign_as")
        signs = other or (name if policy["enabled"] else None)
        if other:
            senders[name] = other
        if policy.get("subdomains") and signs:
            senders[f".{name}"] = signs
    return senders


def key_rows(signers: Mapping[str, Signer]) -> dict[str, str]:
    """Return the rows of a KeyTable, ``{name of the record: "<domain>:<selector>:<key file>"}``."""
    return {_record(domain, one): f"{domain}:{one.selector}:{one.path}" for domain, one in signers.items()}


def key_table_text(rows: Mapping[str, str]) -> str:
    """Return the text of a KeyTable: ``<name> <value>`` for each of its rows."""
    return rows_text(sorted(rows.items()))


def rows_text(rows: Iterable[tuple[str, str]]) -> str:
    """Return the text of a table of pairs, in their order."""
    return _text(f"{name} {value}" for name, value in rows)


def signing_table_text(names: Mapping[str, str], pattern: str) -> str:
    """Return a SigningTable: ``<pattern> <name of the KeyTable's row>`` for each sender.

    Of the patterns the first match counts, so domains come first. The names below them follow, longer ones before
    shorter ones.

    :param names: ``{sender: name}`` (:func:`senders_of`).
    :param pattern: ``*@{}`` or ``{}``.
    """
    rows = sorted(names.items(), key=lambda row: (row[0].startswith("."), -row[0].count("."), row[0]))
    return _text(f"{_shown(sender, pattern)} {name}" for sender, name in rows)


def _shown(sender: str, pattern: str) -> str:
    return pattern.format(f"*{sender}" if sender.startswith(".") and "*" in pattern else sender)


def _record(domain: str, one: Signer) -> str:
    return f"{one.selector}._domainkey.{domain}"


def _text(lines: Iterable[str]) -> str:
    head = (
        "# Written by Salt (mailserver/opendkim): which key signs for which domain; salt-call dkim.status shows why.\n"
    )
    return head + "".join(f"{line}\n" for line in lines)


def parse(key_table: str, signing_table: str) -> dict[str, Signer]:
    """Return the signers, ``{domain: Signer}``, named by a KeyTable and a SigningTable (texts, either form).

    Lines with another meaning (a single address, another domain's signature, a KeyTable row that no line uses) are
    left out.
    """
    return _signers(_keys(key_table), signing_table)


def _signers(keys: _Keys, signing_table: str) -> dict[str, Signer]:
    return {domain: keys[name][1] for domain, name in _names(keys, signing_table).items()}


def _keys(key_table: str) -> _Keys:
    """Return ``{name of a row: (domain, Signer)}``."""
    keys = {}
    for name, value in pairs(key_table):
        found = re.fullmatch(r"([^:\s]+):([^:\s]+):(/\S+)", value)
        if found:
            keys[name] = (found[1].lower(), Signer(found[2], found[3]))
    return keys


def _names(keys: _Keys, signing_table: str) -> dict[str, str]:
    """Return ``{domain: name of the row in keys}`` for a SigningTable."""
    names: dict[str, str] = {}
    for pattern, name in pairs(signing_table):
        domain = pattern.lower().removeprefix("*@")
        if name in keys and keys[name][0] == domain:
            names.setdefault(domain, name)
    return names


def pairs(text: str) -> Iterator[tuple[str, str]]:
    """Yield the two words of each row of a table; comments and other lines are skipped."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) == 2:
            yield words[0], words[1]


def signers_in_force(paths: Tables) -> dict[str, Signer]:
    """Return the signers of the tables on disk or, if an earlier change was cut short, of the kept working tables."""
    kept = paths.kept
    source = kept if is_cut_short(paths) else {path: path for path in paths.all}
    keys = _keys(_read(source[paths.key_table]))
    tables = (paths.signing_table, paths.domains_table)
    patterns, domains = (_signers(keys, _read(source[table])) for table in tables)
    return {**patterns, **domains, **paths.foreseen}


def _senders_in_force(paths: Tables) -> dict[str, str]:
    """Return ``{sender: domain}`` for senders that another domain signs for in the table of domains on disk."""
    keys = _keys(_read(paths.key_table))
    rows = ((sender.lower(), keys[name][0]) for sender, name in pairs(_read(paths.domains_table)) if name in keys)
    return {sender: domain for sender, domain in rows if sender != domain}


def named(paths: Tables) -> dict[str, set[str]]:
    """Return ``{domain: selectors}`` of the tables on disk and, if a change was cut short, of the kept ones."""
    found: dict[str, set[str]] = {}
    for sources in ({path: path for path in paths.all}, paths.kept):
        keys = _keys(_read(sources[paths.key_table]))
        for table in (paths.signing_table, paths.domains_table):
            for domain, signer in _signers(keys, _read(sources[table])).items():
                found.setdefault(domain, set()).add(signer.selector)
    return found


def may_read(paths: Tables, key_file: AnyPath) -> bool:
    """Tell whether OpenDKIM may read a private key file: a KeyTable names it in some form, or there is no KeyTable."""
    texts = [_read(path) for path in (paths.key_table, paths.kept[paths.key_table])]
    files = {word.rpartition(":")[2] for text in texts for line in text.splitlines() for word in line.split()}
    own = {str(key_file), os.path.realpath(key_file)}
    return not paths.key_table.exists() or not own.isdisjoint({*files, *map(os.path.realpath, files)})


def is_cut_short(paths: Tables) -> bool:
    """Tell whether a change began and neither its success nor its rollback was completed."""
    return paths.kept[paths.key_table].exists()


def _read(path: Path) -> str:
    try:
        # A symbolic link is the operator's. A FIFO in place of a table would block the run with the lock held.
        return safe_files.read_text(path.resolve())
    except FileNotFoundError:
        return ""


def ensure_tables(paths: Tables) -> list[Path]:
    """Make the tables that do not exist; a missing form of the signing table is made from the other one.

    The new form names the rows of the key table as the other form does. A hand-written table may use any names, and
    with a name that the key table lacks OpenDKIM would defer all mail of the domain.

    :return: the paths that were made.
    """
    missing = missing_tables(paths)
    keys = _keys(_read(paths.key_table))
    names = {**_names(keys, _read(paths.signing_table)), **_names(keys, _read(paths.domains_table))}
    texts = {paths.key_table: key_table_text({}), **signing_texts(paths, names)}
    for path in missing:
        replace_file(path, texts[path], 0o644)
    return missing


def missing_tables(paths: Tables) -> list[Path]:
    """Return the paths of the tables that do not exist yet."""
    return [path for path in paths.all if not path.exists()]


def is_written(paths: Tables, signers: Mapping[str, Signer]) -> bool:
    """Tell whether the tables on disk have exactly the content that ``signers`` wants."""
    return all(_read(path) == text for path, text in _texts(paths, signers).items())


def _texts(paths: Tables, signers: Mapping[str, Signer]) -> dict[Path, str]:
    names = {domain: _record(domain, one) for domain, one in signers.items()}
    return {paths.key_table: key_table_text(key_rows(signers)), **signing_texts(paths, names)}


def signing_texts(paths: Tables, names: Mapping[str, str]) -> dict[Path, str]:
    """Return ``{path: text}`` of both signing tables, given ``{domain: name of the KeyTable's row}``."""
    senders = {sender: names[domain] for sender, domain in paths.senders.items() if domain in names}
    both = {**senders, **names}
    return {
        paths.signing_table: signing_table_text(both, "*@{}"),
        paths.domains_table: signing_table_text(both, "{}"),
    }


def cutover(
    paths: Tables,
    old: Mapping[str, Signer],
    new: Mapping[str, Signer],
    reload: Callable[[], object],
    probe: Prove,
    unproven: Container[str] = (),
) -> dict[str, str]:
    """Replace the signers ``old`` by ``new``: write tables, reload, and probe each domain that changes.

    A domain whose probe fails is rolled back to its old signer and senders; the others continue. If the reload itself
    fails, all are rolled back. The signing table never names a key that the key table lacks. The working tables are
    kept on disk until the end, so that the next run can complete or roll back a run that was killed.

    :param old, new: ``{domain: Signer}``.
    :param reload: makes OpenDKIM read its tables; raises :class:`CutoverError`.
    :param probe: called with (domain, Signer) and, for the first of the further senders that the domain signs for,
        also with the sender's domain. It raises :class:`ProbeError` unless a message came back signed and verified.
    :param unproven: domains to probe even though their signer is the same in ``old`` and ``new``.
    :return: ``{domain: message}`` of those that were rolled back.
    :raises CutoverError: nothing could be changed, and the working tables are active again. Or the disk failed in the
        middle, and the next call completes or rolls back the change; both old and new tables work until then.
    """
    try:
        ensure_tables(paths)
        _keep(paths)
    except WriteError as err:
        raise CutoverError(f"{err}; the keys that signed before go on signing") from err
    known = _senders_in_force(paths)
    try:
        _put(paths, new)
        reload()
    except (CutoverError, WriteError) as err:
        _go_back(paths, old, reload, err)
        _forget(paths)
        raise CutoverError(f"{err}; the keys that signed before go on signing") from err
    other = {domain for sender, domain in paths.senders.items() if known.get(sender) != domain}
    to_prove = [domain for domain in new if new[domain] != old.get(domain) or domain in unproven or domain in other]
    failed = _probe_all(to_prove, new, probe, _probed_senders(paths, new))
    if failed:
        settled = {domain: signer for domain, signer in new.items() if domain not in failed}
        settled.update({domain: old[domain] for domain in failed if domain in old})
        paths = replace(paths, senders=_senders_back(paths.senders, known, failed))
        _go_back(paths, settled, reload, "; ".join(failed.values()))
    else:
        settled = dict(new)
    try:
        _write(_texts(paths, settled))
    except WriteError as err:
        raise CutoverError(f"{err}; the change is active, but the next run has to finish it") from err
    _forget(paths)
    return failed


def _senders_back(new: Mapping[str, str], old: Mapping[str, str], failed: Container[str]) -> dict[str, str]:
    """Return the senders that other domains sign for; for those domains whose probe failed, the senders of before."""
    kept = {sender: domain for sender, domain in new.items() if domain not in failed}
    return {**kept, **{sender: domain for sender, domain in old.items() if domain in failed}}


def _probed_senders(paths: Tables, signers: Container[str]) -> dict[str, list[str]]:
    """Return ``{domain: domains of senders}`` to probe besides the domain itself; below a domain, an unused name."""
    probed: dict[str, list[str]] = {}
    for sender, domain in paths.senders.items():
        if sender not in signers and len(probed.setdefault(domain, [])) < PROBED_SENDERS:
            probed[domain].append(f"dkim-probe{sender}" if sender.startswith(".") else sender)
    return probed


def _probe_all(
    domains: Iterable[str], signers: Mapping[str, Signer], probe: Prove, senders: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    failed = {}
    for domain in domains:
        try:
            probe(domain, signers[domain])
            for sender in senders.get(domain, ()):
                probe(domain, signers[domain], sender)
        except ProbeError as err:
            failed[domain] = str(err)
    return failed


def _go_back(
    paths: Tables, signers: Mapping[str, Signer], reload: Callable[[], object], reason: str | Exception
) -> None:
    try:
        _put(paths, signers)
    except WriteError as err:
        raise CutoverError(f"{reason}; the tables that worked could not be put back: {err}") from err
    try:
        reload()
    except CutoverError as err:
        raise CutoverError(
            f"{reason}; the tables that worked are back in place, but OpenDKIM did not take them: {err}"
        ) from err


def _put(paths: Tables, signers: Mapping[str, Signer]) -> None:
    """Write the tables with a key table that still has all its old rows. Whichever signing table OpenDKIM has in
    memory or reads next, old or new, the keys that it names are found.
    """
    known = dict(pairs(_read(paths.key_table)))
    rows = {**known, **key_rows(signers)}
    texts = _texts(paths, signers)
    if rows == known:
        del texts[paths.key_table]
    else:
        texts[paths.key_table] = key_table_text(rows)
    _write(texts)


def _write(texts: Mapping[Path, str]) -> None:
    for path, text in texts.items():
        if _read(path) != text:
            replace_file(path, text, 0o644)


def _keep(paths: Tables) -> None:
    """Keep copies of the working tables; copies of a run that was cut short are older, and known to work."""
    if is_cut_short(paths):
        return
    for path in reversed(paths.all):
        replace_file(paths.kept[path], _read(path), 0o644)


def tidy(paths: Tables) -> None:
    """Delete files that killed runs left beside the tables. Kept copies are needed as long as a change is cut short."""
    sweep(*{path.parent for path in paths.all})
    if not is_cut_short(paths):
        for kept in paths.kept.values():
            kept.unlink(missing_ok=True)


def _forget(paths: Tables) -> None:
    for kept in paths.kept.values():
        kept.unlink(missing_ok=True)
    sync_folder(paths.key_table.parent)


def patient(
    probe: Callable[_P, None],
    limit: float = PROBE_LIMIT,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], object] = time.sleep,
) -> Callable[_P, None]:
    """Return ``probe``, repeated until it succeeds; all its calls together repeat for at most ``limit`` seconds.

    OpenDKIM takes new tables some moments after its signal, so the first answers may come from the old ones.
    """
    ends: float | None = None

    def repeated(*which: _P.args, **more: _P.kwargs) -> None:
        nonlocal ends
        ends = ends or clock() + limit
        while True:
            try:
                return probe(*which, **more)
            except ProbeError:
                if clock() >= ends:
                    raise
                pause(0.1)

    return repeated
