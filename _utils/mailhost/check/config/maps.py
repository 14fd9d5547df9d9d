"""Whether what Postfix's configuration names exists: each table, of whatever type, and each transport."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from mailhost.check.findings import CheckedHost, Finding, Status, ok
from mailhost.check.shared import brief, not_run, together
from mailhost.postfix import fits
from mailhost.postfix import tables as postfix_tables
from mailhost.postfix.lists import expanded

INDEXED = {"hash": ".db", "btree": ".db", "lmdb": ".lmdb", "cdb": ".cdb", "dbm": ".pag", "sdbm": ".pag"}
"""Table types that are compiled from a source file, and the extensions of the files that Postfix reads."""
_SERVERS = frozenset("ldap memcache mongodb mysql nis nisplus pgsql socketmap tcp".split())
_LONGEST = 120


def values(
    main: Iterable[str], effective: Mapping[str, str], options: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the values in main.cf and in the options of master.cf, with references filled in: ``{parameter: text}``.

    :param main: the names of main.cf's parameters; ``effective`` are all parameters with their values filled in.
    :param options: ``{parameter: text}`` from the output of ``postconf -P``.
    """
    whole = {name: effective.get(name, "") for name in main}
    filled = {parameter: expanded(text, effective) for parameter, text in options.items()}
    return whole, {parameter: text if text is not None else options[parameter] for parameter, text in filled.items()}


def maps(host: CheckedHost, texts: Mapping[str, str]) -> list[Finding]:
    """Return whether Postfix can open each table that these values name, and whether it is as new as its source."""
    id, wanted, found, good = "config.postfix.map", "Postfix can open it, and it is up to date", [], []
    for kind, name in postfix_tables.named(texts):
        about = f"{kind}:{name}"[:_LONGEST]
        status, lines = postfix_tables.problem(host.command, kind, name)
        if status is None:
            found.append(
                not_run(
                    id,
                    about,
                    wanted,
                    postfix_tables.words_for(kind, name),
                    host.command(postfix_tables.words_for(kind, name)),
                )
            )
        elif status:
            remedy = f"{_remedy(kind, name)}, then: postfix reload."
            worse: Status = "fail" if status == "fail" else "warn"
            found.append(Finding(id, worse, about, wanted, "; ".join(lines[:2]), remedy))
        elif _is_old(kind, name):
            seen = f"{name} was changed after it was last made"
            found.append(Finding(id, "warn", about, wanted, seen, f"{_remedy(kind, name)}."))
        else:
            good.append(about)
    for parameter, path in postfix_tables.missing_files(texts).items():
        seen = f"{parameter} names it, and there is no such file"
        found.append(Finding(id, "fail", path[:_LONGEST], wanted, seen, f"Make {path}, or take it out of {parameter}."))
    return found + together(id, good, "maps", wanted)


def _remedy(kind: str, name: str) -> str:
    if name.startswith("/etc/aliases"):
        return "Run: newaliases"
    if kind in INDEXED:
        return f"Run: postmap {kind}:{name} (`postconf -m` shows the types that this Postfix has)"
    if kind in _SERVERS:
        return f"Look at {name}, and whether the server that it names answers"
    return f"Look at {name[:_LONGEST]}"


def _is_old(kind: str, name: str) -> bool:
    made = Path(f"{name}{INDEXED.get(kind, '')}")
    try:
        return kind in INDEXED and made.stat().st_mtime < Path(name).stat().st_mtime
    except OSError:  # without a source it cannot be outdated
        return False


def transports(texts: Mapping[str, str], options: Mapping[str, str], rows: str) -> list[Finding]:
    """Return whether master.cf has each transport and service that parameters name; otherwise mail for it waits.

    :param texts: ``{parameter: text}`` of main.cf; ``options`` is that of master.cf (``service/type/parameter``).
    :param rows: the output of ``postconf -M``.
    """
    id, wanted = "config.postfix.transport", "master.cf has what main.cf sends mail through"
    has = {words[0] for words in map(str.split, rows.splitlines()) if len(words) > 7}
    asked = [(name, name, text) for name, text in texts.items()]
    asked += [(parameter, parameter.rpartition("/")[2], text) for parameter, text in options.items()]
    found, good = [], []
    for parameter, name, text in asked:
        missing = {one for _, one in fits.transports({name: text})} - has
        if name.endswith("_service_name") and text and text not in has:
            missing.add(text)
        good += [] if missing else [parameter]
        for one in sorted(missing):
            seen = f"{parameter} = {text[:_LONGEST]}, and master.cf has no {one}"
            remedy = (
                f"Take it out of the pillar (mailserver:postfix:main:{name}), or name one of these: "
                f"{brief(sorted(fits.TRANSPORTS & has), 9)}; then run a highstate."
            )
            found.append(Finding(id, "fail", one, wanted, seen, remedy))
    return found or [ok(id, "master.cf", wanted)]


def limits(effective: Mapping[str, str]) -> list[Finding]:
    """Return whether mailboxes can hold the largest message; ``effective`` are all parameters."""
    id, wanted = "config.postfix.limits", "no mailbox is smaller than a message may be"
    found = []
    for name, (limit, most) in fits.sizes(effective).items():
        seen = f"{name} = {limit}, message_size_limit = {most or '0 (no limit)'}: nothing at all is delivered"
        remedy = f"Take {name} out of mailserver:postfix:main, or make it at least as large, then run a highstate."
        found.append(Finding(id, "fail", name, wanted, seen, remedy))
    return found or [ok(id, "message_size_limit", wanted)]
