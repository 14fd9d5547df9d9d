"""main.cf for a host on the open Internet: limits for each client, and postscreen in front of port 25."""

import ipaddress

from mailhost.postfix.lists import ParameterValue
from mailhost.postfix.versions import knows
from mailhost.shapes import Settings

ACCESS_FILE = "/etc/postfix/mailserver_postscreen.cidr"


def limits(settings: Settings) -> dict[str, ParameterValue]:
    """Return the parameters of the pillar's ``limits``; anvil counts by the minute (``anvil_rate_time_unit``)."""
    given = settings["limits"]
    return {
        "smtpd_client_connection_count_limit": given["connections"],
        "smtpd_client_connection_rate_limit": given["connection_rate"],
        "smtpd_client_message_rate_limit": given["message_rate"],
        "smtpd_client_recipient_rate_limit": given["recipient_rate"],
        "smtpd_client_auth_rate_limit": given["auth_rate"],
        "smtpd_client_event_limit_exceptions": ["$mynetworks", *exempt(settings)],
        "smtpd_recipient_limit": given["recipients"],
        "header_size_limit": given["header_size"],
    }


def exempt(settings: Settings) -> list[str]:
    """Return the clients without limits, in the form of Postfix's lists; the host's own checks connect often."""
    return [_bracketed(network) for network in dict.fromkeys([*_own(settings), *settings["limits"]["exempt"]])]


def postscreen(settings: Settings) -> dict[str, ParameterValue]:
    """Return postscreen's parameters, under the names that the host's version uses (RELEASE_NOTES-3.6).

    The tests after the greeting stay off: they make even a client that passes them reconnect (POSTSCREEN_README).
    """
    given, system = settings["postscreen"], settings["os"]["postfix"]
    if not given["enabled"]:
        return {}
    new = knows(system["version"], "postscreen_denylist_action")
    denied, allowed = ("denylist", "allowlist") if new else ("blacklist", "whitelist")
    parameters: dict[str, ParameterValue] = {
        "postscreen_access_list": ["permit_mynetworks", f"cidr:{ACCESS_FILE}"],
        f"postscreen_{denied}_action": given["action"],
        "postscreen_greet_action": given["action"],
        "postscreen_greet_wait": f"{given['greet_wait']}s",
        "postscreen_dnsbl_action": given["action"],
        "postscreen_dnsbl_threshold": given["threshold"],
        "postscreen_dnsbl_sites": [f"{site}*{weight}" for site, weight in given["lists"].items()],
    }
    if given["allow_threshold"] is not None:
        parameters[f"postscreen_dnsbl_{allowed}_threshold"] = given["allow_threshold"]
    if "btree" in system.get("lacks", ()):
        parameters["postscreen_cache_map"] = f"{system['database']}:$data_directory/postscreen_cache"
    return parameters


def access_lines(settings: Settings) -> list[str]:
    """Return the lines of postscreen's access list, the most specific network first, since the first match counts."""
    given = settings["postscreen"]
    own = dict.fromkeys(_own(settings), "permit")
    rows = [(ipaddress.ip_network(network), action) for network, action in {**own, **given["access"]}.items()]
    rows.sort(key=lambda row: (row[0].version, -row[0].prefixlen, int(row[0].network_address)))
    return [f"{network} {action}" for network, action in rows]


def _own(settings: Settings) -> list[str]:
    """Return all addresses from which the host may connect to itself, including private ones, each once."""
    return list(dict.fromkeys([*(settings["addresses"] or ()), *settings.get("own_addresses", ())]))


def _bracketed(network: str) -> str:
    """Return an address or network in the form of Postfix's lists: IPv6 in brackets."""
    address, slash, prefix = network.partition("/")
    return f"[{address}]{slash}{prefix}" if ":" in address else network
