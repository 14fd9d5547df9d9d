"""The pillar for a host on the open Internet: client limits, postscreen, fail2ban; read, with defaults filled in."""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mailhost.schema import (
    Bool,
    Choice,
    Domain,
    Duration,
    Integer,
    Items,
    Key,
    Names,
    OneOf,
    Section,
    Size,
    Text,
    Wrong,
    refuse_zone_index,
)
from mailhost.shapes import Settings, Value
from mailhost.wording import shown

_RATE = Integer(0, 10**9)


@dataclass(frozen=True)
class Network:
    """An IPv4 or IPv6 address, or a network whose host part is zero; read in its canonical text form."""

    form: str = "an IP address or network (192.0.2.0/24)"

    def read(self, value: object) -> str:
        try:
            network = ipaddress.ip_network(str(value))
        except ValueError as err:
            raise Wrong(f"{shown(value)} is not {self.form}: {err}") from err
        refuse_zone_index(value, self.form)
        return str(network if "/" in str(value) else network.network_address)


HOST_KEYS = {
    "limits": Key(
        Section(
            {
                "connections": Key(_RATE, "Connections that one client may have open at once; `0`: no limit.", 50),
                "connection_rate": Key(_RATE, "Connections a minute from one client; `0`: no limit.", 120),
                "message_rate": Key(_RATE, "Messages a minute from one client; `0`: no limit.", 300),
                "recipient_rate": Key(_RATE, "Recipients a minute from one client, including refused ones.", 3000),
                "auth_rate": Key(
                    _RATE, "Login attempts a minute from one client, over SMTP; needs Postfix 3.1 (not on EL 7).", 60
                ),
                "recipients": Key(
                    Integer(100, 10**6), "Recipients of one message; RFC 5321 section 4.5.3.1.8 asks for 100.", 1000
                ),
                "header_size": Key(
                    Size(), "Bytes of a message's header; what is longer becomes part of its body.", 102400
                ),
                "exempt": Key(
                    Items(Network()),
                    "Clients to which the limits per minute and the limit of connections do not apply, besides "
                    "`mynetworks` and the host's own addresses; for example one that may send a newsletter.",
                    (),
                ),
            }
        ),
        "What one client, that is one IP address, may ask of Postfix, on all of its ports together.",
    ),
    "postscreen": Key(
        Section(
            {
                "enabled": Key(
                    Bool(),
                    "Let postscreen talk to clients on port 25 first. A client that talks too early, or that DNS "
                    "lists name, never reaches smtpd. A new client waits for `greet_wait`.",
                    False,
                ),
                "lists": Key(
                    Names(
                        Text(r"[A-Za-z0-9_][A-Za-z0-9_.-]+(=[0-9.;\[\]]+)?", "a DNS list (zen.example.org)"),
                        Integer(-100, 100),
                    ),
                    "DNS lists to query, and the weight of a listing; negative for allow lists. Some answer only "
                    "registered users, or not through public resolvers: read their terms first.",
                    {},
                ),
                "threshold": Key(Integer(1, 10000), "The weight at which a client is refused.", 3),
                "allow_threshold": Key(
                    Integer(-10000, -1),
                    "The weight at which a client need not wait for the tests after the first; needs Postfix 2.11.",
                    computed="left out: no client is let off",
                ),
                "greet_wait": Key(Duration(1), "How long a new client must keep silent before it is greeted.", 6),
                "action": Key(
                    Choice(("enforce", "drop", "ignore")),
                    "What happens to a client that failed: `enforce`, it is refused at RCPT TO, with sender and "
                    "recipient in the log; `drop`, it is disconnected at once; `ignore`, the failure is only logged, "
                    "as a trial.",
                    "enforce",
                ),
                "access": Key(
                    Names(Network(), Choice(("permit", "reject", "dunno"))),
                    "Clients that are accepted (`permit`) or refused (`reject`) without a test. The most specific "
                    "network counts.",
                    {},
                ),
            }
        ),
        "postscreen, in front of port 25 (docs/hardening.md).",
    ),
    "fail2ban": Key(
        Section(
            {
                "enabled": Key(
                    Bool(),
                    "Let fail2ban close the mail ports, in firewalld, to clients that keep guessing passwords. "
                    "People behind one address are shut out together.",
                    False,
                ),
                "maxretry": Key(Integer(1, 10000), "Failed logins until a client is banned.", 10),
                "findtime": Key(Duration(1), "How long a failed login counts.", 600),
                "bantime": Key(Duration(1), "How long a ban lasts.", 3600),
                "ignore": Key(
                    Items(OneOf((Network(), Domain()))),
                    "Clients that are never banned, besides the host itself, `mynetworks` and the Salt master.",
                    (),
                ),
            }
        ),
        "fail2ban, against guessed passwords.",
    ),
}

MAIL_PORTS = ("25", "110", "143", "465", "587", "993", "995", "4190")
"""Ports that are closed to a banned client, whether or not the host serves them."""


def fill(settings: Settings, grains: Mapping[str, Any], problems: list[str]) -> None:
    """Fill in who is never banned, and append problems: fail2ban bans through firewalld."""
    fail2ban = settings["fail2ban"]
    fail2ban["ports"] = list(MAIL_PORTS)
    fail2ban["ignore"] = list(dict.fromkeys([*_own(settings), *_masters(grains), *fail2ban["ignore"]]))
    if fail2ban["enabled"] and not settings["firewalld"]["enabled"]:
        problems.append(
            "mailserver:fail2ban:enabled: true, but mailserver:firewalld:enabled is false, and it bans by firewalld"
        )
    if settings["postscreen"]["lists"] and not settings["postscreen"]["enabled"]:
        problems.append(
            "mailserver:postscreen:lists: given, but nobody asks them; set mailserver:postscreen:enabled: true"
        )


def _own(settings: Settings) -> list[str]:
    own = ["127.0.0.0/8", "::1", *(settings["addresses"] or ()), *settings["own_addresses"]]
    return [*own, *_networks(settings["postfix"]["main"].get("mynetworks"))]


def _networks(mynetworks: Value | None) -> list[str]:
    """Return the addresses and networks in ``mynetworks`` that fail2ban can read: no files, tables or exceptions."""
    words = mynetworks if isinstance(mynetworks, (list, tuple)) else re.split(r"[,\s]+", str(mynetworks or ""))
    plain = (re.sub(r"[\[\]]", "", str(word)) for word in words)
    return [word for word in plain if re.fullmatch(r"[0-9a-fA-F:.]+(/\d+)?", word)]


def _masters(grains: Mapping[str, Any]) -> list[str]:
    """Return the Salt master as the minion knows it, by name or address."""
    masters = grains.get("master") or ()
    return [str(one) for one in ([masters] if isinstance(masters, str) else masters)]
