"""Who signs with a hand-written OpenDKIM configuration: each rule, whom it is for, and which key it names. Pure.

The signatures of a message are determined as OpenDKIM 2.11 does it (opendkim.c, dkimf_apply_signtable), not by how rows
look: of ``refile:`` patterns the first match counts, in a ``file:`` table lookups have an order, and ``%`` is the
sender's domain.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from mailhost.errors import TakeoverError
from mailhost.takeover.opendkim_conf import (
    DataSet,
    DataSetRow,
    Reader,
    Setting,
    data_set,
    is_true,
    read_text,
    settings_of,
)

NOBODY = "nobody-known-by-this-name"
"""A user and a label that no rule names explicitly, used to ask who signs for all others."""
_HOST = r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"
_ALGORITHMS = ("rsa-sha1", "rsa-sha256", "ed25519-sha256")
_For = Literal["domain", "below", "address", "all", "odd", "never"]
"""For whom a rule is; :class:`Rule` says what each means."""


@dataclass(frozen=True)
class Rule:
    """A row because of which mail is signed.

    ``kind`` says for whom: ``domain`` (``name``), ``below`` (each name below ``name``), ``address``, ``all``, ``odd``
    (none of these) or ``never``. ``key`` is the row of the KeyTable; ``%`` means the sender's domain.
    """

    pattern: str
    where: str
    key: str
    kind: _For
    name: str = ""
    number: int = 0


@dataclass(frozen=True)
class Signature:
    """What a rule signs with for one sender: ``d=``, ``s=``, the key (a path, or its text), and where it is named."""

    rule: Rule
    domain: str
    selector: str
    key: str
    where: str
    algorithm: str = ""


@dataclass
class FoundConfiguration:
    """A configuration that was found: its settings, rules and tables; with a bare ``KeyFile`` it has no tables.

    ``kind`` is that of the SigningTable. ``troubles`` are the parts that cannot be read: their name, and why.
    """

    settings: dict[str, Setting]
    rules: tuple[Rule, ...] = ()
    kind: str = "refile"
    keys: DataSet | None = None
    signing: DataSet | None = None
    troubles: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._by_pattern: dict[str, Rule] = {}
        self._by_domain: dict[str, list[Rule]] = {}
        self._by_name: dict[str, DataSetRow] = {}

    @property
    def signs(self) -> bool:
        """Whether there is a rule by which mail is signed, or an unreadable part that may contain one."""
        return bool(self.rules or self.troubles)

    def index(self) -> "FoundConfiguration":
        """Build the indexes by which rules are found among thousands; return this object."""
        for rule in self.rules:
            self._by_pattern.setdefault(rule.pattern.lower(), rule)
            self._by_domain.setdefault(rule.name if rule.kind == "domain" else "", []).append(rule)
        for row in self.keys.rows if self.keys else ():
            self._by_name.setdefault(row.key, row)
        return self

    def rules_for(self, user: str, domain: str) -> list[Rule]:
        """Return the rules by which mail from ``user@domain`` is signed; several with MultipleSignatures."""
        user, domain = user.lower(), domain.lower()
        if self.kind == "refile":
            rules = [*self._by_domain.get(domain, ()), *self._by_domain.get("", ())]
            hits = [rule for rule in rules if _fits(rule.pattern, f"{user}@{domain}", re.IGNORECASE)]
            hits.sort(key=lambda rule: rule.number)
        else:
            hits = [rule for key in _looked_up(user, domain) if (rule := self._by_pattern.get(key))]
        return hits if is_true(self.settings, "MultipleSignatures") else hits[:1]

    def signature(self, rule: Rule, domain: str) -> Signature:
        """Return the :class:`Signature` that a rule gives mail from a domain.

        :raises TakeoverError: the KeyTable lacks the key that it names, or its row is malformed: the mail waits (451).
        """
        if self.keys is None:
            selector, file = self.settings["selector"], self.settings["keyfile"]
            signs = rule.name if rule.kind == "below" else domain
            return Signature(rule, signs, selector.value, file.value, file.where)
        name = domain if rule.key == "%" else rule.key
        row = self._key_row(self.keys, name)
        if row is None:
            raise TakeoverError(f"it names {name}, which the KeyTable lacks, so that the mail waits (451)")
        parts = [part.strip() for part in row.value.split(":", 2)]
        if len(parts) < 3 or not all(parts):
            raise TakeoverError(f"{row.where}: the row {name} is not domain:selector:key, so that the mail waits (451)")
        key, algorithm = _without_algorithm(parts[2])
        signs = domain if parts[0] == "%" else parts[0].lower()
        key = key.replace("%", signs) if key.startswith("/") else key
        return Signature(rule, signs, parts[1], key, row.where, algorithm)

    def _key_row(self, keys: DataSet, name: str) -> DataSetRow | None:
        if keys.kind != "refile":
            return self._by_name.get(name)
        return next((row for row in keys.rows if _fits(row.key, name)), None)


def _without_algorithm(key: str) -> tuple[str, str]:
    """Return a KeyTable's third field without the fourth one (an algorithm), which OpenDKIM after 2.11 has."""
    path, _, last = key.rpartition(":")
    return (path, last) if path and last in _ALGORITHMS else (key, "")


