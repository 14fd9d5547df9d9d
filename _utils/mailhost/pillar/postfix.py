"""The parts of the pillar's ``postfix:main`` that other daemons and keys depend on, so that each is said only once."""

import ipaddress

from mailhost.pillar import Draft
from mailhost.postfix.lists import TYPES, expanded, rows, words
from mailhost.postfix.parameters import as_text
from mailhost.postfix.versions import is_parameter
from mailhost.schema import Domain, Wrong
from mailhost.wording import shown

_WHERE = "mailserver:postfix:main"
_TRUSTED = ("127.0.0.1", "::1", "localhost")
_DELIMITERS = frozenset("!#%&*+-./=^_~|`?")
_LMTP = "private/dovecot-lmtp"
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_DELIVERERS = (
    "mailbox_command",
    "mailbox_command_maps",
    "mailbox_transport",
    "mailbox_transport_maps",
    "local_transport",
)
"""Parameters that replace local(8) as the delivery agent for system users."""


def text_of(settings: Draft, name: str, usual: str = "") -> str | None:
    """Return a parameter's text with ``$name`` filled in; ``None`` if it depends on something unknown here.

    :param usual: the formula's value for it; ``null`` in the pillar means ``""``.
    """
    main = settings["postfix"]["main"]
    if name not in main:
        return usual
    own = {"mydomain": settings["domain"] or next(iter(settings["domains"]), None), "myhostname": settings["hostname"]}
    texts = {one: text for one, text in own.items() if text}
    texts.update({one: as_text(value) for one, value in main.items() if value is not None})
    return expanded(texts.get(name, ""), texts, is_parameter)


def fill_names(settings: Draft, problems: list[str]) -> None:
    """Set ``hostname`` and ``domain`` to what main.cf is given for them, since records and checks use these keys."""
    for key, parameter in (("domain", "mydomain"), ("hostname", "myhostname")):
        given = text_of(settings, parameter)
        if not given:
            continue
        try:
            name = Domain().read(given)
        except Wrong as err:
            problems.append(f"{_WHERE}:{parameter}: {err}")
            continue
        if settings[key] not in (None, name):
            problems.append(
                f"{_WHERE}:{parameter}: {name}, but mailserver:{key} is {settings[key]}, by which records, certificate "
                f"and checks go; say it there alone"
            )
        settings[key] = settings[key] or name


def fill(settings: Draft, problems: list[str]) -> None:
    """Fill in what Dovecot, OpenDKIM and fail2ban must share with Postfix, and append problems."""
    postfix = settings["postfix"]
    postfix["delimiter"] = _delimiter(settings, problems)
    postfix["log"] = _log(settings, problems)
    settings["dovecot"]["mail"] = _mailbox(settings, problems)
    settings["dovecot"]["lmtp_socket"] = _has_lmtp_socket(settings, problems)
    _fill_logins(settings, problems)
    # saslauthd takes names as they are typed. If it checks Postfix's logins, Dovecot must do the same.
    settings["dovecot"]["folds_case"] = _checker(settings) == "dovecot" or settings["dovecot"]["lmtp_socket"]
    _fill_trusted(settings, problems)


def _delimiter(settings: Draft, problems: list[str]) -> str:
    text = text_of(settings, "recipient_delimiter", "+")
    if text is None or not set(text) <= _DELIMITERS:
        problems.append(
            f"{_WHERE}:recipient_delimiter: {shown(text)}: it is one or more of {' '.join(sorted(_DELIMITERS))}, "
            "which may be in an address and are no part of names"
        )
        return "+"
    for user in settings["accounts"]["users"]:
        before = next((user[:at] for at, char in enumerate(user) if char in text and at), "")
        if before in settings["accounts"]["users"]:
            problems.append(
                f"{_WHERE}:recipient_delimiter: {shown(text)} is in the name of mailserver:accounts:users:{user}, "
                f"whose mail could be {before}'s; take another delimiter"
            )
    return text


