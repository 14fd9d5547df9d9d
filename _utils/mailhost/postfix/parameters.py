"""Postfix's parameters: which exist, what values they take, and the main.cf that the formula wants."""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any

from mailhost.postfix import accounts as postfix_accounts
from mailhost.postfix import fits, needs, restrictions
from mailhost.postfix import hardening as postfix_hardening
from mailhost.postfix.domains import is_virtual, received
from mailhost.postfix.lists import TYPES, ParameterValue, expanded, is_list, is_map, names, words
from mailhost.postfix.versions import PARAMETERS, RESTRICTIONS, Version, has_table, is_parameter, knows, parsed
from mailhost.schema import Choice, Kind, Size, Wrong
from mailhost.shapes import PostfixSubmission, Settings
from mailhost.wording import did_you_mean, shown

SENDER_LOGIN_MAP = "regexp:/etc/postfix/sender_login"
SELFTEST_DOMAIN = "selftest.invalid"
SELFTEST = fits.SELFTEST
"""The transport back to this host, a service of master.cf. Mail takes it whatever the routes for other mail are."""
REFLECTOR = "mailserver-reflector"
"""The transport to the reflector, a service of master.cf."""
TRANSPORT_FILE, RECIPIENT_FILE = "/etc/postfix/mailserver_transport", "/etc/postfix/mailserver_recipients"
"""Tables for a Postfix without ``inline:``."""
LEFT_FILE = "/etc/postfix/mailserver_left"
"""Users who left the pillar, and whose mail is refused (mailserver/postfix/config.sls)."""
LOCAL_HEADERS = "/etc/postfix/mailserver_local_headers"
"""Header checks that show milters who handed a message to sendmail(1)."""

_LEVELS = (((3, 11), "3.11"), ((3, 6), "3.6"), ((0,), "2"))
"""Which compatibility_level to set from which version on: otherwise Postfix warns about defaults of older versions."""

_YES_NO = Choice(("yes", "no"))


class Networks:
    """``mynetworks``: a list, or text, of addresses, networks (host part zero), ``/files`` and ``type:tables``."""

    form = "a list of IP addresses and networks"

    def read(self, value: ParameterValue) -> list[str]:
        items = words(as_text(value))
        for item in items:
            _check_network(item.lstrip("!"))
        return items


class Protocols:
    """``inet_protocols``: a list, or text, of ``ipv4`` and ``ipv6``, or ``all``."""

    form = "all, or a list of ipv4 and ipv6"

    def read(self, value: ParameterValue) -> list[str]:
        items = words(as_text(value))
        if not items or not set(items) <= {"all", "ipv4", "ipv6"}:
            raise Wrong(f"{shown(value)} is not {self.form}")
        return items


def _check_network(item: str) -> None:
    if item.startswith("/") or item.partition(":")[0] in TYPES:
        return
    address, slash, prefix = item.partition("]") if item.startswith("[") else (item, "", "")
    plain = address.lstrip("[") + (prefix if slash else "")
    try:
        ipaddress.ip_network(plain)
    except ValueError as err:
        raise Wrong(f"{shown(item)} is not an IP address or network: {err}") from err


MAIN_KINDS: dict[str, Kind] = {
    "inet_protocols": Protocols(),
    "mailbox_size_limit": Size(),
    "message_size_limit": Size(),
    "milter_default_action": Choice(("accept", "reject", "tempfail", "quarantine", "shutdown")),
    "mynetworks": Networks(),
    "queue_minfree": Size(),
    "smtp_tls_security_level": Choice(
        ("none", "may", "encrypt", "dane", "dane-only", "fingerprint", "verify", "secure")
    ),
    "smtpd_sasl_type": Choice(("cyrus", "dovecot")),
    "smtpd_tls_security_level": Choice(("none", "may", "encrypt")),
    "virtual_mailbox_limit": Size(),
    **dict.fromkeys(
        (
            "biff",
            "append_dot_mydomain",
            "broken_sasl_auth_clients",
            "disable_vrfy_command",
            "smtpd_helo_required",
            "smtpd_sasl_auth_enable",
            "smtpd_sasl_authenticated_header",
            "smtpd_tls_auth_only",
            "smtpd_tls_wrappermode",
        ),
        _YES_NO,
    ),
}
"""Parameters whose values are checked here; ``postfix check`` accepts invalid values for most of them."""


