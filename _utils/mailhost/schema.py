"""What a pillar value may be: a kind for each, which reads a value or says what is wrong with it."""

import copy
import ipaddress
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, TypeVar

from mailhost.scale import packing
from mailhost.wording import did_you_mean, path_in, plain, shown

_LABEL = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)\Z")
_RECORD_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
"""What would end a line in a file, or do more on a terminal than be read; a tab is a blank."""
_SIZE_UNITS = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_DURATION_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_Domain = TypeVar("_Domain")


class Kind(Protocol):
    """What a value may be: ``form`` says it in words, and ``read`` returns a value in the one form that it has then.

    :class:`Section`, :class:`Names` and :class:`Items` are read by :func:`read` alone, which goes on after a problem.
    """

    @property
    def form(self) -> str: ...

    def read(self, value: Any) -> Any:
        """:raises Wrong: the value is not of this kind."""


class Wrong(ValueError):
    """A value is not of its kind; the message says what it is and what would be right."""


def _written(value: object, form: str) -> str:
    """Return a plain value as text.

    :raises Wrong: it has none: it is nested too deep, or a number of so many digits that Python does not write it.
    """
    try:
        return str(value)
    except (ValueError, RecursionError) as err:
        raise Wrong(f"{shown(value)} is not {form}") from err


def _refuse_lines(text: str, form: str) -> None:
    if control := _CONTROL.search(text):
        what = "a line break" if control[0] in "\n\r" else "a control character"
        raise Wrong(f"{shown(text)} has {what} in it, but {form} on one line is wanted")


def refuse_zone_index(value: object, form: str) -> None:
    """Refuse an address with a zone index (RFC 4007 section 11: ``fe80::1%eth0``), which ipaddress takes.

    :raises Wrong: it has one.
    """
    if "%" in str(value):
        raise Wrong(f"{shown(value)} is not {form}: what follows the % is of one host alone")


@dataclass(frozen=True)
class Text:
    """A string; ``pattern`` (with ``form``, its description) narrows it."""

    pattern: str = ""
    form: str = "text"

    def read(self, value: object) -> str:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise Wrong(f"{shown(value)} is {_type_name(value)}, but {self.form} is wanted")
        text = _written(value, self.form)
        _refuse_lines(text, self.form)
        if self.pattern and not re.fullmatch(self.pattern, text):
            raise Wrong(f"{shown(text)} is not {self.form}")
        return text


@dataclass(frozen=True)
class PasswordHash:
    """A hash of crypt(3), also with the name of its scheme as ``doveadm pw`` prints it: ``{SHA512-CRYPT}$6$…``.

    A value that is none, perhaps the password itself, is never repeated in a message. ``schemes``: those that are no
    hashes of crypt(3), and that only Dovecot knows.
    """

    form: str = "a password hash (openssl passwd -6)"
    schemes: tuple[str, ...] = ()

    def read(self, value: object) -> str:
        text = value if isinstance(value, str) else ""
        found = re.fullmatch(r"(?:\{([A-Z0-9.-]+)\})?((?:\$[0-9a-z]+\$)?[!-9;-~]+)", text)
        if not found or not (found[1] or found[2].startswith("$")):
            raise Wrong(f"the value is not {self.form}; a password itself does not belong in the pillar")
        scheme = (found[1] or ("ARGON2" if found[2].startswith("$argon2") else "CRYPT")).partition(".")[0]
        if scheme in SCHEMES_OF_CRYPT and found[2].startswith("$"):
            return found[2]
        if scheme in SCHEMES_OF_CRYPT:
            raise Wrong(f"the value is not {self.form}: what follows {{{found[1]}}} does not begin with $ (crypt(5))")
        if scheme not in self.schemes:
            known = ", ".join(sorted({*SCHEMES_OF_CRYPT, *self.schemes}))
            raise Wrong(f"the value is not {self.form}: its scheme is {scheme}, and these are known here: {known}")
        return text if found[1] else f"{{{text.split('$')[1].upper()}}}{text}"


SCHEMES_OF_CRYPT = ("CRYPT", "MD5-CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", "BLF-CRYPT")
HASHES_OF_DOVECOT = ("ARGON2", "ARGON2I", "ARGON2ID", "PBKDF2", "SSHA", "SSHA256", "SSHA512")
"""Schemes of Dovecot's that store no password that can be read (``doveadm pw -l``)."""


