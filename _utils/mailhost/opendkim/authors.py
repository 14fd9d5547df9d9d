"""Whose signature a message may get: the rules of OpenDKIM's script (authors.lua), and the table that it reads.

A row is ``LOGIN AUTHOR``, in lower case and sorted by bytes, which the script relies on. An author is an address,
``@domain``, ``@.domain`` (all names below it) or ``*``. ``= @domain`` says that a system user NAME may write as
NAME@domain, like smtpd_sender_login_maps for the envelope. ``LOGIN NAME`` says that LOGIN receives the mail of the
alias NAME.
"""

from collections.abc import Container

from mailhost.opendkim.milter import PROBE
from mailhost.postfix import accounts as postfix_accounts
from mailhost.postfix import needs
from mailhost.postfix.domains import is_virtual, received
from mailhost.shapes import Authors, PostfixSubmission, Settings

NAMES = {"local": needs.LOCAL, "logins": needs.LOGINS, "probe": PROBE}

_MAPS, _SENDERS = "smtpd_sender_login_maps", "smtpd_sender_restrictions"
_BINDING = "reject_sender_login_mismatch"


def settled(settings: Settings) -> Authors | None:
    """Return ``rules`` and ``rows`` of the script, before main.cf is computed; ``None`` if OpenDKIM runs no script.

    It cannot run one without Lua. A ``SetupPolicyScript`` of the operator's replaces it.
    """
    opendkim, given = settings["opendkim"], settings["postfix"]["main"]
    has_lua = settings["os"].get("opendkim", {}).get("lua", True)
    if (
        not opendkim["enabled"]
        or "s" not in opendkim["mode"]
        or "SetupPolicyScript" in opendkim["settings"]
        or not has_lua
    ):
        return None
    return {"rules": rules(settings, given), "rows": lines(settings, given), "names": NAMES}


def lines(settings: Settings, given: Container[str]) -> list[str]:
    """Return the table's rows.

    :param given: the pillar's ``postfix:main``. This code cannot read a sender map in it. The script then uses the
        envelope sender, which Postfix checks against that map. An account's own addresses stay its own.
    """
    rows = {(login, one) for login, those in settings["opendkim"]["authors"].items() for one in those}
    if is_virtual(settings):
        rows |= _virtual(settings)
    elif not has_own_map(settings, given):
        rows |= _system(settings)
    return sorted(f"{login} {author}".lower() for login, author in rows)


def rules(settings: Settings, given: Container[str]) -> dict[str, str | bool]:
    """Return the script's rules apart from the table; all values are text or booleans."""
    services = [settings["postfix"][name] for name in ("submission", "submissions")]
    enabled = [one for one in services if one["enabled"]]
    virtual = is_virtual(settings)
    return {
        "is_bound": all(_is_bound(one) for one in enabled if _daemon_name(one) == needs.LOGINS),
        "is_free": not all(one["safe_options"] for one in enabled),
        "by_domain": virtual or has_own_map(settings, given),
        "origin": settings["hostname"] if virtual else settings["domain"],
        "home": "" if virtual else settings["domain"],
        "extension": _extension(settings["postfix"]["delimiter"]),
        "sieve": settings["os"].get("accounts", {}).get("user", "") if virtual else "",
    }


def has_own_map(settings: Settings, given: Container[str]) -> bool:
    """Tell whether the pillar has its own map of which login may send as whom."""
    services = (settings["postfix"][name]["options"] for name in ("submission", "submissions"))
    return _MAPS in given or any(_MAPS in options for options in services)


def _daemon_name(service: PostfixSubmission) -> str:
    return service["options"].get("milter_macro_daemon_name", needs.LOGINS if service["safe_options"] else "")


def _is_bound(service: PostfixSubmission) -> bool:
    """Tell whether Postfix restricts a login to its own addresses at a service."""
    restrictions = service["options"].get(_SENDERS, _BINDING)
    text = " ".join(map(str, restrictions)) if isinstance(restrictions, (list, tuple)) else str(restrictions)
    words = needs.bound(text, {}).replace(",", " ").split()
    return service["safe_options"] and words[:1] == [_BINDING]


def _extension(delimiters: str) -> str:
    """Return the Lua pattern of a name and the start of its extension (``+tag``); ``""`` if there are no extensions."""
    marks = "".join(f"%{char}" for char in sorted(set(delimiters)))
    return f"^([^{marks}]+)[{marks}]" if marks else ""


def _virtual(settings: Settings) -> set[tuple[str, str]]:
    """Return rows for the domains of each account's addresses, and for system users at the host's own name."""
    owners = postfix_accounts.senders(settings)
    domains = {(login, address.rpartition("@")[2]) for address, login in owners.items()}
    own = {(login, row) for login, domain in domains for row in _domain_rows(settings, domain)}
    return own | {("=", f"@{settings['hostname']}")}


def _domain_rows(settings: Settings, domain: str) -> tuple[str, ...]:
    """Return a domain in the form of a row, and the names below it if its key signs for them."""
    own = settings["domains"].get(domain)
    return (f"@{domain}", f"@.{domain}") if own and own["dkim"]["subdomains"] else (f"@{domain}",)


def _system(settings: Settings) -> set[tuple[str, str]]:
    own = {
        ("=", row) for domain in (*received(settings), settings["hostname"]) for row in _domain_rows(settings, domain)
    }
    return own | {(user, name) for name in settings["accounts"]["aliases"] for user in _readers(settings, name)}


def _readers(settings: Settings, name: str, seen: tuple[str, ...] = ()) -> set[str]:
    """Return the names that an alias of the host leads to, through other aliases."""
    targets = settings["accounts"]["aliases"].get(name)
    if targets is None:
        return {name}
    if name in seen:
        return set()
    words = [targets] if isinstance(targets, str) else targets
    names = {word.strip() for word in words if "@" not in word and not word.strip().startswith(("|", "/", ":", '"'))}
    return {user for one in names for user in _readers(settings, one, (*seen, name))}
