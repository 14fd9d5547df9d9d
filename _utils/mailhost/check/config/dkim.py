"""From a domain to its signature: signing table, KeyTable and key file agree, and OpenDKIM accepts the file."""

import grp
import os
import pwd
import stat
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

from mailhost.check.findings import CheckedHost, CheckResult, Finding, Status, ok
from mailhost.check.reach import PASS, READ, Who, described, may, who
from mailhost.check.shared import ChainStep, brief, chain, not_run, together
from mailhost.dkim import keystore, life
from mailhost.dkim.life import Manifest
from mailhost.dkim.run import SigningPaths, paths_of
from mailhost.errors import DkimError
from mailhost.opendkim import tables as opendkim_tables
from mailhost.opendkim.tables import Tables
from mailhost.shapes import Domains, Settings

TOP = Path("/")
"""The topmost folder that is checked above a key."""
WEAKEST, WANTED = 1024, 2048
"""Bits of an RSA key: the least that verifiers accept, and the recommended size (RFC 8301 section 3.2)."""
_HIGHSTATE = "Run: salt-call state.apply mailserver.opendkim sync_mods=all"


@dataclass(frozen=True)
class Chain:
    """The data to compare: the tables' rows, the manifests that were read, and the user who reads the keys.

    ``is_strict``: OpenDKIM refuses keys that others can read (RequireSafeKeys).
    """

    settings: Settings
    reader: Who
    is_strict: bool
    manifests: dict[str, Manifest] = field(default_factory=dict)

    @cached_property
    def paths(self) -> SigningPaths:
        return paths_of(self.settings)

    @cached_property
    def records(self) -> dict[str, str]:
        """``{name of a record: "domain:selector:path"}``, the rows of the KeyTable."""
        return _rows(self.paths.tables.key_table)

    @cached_property
    def signing(self) -> dict[str, str]:
        """``{domain: name of a record}``, the rows of the signing table that OpenDKIM reads."""
        return _rows(self.table)

    @property
    def table(self) -> Path:
        """The path of the signing table that OpenDKIM reads."""
        tables = self.paths.tables
        return tables.signing_table if self.settings["opendkim"]["signing_table"] == "refile" else tables.domains_table

    def path(self, name: str) -> Path:
        """Return the path of the key file that the domain's rows lead to."""
        return Path(self.records[self.signing[name].lower()].split(":", 2)[2])


def findings(host: CheckedHost, domains: Collection[str]) -> list[Finding]:
    """Return the findings on the way from each domain to its key file; none if OpenDKIM is off."""
    settings = host.settings
    if not settings["opendkim"]["enabled"]:
        return []
    user = settings["os"]["opendkim"]["user"]
    reader = who(host, user)
    if reader is None:
        words = ("id", "-u", user)
        return [not_run("config.dkim.key_file", user, "the user that OpenDKIM runs as", words, host.command(words))]
    strict = str(settings["opendkim"]["settings"].get("RequireSafeKeys", "yes")).lower() not in ("no", "false", "0")
    disk = Chain(settings, reader, strict)
    found = _tables(disk.paths.tables)
    if any(one.status == "fail" for one in found):
        return found
    wanted = [name for name in domains if settings["domains"][name]["dkim"]["enabled"]]
    found += chain(_steps(disk), wanted)
    if set(domains) == set(settings["domains"]):
        found += _others(disk, settings["domains"])
    return found + _folders(disk)


def _rows(path: Path) -> dict[str, str]:
    rows: dict[str, str] = {}
    for pattern, value in opendkim_tables.pairs(path.read_text(encoding="utf-8")):
        rows.setdefault(pattern.removeprefix("*@").removeprefix("*").lower(), value)
    return rows


def _tables(tables: Tables) -> list[Finding]:
    id, wanted = "config.dkim.table", "the table is there"
    missing = [str(path) for path in tables.all if not path.is_file()]
    found = [Finding(id, "fail", path, wanted, f"{path} is missing", f"{_HIGHSTATE}.") for path in missing]
    found += together(id, [str(path) for path in tables.all if str(path) not in missing], "tables", wanted)
    if missing:
        return found
    return [*found, _agreement(tables), _whole(tables)]


def _agreement(tables: Tables) -> Finding:
    id, about, wanted = "config.dkim.tables_agree", str(tables.signing_table), "both signing tables name the same keys"
    patterns, names = _rows(tables.signing_table), _rows(tables.domains_table)
    odd = sorted(name for name in {*patterns, *names} if patterns.get(name) != names.get(name))
    if not odd:
        return ok(id, about, wanted)
    seen = f"{tables.signing_table} and {tables.domains_table} differ for {brief(odd)}"
    remedy = f"{_HIGHSTATE}, which writes both; a row that somebody added by hand is lost by that."
    return Finding(id, "warn", about, wanted, seen, remedy)


