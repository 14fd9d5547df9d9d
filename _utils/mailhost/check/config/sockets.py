"""The sockets that Postfix connects to from inside its chroot: milters, and the checker of logins."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from mailhost.check.findings import CheckedHost, Finding, ok
from mailhost.check.reach import Who, socket_problem, who
from mailhost.check.shared import not_run

_MILTER = re.compile(r"\b(inet6?|unix|local):([^\s,{}]+)")
_ASKING = {"smtpd_milters": "smtpd", "non_smtpd_milters": "cleanup"}
"""The parameters that name milters, and the daemons that connect to them."""
_MUX = "/var/run/saslauthd/mux"
"""Where Cyrus SASL expects saslauthd's socket unless its configuration names another path."""
_SASL = "Run: salt-call state.apply mailserver.sasl sync_mods=all"


def findings(host: CheckedHost, effective: Mapping[str, str], rows: str) -> list[Finding]:
    """Return whether Postfix can reach its sockets.

    :param effective: all parameters of Postfix, values filled in.
    :param rows: master.cf, from the output of ``postconf -M``.
    """
    owner = effective.get("mail_owner", "postfix")
    user, queue = who(host, owner), Path(host.settings["os"]["postfix"]["queue"])
    if user is None:
        words = ("id", "-u", owner)
        wanted = "the user that Postfix runs as"
        return [not_run("config.milter.socket", owner, wanted, words, host.command(words))]
    daemons = [words for words in map(str.split, rows.splitlines()) if len(words) > 7]
    of_milters = {name: _roots([words for words in daemons if words[7] == name], queue) for name in _ASKING.values()}
    of_logins = _roots([words for words in daemons if words[7] == "smtpd" and _takes_logins(words, effective)], queue)
    return _milters(effective, user, queue, of_milters) + _logins(host, effective, user, queue, of_logins)


def _roots(daemons: Collection[Sequence[str]], queue: Path) -> list[Path]:
    """Return the root folders of these daemons, rows of master.cf."""
    return [root for root, flags in ((queue, "y"), (Path("/"), "-n")) if any(words[4] in flags for words in daemons)]


def _takes_logins(words: Iterable[str], effective: Mapping[str, str]) -> bool:
    own = [word.partition("=")[2] for word in words if word.startswith("smtpd_sasl_auth_enable=")]
    return (own or [effective.get("smtpd_sasl_auth_enable", "")])[-1] == "yes"


def _milters(
    effective: Mapping[str, str], user: Who, queue: Path, folders: Mapping[str, Collection[Path]]
) -> list[Finding]:
    sockets: dict[tuple[str, str], list[Path]] = {}
    for parameter, daemon in _ASKING.items():
        for kind, path in _MILTER.findall(effective.get(parameter, "")):
            sockets.setdefault((kind, path), []).extend(folders[daemon])
    found, wanted = [], "Postfix reaches the milter"
    for (kind, path), roots in sockets.items():
        about, seen = f"{kind}:{path}", "" if kind.startswith("inet") else _problem(path, roots, user, queue)
        remedy = (
            f"A socket of a chrooted Postfix has to lie below {queue}, in a group that {user.name} is in; or use "
            "inet:HOST:PORT in mailserver:postfix:main:smtpd_milters. Does the milter run? (systemctl status opendkim)"
        )
        found.append(
            Finding("config.milter.socket", "fail", about, wanted, seen, remedy)
            if seen
            else ok("config.milter.socket", about, wanted)
        )
    return found


def _problem(path: str, roots: Iterable[Path], user: Who, queue: Path) -> str:
    """Return why a Postfix daemon cannot reach a socket; a relative path starts in the queue folder."""
    whole = path if path.startswith("/") else f"{queue}/{path}"
    problems = (socket_problem(path if root == queue else whole, user, root) for root in roots)
    return next(filter(None, problems), "")


def _logins(
    host: CheckedHost, effective: Mapping[str, str], user: Who, queue: Path, roots: Collection[Path]
) -> list[Finding]:
    settings = host.settings
    if not roots:  # no service takes logins
        return []
    if settings["sasl"]["type"] == "dovecot":
        path = effective.get("smtpd_sasl_path", "private/auth")
        remedy = (
            "Run: salt-call state.apply mailserver.dovecot sync_mods=all; then look at `journalctl -u dovecot -n 50`."
        )
        return [_socket("Dovecot", path, _problem(path, roots, user, queue), remedy)]
    file = Path(settings["os"]["postfix"]["sasl_folder"]) / f"{effective.get('smtpd_sasl_path', 'smtpd')}.conf"
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as err:
        return [_library(str(file), f"{file}: {err.strerror}")]
    said = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}
    path = said.get("saslauthd_path", _MUX)
    remedy = f"{_SASL}; then look at `journalctl -u {settings['os']['sasl']['service']} -n 50`."
    return [
        _library(str(file), _misled(said, settings["sasl"]["mechanisms"], file)),
        _socket("saslauthd", path, _problem(path, roots, user, queue), remedy),
    ]


def _misled(said: Mapping[str, str], mechanisms: Iterable[str], file: Path) -> str:
    wanted = {"pwcheck_method": "saslauthd", "mech_list": " ".join(mechanisms)}
    odd = [name for name, value in wanted.items() if said.get(name) != value]
    return f"{file} says {odd[0]}: {said.get(odd[0], '(nothing)')}, and not {wanted[odd[0]]}" if odd else ""


def _library(about: str, seen: str) -> Finding:
    id, wanted = "config.sasl.library", "Cyrus SASL asks saslauthd, by the mechanisms of the pillar"
    return Finding(id, "fail", about, wanted, seen, f"{_SASL}.") if seen else ok(id, about, wanted)


def _socket(about: str, path: str, problem: str, remedy: str) -> Finding:
    id, wanted = "config.sasl.socket", f"Postfix reaches the socket of {about}, {path}, where it runs"
    return Finding(id, "fail", about, wanted, problem, remedy) if problem else ok(id, about, wanted)
