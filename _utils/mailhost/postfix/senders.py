"""Which login may send as which address: the rows of Postfix's maps (smtpd_sender_login_maps)."""

import re

from mailhost.postfix.domains import received
from mailhost.shapes import Settings

_MOST_IN_A_LINE = 50
"""Domains in one line. With a line for each of 10,000, every smtpd needed 200 MB, and 30 ms for each sender."""


def of_system(settings: Settings) -> list[str]:
    """Return the lines of a regexp_table(5): a user may send as NAME@ and NAME+anything@ each received domain.

    The first line that matches counts.
    """
    pattern, names, domain_part = _user(settings["postfix"]["delimiter"])
    at_home = [login for name in names for login in (name, f"{name}@{settings['domain']}")]
    own = [f"{name}@{domain_part}" for name in names]
    lines = [
        f"/^{pattern}@({'|'.join(map(_escaped, domains))})$/ {' '.join([*at_home, *own])}"
        for domains in _batches(received(settings))
    ]
    lines.append(f"/^{pattern}@{_escaped(settings['hostname'])}$/ {' '.join(at_home)}")
    for address, logins in of_others(settings).items():
        local, _, domain = address.rpartition("@")
        owners = dict.fromkeys(one for login in logins for one in (login, *_at_home(login, settings["domain"])))
        begins = f"^{_escaped(local)}{_tail(settings['postfix']['delimiter'])}" if local else ""
        lines.append(f"/{begins}@{_escaped(domain)}$/ {' '.join(owners)}")
    return lines


def of_others(settings: Settings) -> dict[str, list[str]]:
    """Return ``{address: logins}`` for domains that the host only sends for; ``@domain`` means the whole domain.

    They have no users; ``opendkim:authors`` names who may write as them. Exact addresses come first, together with the
    logins that may write as the whole domain.
    """
    exact: dict[str, list[str]] = {}
    whole: dict[str, list[str]] = {}
    domains = [name for name, one in settings["domains"].items() if not one["receive"]]
    for login, authors in settings["opendkim"]["authors"].items():
        for author in map(str.lower, authors):
            local, _, its_domain = author.rpartition("@")
            for domain in domains:
                if local and its_domain == domain:
                    exact.setdefault(author, []).append(login.lower())
                elif (
                    author == "*"
                    or its_domain == domain
                    or (its_domain.startswith(".") and domain.endswith(its_domain))
                ):
                    whole.setdefault(f"@{domain}", []).append(login.lower())
    both = {one: [*logins, *whole.get(f"@{one.rpartition('@')[2]}", [])] for one, logins in exact.items()}
    return {address: list(dict.fromkeys(logins)) for address, logins in {**both, **whole}.items()}


def _at_home(login: str, domain: str) -> tuple[str, ...]:
    return () if "@" in login else (f"{login}@{domain}",)


def _user(delimiters: str) -> tuple[str, list[str], str]:
    """Return the pattern of a user's name in an address, the names that it may mean, and what stands for the domain.

    A delimiter that may also be part of a name makes it ambiguous: ``anne-marie`` is that user, or ``anne``.
    """
    if not delimiters:
        return "([^@]+)", ["${1}"], "${2}"
    name = f"([^@{_class(delimiters)}]+){_tail(delimiters)}"
    return (name, ["${1}"], "${3}") if delimiters == "+" else (f"({name})", ["${2}", "${1}"], "${4}")


def _tail(delimiters: str) -> str:
    """Return the pattern for the text that may follow a name."""
    if delimiters == "+":
        return r"(\+[^@]*)?"
    return f"([{_class(delimiters)}][^@]*)?" if delimiters else ""


def _class(delimiters: str) -> str:
    """Return characters in the form for use between brackets: a ``-`` comes last, since it would mean a range."""
    return "".join(sorted(set(delimiters), key=lambda char: (char == "-", char == "^", char)))


def _escaped(text: str) -> str:
    return re.sub(r"([.+*?^${}()|\[\]\\/])", r"\\\1", text)


def _batches(names: list[str]) -> list[list[str]]:
    return [names[at : at + _MOST_IN_A_LINE] for at in range(0, len(names), _MOST_IN_A_LINE)]
