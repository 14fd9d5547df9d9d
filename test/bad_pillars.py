"""Pillars that ask for something impossible: by hand for what keys say together, by the schema for each of them."""

from mailhost.pillar.accounts import Script
from mailhost.pillar.hardening import Network
from mailhost.schema import (
    Address,
    Bool,
    Choice,
    Domain,
    Duration,
    Integer,
    Items,
    Names,
    OneOf,
    PasswordHash,
    Scalars,
    Section,
    Size,
    Text,
)
from pillar_table import REFUSED

INJECTIONS = (
    "a\nsmtpd_relay_restrictions = permit",
    "a\r\nb",
    "a\x00b",
    "a\x1b[2Jb",
    "a\x0b\x0cb",
    "a\x85b",
    "a\u2028b",
    "\n",
)
"""Text that would be several lines in a file, or something else than it looks like on a terminal."""


def nodes(kind, path=()):
    """Yield (path, kind) of each node of the schema; a path goes through mappings by a name that is right."""
    yield path, kind
    if isinstance(kind, Section):
        for name, key in kind.keys.items():
            yield from nodes(key.kind, (*path, name))
    elif isinstance(kind, Names):
        yield from nodes(kind.of, (*path, _name(kind.key)))


def _name(kind):
    """Return a name that a mapping of the schema takes."""
    candidates = ("a.example", "alice", "myorigin", "192.0.2.1", "alice@a.example")
    return next(one for one in candidates if not _is_refused(kind, one))


def _is_refused(kind, value):
    try:
        kind.read(value)
    except ValueError:
        return True
    return False


def at(path, value):
    """Return the pillar that has ``value`` at a path, with a domain, so that nothing else is wrong with it."""
    for name in reversed(path):
        value = {name: value}
    if isinstance(value, dict) and "domains" not in value:
        value = {**value, "domains": {"a.example": {}}}
    return value


def wrongs(kind):
    """Yield what a node of this kind never takes: of another type, out of range, empty, with control characters."""
    if isinstance(kind, Section):
        yield from (["a"], "text", 5, True, {"no_such_key": 1}, {"no\nsuch\x1bkey": 1}, {5: 1})
    elif isinstance(kind, Names):
        yield from (["a"], "text", 5, True)
        yield from ({name: None} for name in (*INJECTIONS, "", None, False) if _is_refused(kind.key, name))
    elif isinstance(kind, Items):
        yield from ("text", 5, True, {"a": 1}, *([[]] if kind.least else []))
        yield from ([one] for one in wrongs(kind.of))
    elif isinstance(kind, OneOf):
        yield from (*INJECTIONS, {"a": {"b": 1}}, [{"a": 1}], [["a"]], [*INJECTIONS[:1]])
    elif isinstance(kind, Scalars):
        yield from ("text", {"a": 1}, [{"a": 1}], [["a"]], *([one] for one in INJECTIONS))
    elif isinstance(kind, Script):
        yield from ({"a": 1}, [["a"]], ["a"], 5, True, "", "\n", *(one for one in INJECTIONS if _is_refused(kind, one)))
    else:
        yield from ({"a": 1}, [["a"]], ["a"], *INJECTIONS, *_out_of_range(kind))


def _out_of_range(kind):
    """Return single values that a node of this kind does not take."""
    if isinstance(kind, Integer):
        return kind.least - 1, kind.most + 1, 1.5, "5", True, float("nan"), float("inf")
    if isinstance(kind, Duration):
        return -1, 1.5, "", "5 years", "-5s", True, 10**30, f"{10**30}w", kind.least - 1
    if isinstance(kind, Choice):
        return "", "no-such-choice", 1.5, *(float(word) for word in kind.words if isinstance(word, int))
    if isinstance(kind, Text) and kind.pattern:
        return tuple(one for one in ("", " ", "*", "\t") if _is_refused(kind, one))
    return _OUT_OF_RANGE.get(type(kind), ())


_OUT_OF_RANGE = {
    Size: (-1, "", "5 XiB", True, 10**30),
    Bool: ("yes", "", 1, 0, 1.0),
    Domain: ("", "example", "-a.example", "a..example", f"{'a' * 64}.example", "192.0.2.1", 5, ".", "a b.example"),
    Address: ("", "192.0.2.256", "2001:db8::g", 10**40, -1, "fe80::1%a\nb", "192.0.2.1/32"),
    Network: ("", "192.0.2.256", "192.0.2.1/24", "192.0.2.0/33", "2001:db8::g", 10**40, -1, "fe80::1%a\nb", True),
    PasswordHash: ("", "secret", 5, "$6$a b", "$6$a:b", "$6$salt$a\x00b"),
}

_ALICE = {"password": "$6$salt$hash"}


def accounts(virtual, users=None, **others):
    """Return a pillar with virtual accounts at one domain."""
    given = {"type": "virtual", "virtual": virtual, **({"users": users} if users else {})}
    return {"domains": {"a.example": {}}, "accounts": given, **others}


