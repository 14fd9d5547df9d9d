"""What daemons' parsers overlook: a certificate without its key, a port in use, a table that does not exist."""

import re
from collections.abc import Iterable
from pathlib import Path

from mailhost.command import Command
from mailhost.files import AnyPath
from mailhost.postfix import tables as postfix_tables
from mailhost.postfix.tables import parameters
from mailhost.tls import certificate as certificates


def pair_problems(certificate: AnyPath, key: AnyPath) -> list[str]:
    """Return what is wrong with a certificate and its key (paths): missing, unreadable, or not a pair."""
    try:
        chain = certificates.read_chain(certificate)
    except (OSError, ValueError) as err:
        return [f"{certificate}: the certificate cannot be read: {_why(err)}"]
    if not chain:
        return [f"{certificate}: there is no certificate in it"]
    try:
        private = certificates.private_key(key)
    except (OSError, ValueError) as err:
        return [f"{key}: the key cannot be read: {_why(err)}"]
    if not certificates.is_pair(private, chain[0]):
        return [f"{key} is not the key of {certificate} ({certificates.subject(chain[0])})"]
    return []


def chain_pairs(main_cf: str) -> list[tuple[str, str]]:
    """Return the (certificate, key) files that a main.cf names.

    ``smtpd_tls_chain_files`` has each key before its certificate, or both in one file (``postconf(5)``).
    """
    given = dict(re.findall(r"^(\w+) *= *(.*)$", main_cf, re.MULTILINE))
    files = [one for one in re.split(r"[,\s]+", given.get("smtpd_tls_chain_files", "")) if one]
    if len(files) == 1:
        files *= 2
    pairs = list(zip(files[1::2], files[::2], strict=False)) if len(files) % 2 == 0 else []
    certificate = given.get("smtpd_tls_cert_file", "")
    if certificate and not files:
        key = given.get("smtpd_tls_key_file", "$smtpd_tls_cert_file")
        pairs = [(certificate, certificate if key == "$smtpd_tls_cert_file" else key)]
    return [pair for pair in pairs if all(one.startswith("/") for one in pair)]


def _why(err: OSError | ValueError) -> str:
    return getattr(err, "strerror", None) or str(err).partition("\n")[0]


def table_problems(folder: AnyPath, command: Command) -> list[str]:
    """Return which tables of a Postfix staged in ``folder`` cannot be opened, which would make mail for them wait.

    The alias database is not checked: it is made after Postfix first runs. A table on a server may be away for a while.

    :param command: runs a command (:class:`mailhost.check.findings.CheckedHost`).
    """
    shown = [command(("postconf", "-c", str(folder), *words)) for words in (("-n", "-x"), ("-P", "-x"))]
    texts = parameters("\n".join(done.out for done in shown if done.status == 0))
    found = []
    for kind, name in postfix_tables.named(texts):
        status, lines = ("", []) if name == "/etc/aliases" else postfix_tables.problem(command, kind, name)
        if status == "fail":
            found.append(
                f"{kind}:{name}: {lines[0]}; make the table first (postmap), by hand or by a state that "
                "mailserver-postfix-in-force requires, or leave it out"
            )
    missing = postfix_tables.missing_files(texts).items()
    return found + [
        f"{parameter}: {path}: there is no such file; make it first, or leave it out" for parameter, path in missing
    ]


def port_problems(listeners: Iterable[tuple[str, int]], unit: str, command: Command) -> list[str]:
    """Return which of these ports a daemon other than ``unit`` listens on.

    :param listeners: (address, port) of each listener.
    :param command: runs a command (:class:`mailhost.check.findings.CheckedHost`).
    """
    shown = command(("ss", "-Hltnp"))
    if shown.status != 0:
        return []
    found = []
    for port in dict.fromkeys(port for _, port in listeners):
        for line in shown.out.splitlines():
            words = line.split()
            if len(words) < 6 or words[3].rpartition(":")[2] != str(port):
                continue
            others = [(name, pid) for name, pid in re.findall(r'"([^"]+)",pid=(\d+)', line) if not _is_of(pid, unit)]
            if others:
                name, pid = others[0]
                found.append(f"port {port} is in use by {name} (process {pid}), so that {unit} could not listen there")
                break
    return found


def _is_of(pid: str, unit: str, proc: Path = Path("/proc")) -> bool:
    """Tell whether a process belongs to a unit or to an instance of it (``postfix@-``), or has ended."""
    try:
        group = (proc / pid / "cgroup").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    return re.search(rf"/{re.escape(unit)}(@[^/]*)?\.service", group.replace("\\x2d", "-")) is not None