def _log(settings: Draft, problems: list[str]) -> str:
    path = text_of(settings, "maillog_file")
    if not path:
        return ""
    where = f"{_WHERE}:maillog_file"
    prefixes = words(text_of(settings, "maillog_file_prefixes", "/var, /dev/stdout") or "/var")
    if path == "/dev/stdout":
        problems.append(f"{where}: /dev/stdout is for `postfix start-fg`; under systemd leave it out for the journal")
    elif not path.startswith("/") or not any(path.startswith(f"{one.rstrip('/')}/") for one in prefixes):
        problems.append(
            f"{where}: Postfix takes only files below {', '.join(prefixes)} (maillog_file_prefixes), and does not "
            f"start with {shown(path)}"
        )
    elif any(char in path for char in " \t\"'{}*?[]\\%"):
        problems.append(f"{where}: {shown(path)} has a blank, quote or wildcard in it, which logrotate reads otherwise")
    return path


def _mailbox(settings: Draft, problems: list[str]) -> dict[str, str]:
    """Return where Dovecot finds the mail of local(8): ``driver``, ``path`` and, for an mbox, ``inbox``.

    ``{user}`` in these stands for the user's name.
    """
    home = text_of(settings, "home_mailbox", "Maildir/")
    if settings["accounts"]["type"] == "virtual":
        return {"driver": "maildir", "path": "~/Maildir", "inbox": ""}
    _check_dovecot_place(settings, problems)
    if home is None or home.startswith("/") or ".." in home.split("/"):
        problems.append(f"{_WHERE}:home_mailbox: {shown(home)} is not a path below the user's home (Maildir/)")
    elif home.lower().endswith("maildir"):
        problems.append(
            f"{_WHERE}:home_mailbox: {home} would be one file, an mbox; a folder ends with a slash: {home}/"
        )
    elif home.endswith("/"):
        return {"driver": "maildir", "path": f"~/{home.rstrip('/')}", "inbox": ""}
    elif home:
        return {"driver": "mbox", "path": "~/mail", "inbox": f"~/{home}"}
    spool = text_of(settings, "mail_spool_directory", "/var/mail") or "/var/mail"
    if spool.endswith("/"):
        problems.append(
            f"{_WHERE}:mail_spool_directory: {spool}: users may not make folders there, so that nothing could be "
            "delivered; give home_mailbox: Maildir/ or a folder without a slash at its end"
        )
    return {"driver": "mbox", "path": "~/mail", "inbox": f"{spool.rstrip('/')}/{{user}}"}


def _check_dovecot_place(settings: Draft, problems: list[str]) -> None:
    """Check that Dovecot reads mail where local(8) delivers it."""
    if any(text_of(settings, name) for name in _DELIVERERS):
        return
    for name in ("mail_location", "mail_driver", "mail_path", "mail_inbox_path"):
        if name in settings["dovecot"]["settings"]:
            problems.append(
                f"mailserver:dovecot:settings:{name}: Postfix delivers to {_WHERE}:home_mailbox (Maildir/), and "
                "Dovecot looks there by itself; say it there alone"
            )


def _has_lmtp_socket(settings: Draft, problems: list[str]) -> bool:
    """Tell whether Dovecot's LMTP needs a socket in Postfix's queue: with virtual accounts, or if it is named."""
    sections = {_WHERE: settings["postfix"]["main"]}
    for service in ("submission", "submissions"):
        sections[f"mailserver:postfix:{service}:options"] = settings["postfix"][service]["options"]
    named = [
        f"{where}:{name}"
        for where, given in sections.items()
        for name, value in given.items()
        if value is not None and _LMTP in as_text(value)
    ]
    serves = settings["dovecot"]["enabled"] and "lmtp" in (settings["dovecot"]["protocols"] or ())
    if named and not serves:
        problems.append(
            f"{named[0]}: mail would go to Dovecot by LMTP, but lmtp is not in mailserver:dovecot:protocols"
        )
    return bool(named) or settings["accounts"]["type"] == "virtual"