def _whole(tables: Tables) -> Finding:
    id, about, wanted = "config.dkim.cut_short", str(tables.key_table), "no change of the tables was cut short"
    if not opendkim_tables.is_cut_short(tables):
        return ok(id, about, wanted)
    seen = f"{tables.kept[tables.key_table]} was left behind by a run that did not end"
    remedy = "Run: salt-call dkim.advance, which completes or undoes it (if no run is under way just now)."
    return Finding(id, "warn", about, wanted, seen, remedy)


def _steps(disk: Chain) -> list[ChainStep]:
    return [
        ChainStep("config.dkim.signer", "a key signs", partial(_signer, disk)),
        ChainStep(
            "config.dkim.signing_table", "the signing table names the key that should sign", partial(_signed, disk)
        ),
        ChainStep("config.dkim.key_table", "the KeyTable leads to the domain's key file", partial(_listed, disk)),
        ChainStep("config.dkim.key_file", "a key file that OpenDKIM reads and takes for safe", partial(_file, disk)),
        ChainStep(
            "config.dkim.key",
            f"the RSA key whose record was emitted, of {WANTED} bits at least",
            partial(_key, disk),
        ),
    ]


def _signer(disk: Chain, name: str) -> CheckResult | None:
    try:
        manifest = keystore.read_manifest(disk.paths.keys, name)
    except DkimError as err:
        return "fail", str(err), f"Restore that file from a backup ({disk.paths.keys}); OpenDKIM signs on meanwhile."
    disk.manifests[name] = manifest
    if life.signer(manifest) or name in disk.signing:
        return None
    waits = life.successor(manifest)
    if waits is None:
        return "warn", f"no key in {disk.paths.keys}/{name}, and mail is not signed", f"{_HIGHSTATE}, which makes one."
    return (
        "warn",
        f"the key {waits.selector} is {waits.stage}, and mail is not signed",
        f"Publish what `salt-call mailserver.records {name} format=zone` shows, then run: salt-call dkim.advance; "
        f"`salt-call dkim.status {name}` says what it waits for.",
    )


def _signed(disk: Chain, name: str) -> CheckResult | None:
    row, signer = disk.signing.get(name), life.signer(disk.manifests[name])
    if signer is None:  # a hand-written row, which the formula leaves alone until its own key is published
        return None
    wanted, again = f"{signer.selector}._domainkey.{name}", f"{_HIGHSTATE}."
    if row is None:
        return "fail", f"no row for {name} in {disk.table}, so its mail is not signed", again
    return None if row == wanted else ("fail", f"{disk.table} names {row}, and not {wanted}", again)


def _listed(disk: Chain, name: str) -> CheckResult | None:
    table, row = disk.paths.tables.key_table, disk.signing[name]
    if row.lower() not in disk.records:
        seen = f"no row {row} in {table}, so mail from {name} is refused for the time being (451)"
        return "fail", seen, f"{_HIGHSTATE}."
    value = disk.records[row.lower()].split(":", 2)
    if len(value) == 3 and value[0].lower() == name and value[2].startswith("/"):
        return None
    return "fail", f"the row {row} in {table} is for {value[0]!r}, or names no file", f"{_HIGHSTATE}."


def _file(disk: Chain, name: str) -> CheckResult | None:
    path = disk.path(name)
    try:
        real = path.resolve(strict=True)
        found = real.stat()
    except OSError as err:
        return "fail", f"{path}: {err.strerror}; mail from {name} is refused for the time being (451)", _lost(name)
    return _unsafe(disk, real, found) or _unreadable(disk, real, found)


def _lost(name: str) -> str:
    return f"Restore it from a backup, or have a new key made: salt-call dkim.rotate {name} force=True"


def _unsafe(disk: Chain, path: Path, found: os.stat_result) -> CheckResult | None:
    """Return what OpenDKIM's RequireSafeKeys would find wrong with a key file itself."""
    user, remedy = disk.settings["os"]["opendkim"], f"{_HIGHSTATE}, which puts owner and mode right."
    status: Status = "fail" if disk.is_strict else "warn"
    seen = f"{described(path, found)}: OpenDKIM takes it for unsafe, because "
    if not stat.S_ISREG(found.st_mode):
        return "fail", f"{path} is not a regular file", f"Put the key in its place: {path}"
    if found.st_uid not in (0, disk.reader.uid):
        return status, f"{seen}it is neither {user['user']}'s nor root's", remedy
    if found.st_mode & (stat.S_IROTH | stat.S_IWOTH):
        remedy += " Other users may know the key by now: think of dkim.revoke (docs/operations.md)."
        return status, f"{seen}every user can read or write it", remedy
    if found.st_mode & (stat.S_IRGRP | stat.S_IWGRP) and (others := _others_in(found.st_gid, disk.reader)):
        return status, f"{seen}its group has others in it ({brief(others)})", remedy
    return None