@dataclass(frozen=True)
class UserName:
    """The name of a user of the system; Postfix looks them up in lower case (local(8))."""

    form: str = "a user name"

    def read(self, value: object) -> str:
        text = Text(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", self.form).read(value)
        if text != text.lower():
            raise Wrong(
                f"{shown(text)} has capitals, and Postfix looks users up in lower case (local(8)), so that no mail "
                f"would arrive; take {text.lower()!r}, or a virtual account"
            )
        return text


@dataclass(frozen=True)
class AliasTarget:
    """Where an alias leads (aliases(5)): a name, an address, a file, or a program with its arguments.

    What begins with ``|`` is read as it has to be in the file: in quotes, if it has blanks or commas.
    """

    form: str = "a recipient"

    def read(self, value: object) -> str:
        text = Text(form=self.form).read(value).strip()
        bare = text[1:-1].replace('\\"', '"') if len(text) > 1 and text[0] == text[-1] == '"' else text
        if bare.startswith("|"):
            if not re.match(r"\|\s*[/\w$]", bare) or "#" in bare:
                raise Wrong(f"{shown(text)} is not a program (|/usr/local/bin/ticket --queue help) without a #")
            quoted = bare.replace("\\", "\\\\").replace('"', '\\"') if re.search(r'[\s,"]', bare) else ""
            return f'"{quoted}"' if quoted else bare
        if not re.fullmatch(r"[^\s,]+", text):
            raise Wrong(f"{shown(text)} is not {self.form}")
        return text


@dataclass(frozen=True)
class Bool:
    """True or false."""

    form: str = "true or false"

    def read(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise Wrong(f"{shown(value)} is {_type_name(value)}, but true or false is wanted")
        return value


@dataclass(frozen=True)
class Integer:
    """A whole number within bounds, both included; ``unit`` is for people."""

    least: int = 0
    most: int = 2**63 - 1
    unit: str = ""

    @property
    def form(self) -> str:
        return f"a whole number{' of ' + self.unit if self.unit else ''}"

    def read(self, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise Wrong(f"{shown(value)} is {_type_name(value)}, but {self.form} is wanted")
        if not self.least <= value <= self.most:
            raise Wrong(f"{shown(value)} is out of range: {self.form} from {self.least} to {self.most} is wanted")
        return value


@dataclass(frozen=True)
class Size:
    """Bytes, as a whole number or with a unit (``50MiB``); read as an integer."""

    form: str = "a number of bytes (10485760, 50MiB)"
    most: int = 2**63 - 1

    def read(self, value: object) -> int:
        found = not isinstance(value, bool) and re.fullmatch(r"([0-9]{1,99}) ?([a-zA-Z]*)", _written(value, self.form))
        if not found or found[2].upper() not in _SIZE_UNITS:
            raise Wrong(f"{shown(value)} is not {self.form}")
        size = int(found[1]) * _SIZE_UNITS[found[2].upper()]
        if size > self.most:
            raise Wrong(f"{shown(value)} is too large: at most {self.most} bytes are wanted")
        return size


@dataclass(frozen=True)
class Duration:
    """A time span, as seconds or with a unit (``72h``, ``14d``); read as an integer number of seconds."""

    least: int = 0
    most: int = 2**31 - 1
    form: str = "a time in seconds or with a unit (90s, 15m, 72h, 14d, 2w)"

    def read(self, value: object) -> int:
        found = not isinstance(value, bool) and re.fullmatch(r"([0-9]{1,99}) ?([smhdw]?)", _written(value, self.form))
        if not found:
            raise Wrong(f"{shown(value)} is not {self.form}")
        seconds = int(found[1]) * _DURATION_UNITS[found[2]]
        if seconds < self.least:
            raise Wrong(f"{shown(value)} is too short: at least {self.least} seconds are wanted")
        if seconds > self.most:
            raise Wrong(f"{shown(value)} is too long: at most {self.most} seconds are wanted")
        return seconds


@dataclass(frozen=True)
class Choice:
    """One of a few words."""

    words: tuple[str | int, ...]

    @property
    def form(self) -> str:
        return "one of " + ", ".join(str(word) for word in self.words)

    def read(self, value: object) -> str | int:
        if isinstance(value, bool):
            value = "yes" if value else "no"
        found = [word for word in self.words if value == word and type(value) is type(word)]
        if not found:
            raise Wrong(f"{shown(value)} is not {self.form}; {did_you_mean(value, self.words)}")
        return found[0]


@dataclass(frozen=True)
class Domain:
    """A domain name of two labels or more (RFC 1035 section 2.3.4); read as lower-case A-labels without a final dot.

    With ``underscores`` it may be the name of a record alone, and not of a host (RFC 8552).
    """

    form: str = "a domain name (example.com)"
    underscores: bool = False

    def read(self, value: object) -> str:
        if not isinstance(value, str):
            raise Wrong(f"{shown(value)} is {_type_name(value)}, but {self.form} is wanted")
        name = _to_a_labels(value.strip().lower().removesuffix("."))
        labels = name.split(".")
        label_form = _RECORD_LABEL if self.underscores else _LABEL
        bad = [label for label in labels if not label_form.match(label)]
        if bad:
            rule = f"1 to 63 letters, digits{', underscores' * self.underscores} or inner hyphens"
            raise Wrong(f"{shown(value)} is not {self.form}: the label {shown(bad[0])} is not {rule}")
        if len(labels) < 2:
            raise Wrong(f"{shown(value)} is not {self.form}: it has a single label")
        if len(name) > 253:
            raise Wrong(f"{shown(value)} is not {self.form}: it has {len(name)} characters, 253 are allowed")
        if labels[-1].isdigit():
            raise Wrong(f"{shown(value)} is not {self.form}: it looks like an IP address")
        return name


@dataclass(frozen=True)
class Address:
    """An IPv4 or IPv6 address; read in its canonical text form."""

    form: str = "an IPv4 or IPv6 address"

    def read(self, value: object) -> str:
        try:
            address = ipaddress.ip_address(_written(value, self.form))
        except ValueError as err:
            raise Wrong(f"{shown(value)} is not {self.form}") from err
        refuse_zone_index(value, self.form)
        return str(address)


@dataclass(frozen=True)
class Items:
    """A list of values of one kind; ``least`` is how many there must be."""

    of: "AnyKind"
    least: int = 0

    @property
    def form(self) -> str:
        return f"a list of {self.of.form}"


@dataclass(frozen=True)
class Scalars:
    """A list of plain values, for a daemon's parameter that takes several."""

    form: str = "a list of plain values"

    def read(self, value: object) -> list[bool | str]:
        if not isinstance(value, (list, tuple)):
            raise Wrong(f"{shown(value)} is not {self.form}")
        return [one if isinstance(one, bool) else Text(form="a plain value").read(one) for one in value]


@dataclass(frozen=True)
class Names:
    """A mapping from names (of kind ``key``) to values (of kind ``of``); ``nullable`` keeps ``null`` as ``None``.

    ``alike``: there may be thousands, of a few kinds; what equal ones are read as is one object.
    """

    key: Kind
    of: "AnyKind"
    nullable: bool = False
    alike: bool = False

    @property
    def form(self) -> str:
        return f"a mapping from {self.key.form} to {self.of.form}"


@dataclass(frozen=True)
class OneOf:
    """A value of the first of several kinds that takes it."""

    kinds: "tuple[AnyKind, ...]"

    @property
    def form(self) -> str:
        return " or ".join(kind.form for kind in self.kinds)

    def read(self, value: Any) -> Any:
        if isinstance(value, str):
            _refuse_lines(value, self.form)
        for kind in self.kinds:
            problems: list[str] = []
            found = read(kind, value, "", problems)
            if not problems:
                return found
        raise Wrong(f"{shown(value)} is not {self.form}")


@dataclass(frozen=True)
class Key:
    """A key of a section: its kind, its default, and one sentence of what it does and what it costs.

    ``computed`` says in words what the default is where it depends on the host or on other keys; the default is then
    ``None`` here. ``null`` in the pillar means the same as leaving the key out.
    """

    kind: "AnyKind"
    doc: str
    default: bool | int | str | tuple[str, ...] | Mapping[str, str] | None = None
    computed: str = ""


@dataclass(frozen=True)
class Section:
    """A mapping with a fixed set of keys."""

    keys: Mapping[str, Key] = field(default_factory=dict)
    form: str = "a mapping"


AnyKind: TypeAlias = Kind | Section | Names | Items


def read(kind: AnyKind, value: Any, where: str, problems: list[str]) -> Any:
    """Read ``value`` as ``kind``; append what is wrong to ``problems``, each with its place (``a:b:c``), and go on."""
    if isinstance(kind, Section):
        return _read_section(kind, value, where, problems)
    if isinstance(kind, Names):
        return _read_names(kind, value, where, problems)
    if isinstance(kind, Items):
        return _read_items(kind, value, where, problems)
    try:
        return kind.read(value)
    except Wrong as err:
        problems.append(f"{where}: {err}")
        return None


def _read_section(section: Section, value: Any, where: str, problems: list[str]) -> dict[str, Any]:
    if value is None:
        value = {}
    if not isinstance(value, dict):
        problems.append(f"{where}: {shown(value)} is {_type_name(value)}, but {section.form} is wanted")
        value = {}
    for name in value:
        if name not in section.keys:
            problems.append(f"{path_in(where, name)}: unknown key; {did_you_mean(name, section.keys)}")
    return {name: _read_key(key, value.get(name), f"{where}:{name}", problems) for name, key in section.keys.items()}


def _read_key(key: Key, value: Any, where: str, problems: list[str]) -> Any:
    if isinstance(key.kind, Section):
        return _read_section(key.kind, value, where, problems)
    if value is None:
        return list(key.default) if isinstance(key.default, tuple) else copy.deepcopy(key.default)
    return read(key.kind, value, where, problems)


def _read_names(names: Names, value: Any, where: str, problems: list[str]) -> dict[str, Any]:
    if not isinstance(value, dict):
        problems.append(f"{where}: {shown(value)} is {_type_name(value)}, but {names.form} is wanted")
        return {}
    result: dict[str, Any] = {}
    spelled: dict[str, object] = {}
    known: dict[bytes | str, Any] = {}
    for name, inner in value.items():
        here = path_in(where, name)
        try:
            known_as = names.key.read(name)
        except Wrong as err:
            problems.append(f"{here}: {err}")
            continue
        if known_as in result:
            problems.append(f"{here}: listed twice: {spelled[known_as]!r} is the same name")
        spelled[known_as] = name
        keep_null = inner is None and names.nullable
        if keep_null:
            result[known_as] = None
        elif names.alike:
            result[known_as] = _read_alike(names.of, inner, here, problems, known)
        else:
            result[known_as] = read(names.of, inner, here, problems)
    return result


def _read_alike(kind: AnyKind, value: Any, where: str, problems: list[str], known: dict[bytes | str, Any]) -> Any:
    """Read a value, unless ``known`` has what an equal one was read as; what is wrong is told of each."""
    try:
        mark = packing.mark(value)
    except (TypeError, ValueError, RecursionError):
        # No plain data, or mappings within themselves: a renderer's, or an anchor of YAML that is used where it is set.
        return read(kind, value, where, problems)
    if mark in known:
        return known[mark]
    before = len(problems)
    found = read(kind, value, where, problems)
    if len(problems) == before:
        known[mark] = found
    return found


def each_kind(domains: Mapping[str, _Domain], problems: Sequence[str]) -> Iterator[tuple[str, _Domain]]:
    """Yield each domain, ``(name, settings)``; of those that have theirs in common, the others only if the first one's
    brought ``problems``."""
    fine = set()
    for name, domain in domains.items():
        if id(domain) not in fine:
            before = len(problems)
            yield name, domain
            if len(problems) == before:
                fine.add(id(domain))


def _read_items(items: Items, value: Any, where: str, problems: list[str]) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        problems.append(f"{where}: {shown(value)} is {_type_name(value)}, but {items.form} is wanted")
        return []
    if len(value) < items.least:
        problems.append(f"{where}: the list has {len(value)} entries, at least {items.least} are wanted")
    return [read(items.of, one, f"{where}:{number}", problems) for number, one in enumerate(value)]


def _to_a_labels(name: str) -> str:
    if name.isascii():
        return name
    import idna  # comes with Salt, which needs it for its own HTTP client

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError as err:
        raise Wrong(f"{shown(name)} is not a domain name: {plain(str(err), 200)}") from err


def _type_name(value: object) -> str:
    for kind, name in (
        (bool, "true or false"),
        (int, "a number"),
        (float, "a number with a fraction"),
        (str, "text"),
        (dict, "a mapping"),
        (list, "a list"),
        (tuple, "a list"),
        (type(None), "nothing"),
    ):
        if isinstance(value, kind):
            return name
    return f"a {type(value).__name__}"