def _looked_up(user: str, domain: str) -> Iterator[str]:
    """Yield the keys that OpenDKIM looks up in a SigningTable without patterns, in order."""
    parents = [domain[at:] for at, one in enumerate(domain) if one == "."]
    yield from (f"{user}@{domain}", domain)
    for parent in parents:
        yield from (f"{user}@{parent}", parent)
    yield from (f"{user}@*", "*")


def _fits(pattern: str, text: str, flags: int = 0) -> bool:
    """Tell whether a refile: pattern matches; it is an extended regular expression except for ``*``, ``+`` and dot."""
    expression = pattern.replace("+", r"\+").replace(".", r"\.").replace("*", ".*")
    try:
        return re.search(f"^{expression}$", text, flags) is not None
    except re.error:
        return False


def found_in(path: str, read: Reader = read_text, mode: str = "") -> FoundConfiguration:
    """Return the :class:`FoundConfiguration` for a file like opendkim.conf and what it names.

    Parts that cannot be read are in ``troubles``, ``[(name, why)]``.

    :param mode: the mode on the command line, if any: it overrides the file's.
    :raises TakeoverError: opendkim.conf itself cannot be read.
    """
    settings = settings_of(path, read)
    found = FoundConfiguration(settings)
    if "s" not in (mode or getattr(settings.get("mode"), "value", "sv")).lower():
        return found.index()
    if "keytable" in settings:
        _tables(found, read)
    elif "signingtable" not in settings and {"domain", "keyfile", "selector"} <= settings.keys():
        _bare(found, read)
    return found.index()


def _read(found: FoundConfiguration, name: str, read: Reader) -> DataSet | None:
    setting = found.settings[name]
    try:
        return data_set(setting, found.settings, read)
    except TakeoverError as err:
        found.troubles.append((f"{setting.name} {setting.value}", str(err)))
        return None


def _tables(found: FoundConfiguration, read: Reader) -> None:
    if "signingtable" not in found.settings:
        return
    found.keys, found.signing = _read(found, "keytable", read), _read(found, "signingtable", read)
    if found.keys is None or found.signing is None:
        found.keys = found.keys or DataSet("file", "", ())
        return
    found.kind = found.signing.kind
    found.rules = tuple(_rule(row, number, found.kind) for number, row in enumerate(found.signing.rows))


def _rule(row: DataSetRow, number: int, kind: str) -> Rule:
    what, name = _meant(row.key.lower(), kind)
    # After a colon the value has the identity (i=), which does not matter to verifiers.
    return Rule(row.key, row.where, row.value.partition(":")[0].strip(), what, name, number)


def _meant(pattern: str, kind: str) -> tuple[_For, str]:
    """Return ``(kind, name)`` of a :class:`Rule` for its pattern in lower case."""
    if pattern in (("*", "*@*") if kind == "refile" else ("*",)):
        return "all", ""
    if kind == "refile" and "@" not in pattern and "*" not in pattern:
        return "never", ""
    plain = pattern.removeprefix("*@") if kind == "refile" else pattern
    below = "*." if kind == "refile" else "."
    if re.fullmatch(_HOST, plain) and (kind != "refile" or plain != pattern):
        return "domain", plain
    if plain.startswith(below) and re.fullmatch(_HOST, plain.removeprefix(below)):
        return "below", plain.removeprefix(below)
    if re.fullmatch(rf"[A-Za-z0-9._+=-]+@{_HOST}", pattern):
        return "address", pattern
    return ("odd" if kind == "refile" or pattern.endswith("@*") or "@." in pattern else "never"), ""


def _bare(found: FoundConfiguration, read: Reader) -> None:
    """Set the rules of a configuration with one key: its domains and, with SubDomains, the names below them."""
    domains = _read(found, "domain", read)
    if domains is None:
        return
    rows = [DataSetRow(row.key if row.key == "*" else f"*@{row.key}", "", row.where) for row in domains.rows]
    rules = [replace(_rule(row, 0, "refile"), pattern=row.key) for row in rows]
    if is_true(found.settings, "SubDomains"):
        rules += [
            Rule(f"*@*.{rule.name}", rule.where, "", "below", rule.name) for rule in rules if rule.kind == "domain"
        ]
    found.rules = tuple(replace(rule, number=number) for number, rule in enumerate(rules))