def parameter_problem(
    name: str,
    value: ParameterValue | None,
    given: Mapping[str, Sequence[ParameterValue | None]],
    system: Mapping[str, Any],
) -> str | None:
    """Return what is wrong with the parameter ``name`` of main.cf or ``-o``, or ``None``.

    A name that Postfix does not define is the operator's own parameter, if one of the values uses it: as ``$name``, as
    a restriction class, or for a table that is configured in main.cf (``ldap:name``: ``name_bind``). Postfix decides it
    in the same way.

    :param given: all parameters that are given for main.cf and the services' options, ``{name: values}``.
    :param system: ``version`` of the host's Postfix, and ``lacks``, the table types that it is built without.
    """
    if not is_parameter(name) and not _is_used(name, given):
        return (
            f"Postfix has no such parameter; {did_you_mean(name, PARAMETERS) if _has_near(name) else 'see postconf(5)'}"
        )
    if value is None:
        return None
    if not knows(system["version"], name):
        return f"Postfix {system['version']} on this host has no such parameter; it is in {PARAMETERS[name].in_words()}"
    if isinstance(value, (list, tuple)) and (wrong := _list_problem(name, value)):
        return wrong
    texts = {one: as_text(values[0]) for one, values in given.items() if values and values[0] is not None}
    whole = expanded(as_text(value), texts, is_parameter)
    if whole is None:  # it depends on Postfix's own defaults
        return _value_problem(name, as_text(value), system)
    if name in MAIN_KINDS:
        try:
            MAIN_KINDS[name].read(whole if "$" in as_text(value) else value)
        except Wrong as err:
            return str(err)
    return _value_problem(name, whole, system) or _words_problem(name, whole, texts)


def _list_problem(name: str, value: Sequence[bool | int | str]) -> str | None:
    """Return why a YAML list cannot be the value of a parameter; the value may be text that begins with a bracket."""
    if is_parameter(name) and not is_list(name):
        one = f"[{as_text(value)}]"
        port = f" or '{one}:587'" if name == "relayhost" else ""
        return (
            f"{shown(value)} is a list in YAML, but {name} has one value; if it has brackets, quote it: '{one}'{port}"
        )
    if name.endswith("fallback_relay") and not all(":" in str(one) or str(one).startswith("[") for one in value):
        quoted = ", ".join(f"'[{one}]'" for one in value)
        return (
            f"{shown(value)} is a list in YAML, in which a host without brackets is looked up as a domain, by its MX; "
            f"quote the brackets of hosts: [{quoted}], or write domains as text: '{as_text(value)}'"
        )
    return None


def _words_problem(name: str, text: str, texts: Mapping[str, str]) -> str | None:
    """Return which word of a list Postfix does not know; because of it, all mail would be answered with 451."""
    if name.endswith("_restrictions"):
        classes = words(texts.get("smtpd_restriction_classes", ""))
        if found := restrictions.unknown(text, classes):
            return f"{shown(found[0])} is no restriction; {found[1]}"
    if is_map(name):
        for word in words(text):
            kind, colon, _ = word.lstrip("!").partition(":")
            if not colon or kind not in TYPES:
                near = did_you_mean(kind, TYPES) if colon else "a table is written type:name (hash:/etc/postfix/name)"
                return f"{shown(word)} is no table of Postfix's; {near}"
    return None


