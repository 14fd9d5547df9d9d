"""Whether Postfix's configuration fits together: two parts may each be valid and still stop all mail together.

The pillar is checked with this before a run, and mailserver.check checks the active configuration with it.
"""

import re
from collections.abc import Container, Iterator, Mapping
from typing import TypeAlias

from mailhost.postfix import restrictions
from mailhost.postfix.lists import expanded, inner, rows, words
from mailhost.postfix.versions import PARAMETERS, is_parameter
from mailhost.shapes import Settings
from mailhost.wording import did_you_mean, shown

SIZES = {"message_size_limit": 10240000, "mailbox_size_limit": 51200000, "virtual_mailbox_limit": 51200000}
"""Postfix's own defaults in bytes; 0 is no limit."""
_AGENTS = {"mailbox_size_limit": "local(8)", "virtual_mailbox_limit": "virtual(8)"}
_TRANSPORTS = frozenset(
    "address_verify_default_transport address_verify_local_transport address_verify_relay_transport "
    "address_verify_virtual_transport content_filter default_transport fallback_transport local_transport "
    "mailbox_transport relay_transport virtual_transport".split()
)
"""Parameters whose value is a transport, ``transport:nexthop`` (postconf(5))."""
_TRANSPORT_MAPS = frozenset(
    "address_verify_sender_dependent_default_transport_maps address_verify_transport_maps fallback_transport_maps "
    "mailbox_transport_maps sender_dependent_default_transport_maps transport_maps".split()
)
_FILTER = re.compile(r"(?i)\bFILTER ([\w.-]{1,80}):")
_NAME = re.compile(r"[\w.-]+")
SERVICES = frozenset(
    "anvil bounce cleanup defer discard error flush lmtp local mailserver-local mailserver-reflector pickup postlog "
    "proxymap proxywrite qmgr relay retry rewrite scache showq smtp tlsmgr trace verify virtual".split()
)
"""Services in the formula's master.cf that Postfix itself asks by these names."""
_POSTSCREEN = frozenset(("dnsblog", "smtpd", "tlsproxy"))
SELFTEST = "mailserver-selftest"
"""The transport for the formula's message to itself."""
_NO_DELIVERY = frozenset(("error", "discard", "retry"))
_Where: TypeAlias = Mapping[str, Mapping[str, str]]
"""By their place in the pillar: parameters and their texts."""


def sizes(main: Mapping[str, str]) -> dict[str, tuple[int, int]]:
    """Return ``{limit: (bytes, bytes of message_size_limit)}`` for mailbox limits smaller than a message may be.

    With such a limit the delivery agent fails on every message (local(8), virtual(8)).

    :param main: parameters and their texts, with or without ``$name`` filled in.
    """
    most = size(main, "message_size_limit")
    found: dict[str, tuple[int, int]] = {}
    for name in _AGENTS:
        limit = size(main, name)
        if limit and most is not None and (most == 0 or limit < most):
            found[name] = (limit, most)
    return found


def size(main: Mapping[str, str], name: str) -> int | None:
    """Return a limit of :data:`SIZES` in bytes, 0 for none; ``None`` if it depends on something unknown here."""
    text = expanded(str(main.get(name, SIZES[name])), main, is_parameter)
    return int(text) if text and text.strip().isdigit() else None


