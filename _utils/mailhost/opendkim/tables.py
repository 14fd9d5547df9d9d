"""OpenDKIM's tables: who signs for which domain, and the change from some signers to others as one transaction."""

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from mailhost import files as safe_files
from mailhost.errors import CutoverError, ProbeError, WriteError
from mailhost.files import replace_file, sweep, sync_folder

PROBE_LIMIT = 15
PROBED_SENDERS = 20
"""Of how many senders that a domain signs for besides itself a probe is sent, when its signer changes."""


@dataclass(frozen=True)
class Signer:
    """The key that signs for a domain: its selector, and the path of its private key file."""

    selector: str
    path: str


@dataclass(frozen=True)
class Tables:
    """The paths of OpenDKIM's tables.

    The signing table exists twice: with patterns (``*@domain``, read as ``refile:``) and, beside it and with
    ``.domains`` added to its name, with bare domains (read as ``file:``). Both always name the same signers, so that
    OpenDKIM signs the same whichever of them a change of its configuration makes it read.

    ``senders`` are those whose mail another domain signs (:func:`senders_of`); ``foreseen`` the signers that a dry run
    of a highstate would have taken over by now (:mod:`mailhost.takeover.plan`).
    """

    key_table: Path
    signing_table: Path
    senders: dict = field(default_factory=dict)
    foreseen: dict = field(default_factory=dict)

    @property
    def domains_table(self):
        return self.signing_table.with_name(f"{self.signing_table.name}.domains")

    @property
    def all(self):
        return (self.key_table, self.signing_table, self.domains_table)

    @property
    def kept(self):
        """Where the tables that worked are kept while others are tried."""
        return {path: path.with_name(f".{path.name}.worked") for path in self.all}


def tables(key_table, signing_table, domains=None, foreseen=None):
    """Return :class:`Tables` for two paths, and for the settings of the host's domains."""
    return Tables(Path(key_table), Path(signing_table), senders_of(domains or {}), foreseen or {})


def senders_of(domains):
    """Return ``{sender: domain that signs}`` of the senders whose mail a domain other than their own signs.

    A sender is a domain or, with a dot before it, all that lies below one: what OpenDKIM looks for in a ``file:``
    table when the domain itself has no row, the nearest first (opendkim.conf(5), SigningTable).

    :param domains: the settings of the domains; those of an earlier version of the formula lack both keys.
    """
    senders = {}
    for name, domain in domains.items():
        policy = domain["dkim"]
        signs = policy.get("sign_as") or (name if policy["enabled"] else None)
        if policy.get("sign_as"):
            senders[name] = signs
        if policy.get("subdomains") and signs:
            senders[f".{name}"] = signs
    return senders


def key_rows(signers):
    """Return a KeyTable's rows, ``{name of the record: "<domain>:<selector>:<key file>"}``."""
    return {_record(domain, one): f"{domain}:{one.selector}:{one.path}" for domain, one in signers.items()}


def key_table_text(rows):
    """Return the text of a KeyTable: ``<name> <value>`` for each of its rows."""
    return rows_text(sorted(rows.items()))


def rows_text(rows):
    """Return the text of a table of pairs, in the order that they have."""
    return _text(f"{name} {value}" for name, value in rows)


def signing_table_text(names, pattern):
    """Return a SigningTable: ``<pattern> <name of the KeyTable's row>`` for each sender.

    Of patterns the first that fits counts, so the domains come first, and after them what lies below them, the longest
    names before the others.

    :param names: ``{sender: name}`` (:func:`senders_of`).
    :param pattern: ``*@{}`` or ``{}``.
    """
    rows = sorted(names.items(), key=lambda row: (row[0].startswith("."), -row[0].count("."), row[0]))
    return _text(f"{_shown(sender, pattern)} {name}" for sender, name in rows)


def _shown(sender, pattern):
    return pattern.format(f"*{sender}" if sender.startswith(".") and "*" in pattern else sender)


def _record(domain, one):
    return f"{one.selector}._domainkey.{domain}"


def _text(lines):
    head = (
        "# Written by Salt (mailserver/opendkim): which key signs for which domain; salt-call dkim.status shows why.\n"
    )
    return head + "".join(f"{line}\n" for line in lines)


