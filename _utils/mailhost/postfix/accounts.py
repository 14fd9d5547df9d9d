"""Postfix's settings for received domains and virtual accounts: parameters, and the tables that they name."""

from collections.abc import Sized
from typing import Literal

from mailhost.postfix import senders as postfix_senders
from mailhost.postfix.domains import host_names, is_virtual, received
from mailhost.postfix.lists import ParameterValue
from mailhost.shapes import Settings

LMTP, QUOTA = "private/dovecot-lmtp", "private/quota-status"
"""Dovecot's sockets, in Postfix's queue folder."""
QUOTA_CHECK = f"check_policy_service unix:{QUOTA}"
DOMAINS, MAILBOXES, ALIASES, SENDERS = (
    f"/etc/postfix/mailserver_{name}" for name in ("domains", "mailboxes", "aliases", "senders")
)
MOST_LISTED = 100
"""Up to so many received domains are a list in main.cf, which Postfix reads from top to bottom for each address; more
than that go into a table."""


def local_domains(settings: Settings) -> list[str]:
    """Return the received domains whose mail is for system users."""
    return [] if is_virtual(settings) else received(settings)


def is_long(domains: Sized) -> bool:
    """Tell whether these are too many domains for a list in main.cf."""
    return len(domains) > MOST_LISTED


def local_list(settings: Settings) -> list[str]:
    """Return the value by which a Postfix parameter names the received domains whose mail is for system users."""
    return domain_list(settings) if local_domains(settings) else []


def domain_list(settings: Settings) -> list[str]:
    """Return the value by which a Postfix parameter names the received domains."""
    domains = received(settings)
    return [f"texthash:{DOMAINS}"] if is_long(domains) else domains


def parameters(settings: Settings) -> dict[str, ParameterValue]:
    """Return the parameters of main.cf for virtual accounts; none for system users.

    Whether a mailbox is full is checked before mail is accepted: later it would have to be bounced to a sender address
    that may be forged. If Dovecot is away, mail is still accepted, since LMTP defers what does not fit.
    A name without a domain, as in /etc/aliases, belongs to a system user, and so to the host's own name.
    """
    if not is_virtual(settings):
        return {}
    permitted = ["permit_mynetworks", "permit_sasl_authenticated", "reject_unauth_destination"]
    return {
        "myorigin": "$myhostname",
        "virtual_mailbox_domains": domain_list(settings),
        "virtual_mailbox_maps": f"texthash:{MAILBOXES}",
        "virtual_alias_maps": f"texthash:{ALIASES}",
        "virtual_transport": f"lmtp:unix:{LMTP}",
        "smtpd_sender_login_maps": f"texthash:{SENDERS}",
        "smtpd_recipient_restrictions": [*permitted, QUOTA_CHECK],
        "smtpd_policy_service_default_action": "DUNNO",
    }


def needed_tables(settings: Settings) -> dict[str, list[str]]:
    """Return, by parameter, the tables that virtual accounts need to receive and send mail."""
    if not is_virtual(settings):
        return {}
    return {
        "virtual_mailbox_domains": domain_list(settings),
        "virtual_mailbox_maps": [f"texthash:{MAILBOXES}"],
        "virtual_alias_maps": [f"texthash:{ALIASES}"],
        "smtpd_sender_login_maps": [f"texthash:{SENDERS}"],
    }


def tables(settings: Settings) -> dict[str, list[str]]:
    """Return the lines of the tables by their paths."""
    rows: dict[str, dict[str, str]] = {}
    domains = received(settings)
    if is_long(domains):
        rows[DOMAINS] = dict.fromkeys(domains, "x")
    if is_virtual(settings):
        rows[MAILBOXES] = dict.fromkeys(_mailboxes(settings), "x")
        others = {one: ", ".join(logins) for one, logins in postfix_senders.of_others(settings).items()}
        rows[ALIASES], rows[SENDERS] = _aliases(settings), {**senders(settings), **others}
    return {path: [f"{name} {value}" for name, value in found.items()] for path, found in rows.items()}


def _mailboxes(settings: Settings) -> list[str]:
    others = (settings["reflector"]["address"], _probe(settings, "mailbox"))
    return [*settings["accounts"]["virtual"]["users"], *filter(None, others)]


def _probe(settings: Settings, name: Literal["mailbox", "mailbox_alias"]) -> str | None:
    """Return one of the formula's own addresses (:mod:`mailhost.selftest.recipients`), or ``None``."""
    found = settings.get("delivery")
    return found[name] if found else None


def _aliases(settings: Settings) -> dict[str, str]:
    """Return where mail goes: the host's own aliases apply in each domain, unless somebody has the address."""
    virtual = settings["accounts"]["virtual"]
    host = {
        f"{name}@{one}": f"{name}@{settings['hostname']}" for one in received(settings) for name in host_names(settings)
    }
    # Postfix looks up a catch-all before it looks up mailboxes, so each mailbox must lead to itself.
    caught = {name: name for name in _mailboxes(settings) if name.rpartition("@")[2] in virtual["catch_all"]}
    given = {name: ", ".join(recipients) for name, recipients in virtual["aliases"].items()}
    own = {alias: name for name, user in virtual["users"].items() for alias in user["aliases"]}
    catch_all = {f"@{domain}": recipient for domain, recipient in virtual["catch_all"].items()}
    free = {name: target for name, target in host.items() if name not in virtual["users"]}
    probe, alias = _probe(settings, "mailbox"), _probe(settings, "mailbox_alias")
    probed = {alias: probe} if probe and alias else {}
    return {**free, **caught, **probed, **given, **own, **catch_all}


def senders(settings: Settings) -> dict[str, str]:
    """Return which login may send as which address: a user as each of their own, and with +anything added."""
    users = settings["accounts"]["virtual"]["users"]
    return {address: name for name, user in users.items() for address in (name, *user["aliases"])}
