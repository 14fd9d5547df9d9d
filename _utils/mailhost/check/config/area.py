"""Checks of the configuration: the daemons accept it, it is what the pillar wants, and its parts fit together."""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mailhost.check.config import dkim as check_dkim
from mailhost.check.config import maps as check_maps
from mailhost.check.config import postfix
from mailhost.check.config import sockets as check_sockets
from mailhost.check.findings import CheckedHost, Finding, ok
from mailhost.check.shared import drifts, not_run, rows_differ
from mailhost.command import output_lines
from mailhost.postfix import needs
from mailhost.postfix import tables as postfix_tables
from mailhost.shapes import Settings

_OPENDKIM = "Run: salt-call state.apply mailserver.opendkim sync_mods=all"


def findings(host: CheckedHost, domains: Collection[str]) -> list[Finding]:
    """Return the findings about Postfix, Dovecot, OpenDKIM and the chain of keys of these domains."""
    return [
        *_of_postfix(host),
        *_of_dovecot(host),
        *_of_opendkim(host),
        *check_dkim.findings(host, domains),
    ]


def _of_postfix(host: CheckedHost) -> list[Finding]:
    shown = postfix.show(host)
    found = postfix.parsers(host, shown)
    if any(done.status != 0 for done in shown.values()):
        return found
    main = postfix_tables.parameters(shown["main.cf"].out)
    effective = postfix_tables.parameters(shown["all"].out)
    texts, options = check_maps.values(main, effective, postfix_tables.parameters(shown["options"].out))
    return [
        *found,
        *postfix.main_drift(host.settings, main),
        *postfix.services(host.settings, shown["master.cf"].out),
        *postfix.options(host.settings, shown["options"].out),
        *check_maps.maps(host, {**texts, **options}),
        *check_maps.transports(texts, options, shown["master.cf"].out),
        *check_maps.limits(effective),
        *postfix.tables(host.settings["postfix"]["files"]),
        *postfix.networks(effective.get("mynetworks", "")),
        *([postfix.default_action(effective)] if effective.get("smtpd_milters") else []),
        *check_sockets.findings(host, effective, shown["master.cf"].out),
    ]


def _of_dovecot(host: CheckedHost) -> list[Finding]:
    if not host.settings["dovecot"]["enabled"]:
        return []
    path = f"{host.settings['os']['dovecot']['folder']}/dovecot.conf"
    remedy = "Run: salt-call state.apply mailserver.dovecot sync_mods=all; what it says of the pillar, change there."
    return [_accepted(host, "config.dovecot.parser", path, ("doveconf", "-n", "-c", path), remedy)]


def _of_opendkim(host: CheckedHost) -> list[Finding]:
    if not host.settings["opendkim"]["enabled"]:
        return []
    path = host.settings["os"]["opendkim"]["config"]
    found = [_accepted(host, "config.opendkim.parser", path, ("opendkim", "-n", "-x", path), f"{_OPENDKIM}.")]
    try:
        seen = _opendkim_conf(Path(path).read_text(encoding="utf-8"))
    except OSError:  # the parser's finding reports this
        return found
    return [
        *found,
        *_opendkim_drift(host.settings, path, seen),
        _algorithm(seen, path),
        _trusted(host.settings),
        *_authors(host.settings),
    ]


def _accepted(host: CheckedHost, id: str, path: str, words: Sequence[str], remedy: str) -> Finding:
    """Return whether a daemon's own parser accepts its file, by its exit status and its output on stderr."""
    done, wanted = host.command(words), f"`{words[0]}` accepts it"
    if done.status is None:
        return not_run(id, path, wanted, words, done)
    lines = output_lines(done.err)
    if done.status == 0 and not lines:
        return ok(id, path, wanted)
    seen = "; ".join(lines[:3]) or f"exit status {done.status}"
    return Finding(id, "fail" if done.status else "warn", path, wanted, seen, remedy)