def parse(key_table, signing_table):
    """Return the signers, ``{domain: Signer}``, that a KeyTable and a SigningTable (texts, either form) name.

    Lines that mean something else (a single address, another domain's signature, a KeyTable entry that no line uses)
    are left out.
    """
    return _signers(_keys(key_table), signing_table)


def _signers(keys, signing_table):
    return {domain: keys[name][1] for domain, name in _names(keys, signing_table).items()}


def _keys(key_table):
    """Return ``{name of a row: (domain, Signer)}``."""
    keys = {}
    for name, value in pairs(key_table):
        found = re.fullmatch(r"([^:\s]+):([^:\s]+):(/\S+)", value)
        if found:
            keys[name] = (found[1].lower(), Signer(found[2], found[3]))
    return keys


def _names(keys, signing_table):
    """Return ``{domain: name of the row in keys}``, as a SigningTable has it."""
    names = {}
    for pattern, name in pairs(signing_table):
        domain = pattern.lower().removeprefix("*@")
        if name in keys and keys[name][0] == domain:
            names.setdefault(domain, name)
    return names


def pairs(text):
    """Yield the two words of each row of a table; comments and other lines are left out."""
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if len(words) == 2:
            yield words


def signers_in_force(paths):
    """Return the signers of the tables on disk or, when an earlier change was cut short, of those that worked."""
    kept = paths.kept
    source = kept if is_cut_short(paths) else {path: path for path in paths.all}
    keys = _keys(_read(source[paths.key_table]))
    tables = (paths.signing_table, paths.domains_table)
    patterns, domains = (_signers(keys, _read(source[table])) for table in tables)
    return {**patterns, **domains, **paths.foreseen}


def _senders_in_force(paths):
    """Return ``{sender: domain}`` of the senders that the table of domains on disk has another domain sign for."""
    keys = _keys(_read(paths.key_table))
    rows = ((sender.lower(), keys[name][0]) for sender, name in pairs(_read(paths.domains_table)) if name in keys)
    return {sender: domain for sender, domain in rows if sender != domain}


def named(paths):
    """Return ``{domain: selectors}`` of all that the tables on disk name and, of a change cut short, those kept."""
    found = {}
    for sources in ({path: path for path in paths.all}, paths.kept):
        keys = _keys(_read(sources[paths.key_table]))
        for table in (paths.signing_table, paths.domains_table):
            for domain, signer in _signers(keys, _read(sources[table])).items():
                found.setdefault(domain, set()).add(signer.selector)
    return found


def may_read(paths, key_file):
    """Tell whether OpenDKIM may read a private key file: a KeyTable names it, in whatever form, or there is none."""
    texts = [_read(path) for path in (paths.key_table, paths.kept[paths.key_table])]
    files = {word.rpartition(":")[2] for text in texts for line in text.splitlines() for word in line.split()}
    own = {str(key_file), os.path.realpath(key_file)}
    return not paths.key_table.exists() or not own.isdisjoint({*files, *map(os.path.realpath, files)})


def is_cut_short(paths):
    """Tell whether a change began, and neither its success nor its undoing was completed."""
    return paths.kept[paths.key_table].exists()


def _read(path):
    try:
        # A link is the operator's; a FIFO in place of a table would have the run wait for ever, with the lock held.
        return safe_files.read_text(path.resolve())
    except FileNotFoundError:
        return ""


def ensure_tables(paths):
    """Make the tables that do not exist; a missing form of the signing table is made from the other.

    It names the rows of the key table as the other does, and not as they would be called here: a hand-written table
    calls them as it likes, and a name that the key table lacks would make all mail of the domain wait.

    :return: the paths that were made.
    """
    missing = missing_tables(paths)
    keys = _keys(_read(paths.key_table))
    names = {**_names(keys, _read(paths.signing_table)), **_names(keys, _read(paths.domains_table))}
    texts = {paths.key_table: key_table_text({}), **signing_texts(paths, names)}
    for path in missing:
        replace_file(path, texts[path], 0o644)
    return missing


def missing_tables(paths):
    """Return the paths of the tables that do not exist yet."""
    return [path for path in paths.all if not path.exists()]


def is_written(paths, signers):
    """Tell whether the tables on disk say exactly what ``signers`` wants."""
    return all(_read(path) == text for path, text in _texts(paths, signers).items())


def _texts(paths, signers):
    names = {domain: _record(domain, one) for domain, one in signers.items()}
    return {paths.key_table: key_table_text(key_rows(signers)), **signing_texts(paths, names)}