def _fill_logins(settings: Draft, problems: list[str]) -> None:
    """Make one key decide who checks logins, and where Dovecot listens for them."""
    sasl = settings["sasl"]
    kind = text_of(settings, "smtpd_sasl_type")
    if kind in ("cyrus", "dovecot"):
        if sasl["type"] not in (None, kind):
            problems.append(
                f"{_WHERE}:smtpd_sasl_type: {kind}, but mailserver:sasl:type is {sasl['type']}; say it there alone"
            )
        sasl["type"] = sasl["type"] or kind
    for service in ("submission", "submissions"):
        for name in ("smtpd_sasl_type", "smtpd_sasl_path"):
            _check_service_login(settings, service, name, problems)
    usual = "private/auth" if _checker(settings) == "dovecot" else "smtpd"
    path = text_of(settings, "smtpd_sasl_path", usual) or usual
    if path != usual and (usual == "smtpd" or not (path.startswith("private/") and "/" not in path[8:])):
        reader = "Cyrus SASL reads smtpd.conf" if usual == "smtpd" else "Dovecot listens below private/ in the queue"
        problems.append(f"{_WHERE}:smtpd_sasl_path: {shown(path)}: {reader}, and nobody would answer there")
    sasl["path"] = path


def _checker(settings: Draft) -> str:
    virtual = settings["accounts"]["type"] == "virtual"
    return settings["sasl"]["type"] or ("dovecot" if virtual else "cyrus")


def _check_service_login(settings: Draft, service: str, name: str, problems: list[str]) -> None:
    given = settings["postfix"][service]["options"].get(name)
    if given is None:
        return
    checker = _checker(settings)
    paths = {"cyrus": "smtpd", "dovecot": text_of(settings, "smtpd_sasl_path", "private/auth")}
    wanted = checker if name == "smtpd_sasl_type" else paths[checker]
    if as_text(given) != wanted:
        problems.append(
            f"mailserver:postfix:{service}:options:{name}: {shown(as_text(given))}, but logins are checked by "
            f"{checker} ({wanted}); say it in mailserver:sasl:type"
        )


def _fill_trusted(settings: Draft, problems: list[str]) -> None:
    """Let OpenDKIM sign for those that Postfix relays for. A list of hosts in the pillar is taken as it is."""
    opendkim, main = settings["opendkim"], settings["postfix"]["main"]
    style, networks = text_of(settings, "mynetworks_style"), text_of(settings, "mynetworks")
    if style not in ("", "host") and main.get("mynetworks", "") is not None:
        problems.append(
            f"{_WHERE}:mynetworks_style: {shown(style)} has no effect beside mynetworks; list the networks there"
        )
    if opendkim["trusted_hosts"] is not None:
        return
    found, unread = _networks(networks or "")
    if main.get("mynetworks", "") is None:
        found += settings["own_addresses"]
        unread += [f"mynetworks_style = {style}"] if style not in ("", "host") else []
    if unread and opendkim["enabled"]:
        problems.append(
            f"{_WHERE}:mynetworks: {shown(unread[0])} is not for OpenDKIM to read, so that mail from there would leave "
            "unsigned; list the networks here, or in mailserver:opendkim:trusted_hosts whose mail is to be signed"
        )
    opendkim["trusted_hosts"] = list(dict.fromkeys([*_TRUSTED, *found]))


def _networks(text: str) -> tuple[list[str], list[str]]:
    """Return the networks of ``mynetworks`` in OpenDKIM's form, and the parts that only Postfix can read."""
    found: list[str] = []
    unread: list[str] = []
    for word in words(text):
        mark, bare = ("!", word[1:]) if word.startswith("!") else ("", word)
        kind, colon, name = bare.partition(":")
        if colon and kind in TYPES and name.startswith("{"):
            keys = [key for key, _ in rows(name)]
            found += [network for key in keys for network in _network(mark, key)]
        elif (colon and kind in TYPES) or bare.startswith("/"):
            unread.append(word)
        else:
            found += _network(mark, bare)
    return found, unread


def _network(mark: str, text: str) -> list[str]:
    """Return an address or network in OpenDKIM's form, in a list; empty for loopback and for anything else."""
    try:
        network = ipaddress.ip_network(text.replace("[", "").replace("]", ""))
    except ValueError:  # reported where the parameter is checked
        return []
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        network = ipaddress.ip_network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    if network.is_loopback:
        return []
    is_host = network.prefixlen == network.max_prefixlen
    return [f"{mark}{network.network_address if is_host else network}"]
