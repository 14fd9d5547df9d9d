"""Taking over a hand-made OpenDKIM configuration: it is checked before anything is touched, then keys and tables."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from mailhost import files as safe_files
from mailhost.before import originals
from mailhost.daemons import activation
from mailhost.dkim import keystore
from mailhost.dkim.run import SigningPaths
from mailhost.errors import TakeoverError
from mailhost.files import AnyPath
from mailhost.opendkim import tables as opendkim_tables
from mailhost.opendkim.tables import Signer, Tables
from mailhost.takeover import keys as takeover_keys
from mailhost.takeover.opendkim_conf import DataSet, Reader, read_text, same_path, settings_of
from mailhost.takeover.plan import Plan, WantedHost, plan
from mailhost.takeover.settings import options_of, words_lost
from mailhost.takeover.signers import FoundConfiguration, found_in

OURS = "# Written by Salt (mailserver/opendkim)"
"""The beginning of the first line of a configuration that this formula wrote."""
Change = dict[str, str] | dict[str, dict[str, str]]
"""What Salt reports of a table, ``{"old", "new"}``, or of the key of a domain, ``{selector: {"old", "new"}}``."""


@dataclass(frozen=True)
class Outlook:
    """What was found, the plan for it, and the sentences because of which the run must stop."""

    found: FoundConfiguration
    plan: Plan
    refusals: tuple[str, ...] = ()


def survey(
    config: str, host: WantedHost, paths: SigningPaths, words: Sequence[str] = (), read: Reader = read_text
) -> Outlook | None:
    """Return the :class:`Outlook`; ``None`` if the formula's own configuration is in place.

    :param config: the path of opendkim.conf.
    :param words: the command line that OpenDKIM runs with.
    :raises TakeoverError: a file of settings cannot be read.
    """
    is_there = os.path.exists(config)
    if is_there and _is_ours(config, paths.tables, read):
        return None
    mode = dict(options_of(words)[0]).get("-b", "")
    found = found_in(config, read, mode) if is_there else FoundConfiguration({}).index()
    made = plan(found, host)
    unit = words_lost(words, config, host.opendkim, paths.owner.user, found.signs)
    refusals = [str(loss) for loss in made.losses]
    refusals += [f"OpenDKIM's unit: {why}, restart OpenDKIM, and run again." for why in unit]
    return Outlook(found, made, tuple(refusals))


def _is_ours(config: str, tables: Tables, read: Reader) -> bool:
    """Tell whether the formula wrote a configuration, and nobody made it read other tables since then."""
    if not read(config).startswith(OURS):
        return False
    settings = settings_of(config, read)
    named = {name: settings[name].value.partition(":")[2] for name in ("keytable", "signingtable") if name in settings}
    signing = {str(tables.signing_table), str(tables.domains_table)}
    return named.get("keytable") == str(tables.key_table) and named.get("signingtable") in signing


def signers_of(made: Plan, keys: str) -> dict[str, Signer]:
    """Return who signs for each domain by a plan; the paths are those of the copies."""
    top = Path(keys)
    return {name: Signer(one.selector, f"{top}/{name}/{one.selector}.private") for name, one in made.signers.items()}


def steps(outlook: Outlook, paths: SigningPaths) -> tuple[list[str], dict[Path, str]]:
    """Return what must be written, ``([domain], {path: text})``: keys and tables; both are empty if all is done."""
    made, keys = outlook.plan, paths.keys
    own = takeover_keys.is_own
    copies = [name for name, one in made.signers.items() if not own(keys, name, one.selector)]
    texts = _texts(outlook.found, signers_of(made, keys), paths, bool(made.dropped))
    return copies, {path: text for path, text in texts.items() if _on_disk(path) != text}


def act(outlook: Outlook, paths: SigningPaths, state: AnyPath = activation.STATE) -> tuple[list[str], dict[Path, str]]:
    """Copy the keys, then write the tables that the formula's configuration will read; return what was written.

    Until that configuration is in place, OpenDKIM continues as before: the tables that it reads keep all their rows.
    If a run is cut short, the next one completes it. A table is kept before it is changed, like all originals
    (:mod:`mailhost.before.originals`), below ``state``.
    """
    copies, texts = steps(outlook, paths)
    for name in copies:
        one = outlook.plan.signers[name]
        takeover_keys.put(paths.keys, name, one.selector, one.material, paths.owner)
    originals.keep([str(path) for path in texts], state)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        safe_files.replace_file(path, text, 0o644)
    return copies, texts


def _on_disk(path: Path) -> str:
    return read_text(path) if path.exists() else ""


def _texts(
    found: FoundConfiguration, signers: Mapping[str, Signer], paths: SigningPaths, has_dropped: bool
) -> dict[Path, str]:
    """Return the texts of the tables; none if those on disk are right, or if nothing signs and none is stale."""
    tables = paths.tables
    reads_patterns = _reads(found.signing, tables.signing_table) and found.kind == "refile"
    reads_keys = _reads(found.keys, tables.key_table)
    if reads_patterns and reads_keys and _says(tables, signers) and not has_dropped:
        return {}
    is_new = not keystore.domains_on_disk(paths.keys)
    is_stale = is_new and not found.signs and any(path.exists() for path in tables.all)
    if not (signers or has_dropped or is_stale):
        return {}
    rows, names = _key_rows(found, signers, None if is_new else tables)
    texts = {
        tables.key_table: opendkim_tables.rows_text(rows.items()),
        **opendkim_tables.signing_texts(tables, names),
    }
    if reads_patterns and not reads_keys:
        # It would name rows that the KeyTable elsewhere lacks, and after a reload in between all mail would wait.
        del texts[tables.signing_table]
    elif _reads(found.signing, tables.signing_table) and not reads_patterns:
        texts[tables.signing_table] = _both(found.signing, texts[tables.signing_table])
    if _reads(found.signing, tables.domains_table):
        texts[tables.domains_table] = _both(found.signing, texts[tables.domains_table])
    return texts


def _reads(data: DataSet | None, path: Path) -> TypeGuard[DataSet]:
    return data is not None and bool(data.path) and same_path(data.path, path)


def _says(tables: Tables, signers: Mapping[str, Signer]) -> bool:
    present = opendkim_tables.signers_in_force(tables)
    return all(present.get(name) == one for name, one in signers.items())


def _key_rows(
    found: FoundConfiguration, signers: Mapping[str, Signer], tables: Tables | None
) -> tuple[dict[str, str], dict[str, str]]:
    """Return ``({name: value}, {domain: name})``: all rows that were found, with the path of the copy for copied keys,
    and a row for each signer under a name that has no other meaning there.
    """
    rows = dict(opendkim_tables.pairs(_on_disk(tables.key_table))) if tables else {}
    for row in found.keys.rows if found.keys else ():
        if row.value and len(row.value.split()) == 1:
            rows.setdefault(row.key, _with_copy(row.value, signers))
    names = {}
    for name, value in opendkim_tables.key_rows(signers).items():
        domain = value.partition(":")[0]
        names[domain] = next(one for one in _names(name) if rows.setdefault(one, value) == value)
    return rows, names


def _with_copy(value: str, signers: Mapping[str, Signer]) -> str:
    domain, selector, _ = [*value.split(":", 2), "", ""][:3]
    one = signers.get(domain.lower())
    return f"{domain}:{selector}:{one.path}" if one and one.selector == selector else value


def _names(name: str) -> Iterator[str]:
    """Yield a name for a row, and further names in case it is taken."""
    yield name
    number = 1
    while True:
        yield f"{name}.{number}"
        number += 1


def _both(data: DataSet, text: str) -> str:
    """Return a table's text with all the rows that OpenDKIM now reads there put first."""
    rows = "".join(f"{row.key} {row.value}\n" for row in data.rows)
    head, _, rest = text.partition("\n")
    known = set(rows.splitlines())
    return f"{head}\n{rows}" + "".join(f"{line}\n" for line in rest.splitlines() if line not in known)


