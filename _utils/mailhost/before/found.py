"""The host's configuration before this formula, read by the daemons' own tools, compared with the new one."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from mailhost.before import lost as before_lost
from mailhost.command import Command, run_command
from mailhost.daemons import activation
from mailhost.files import AnyPath

_MAIN_KEYS = {
    "myhostname": "mailserver:hostname",
    "mydomain": "mailserver:domain",
    "mydestination": "mailserver:domains",
    "virtual_mailbox_domains": "mailserver:domains",
    "virtual_alias_domains": "mailserver:domains",
    "alias_maps": "mailserver:accounts:aliases",
    "alias_database": "mailserver:accounts:aliases",
    "smtpd_tls_cert_file": "mailserver:tls:certificate",
    "smtpd_tls_key_file": "mailserver:tls:key",
    "smtpd_tls_chain_files": "mailserver:tls:certificate and :key",
    "smtpd_sasl_type": "mailserver:sasl:type",
    "smtpd_sasl_path": "mailserver:sasl:type",
}
_DOVECOT_KEYS = {
    "protocols": "mailserver:dovecot:protocols",
    "ssl_cert": "mailserver:tls:certificate",
    "ssl_key": "mailserver:tls:key",
    "ssl_server_cert_file": "mailserver:tls:certificate",
    "ssl_server_key_file": "mailserver:tls:key",
    "disable_plaintext_auth": "mailserver:dovecot:allow_cleartext_auth",
    "auth_allow_cleartext": "mailserver:dovecot:allow_cleartext_auth",
}
_OPENDKIM_KEYS = {"socket": "mailserver:opendkim:socket", "mode": "mailserver:opendkim:mode"}
_OF_KEYS = {"keytable", "signingtable", "domain", "keyfile", "selector", "internalhosts", "externalignorelist"}
"""Settings that decide who signs for whom: they are taken over, or the run is refused (docs/takeover.md)."""
_OPENDKIM_DEFAULTS = {
    "syslog": ("no", "yes"), "syslogsuccess": ("no", "yes"), "logwhy": ("no", "yes"), "mode": ("sv",),
    "subdomains": ("no",), "canonicalization": ("simple/simple",), "userid": ("opendkim",), "umask": ("007", "002"),
    "pidfile": ("/run/opendkim/opendkim.pid", "/var/run/opendkim/opendkim.pid"), "oversignheaders": ("From",),
    "trustanchorfile": ("/usr/share/dns/root.key",), "socket": ("local:/run/opendkim/opendkim.sock",),
    "background": ("yes",), "autorestart": ("no",), "softwareheader": ("no",),
}  # fmt: skip
_SHIPPED = "/usr/share"
_PORTS = {
    "smtp": 25, "smtps": 465, "submission": 587, "smtp-submission": 587, "imap": 143, "imaps": 993, "pop3": 110,
    "pop3s": 995, "ssh": 22, "http": 80, "https": 443, "managesieve": 4190, "salt-master": 4505,
}  # fmt: skip
"""The ports of firewalld's service names, as far as mail hosts use them."""


def text(path: AnyPath) -> str:
    """Return a file's text; ``""`` if it does not exist."""
    here = activation.read_file(path) if Path(path).is_file() else None
    return here.octets.decode("utf-8", "replace") if here else ""


def postfix(
    folder: AnyPath, staged: AnyPath, command: Command = run_command, shipped: AnyPath = _SHIPPED
) -> list[before_lost.LostSetting]:
    """Return the settings that main.cf and master.cf in ``folder`` have and those in ``staged`` do not, as
    :class:`mailhost.before.lost.LostSetting`.
    """
    main, master = f"{folder}/main.cf", f"{folder}/master.cf"
    here, to_come = ({"main": _asked(command, one, "-n", "main.cf")} for one in (folder, staged))
    defaults = before_lost.parameters(_said(command, ("postconf", "-d")))
    brought = before_lost.parameters(text(f"{shipped}/postfix/main.cf.debian") + text(f"{shipped}/postfix/main.cf.tls"))
    known = {name: (defaults.get(name, ""), brought.get(name, "")) for name in {*defaults, *brought}}
    lost = before_lost.lost(
        before_lost.parameters(here["main"]),
        before_lost.parameters(to_come["main"]),
        known,
        lambda name: before_lost.line_of(rf"^{re.escape(name)}\s*=", {main: text(main)}),
        lambda name: _MAIN_KEYS.get(name, f"mailserver:postfix:main:{name}"),
    )
    return lost + _services(folder, staged, master, command, shipped)