def signing_texts(paths, names):
    """Return ``{path: text}`` of both signing tables, for ``{domain: name of the KeyTable's row}``."""
    senders = {sender: names[domain] for sender, domain in paths.senders.items() if domain in names}
    names = {**senders, **names}
    return {
        paths.signing_table: signing_table_text(names, "*@{}"),
        paths.domains_table: signing_table_text(names, "{}"),
    }


def cutover(paths, old, new, reload, probe, unproven=()):
    """Put the signers ``new`` in force in place of ``old``: tables, reload, and a probe of every domain that changes.

    A domain whose probe fails goes back to the signer that it had; the others go on. If the reload itself fails, all
    go back. At no moment does the signing table name a key that the key table lacks, and the tables that worked are
    kept on disk until the end, so that a run that was killed is completed or undone by the next.

    :param old, new: ``{domain: Signer}``.
    :param reload: has OpenDKIM read its tables; raises :class:`CutoverError`.
    :param probe: called with (domain, Signer) and, for the first of other senders whose mail the domain signs, the
        domain of the sender; raises :class:`ProbeError` unless a message came back signed, verified.
    :param unproven: domains to probe even though their signer is the same in ``old`` and ``new``.
    :return: ``{domain: message}`` of those that were put back.
    :raises CutoverError: nothing could be changed, and what worked is in force again; or, where the disk fails in the
        middle of it, it is neither done nor undone, which the next call does: old and new tables both work.
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
        _go_back(paths, settled, reload, "; ".join(failed.values()))
    else:
        settled = new
    try:
        _write(_texts(paths, settled))
    except WriteError as err:
        raise CutoverError(f"{err}; the change is in force, but the next run has to finish it") from err
    _forget(paths)
    return failed


def _probed_senders(paths, signers):
    """Return ``{domain: domains of senders}`` to probe besides the domain itself; below one, a name that nobody has."""
    probed = {}
    for sender, domain in paths.senders.items():
        if sender not in signers and len(probed.setdefault(domain, [])) < PROBED_SENDERS:
            probed[domain].append(f"dkim-probe{sender}" if sender.startswith(".") else sender)
    return probed


def _probe_all(domains, signers, probe, senders):
    failed = {}
    for domain in domains:
        try:
            probe(domain, signers[domain])
            for sender in senders.get(domain, ()):
                probe(domain, signers[domain], sender)
        except ProbeError as err:
            failed[domain] = str(err)
    return failed


def _go_back(paths, signers, reload, reason):
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


def _put(paths, signers):
    """Write the tables so that the key table still knows all that it knew: whatever OpenDKIM has in memory or reads
    next, an old signing table or a new one, it finds the keys that are named there.
    """
    known = dict(pairs(_read(paths.key_table)))
    rows = {**known, **key_rows(signers)}
    texts = _texts(paths, signers)
    if rows == known:
        del texts[paths.key_table]
    else:
        texts[paths.key_table] = key_table_text(rows)
    _write(texts)


def _write(texts):
    for path, text in texts.items():
        if _read(path) != text:
            replace_file(path, text, 0o644)


def _keep(paths):
    """Keep copies of the tables that work; those of a run that was cut short are older, and better."""
    if is_cut_short(paths):
        return
    for path in reversed(paths.all):
        replace_file(paths.kept[path], _read(path), 0o644)


def tidy(paths):
    """Delete what killed runs left beside the tables; copies that are kept of all three are needed."""
    sweep(*{path.parent for path in paths.all})
    if not is_cut_short(paths):
        for kept in paths.kept.values():
            kept.unlink(missing_ok=True)


def _forget(paths):
    for kept in paths.kept.values():
        kept.unlink(missing_ok=True)
    sync_folder(paths.key_table.parent)


def patient(probe, limit=PROBE_LIMIT, clock=time.monotonic, pause=time.sleep):
    """Return ``probe``, repeated until it succeeds; all its calls together repeat for ``limit`` seconds at most.

    OpenDKIM takes new tables some moments after its signal, so the first answer may be that of the old ones.
    """
    ends = None

    def repeated(*which):
        nonlocal ends
        ends = ends or clock() + limit
        while True:
            try:
                return probe(*which)
            except ProbeError:
                if clock() >= ends:
                    raise
                pause(0.1)

    return repeated