def _value_problem(name: str, text: str, system: Mapping[str, Any]) -> str | None:
    """Return which words of a value the host's Postfix does not understand; ``postfix check`` overlooks them."""
    version = system["version"]
    for kind, opens in re.findall(r"(?<![\w:/.-])([a-z]{2,12}):([/{])", text):
        if opens == "{" and kind in ("cidr", "pcre", "regexp") and parsed(version) < (3, 7):
            return f"{kind}:{{…}}: tables of this type in the value itself came with Postfix 3.7; use a file: {kind}:/…"
        if not has_table(version, kind) or kind in system.get("lacks", ()):
            usual = system.get("database", "hash")
            return f"{kind}: Postfix {version} on this host has no tables of this type; use {usual}: (postconf -m)"
    if name.endswith("_restrictions"):
        for word in re.split(r"[,\s]+", text):
            if word in RESTRICTIONS and not RESTRICTIONS[word].covers(parsed(version)):
                return f"{word} is not in Postfix {version} any more; it was in {RESTRICTIONS[word].in_words()}"
    if name.endswith("_protocols") and "=TLS" in text and parsed(version) < (3, 6):
        return f"{shown(text)}: this form came with Postfix 3.6, and here is {version}; write !SSLv2, !SSLv3, !TLSv1 …"
    if name == "compatibility_level" and "." in text and parsed(version) < (3, 6):
        return f"{shown(text)}: Postfix {version} takes whole numbers up to 2"
    return None


def _has_near(name: str) -> bool:
    return did_you_mean(name, PARAMETERS).startswith("did you mean")


def _is_used(name: str, given: Mapping[str, Sequence[ParameterValue | None]]) -> bool:
    texts = [as_text(value) for values in given.values() for value in values if value is not None]
    if any(name in names(text) for text in texts):
        return True
    if any(name in words(as_text(one)) for one in given.get("smtpd_restriction_classes", ()) if one is not None):
        return True
    kinds = r"(?<![\w:/.-])(?:ldap|mysql|pgsql|sqlite|mongodb|memcache):(\w+)"
    return any(name.startswith(f"{table}_") for text in texts for table in re.findall(kinds, text))


def as_text(value: ParameterValue) -> str:
    """Return a pillar value as text for main.cf: ``yes``/``no``, a list with commas."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(as_text(one) for one in value)
    return str(value)


def main_cf(settings: Settings, given: Mapping[str, ParameterValue | None]) -> dict[str, str]:
    """Return main.cf as an ordered mapping from parameter to text: the formula's values, overridden by ``given``.

    :param settings: the settings of :func:`mailhost.pillar.settings.resolve`, before ``postfix:main`` is computed.
    :param given: parameters from the pillar; a value ``None`` leaves the parameter out.
    """
    usual: dict[str, ParameterValue | None] = {
        **_identity(settings),
        **_delivery(settings),
        **_tls(settings),
        **_logins(settings),
        **_restrictions(settings),
        **_milters(settings),
        **postfix_hardening.limits(settings),
        **postfix_hardening.postscreen(settings),
        **postfix_accounts.parameters(settings),
        **settings["os"]["postfix"].get("main", {}),
    }
    version = settings["os"]["postfix"]["version"]
    own = {name: as_text(value) for name, value in usual.items() if knows(version, name) and value is not None}
    texts = {name: as_text(value) for name, value in given.items() if value is not None}
    parameters: dict[str, ParameterValue | None] = {**own, **given}
    needed = needed_words(settings)
    parameters.update({name: own[name] for name in given if name not in texts and needed.get(name) and name in own})
    parameters.update(_with_needs(settings, needed, own, texts))
    parameters.update(_recipients(settings, given))
    maps = [as_text(given.get("transport_maps") or ""), _table(settings, TRANSPORT_FILE, _transports(settings))]
    relocated = [as_text(given.get("relocated_maps") or ""), f"texthash:{LEFT_FILE}"]
    parameters["relocated_maps"] = ", ".join(filter(None, relocated))
    parameters["transport_maps"] = ", ".join(filter(None, maps))
    return {name: as_text(value) for name, value in parameters.items() if value is not None}


def needed_words(settings: Settings) -> dict[str, Sequence[str]]:
    """Return, by parameter, the words that must be in Postfix's lists, including lists from the pillar."""
    milter = [_milter(settings)] if settings["opendkim"]["enabled"] else []
    aliases = [_aliases(settings)]
    signed = {"smtpd_milters": milter, "non_smtpd_milters": milter, **needs.MACROS} if milter else {}
    local = ["$myhostname"] if is_virtual(settings) else postfix_accounts.local_list(settings)
    return {
        **signed,
        "alias_maps": aliases,
        "alias_database": aliases,
        "mydestination": local,
        "proxy_read_maps": ["$local_recipient_maps"],
        "smtpd_client_event_limit_exceptions": postfix_hardening.exempt(settings),
        "smtpd_sender_login_maps": [_sender_login_map(settings)],
        **postfix_accounts.needed_tables(settings),
    }


