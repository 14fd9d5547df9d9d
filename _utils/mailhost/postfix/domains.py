"""Which domains a host receives mail for, whether their mailboxes are virtual, and the host's own names in them."""

from mailhost.shapes import Settings


def is_virtual(settings: Settings) -> bool:
    """Tell whether the mailboxes of the received domains are virtual ones."""
    return settings["accounts"]["type"] == "virtual"


def has_managesieve(settings: Settings) -> bool:
    """Tell whether users manage their own Sieve scripts on the host."""
    return is_virtual(settings) and settings["accounts"]["virtual"]["managesieve"]


def received(settings: Settings) -> list[str]:
    """Return the domains that the host receives mail for."""
    return [name for name, domain in settings["domains"].items() if domain["receive"]]


def host_names(settings: Settings) -> list[str]:
    """Return the names that lead to the host's own aliases (``accounts:aliases``) in each received domain as well."""
    names = (name.lower() for name in ("root", *settings["accounts"]["aliases"]) if "@" not in name)
    return list(dict.fromkeys(names))