def transports(values: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return ``[(parameter, transport)]`` for all transports that parameters name, also in tables within values.

    :param values: parameters and their texts, ``$name`` filled in.
    """
    found: list[tuple[str, str]] = []
    for name, text in values.items():
        if name in _TRANSPORTS:
            found += [(name, one) for one in _transport(text)]
        elif name in _TRANSPORT_MAPS:
            found += [(name, one) for value in _results(text) for one in _transport(value)]
        found += [(name, one) for one in _FILTER.findall(text)]
    return found


def _transport(text: str) -> list[str]:
    """Return the transport of ``transport:nexthop`` in a list; the list is empty for ``:nexthop``, "" and tables."""
    name = _NAME.match(text.strip())
    return [name[0]] if name else []


def _results(text: str) -> Iterator[str]:
    """Yield the results of tables within a value: ``inline:``, ``static:``, and patterns in braces."""
    for word in words(text):
        kind, _, name = word.removeprefix("proxy:").partition(":")
        if kind == "static":
            yield inner(name) or name
        elif kind in ("inline", "cidr", "pcre", "regexp", "randmap") and name.startswith("{"):
            yield from (value for _, value in rows(name))


def problems(settings: Settings, given: Container[str], options: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return a sentence for each thing in the pillar that cannot work, with its place.

    :param settings: with main.cf computed.
    :param given: the pillar's ``postfix:main``; ``options`` are the pillar's options for each service.
    """
    main = settings["postfix"]["main"]
    where: dict[str, Mapping[str, str]] = {"mailserver:postfix:main": main}
    where.update({f"mailserver:postfix:{name}:options": values for name, values in options.items()})
    return [
        *_of_sizes(main, given),
        *_of_transports(settings, where, main),
        *_of_services(settings, where),
        *_of_domains(settings, main),
        *_of_deliveries(settings, main, given),
        *_of_signatures(settings, where),
        *_of_relaying(settings, main, given),
        *_of_utf8(settings, main),
    ]


def _key(name: str, given: Container[str], instead: str) -> str:
    return f"mailserver:postfix:main:{name if name in given else instead}"


def _of_sizes(main: Mapping[str, str], given: Container[str]) -> Iterator[str]:
    for name, (limit, most) in sizes(main).items():
        size = f"{most} bytes" if most else "0, which is no limit"
        yield (
            f"{_key(name, given, 'message_size_limit')}: {name} is {limit} bytes, and message_size_limit {size}: "
            f"{_AGENTS[name]} would deliver nothing at all; {name} has to be at least as large, or 0 (no limit)"
        )


def _full(values: Mapping[str, str], main: Mapping[str, str]) -> dict[str, str]:
    """Return parameters with each ``$name`` filled in, without those that depend on something unknown."""
    whole = {name: expanded(text, {**main, **values}, is_parameter) for name, text in values.items()}
    return {name: text for name, text in whole.items() if text is not None}


def services(settings: Settings) -> set[str]:
    """Return the services in the formula's master.cf that parameters may name."""
    has = set(SERVICES) | (_POSTSCREEN if settings["postscreen"]["enabled"] else set())
    has |= {"tlsproxy"} if wants_tlsproxy(settings["postfix"]["main"]) else set()
    return has - (set() if settings["reflector"]["address"] else {"mailserver-reflector"})


def wants_tlsproxy(main: Mapping[str, str]) -> bool:
    """Tell whether outgoing mail goes through tlsproxy(8) (``smtp_tls_connection_reuse``); it waits without that."""
    return any(main.get(f"{name}_tls_connection_reuse") == "yes" for name in ("smtp", "lmtp"))


TRANSPORTS = frozenset(("discard", "error", "lmtp", "local", "relay", "retry", "smtp", "virtual"))


def _of_transports(settings: Settings, where: _Where, main: Mapping[str, str]) -> Iterator[str]:
    has = TRANSPORTS | ({"mailserver-reflector"} & services(settings))
    for section, values in where.items():
        for name, transport in dict.fromkeys(transports(_full(values, main))):
            if transport not in (*has, SELFTEST):
                yield (
                    f"{section}:{name}: master.cf has no transport {shown(transport)}, so that mail for it would wait "
                    f"(mail transport unavailable); it has: {', '.join(sorted(has))}"
                )


def _of_services(settings: Settings, where: _Where) -> Iterator[str]:
    has = services(settings)
    for section, values in where.items():
        for name, text in values.items():
            if name.endswith("_service_name") and name in PARAMETERS and "$" not in text and text not in has:
                yield f"{section}:{name}: master.cf has no service {shown(text)}; {did_you_mean(text, has)}"


def _of_domains(settings: Settings, main: Mapping[str, str]) -> Iterator[str]:
    """Check that no received domain is in two address classes of Postfix (ADDRESS_CLASS_README)."""
    received = {name for name, one in settings["domains"].items() if one["receive"]}
    is_virtual = settings["accounts"]["type"] == "virtual"
    others = ("mydestination",) if is_virtual else ("virtual_mailbox_domains",)
    for name in (*others, "virtual_alias_domains"):
        text = _full({name: main.get(name, "")}, main).get(name, "")
        both = sorted(received & {word.lower().rstrip(".") for word in words(text)})
        if both:
            own = "virtual_mailbox_domains" if is_virtual else "mydestination"
            yield (
                f"mailserver:postfix:main:{name}: {both[0]} is in mailserver:domains with receive: true, and so in "
                f"{own}, too; Postfix takes a domain in one of them alone: take it out here, or say "
                f"mailserver:domains:{both[0]}:receive: false"
            )


def _of_deliveries(settings: Settings, main: Mapping[str, str], given: Container[str]) -> Iterator[str]:
    """Check that received mail is delivered to the formula's accounts."""
    is_virtual = settings["accounts"]["type"] == "virtual"
    has_mail = any(one["receive"] for one in settings["domains"].values())
    for name in ("local_transport", "mailbox_transport", *(("virtual_transport",) if is_virtual else ())):
        chosen = _transport(_full({name: main.get(name, "")}, main).get(name, ""))
        useless = _NO_DELIVERY | ({"virtual", "local"} if name == "virtual_transport" else set())
        if has_mail and name in given and useless.intersection(chosen):
            yield (
                f"mailserver:postfix:main:{name}: {chosen[0]} delivers to none of the accounts that "
                "mailserver:accounts has, nor to postmaster; leave it out, or receive no mail "
                "(mailserver:domains:NAME:receive: false)"
            )
    system = settings["os"]["postfix"]
    for name, own in (("queue_directory", system.get("queue")), ("mail_owner", "postfix")):
        if own and main.get(name, own) != own:
            yield (
                f"mailserver:postfix:main:{name}: {shown(main[name])}, but Dovecot, saslauthd and OpenDKIM are set "
                f"up for {own}; leave it out"
            )
    yield from _of_addresses(settings, main)
    yield from _of_sockets(settings, main)


def _of_sockets(settings: Settings, main: Mapping[str, str]) -> Iterator[str]:
    """Check that lmtp(8) can reach its socket if it runs in a chroot."""
    system = settings["os"]["postfix"]
    for name, text in main.items():
        path = text.partition("lmtp:unix:/")[2]
        if name in _TRANSPORTS and path and system.get("chroot"):
            yield (
                f"mailserver:postfix:main:{name}: lmtp(8) runs in the chroot {system.get('queue', '')} and sees no "
                f"/{path}; Dovecot's socket for it is lmtp:unix:private/dovecot-lmtp"
            )


def _of_addresses(settings: Settings, main: Mapping[str, str]) -> Iterator[str]:
    overrides = words(main.get("receive_override_options", ""))
    if "no_address_mappings" in overrides and settings["accounts"]["type"] == "virtual":
        yield (
            "mailserver:postfix:main:receive_override_options: no_address_mappings has aliases and catch-alls of "
            "virtual accounts not be looked up, so that their mail is bounced; leave it out"
        )


def _of_signatures(settings: Settings, where: _Where) -> Iterator[str]:
    """Check that no service bypasses OpenDKIM."""
    if not settings["opendkim"]["enabled"]:
        return
    for section, values in where.items():
        if "no_milters" in words(values.get("receive_override_options", "")):
            yield (
                f"{section}:receive_override_options: no_milters has mail leave unsigned, and the formula runs "
                "OpenDKIM; leave it out, or say mailserver:opendkim:enabled: false"
            )


def _of_relaying(settings: Settings, main: Mapping[str, str], given: Container[str]) -> Iterator[str]:
    """Check that strangers cannot relay, and that the relay host is not this host itself."""
    lists = ("smtpd_relay_restrictions", "smtpd_recipient_restrictions")
    full = _full({name: main.get(name, "") for name in lists}, main)
    if len(full) == 2 and not any(map(restrictions.guards, full.values())):
        yield (
            f"{_key(lists[0], given, lists[1])}: everybody could relay through this host: neither of "
            f"{' and '.join(lists)} has reject_unauth_destination before its permit; add it"
        )
    for word in words(_full({"mynetworks": main.get("mynetworks", "")}, main).get("mynetworks", "")):
        if re.fullmatch(r"[\[\]0-9a-fA-F:.]+/[0-7]", word):
            yield (
                f"mailserver:postfix:main:mynetworks: {word} covers so much of the Internet that strangers could "
                "relay through this host and have their mail signed; name hosts of your own"
            )
    host = re.sub(r"[\[\]]", "", main.get("relayhost", "")).partition(":")[0].lower()
    if (
        host
        and host in (settings["hostname"], "localhost", "127.0.0.1", *settings["own_addresses"])
        and "relayhost" in given
    ):
        port = main["relayhost"].rpartition("]")[2].rpartition(":")[2]
        if port in ("", "25", "smtp", "587", "465"):
            yield (
                f"mailserver:postfix:main:relayhost: {shown(main['relayhost'])} is this host itself, so that mail "
                "would loop back; name another, or leave it out"
            )


def _of_utf8(settings: Settings, main: Mapping[str, str]) -> Iterator[str]:
    """Check that SMTPUTF8 (RFC 6531) is offered only if every program on the way supports it."""
    if main.get("smtputf8_enable") != "yes":
        return
    reason = utf8_problem(settings)
    if reason:
        yield f"mailserver:postfix:main:smtputf8_enable: yes, but {reason}; leave it out"


def utf8_problem(settings: Settings) -> str:
    """Return why this host cannot offer SMTPUTF8; ``""`` if it can."""
    if settings["accounts"]["type"] == "virtual":
        return "Dovecot's LMTP has no SMTPUTF8, so that such mail is taken and then bounced"
    ours = [name for name in settings["domains"] if "xn--" in name]
    if ours:
        return (
            f"{ours[0]} is written in its other form there (RFC 5890 section 2.3.2.1), which neither Postfix's "
            "tables nor OpenDKIM's take for the same"
        )
    return ""