BY_HAND = [
    ([], "mailserver: [] is a list"),
    ("text", "mailserver: 'text' is text"),
    ({"domains": {"a.example": []}}, "mailserver:domains:a.example: [] is a list"),
    ({"domains": {"a.example": {}, "b.example": {}}}, "mailserver:domain: not given"),
    ({"domains": {"a.example": {}, "A.Example.": {}}}, "listed twice"),
    ({"domains": {"ü.example": {}, "xn--tda.example": {}}}, "listed twice"),
    ({"domains": {"a.example": {}}, "dkim": {"retention": "6d"}}, "retention: 518400 s is less than 7 days"),
    ({"domains": {"a.example": {"dkim": {"retention": 0}}}}, "less than 7 days"),
    ({"domains": {"a.example": {}}, "dkim": {"selector": "{data}"}}, "is not a selector template"),
    ({"domains": {"a.example": {}}, "dkim": {"selector": "{date"}}, "is not a selector template"),
    ({"dns": {"publish": "rfc2136"}}, "mailserver:dns:rfc2136:server: not given"),
    ({"dns": {"publish": "central"}}, "mailserver:dns:central:publisher: not given"),
    ({"dns": {"publish_records": True}}, "publish_records: true"),
    ({"tls": {"key": "/k.pem"}}, "mailserver:tls:certificate: not given"),
    ({"tls": {"certificate": "/c.pem"}}, "mailserver:tls:key: not given"),
    ({"sasl": {"type": "dovecot"}, "dovecot": {"enabled": False}}, "mailserver:dovecot:enabled is false"),
    ({"reflector": {"address": "check@a.example"}}, "mailserver:reflector:address"),
    ({"reflector": {"address": "check@b.example"}, "domains": {"a.example": {}}}, "did you mean 'a.example'?"),
    ({"reflector": {"address": "postmaster@a.example"}, "domains": {"a.example": {}}}, "mailserver:accounts:aliases"),
    ({"domains": {"a.example": {"mta_sts": {"mode": "enforce"}, "mx": []}}}, "mailserver:domains:a.example:mx"),
    ({"postfix": {"main": {"mynetworks": "10.0.0.1/8"}}}, "has host bits set"),
    ({"postfix": {"main": {"mesage_size_limit": 5}}}, "did you mean 'message_size_limit'?"),
    ({"postfix": {"main": {"no_such_rules": "reject"}}}, "Postfix has no such parameter"),
    ({"postfix": {"main": {"myorigin": ["a\nb = c"]}}}, "mailserver:postfix:main:myorigin"),
    ({"postfix": {"main": {"myorigin\nb": "c"}}}, "mailserver:postfix:main:"),
    ({"postfix": {"submission": {"options": {"smtpd_bogus": 1}}}}, "submission:options:smtpd_bogus"),
    ({"postfix": {"version": "4"}}, "mailserver:postfix:version"),
    ({"opendkim": {"socket": "inet:99999@127.0.0.1"}}, "mailserver:opendkim:socket"),
    ({"opendkim": {"socket": "inet:0@127.0.0.1"}}, "mailserver:opendkim:socket"),
    ({"opendkim": {"socket": "inet:25@127.0.0.1"}}, "mailserver:opendkim:socket"),
    ({"opendkim": {"socket": "inet:10587@127.0.0.1"}}, "mailserver:opendkim:socket"),
    ({"firewalld": {"ports": ["99999/tcp"]}}, "mailserver:firewalld:ports:0"),
    ({"firewalld": {"ports": ["20-10/tcp"]}}, "mailserver:firewalld:ports:0"),
    ({"firewalld": {"ports": ["0/tcp"]}}, "mailserver:firewalld:ports:0"),
    ({"selftest": {"port": 8891}}, "mailserver:opendkim:socket"),
    (accounts({"users": {"alice@a.example": {}}}), "users:alice@a.example:password: not given"),
    (accounts({"users": {"alice@b.example": _ALICE}}), "b.example is not among mailserver:domains"),
    (
        accounts({"users": {"alice@a.example": _ALICE}, "aliases": {"alice@a.example": ["x@b.example"]}}),
        "there already",
    ),
    (accounts({"users": {"alice@a.example": {**_ALICE, "aliases": ["a@b.example"]}}}), "aliases:0: b.example is not"),
    (accounts({"aliases": {"info@a.example": ["alcie@a.example"]}}), "alcie@a.example leads nowhere"),
    (accounts({"aliases": {"info@a.example": ["no+tag@a.example"]}}), "no@a.example leads nowhere"),
    (accounts({"catch_all": {"b.example": "x@b.example"}}), "catch_all:b.example: b.example is not among"),
    (accounts({"users": {"check@a.example": _ALICE}}, reflector={"address": "check@a.example"}), "there already"),
    (accounts({}, sasl={"type": "cyrus"}), "mailserver:sasl:type: cyrus, but"),
    (accounts({}, dovecot={"enabled": False}), "mailserver:dovecot:enabled: false, but"),
    (accounts({}, dovecot={"protocols": ["imap"]}), "mailserver:dovecot:protocols: lmtp is missing"),
    (accounts({}, users={"alice": {}}), "mailserver:accounts:users: given"),
    (accounts({}, hostname="a.example"), "mailserver:domains:a.example: this is mailserver:hostname"),
    (accounts({}, opendkim={"socket": "inet:4190@127.0.0.1"}), "mailserver:accounts:virtual:managesieve"),
    ({"accounts": {"virtual": {"sieve": "keep;"}}}, "mailserver:accounts:virtual:sieve: given"),
    *REFUSED,
]
"""Pillars, and what is said of each."""