def _with_needs(
    settings: Settings, needed: Mapping[str, Sequence[str]], own: Mapping[str, str], given: Mapping[str, str]
) -> dict[str, str]:
    """Return the pillar's parameters that must change, with the formula's part added."""
    values = {**own, **given}
    found = needs.merged(needed, given, values)
    found.update(needs.relaying(given, own, values))
    recipients, data = "smtpd_recipient_restrictions", "smtpd_data_restrictions"
    if is_virtual(settings) and recipients in settings["postfix"]["main"]:
        text = given.get(recipients, own[recipients])
        found[recipients] = needs.with_restriction(text, postfix_accounts.QUOTA_CHECK, values)
    if given.get(data):
        found[data] = needs.with_restriction(given[data], "reject_unauth_pipelining", values)
    level = needs.full(given.get("smtp_tls_security_level", ""), values)
    if level.startswith("dane") and "smtp_dns_support_level" not in given:
        found["smtp_dns_support_level"] = "dnssec"
    return found


def _transports(settings: Settings) -> dict[str, str]:
    """Return the routes of the formula's own addresses and domains."""
    routes = {SELFTEST_DOMAIN: f"{SELFTEST}:[127.0.0.1]:{settings['selftest']['port']}"}
    if settings["reflector"]["address"]:
        routes[settings["reflector"]["address"]] = f"{REFLECTOR}:"
    return routes


def _recipients(settings: Settings, given: Mapping[str, ParameterValue | None]) -> dict[str, list[str]]:
    """Return the setting that makes Postfix also accept mail for recipients that only the formula knows.

    These are the reflector, which is not a user, and the pillar's users and aliases if it has its own recipient list.
    """
    others = given.get("local_recipient_maps")
    if others == "" or (others is None and not settings["reflector"]["address"]):  # "": it takes mail for every name
        return {}
    known = (
        "proxy:unix:passwd.byname $alias_maps" if others is None else needs.beside(as_text(others), ["$alias_maps"], {})
    )
    own = _own_recipients(settings, given)
    return {"local_recipient_maps": [known, *([_table(settings, RECIPIENT_FILE, own)] if own else [])]}


def _own_recipients(settings: Settings, given: Mapping[str, ParameterValue | None]) -> dict[str, str]:
    reflector = settings["reflector"]["address"]
    own = [reflector] if reflector else []
    if given.get("local_recipient_maps"):
        # Also the recipient of the formula's test messages: otherwise no change would be seen to let mail in.
        probe = settings["os"].get("probe")
        own += [*settings["accounts"]["users"], *([probe["user"]] if probe else [])]
    return dict.fromkeys(own, "x")


def _table(settings: Settings, path: str, rows: Mapping[str, str]) -> str:
    """Return the value that names the table of these rows in main.cf; without ``inline:`` it is a file
    (:func:`extra_files`).
    """
    if has_table(settings["os"]["postfix"]["version"], "inline"):
        return f"inline:{{ {', '.join(f'{{{name} = {value}}}' for name, value in rows.items())} }}"
    return f"texthash:{path}"


