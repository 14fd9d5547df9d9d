"""The pillar of virtual accounts: mailboxes that are not system users; read, with defaults filled in."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import cast

from mailhost.pillar import Draft
from mailhost.postfix import domains as postfix_domains
from mailhost.schema import (
    HASHES_OF_DOVECOT,
    Bool,
    Choice,
    Domain,
    Items,
    Key,
    Names,
    PasswordHash,
    Section,
    Size,
    Text,
    Wrong,
)
from mailhost.shapes import Settings
from mailhost.wording import did_you_mean, path_in, shown


@dataclass(frozen=True)
class Mailbox:
    """The address of a mailbox or an alias; read in lower case, as Dovecot looks it up."""

    form: str = "an address without + (alice@example.com)"

    def read(self, value: object) -> str:
        text = Text(form=self.form).read(value).lower()
        local, _, domain = text.rpartition("@")
        if not domain.isascii():
            ours = Domain().read(domain)
            raise Wrong(f"{shown(value)}: write its domain as DNS has it: {local}@{ours}")
        if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*@([a-z0-9-]+\.)+[a-z0-9-]+", text):
            raise Wrong(f"{shown(value)} is not {self.form}")
        return text


_MAILBOX = Mailbox()
_RECIPIENT = Text(r"[^\s@,:;|\"<>()]+@[A-Za-z0-9.-]+", "a mail address (alice@example.com)")
_WHERE = "mailserver:accounts:virtual"


@dataclass(frozen=True)
class Script:
    """A Sieve script (RFC 5228); its compiler checks it later, on the host."""

    form: str = "a Sieve script, text of several lines"

    def read(self, value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise Wrong(f"the value is not {self.form}")
        if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", value):
            raise Wrong(f"the value has a control character in it, but {self.form} is wanted")
        return value


_WEAK = ("$1$", "{SSHA}")
"""Hashes that Dovecot 2.4 accepts only if configured to (``auth_allow_weak_schemes``)."""

_USER = Section(
    {
        "password": Key(
            PasswordHash(schemes=HASHES_OF_DOVECOT),
            "Password hash of crypt(3), of a kind that the host's libc knows, or one of Dovecot's with its scheme "
            "(`{ARGON2ID}$argon2id$…`).",
            computed="must be given",
        ),
        "aliases": Key(
            Items(_MAILBOX),
            "More addresses of the user: mail for them arrives here, and the user may send as them.",
            (),
        ),
        "quota": Key(Size(), "Bytes that the mailbox may hold; `0`: no limit.", computed="as `accounts:virtual:quota`"),
        "sieve": Key(
            Script(), "Sieve script for a user who has none of their own yet.", computed="as `accounts:virtual:sieve`"
        ),
        "enabled": Key(
            Bool(), "Let the user log in. With `false` mail still arrives, so that none is sent back.", True
        ),
    }
)

KEYS = {
    "type": Key(
        Choice(("system", "virtual")),
        "Who has a mailbox at the received domains: `system`, the users of the host; `virtual`, those of "
        "`accounts:virtual` alone, who are no users of the host and log in with their full address "
        "(docs/accounts.md).",
        "system",
    ),
    "virtual": Key(
        Section(
            {
                "users": Key(Names(_MAILBOX, _USER), "Mailboxes, by their addresses.", {}),
                "aliases": Key(
                    Names(_MAILBOX, Items(_RECIPIENT, 1)),
                    "Addresses and the recipients of their mail, here or elsewhere. Nobody may send as them.",
                    {},
                ),
                "catch_all": Key(
                    Names(Domain(), _RECIPIENT), "Domains and who gets mail for names in them that do not exist.", {}
                ),
                "quota": Key(Size(), "Bytes that a mailbox may hold; `0`: no limit.", 0),
                "sieve": Key(
                    Script(),
                    "Sieve script for users who have none of their own yet. It is compiled first; one that is wrong is "
                    "refused, and the old one stays.",
                    computed="none: all mail arrives in INBOX",
                ),
                "managesieve": Key(Bool(), "Let users keep their own Sieve scripts (ManageSieve, port 4190).", True),
            }
        ),
        "Virtual accounts, with `type: virtual`.",
    ),
}


def fill(draft: Draft, problems: list[str]) -> None:
    """Fill in what depends on other keys, and append problems.

    Hashes and scripts are checked and then removed: settings are shown and stored, but these belong only in files.
    """
    accounts = draft["accounts"]
    virtual = accounts["virtual"]
    users = virtual["users"]
    hashes = {name: user.pop("password") or "" for name, user in users.items()}
    unknown = [name for name, text in hashes.items() if not text]
    virtual["weak_hashes"] = any(text.startswith(_WEAK) for text in hashes.values())
    for user in accounts["users"].values():
        user["password"] = bool(user["password"])
    for one in (virtual, *users.values()):
        one["sieve"] = bool(one["sieve"])
    for user in users.values():
        user["quota"] = virtual["quota"] if user["quota"] is None else user["quota"]
    settings = cast(Settings, draft)
    if settings["sasl"]["type"] is None:
        settings["sasl"]["type"] = "dovecot" if postfix_domains.is_virtual(settings) else "cyrus"
    if not postfix_domains.is_virtual(settings):
        problems += [
            f"{_WHERE}:{key}: given, but mailserver:accounts:type is not virtual"
            for key in ("users", "aliases", "catch_all", "sieve")
            if virtual[key]
        ]
        return
    problems += [f"{path_in(f'{_WHERE}:users', name)}:password: not given" for name in unknown]
    _check_daemons(settings, problems)
    _check_addresses(settings, problems)


def _check_daemons(settings: Settings, problems: list[str]) -> None:
    virtual = "mailserver:accounts:type is virtual"
    if settings["sasl"]["type"] == "cyrus":
        problems.append(f"mailserver:sasl:type: cyrus, but {virtual}, and only Dovecot knows these passwords")
    if not settings["dovecot"]["enabled"]:
        problems.append(f"mailserver:dovecot:enabled: false, but {virtual}, and Dovecot keeps these mailboxes")
    if "lmtp" not in (settings["dovecot"]["protocols"] or ()):
        problems.append(f"mailserver:dovecot:protocols: lmtp is missing, but {virtual}, and mail arrives by it")
    if settings["accounts"]["users"]:
        problems.append(f"mailserver:accounts:users: given, but {virtual}; list mailboxes in {_WHERE}:users")
    if settings["hostname"] in postfix_domains.received(settings):
        problems.append(
            f"mailserver:domains:{settings['hostname']}: this is mailserver:hostname, too, whose mail is for the "
            f"host's own users, but {virtual}; give the domain receive: false"
        )


def _check_addresses(settings: Settings, problems: list[str]) -> None:
    """Check that each address lies in a received domain and occurs once, and that no alias leads nowhere."""
    virtual, domains = settings["accounts"]["virtual"], postfix_domains.received(settings)
    own = [(f"{_WHERE}:users:{name}", name) for name in virtual["users"]]
    delimiters = settings["postfix"]["delimiter"]
    problems += [
        f"{where}: {name} has a delimiter of mailserver:postfix:main:recipient_delimiter ({delimiters}) in it, and "
        "would get no mail; take another name, or another delimiter"
        for where, name in own
        if _without_extension(name.rpartition("@")[0], delimiters) != name.rpartition("@")[0]
    ]
    for name, user in virtual["users"].items():
        own += [(f"{_WHERE}:users:{name}:aliases:{i}", one) for i, one in enumerate(user["aliases"]) if one]
    own += [(f"{_WHERE}:aliases:{name}", name) for name in virtual["aliases"]]
    if settings["reflector"]["address"]:
        own.append(("mailserver:reflector:address", settings["reflector"]["address"].lower()))
    known: dict[str, str] = {}
    for where, address in own:
        _check_domain(where, address.rpartition("@")[2], domains, problems)
        if address in known:
            problems.append(f"{where}: {address} is there already: {known[address]}")
        known[address] = where
    for domain in virtual["catch_all"]:
        _check_domain(f"{_WHERE}:catch_all:{domain}", domain, domains, problems)
    known.update({f"{name}@{domain}": "" for domain in domains for name in postfix_domains.host_names(settings)})
    targets = [(f"{_WHERE}:catch_all:{domain}", one) for domain, one in virtual["catch_all"].items()]
    for name, recipients in virtual["aliases"].items():
        targets += [(f"{_WHERE}:aliases:{name}:{i}", one) for i, one in enumerate(recipients)]
    for where, target in targets:
        local, _, domain = (target or "").lower().rpartition("@")
        address = f"{_without_extension(local, settings['postfix']['delimiter'])}@{domain}"
        if domain in domains and domain not in virtual["catch_all"] and address not in known:
            problems.append(f"{where}: {address} leads nowhere; {did_you_mean(address, known)}")


def _without_extension(local: str, delimiters: str) -> str:
    return local[: next((at for at, char in enumerate(local) if char in delimiters and at), len(local))]


def _check_domain(where: str, domain: str, domains: Collection[str], problems: list[str]) -> None:
    if domain not in domains:
        near = did_you_mean(domain, domains) if domains else "there is none"
        problems.append(f"{where}: {domain} is not among mailserver:domains with receive: true; {near}")