def _services(
    folder: AnyPath, staged: AnyPath, master: str, command: Command, shipped: AnyPath
) -> list[before_lost.LostSetting]:
    """Return the services, and the options of services, that master.cf loses."""
    tables = [
        before_lost.services(_said(command, ("postconf", "-c", str(one), "-M")))
        for one in (folder, staged, _shipped_master(staged, shipped))
    ]
    here, to_come, brought = tables
    files = {master: text(master)}

    def where(name: str) -> str:
        words = name.split("/")
        return before_lost.line_of(rf"^{re.escape(words[0])}\s+{words[1]}\s", files)

    gone = {name: value for name, value in here.items() if _ours(name) not in to_come}
    rows = before_lost.lost(gone, {}, {name: (value,) for name, value in brought.items()}, where,
                                lambda name: "no pillar key: the formula's master.cf has no such service")  # fmt: skip
    options = before_lost.parameters(_said(command, ("postconf", "-c", str(folder), "-P")))
    options = {name: value for name, value in options.items() if name.rpartition("/")[0] in here}
    coming = before_lost.parameters(_said(command, ("postconf", "-c", str(staged), "-P")))
    coming = {name: coming[_ours(name)] for name in options if _ours(name) in coming}
    shown = before_lost.parameters(_said(command, ("postconf", "-c", str(_shipped_master(staged, shipped)), "-P")))
    return rows + before_lost.lost(options, coming, shown, where, _option_key)


def _shipped_master(staged: AnyPath, shipped: AnyPath) -> Path:
    """Make a folder below ``staged`` with the distribution's master.cf, for its parser; return the folder."""
    folder = Path(staged, "shipped")
    folder.mkdir(exist_ok=True)
    (folder / "main.cf").write_text("", encoding="utf-8")
    (folder / "master.cf").write_text(text(f"{shipped}/postfix/master.cf.dist"), encoding="utf-8")
    return folder


def _ours(name: str) -> str:
    """Return the name that the formula's master.cf uses for a service, or for an option of it."""
    service, kind, *option = name.split("/")
    names = {"submissions": "smtps", "465": "smtps", "587": "submission", "25": "smtp"}
    return "/".join([names.get(service, service) if kind == "inet" else service, kind, *option])


def _option_key(name: str) -> str:
    service, _, option = _ours(name).split("/", 2)
    key = {"submission": "submission", "smtps": "submissions"}.get(service)
    return f"mailserver:postfix:{key}:options:{option}" if key else "no pillar key: give it in mailserver:postfix:main"


def _asked(command: Command, folder: AnyPath, option: str, name: str) -> str:
    """Return postconf's output for a folder or, if postconf is not installed, the file itself."""
    done = command(("postconf", "-c", str(folder), option))
    return done.out if done.status == 0 else text(f"{folder}/{name}")


def _said(command: Command, words: Sequence[str]) -> str:
    done = command(words)
    return done.out if done.status == 0 else ""


def dovecot(
    folder: AnyPath, staged: AnyPath, command: Command = run_command, shipped: AnyPath = _SHIPPED
) -> list[before_lost.LostSetting]:
    """Return the settings that dovecot.conf and its includes have and the one in ``staged`` does not; none without
    ``doveconf``.
    """
    config = f"{folder}/dovecot.conf"
    here, to_come, brought = (
        before_lost.sections(_said(command, ("doveconf", "-n", "-c", str(path))))
        for path in (config, Path(staged, "dovecot.conf"), f"{shipped}/dovecot/dovecot.conf")
    )
    paths: tuple[AnyPath, ...] = (config, *sorted(Path(folder, "conf.d").glob("*.conf")), f"{folder}/local.conf")
    files = {str(path): text(path) for path in paths if os.path.exists(path)}
    return before_lost.lost(
        here,
        to_come,
        {name: (value,) for name, value in brought.items()},
        lambda name: before_lost.line_of(rf"^\s*{re.escape(name.rpartition('/')[2])}\s*=", files),
        lambda name: _DOVECOT_KEYS.get(name, f"mailserver:dovecot:settings:{name}"),
    )


def opendkim(config: str, staged: AnyPath, trusted: str) -> list[before_lost.LostSetting]:
    """Return the settings and trusted hosts that opendkim.conf has and the files in ``staged`` do not."""
    here, to_come = (before_lost.directives(text(path)) for path in (config, Path(staged, "opendkim.conf")))
    spelled = {name: spelling for name, (spelling, _) in here.items()}
    lost = before_lost.lost(
        {spelled[name]: value for name, (_, value) in here.items() if name not in _OF_KEYS},
        {spelled[name]: to_come[name][1] for name in here if name in to_come},
        {spelled[name]: _OPENDKIM_DEFAULTS[name] for name in here if name in _OPENDKIM_DEFAULTS},
        lambda name: before_lost.line_of(rf"(?i)^\s*{re.escape(name)}\s", {config: text(config)}),
        lambda name: _OPENDKIM_KEYS.get(name.lower(), f"mailserver:opendkim:settings:{name}"),
    )
    paths = {here[name][1].rpartition(":")[2] for name in ("internalhosts", "externalignorelist") if name in here}
    known = _words(Path(staged, os.path.basename(trusted)))
    for path in sorted(paths):
        for host in sorted(_words(path) - known):
            folder = before_lost.line_of(rf"^\s*{re.escape(host)}\s*(#|$)", {path: text(path)})
            lost.append(before_lost.LostSetting("trusted host", host, folder, "mailserver:opendkim:trusted_hosts"))
    return lost


def _words(path: AnyPath) -> set[str]:
    return {line.partition("#")[0].strip() for line in text(path).splitlines()} - {""}


def ports_of(names: Iterable[str]) -> set[str]:
    """Return the ports (``25/tcp``) of firewalld's services and ports."""
    return {name if "/" in name else f"{_PORTS.get(name, name)}/tcp" for name in names}