def _opendkim_conf(text: str) -> dict[str, str]:
    """Return ``{name: value}`` for an opendkim.conf; for a repeated name the last value, as OpenDKIM reads it."""
    rows = (re.split(r"\s+", line.partition("#")[0].strip(), maxsplit=1) for line in text.splitlines())
    return {row[0]: row[1] for row in rows if len(row) == 2}


def _opendkim_drift(settings: Settings, path: str, seen: Mapping[str, str]) -> list[Finding]:
    opendkim, paths = settings["opendkim"], settings["os"]["opendkim"]
    is_pattern, trusted = opendkim["signing_table"] == "refile", f"refile:{paths['trusted_hosts']}"
    signing = f"refile:{paths['signing_table']}" if is_pattern else f"file:{paths['signing_table']}.domains"
    wanted = {
        "Mode": opendkim["mode"],
        "Socket": opendkim["socket"],
        "KeyTable": f"file:{paths['key_table']}",
        "SigningTable": signing,
        "ExternalIgnoreList": trusted,
        "InternalHosts": trusted,
        **({"SetupPolicyScript": paths["authors_script"], "MTA": needs.LOCAL} if settings["authors"] else {}),
        **{name: _text(value) for name, value in opendkim["settings"].items()},
    }
    remedy = f"{_OPENDKIM}. If the file is right, write {{}} into the pillar, below mailserver:opendkim"
    return drifts("config.opendkim.setting", path, wanted, seen, remedy)


def _text(value: bool | int | str) -> int | str:
    return ("yes" if value else "no") if isinstance(value, bool) else value


def _algorithm(seen: Mapping[str, str], path: str) -> Finding:
    id, wanted = "config.opendkim.algorithm", "signatures by RSA with SHA-256 (RFC 8301)"
    value = next((value for name, value in seen.items() if name.lower() == "signaturealgorithm"), "rsa-sha256")
    if value == "rsa-sha256":
        return ok(id, path, wanted)
    effect = (
        "verifiers do not take SHA-1" if value == "rsa-sha1" else "OpenDKIM refuses all mail, since its keys are RSA"
    )
    remedy = "Take SignatureAlgorithm out of mailserver:opendkim:settings, then run a highstate."
    return Finding(id, "fail", path, wanted, f"SignatureAlgorithm {value} in {path}: {effect}", remedy)


def _trusted(settings: Settings) -> Finding:
    id, path = "config.opendkim.trusted_hosts", settings["os"]["opendkim"]["trusted_hosts"]
    wanted = "mail of the pillar's trusted_hosts is signed without a login, and nobody else's"
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as err:
        return Finding(id, "fail", path, wanted, f"{path}: {err.strerror}", f"{_OPENDKIM}.")
    theirs = {line.partition("#")[0].strip() for line in lines} - {""}
    seen = rows_differ(path, settings["opendkim"]["trusted_hosts"], theirs)
    if not seen:
        return ok(id, path, wanted)
    remedy = f"{_OPENDKIM}. If the file is right, write it into the pillar: mailserver:opendkim:trusted_hosts"
    return Finding(id, "warn", path, wanted, seen, remedy)


def _authors(settings: Settings) -> list[Finding]:
    """Return whether OpenDKIM's script has the authors that the pillar gives each login."""
    if not settings["authors"]:
        return []
    id, path = "config.opendkim.authors", settings["os"]["opendkim"]["authors"]
    wanted = "mail of a login is signed for the authors that the pillar gives it, and for nobody else"
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as err:
        seen = f"{path}: {err.strerror}, so mail of logins waits (451)"
        return [Finding(id, "fail", path, wanted, seen, f"{_OPENDKIM}.")]
    theirs = {line for line in lines if not line.startswith("#")}
    seen = rows_differ(path, settings["authors"]["rows"], theirs)
    if not seen:
        return [ok(id, path, wanted)]
    remedy = f"{_OPENDKIM}. If the file is right, write it into the pillar: mailserver:opendkim:authors"
    return [Finding(id, "warn", path, wanted, seen, remedy)]
