"""What a hand-made configuration says, and the formula's does not: the settings that a first run would lose. Pure.

A setting counts if it differs from the daemon's default, from what the distribution ships, and from what is to come.
"""

import re
from dataclasses import dataclass

MOST = 60
"""Rows of a list that is to be read."""
_NAME_OF_SECRET = re.compile(
    r"(?i)(pass(wd|word|phrase)?|secret|token|dnpass|credential|nonce)(?!.*(file|maps|path|scheme|db))"
)
_PLAIN_VALUE = re.compile(r"(yes|no|\d+\w*|[/<]\S*|[a-z]+:/\S*|\$\S+|)", re.IGNORECASE)
_SECRETS = (
    (
        re.compile(
            r"(?i)((?:pass(?:wd|word|phrase)?|secret|token|dnpass|pw|api_?key)\w*\s*=\s*)"
            r"(\"[^\"]*\"|'[^']*'|(?:\{[\w.-]+\})?[^\s,}]+)"
        ),
        r"\1***",
    ),
    (re.compile(r"(://[^\s:/@]*:)[^\s/@]+@"), r"\1***@"),
    (re.compile(r"(inline:\s*\{).*?(\})", re.DOTALL), r"\1 *** \2"),
    (re.compile(r"(\{(?:SSHA|SHA|CRYPT|PLAIN|BLF|ARGON)[\w.-]*\})\S+"), r"\1***"),
    (re.compile(r"\$(?:1|2[aby]?|5|6|y|argon2\w*)\$\S+"), "***"),
)


@dataclass(frozen=True)
class Lost:
    """A setting that would go: where it is (``main.cf:12``), what the formula sets instead, and what keeps it."""

    name: str
    value: str
    where: str
    key: str
    now: str = ""

    def __str__(self):
        instead = f"; the formula sets {masked(self.name, self.now)}" if self.now else ""
        return f"{self.name} = {masked(self.name, self.value)} ({self.where}){instead}: {self.key}"


def masked(name, value):
    """Return a value as it may be shown: no password in it, in one line, and not longer than 200 characters."""
    text = " ".join(value.split())
    if _NAME_OF_SECRET.search(name.rpartition("/")[2]) and not _PLAIN_VALUE.fullmatch(text):
        return "***"
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    text = "".join(one if one.isprintable() else "?" for one in text)
    return text if len(text) <= 200 else f"{text[:197]}..."


def same(one, other):
    """Tell whether two values mean the same: lists may be set off by commas or by white space."""
    words = [re.split(r"[,\s]+", value.strip().strip('"')) for value in (one, other)]
    return words[0] == words[1] or one.strip().lower() == other.strip().lower()


def lost(old, new, defaults, where, key):
    """Return the settings of ``old`` that are lost, sorted; all are ``{name: value}``.

    :param defaults: those of the daemon, and of what the distribution ships; values or tuples of them.
    :param where, key: called with a name; return the place of its line, and what keeps the setting.
    """
    found = []
    for name, value in sorted(old.items()):
        known = defaults.get(name, ())
        known = known if isinstance(known, tuple) else (known,)
        coming = new.get(name)
        instead = coming if coming is not None else known[0] if known else None
        if instead is not None and same(value, instead):
            continue
        if not any(same(value, one) for one in known):
            found.append(Lost(name, value, where(name), key(name), coming or ""))
    return found


def parameters(text):
    """Return the settings of a main.cf, or of what ``postconf -n`` prints, ``{name: value}``; the last one counts."""
    found, name = {}, None
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if line[0].isspace() and name:
            found[name] += f" {line.strip()}"
            continue
        name, _, value = (word.strip() for word in line.partition("="))
        found[name] = value
    return found


def services(text):
    """Return the services of a master.cf as ``postconf -M`` prints it, ``{"smtp/inet": columns with the command}``."""
    rows = [line.split(None, 7) for line in text.splitlines() if line.strip() and not line[0].isspace()]
    return {f"{row[0]}/{row[1]}": " ".join(row[2:]).partition(" -o ")[0] for row in rows if len(row) == 8}


def sections(text):
    """Return the settings of what ``doveconf -n`` prints, ``{"service imap/process_limit": value}``."""
    found, stack = {}, []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("}"):
            del stack[-1:]
        elif line.endswith("{"):
            stack.append(line[:-1].strip())
        elif "=" in line and not line.startswith("#"):
            name, _, value = (word.strip() for word in line.partition("="))
            found["/".join([*stack, name])] = value
    return found


def directives(text):
    """Return the settings of an opendkim.conf, ``{name in lower case: (name, value)}``."""
    rows = (line.partition("#")[0].split(None, 1) for line in text.splitlines())
    return {row[0].lower(): (row[0], row[1].strip()) for row in rows if len(row) == 2}


def line_of(pattern, files):
    """Return ``path:line`` of the last line that a pattern finds.

    :param files: ``{path: text}``.
    """
    found = [
        f"{path}:{number}"
        for path, text in files.items()
        for number, line in enumerate(text.splitlines(), 1)
        if re.search(pattern, line)
    ]
    return found[-1] if found else ", ".join(files)


def told(found, what):
    """Return the list as the operator reads it; ``""`` where nothing is lost."""
    if not found:
        return ""
    rows = [f"  {one}" for one in found[:MOST]]
    more = [f"  and {len(found) - MOST} more"] if len(found) > MOST else []
    return "\n".join([f"{len(found)} settings of {what} are not in the pillar, and would be lost:", *rows, *more])