def _unreadable(disk: Chain, path: Path, found: os.stat_result) -> CheckResult | None:
    remedy = f"{_HIGHSTATE}, which puts owner and mode right."
    if not may(found, disk.reader, READ):
        return "fail", f"{described(path, found)}: {disk.reader.name} may not read it", remedy
    for folder in _above(path):
        its = folder.stat()
        if not may(its, disk.reader, PASS):
            return "fail", f"{described(folder, its)}: {disk.reader.name} may not pass", remedy
    return None


def _above(path: Path) -> list[Path]:
    """Return the folders above a path, from :data:`TOP` down."""
    return [folder for folder in reversed(path.parents) if folder.is_relative_to(TOP)]


def _others_in(gid: int, reader: Who) -> list[str]:
    """Return the names of users other than the reader and root in a group, found in the same way as by OpenDKIM."""
    first = [user.pw_name for user in pwd.getpwall() if user.pw_gid == gid and user.pw_uid not in (0, reader.uid)]
    try:
        return first + [name for name in grp.getgrgid(gid).gr_mem if name not in ("root", reader.name)]
    except KeyError:
        return [*first, f"group {gid} has no name"]


def _folders(disk: Chain) -> list[Finding]:
    """Return findings about the folders above all keys: whoever can write to one can put another key in place."""
    paths = [disk.path(name) for name in disk.signing if _has_path(disk, name)]
    folders = {folder for path in paths if path.exists() for folder in _above(path.resolve())}
    id, wanted, found, safe = "config.dkim.key_folder", "only root and OpenDKIM can write to the folder", [], []
    for folder in sorted(folders):
        its = folder.stat()
        if why := _writable(its, disk.reader):
            seen = f"{described(folder, its)}: {why}; OpenDKIM refuses the keys below it (RequireSafeKeys)"
            remedy = f"chmod go-w {folder}, and chown root {folder} if it is another user's; then check again."
            found.append(Finding(id, "fail" if disk.is_strict else "warn", str(folder), wanted, seen, remedy))
        else:
            safe.append(str(folder))
    return found + together(id, safe, "folders", wanted)


def _has_path(disk: Chain, name: str) -> bool:
    return ":/" in disk.records.get(disk.signing[name].lower(), "")


def _writable(found: os.stat_result, reader: Who) -> str:
    """Return who else can write to a folder, by OpenDKIM's rules, to which even the sticky bit makes no difference."""
    if found.st_mode & stat.S_IWOTH:
        return "every user can write to it"
    if found.st_mode & stat.S_IWGRP and (others := _others_in(found.st_gid, reader)):
        return f"its group can write to it ({brief(others)})"
    if found.st_mode & stat.S_IWUSR and found.st_uid not in (0, reader.uid):
        return "another user owns it"
    return ""


def _key(disk: Chain, name: str) -> CheckResult | None:
    path, selector = disk.path(name), disk.signing[name].partition("._domainkey.")[0]
    try:
        public, bits = keystore.public_half(keystore.read_private(path.resolve()), str(path))
    except (OSError, DkimError, UnicodeError) as err:
        return "fail", str(err), _lost(name)
    row = disk.manifests[name].key(selector)
    if bits < WEAKEST:
        return "fail", f"{path} has {bits} bits, and no verifier takes it (RFC 8301)", _stronger(name)
    if row and row.public != public:
        return "fail", f"{path} is not the key whose record was emitted for {selector}", _lost(name)
    if bits < WANTED:
        return "warn", f"{path} has {bits} bits; RFC 8301 asks for {WANTED}", _stronger(name)
    if row is None:
        seen = f"{path} is no key of {disk.paths.keys}/{name}/{keystore.MANIFEST}"
        return "warn", seen, f"Make one that is: salt-call dkim.rotate {name} force=True"
    return None


def _stronger(name: str) -> str:
    return f"Set mailserver:dkim:bits to {WANTED}, run a highstate, then: salt-call dkim.rotate {name} force=True"


def _others(disk: Chain, domains: Domains) -> list[Finding]:
    """Return findings about rows of domains that should not be signed for."""
    id, wanted = "config.dkim.signing_table", "only domains of the pillar are signed for"
    senders = disk.paths.tables.senders
    odd = sorted(
        name for name in disk.signing if not (name in senders or (name in domains and domains[name]["dkim"]["enabled"]))
    )
    remedy = f"{_HIGHSTATE}, which takes the row away; or give the domain back to the pillar."
    return [Finding(id, "warn", name, wanted, f"{disk.table} still has a row for {name}", remedy) for name in odd]