def refusal(outlook: Outlook) -> str:
    """Return the text with which a run stops before it touches anything."""
    lines = "\n".join(f"  - {one}" for one in outlook.refusals)
    return (
        "The OpenDKIM configuration on this host signs mail that would go out unsigned, or signed otherwise, by the "
        f"pillar. Nothing of OpenDKIM and Postfix was changed (docs/takeover.md):\n{lines}"
    )


def report(outlook: Outlook, paths: SigningPaths, test: bool) -> tuple[dict[str, Change], list[str]]:
    """Return ``({what: {"old": …, "new": …}}, [sentence])`` for what was, or would be, taken over."""
    verb = "would go on" if test else "goes on"
    changes: dict[str, Change] = {}
    notes = list(outlook.plan.notes)
    for name in sorted(outlook.plan.signers):
        one = outlook.plan.signers[name]
        notes.append(f"{name}: the key {one.selector} of {one.source} {verb} signing.")
    copies, texts = steps(outlook, paths)
    for name in copies:
        one = outlook.plan.signers[name]
        changes[name] = {one.selector: {"old": one.source, "new": f"{paths.keys}/{name}/{one.selector}.private"}}
    changes.update({str(path): {"old": "as it was found", "new": "with the keys taken over"} for path in texts})
    return changes, notes


def checked(outlook: Outlook | None) -> Outlook | None:
    """Return ``outlook``, if the run may continue.

    :raises TakeoverError: a signature would be lost.
    """
    if outlook and outlook.refusals:
        raise TakeoverError(refusal(outlook))
    return outlook
