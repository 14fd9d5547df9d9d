"""The recipients of the formula's test messages (:mod:`mailhost.selftest.delivery`). Pure."""

import re
from collections.abc import Iterable

from mailhost.postfix.domains import is_virtual, received
from mailhost.shapes import DeliveryPlace, DeliveryPlan, Settings

_LOOPBACK = re.compile(r"127\.0\.0\.1|127\.0\.0\.0/8|localhost|0\.0\.0\.0/0")
ROOM = 20 * 1024 * 1024
"""Bytes that the virtual mailbox may hold, so that strangers who guess its address cannot fill the disk."""


def plan(settings: Settings) -> DeliveryPlan | None:
    """Return the recipients of test messages on a host, as plain data; ``None`` if its system has no probe user.

    It has ``user``, ``alias``, ``folder`` and ``home`` of the parameters ``probe``; ``places``, the domains in which
    the user, the alias and an unknown name are tried; ``mailbox`` and ``mailbox_alias``, the addresses of user and
    alias in a virtual domain, or ``None``; and what is needed to send to them and to find the mail.

    :param settings: the host's settings with ``os``; complete except for ``postfix:main``.
    """
    probe = settings["os"].get("probe")
    if not probe:
        return None
    domains = received(settings)
    caught = settings["accounts"]["virtual"]["catch_all"]
    free = [name for name in domains if name not in caught]
    places: list[DeliveryPlace] = []
    if domains:
        domain = (free or domains)[0]
        places.append({"domain": domain, "virtual": is_virtual(settings), "nobody": domain in free})
    if is_virtual(settings) or not domains:
        places.append({"domain": settings["hostname"], "virtual": False, "nobody": True})
    opendkim, system = settings["opendkim"], settings["os"].get("opendkim", {})
    virtual = next((one["domain"] for one in places if one["virtual"]), None)
    signs = opendkim["enabled"] and "s" in opendkim["mode"] and "key_table" in system
    return {
        "user": probe["user"],
        "alias": probe["alias"],
        "folder": probe["folder"],
        "home": probe["home"],
        "queue": settings["os"]["postfix"].get("queue", "/var/spool/postfix"),
        "hostname": settings["hostname"],
        "addresses": list(settings["addresses"] or ()),
        "places": places,
        "mailbox": virtual and f"{probe['user']}@{virtual}",
        "mailbox_alias": virtual and f"{probe['alias']}@{virtual}",
        "room": ROOM,
        "port": settings["selftest"]["port"],
        "imap": settings["dovecot"]["enabled"],
        "tables": [system["key_table"], system["signing_table"]] if signs else None,
        "trusted": any(map(_LOOPBACK.fullmatch, opendkim["trusted_hosts"])),
    }


def problems(settings: Settings) -> list[str]:
    """Return a sentence for each name in the pillar that the formula uses itself."""
    found = settings["delivery"]
    if not found:
        return []
    accounts = settings["accounts"]
    own: set[str | None] = {found["user"], found["alias"]}
    sections: list[tuple[str, Iterable[str]]] = [("users", accounts["users"]), ("aliases", accounts["aliases"])]
    if found["mailbox"]:
        own |= {found["mailbox"], found["mailbox_alias"]}
        virtual = accounts["virtual"]
        given = [alias for user in virtual["users"].values() for alias in user["aliases"] if alias]
        sections += [("virtual:users", [*virtual["users"], *given]), ("virtual:aliases", virtual["aliases"])]
    return [
        f"mailserver:accounts:{where}:{name}: the formula has this name for its own messages; take another one"
        for where, names in sections
        for name in names
        if name in own
    ]