def extra_files(settings: Settings) -> dict[str, list[str]]:
    """Return the lines of the files that this Postfix needs besides main.cf, by their paths."""
    files = postfix_accounts.tables(settings)
    if settings["authors"]:
        files[LOCAL_HEADERS] = [
            r"/^Received: by [^ ]+ \([^()]*, from userid ([0-9]+)\)[[:space:]]+id ([0-9A-Za-z]+);/"
            " PREPEND X-Submitted-By: $1 as $2"
        ]
    if settings["postscreen"]["enabled"]:
        files[postfix_hardening.ACCESS_FILE] = postfix_hardening.access_lines(settings)
    if has_table(settings["os"]["postfix"]["version"], "inline"):
        return files
    own = _own_recipients(settings, settings["postfix"]["main"])
    tables = {TRANSPORT_FILE: _transports(settings), RECIPIENT_FILE: own}
    return files | {path: [f"{name} {value}" for name, value in rows.items()] for path, rows in tables.items() if rows}


def _identity(settings: Settings) -> dict[str, ParameterValue]:
    receive = postfix_accounts.local_domains(settings)
    own = [] if settings["domain"] in settings["domains"] and settings["domain"] not in receive else ["$mydomain"]
    listed = postfix_accounts.domain_list(settings) if receive else []
    return {
        "compatibility_level": next(level for first, level in _LEVELS if _version(settings) >= first),
        "myhostname": settings["hostname"],
        "mydomain": settings["domain"],
        "myorigin": "$mydomain",
        "inet_interfaces": "all",
        "inet_protocols": "all",
        "mydestination": ["$myhostname", "localhost.$mydomain", "localhost", *own, *listed],
        "mynetworks": "127.0.0.0/8, [::ffff:127.0.0.0]/104, [::1]/128",
    }


def _delivery(settings: Settings) -> dict[str, ParameterValue]:
    aliases = _aliases(settings)
    return {
        "home_mailbox": "Maildir/",
        "alias_maps": aliases,
        "alias_database": aliases,
        "recipient_delimiter": settings["postfix"]["delimiter"],
        "message_size_limit": 52428800,
        # If these are below message_size_limit, as their defaults are, local(8) and virtual(8) deliver nothing.
        "mailbox_size_limit": 0,
        "virtual_mailbox_limit": 0,
        "append_dot_mydomain": "no",
        "biff": "no",
        **({"smtputf8_enable": "no"} if fits.utf8_problem(settings) else {}),
    }


def _aliases(settings: Settings) -> str:
    return f"{settings['os']['postfix'].get('database', 'hash')}:/etc/aliases"


def _tls(settings: Settings) -> dict[str, ParameterValue]:
    modern = ">=TLSv1.2" if _version(settings) >= (3, 6) else "!SSLv2, !SSLv3, !TLSv1, !TLSv1.1"
    given, own = settings["tls"], settings["os"].get("tls", {})
    key, certificate = given["key"] or own.get("key"), given["certificate"] or own.get("certificate")
    return {
        "smtpd_tls_security_level": "may",
        **(_certificate(settings, key, certificate) if key and certificate else {}),
        "smtpd_tls_auth_only": "yes",
        "smtpd_tls_protocols": modern,
        "smtpd_tls_mandatory_protocols": modern,
        **_profile(settings["os"].get("tls", {}), _version(settings)),
        "smtpd_tls_loglevel": 1,
        "smtp_tls_security_level": "may",
        "smtp_tls_loglevel": 1,
    }


def _profile(system: Mapping[str, Any], version: Version) -> dict[str, str]:
    """Return Mozilla's profile for what the host serves. As a client it accepts what other hosts have (docs/tls.md)."""
    if "ciphers" not in system:
        return {}
    return {
        "smtpd_tls_ciphers": "high",
        "smtpd_tls_mandatory_ciphers": "high",
        "tls_high_cipherlist": ":".join(system["ciphers"]),
        "tls_preempt_cipherlist": "no",
        "tls_eecdh_auto_curves": " ".join(system["curves"]),
        "tls_ffdhe_auto_groups": "",
        **({"tls_ssl_options": "NO_RENEGOTIATION"} if version >= (3, 4) else {}),
    }


