"""Which domains a host receives mail for, whether their mailboxes are virtual, and the host's own names in them."""


def is_virtual(settings):
    """Tell whether the mailboxes of the received domains are virtual ones."""
    return settings["accounts"]["type"] == "virtual"


def has_managesieve(settings):
    """Tell whether users manage their own Sieve scripts on the host."""
    return is_virtual(settings) and settings["accounts"]["virtual"]["managesieve"]


def received(settings):
    """Return the domains that the host receives mail for."""
    return [name for name, domain in settings["domains"].items() if domain["receive"]]


def host_names(settings):
    """Return the names that lead to the host's own aliases (``accounts:aliases``) in each received domain as well."""
    names = (name.lower() for name in ("root", *settings["accounts"]["aliases"]) if "@" not in name)
    return list(dict.fromkeys(names))