def _certificate(settings: Settings, key: str, certificate: str) -> dict[str, ParameterValue]:
    if knows(settings["os"]["postfix"]["version"], "smtpd_tls_chain_files"):
        return {"smtpd_tls_chain_files": [key, certificate]}
    return {"smtpd_tls_cert_file": certificate, "smtpd_tls_key_file": key}


def _logins(settings: Settings) -> dict[str, str]:
    dovecot = settings["sasl"]["type"] == "dovecot"
    # The name of PAM's rules for saslauthd. Dovecot uses its own (mailserver/sasl/logins.sls).
    rules = {} if dovecot else {"smtpd_sasl_service": "mailserver-smtp"}
    return {
        **rules,
        "smtpd_sasl_auth_enable": "no",
        "smtpd_sasl_type": settings["sasl"]["type"],
        "smtpd_sasl_path": "private/auth" if dovecot else "smtpd",
        "smtpd_sasl_security_options": "noanonymous",
        "broken_sasl_auth_clients": "no",
        "smtpd_sender_login_maps": _sender_login_map(settings),
    }


def _sender_login_map(settings: Settings) -> str:
    """Return the map of who may send as whom. For many domains it takes tens of megabytes; proxymap(8) then holds it
    once instead of each smtpd. proxymap may not open it if the operator sets proxy_read_maps, or if Postfix is old.
    """
    is_long = postfix_accounts.is_long(received(settings)) and _version(settings) >= (3, 0)
    is_open = "proxy_read_maps" not in settings["postfix"]["main"]
    return f"proxy:{SENDER_LOGIN_MAP}" if is_long and is_open else SENDER_LOGIN_MAP


def _restrictions(settings: Settings) -> dict[str, ParameterValue]:
    permitted = ["permit_mynetworks", "permit_sasl_authenticated", "reject_unauth_destination"]
    return {
        "smtpd_banner": "$myhostname ESMTP",
        "disable_vrfy_command": "yes",
        "smtpd_helo_required": "yes",
        "smtpd_relay_restrictions": permitted,
        "smtpd_recipient_restrictions": permitted,
        "smtpd_data_restrictions": "reject_unauth_pipelining",
        **_smuggling(settings["os"]["postfix"]["version"]),
    }


def _smuggling(version: str) -> dict[str, str]:
    """Return the parameters against SMTP smuggling (CVE-2023-51764) that this version has.

    ``normalize`` came in the same releases as the reply code. In earlier ones BDAT is turned off; without it, no
    message can end in a form that ``reject_unauth_pipelining`` overlooks.
    """
    if knows(version, "smtpd_forbid_bare_newline_reject_code"):
        return {"smtpd_forbid_bare_newline": "normalize", "smtpd_forbid_unauth_pipelining": "yes"}
    if knows(version, "smtpd_forbid_bare_newline"):
        return {"smtpd_forbid_bare_newline": "yes", "smtpd_forbid_unauth_pipelining": "yes"}
    return {"smtpd_discard_ehlo_keywords": "chunking, silent-discard"} if parsed(version) >= (3, 4) else {}


def _milters(settings: Settings) -> dict[str, str]:
    if not settings["opendkim"]["enabled"]:
        return {}
    return {
        "smtpd_milters": _milter(settings),
        "non_smtpd_milters": "$smtpd_milters",
        "milter_default_action": "tempfail",
        "internal_mail_filter_classes": "bounce",
    }


def _milter(settings: Settings) -> str:
    port, _, host = settings["opendkim"]["socket"].partition(":")[2].partition("@")
    return f"inet:{host}:{port}"


def local_options(settings: Settings) -> dict[str, str]:
    """Return the ``-o`` parameters of the service that takes mail from sendmail(1); empty if it needs none.

    Postfix shows milters all header fields except the first. That is its own Received field, which names the user id of
    the submitter. So a second field with the same content is put on top. OpenDKIM's script reads whichever of the two
    it is shown (authors.lua).

    :param settings: with main.cf computed.
    """
    if not settings["authors"]:
        return {}
    checks = [f"regexp:{LOCAL_HEADERS}", settings["postfix"]["main"].get("header_checks", "")]
    options = {
        "milter_macro_daemon_name": needs.LOCAL,
        "header_checks": ", ".join(filter(None, checks)),
    }
    return {name: _option(value, settings["os"]["postfix"]["version"]) for name, value in options.items()}


def submission_options(name: str, service: PostfixSubmission, settings: Settings) -> dict[str, str]:
    """Return the ``-o`` parameters of the service ``name`` (``submission``, ``submissions``) as text.

    :param settings: with main.cf computed.
    """
    version, values = settings["os"]["postfix"]["version"], settings["postfix"]["main"]
    safe = {
        "smtpd_tls_security_level": "encrypt",
        "smtpd_tls_auth_only": "yes",
        "smtpd_sasl_auth_enable": "yes",
        "smtpd_client_restrictions": "",
        "smtpd_helo_restrictions": "",
        "smtpd_sender_restrictions": "reject_sender_login_mismatch",
        "smtpd_relay_restrictions": "permit_sasl_authenticated,reject",
        "smtpd_recipient_restrictions": "permit_sasl_authenticated,reject",
        "milter_macro_daemon_name": "ORIGINATING",
    }
    implicit = {"smtpd_tls_wrappermode": "yes"} if name == "submissions" else {}
    log_name = {"syslog_name": f"postfix/{name}"} if service["safe_options"] else {}
    given = {name: as_text(value) for name, value in service["options"].items() if value is not None}
    given.update(needs.merged(needed_words(settings), given, {**values, **given}))
    if service["safe_options"] and "smtpd_sender_restrictions" in given:
        given["smtpd_sender_restrictions"] = needs.bound(given["smtpd_sender_restrictions"], {**values, **given})
    if service["safe_options"] and "smtpd_relay_restrictions" in given:
        given["smtpd_relay_restrictions"] = needs.for_logins(given["smtpd_relay_restrictions"], {**values, **given})
    left_out = {name: None for name, value in service["options"].items() if value is None}
    options: dict[str, str | None] = {
        **log_name,
        **(safe if service["safe_options"] else {}),
        **implicit,
        **given,
        **left_out,
    }
    return {option: _option(as_text(value), version) for option, value in options.items() if value is not None}


def _option(text: str, version: str) -> str:
    return text if takes_braces(version) else re.sub(r",\s+", ",", text)


def option_problem(value: ParameterValue | None, version: str) -> str | None:
    """Return why master.cf cannot take ``value`` for an option, or ``None``: before 3.0 it must not have blanks."""
    if value is None or takes_braces(version) or not re.search(r"\s", _option(as_text(value), version)):
        return None
    return (
        f"{shown(as_text(value))}: Postfix {version} takes no blanks in an option of master.cf; give the value to a "
        "parameter of your own in mailserver:postfix:main (mua_rules: …), and name that here (`$mua_rules`)"
    )


def master_syntax(version: str) -> dict[str, bool]:
    """Return what master.cf may contain, each true or false.

    ``braces``: ``-o { name = value }``; ``service_name``: ``$service_name`` in an option; ``postlogd``: the service
    that writes the log (RELEASE_NOTES-3.0, -3.3, -3.4).
    """
    return {
        "braces": takes_braces(version),
        "service_name": knows(version, "service_name"),
        "postlogd": knows(version, "postlog_service_name"),
    }


def takes_braces(version: str) -> bool:
    """Tell whether an option in master.cf may contain blanks (RELEASE_NOTES-3.0)."""
    return parsed(version) >= (3, 0)


def _version(settings: Settings) -> Version:
    return parsed(settings["os"]["postfix"]["version"])
