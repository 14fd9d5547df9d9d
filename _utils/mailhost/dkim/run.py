"""One run over the keys of a host: where they are, for which domains, and at what trusted time."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import ParamSpec, TypeVar

from mailhost import clock as trusted_clock
from mailhost.dkim import clock as dkim_clock
from mailhost.dkim import folders as key_folders
from mailhost.dkim import given_up as dkim_given_up
from mailhost.dkim import keystore
from mailhost.dkim import machine as dkim_machine
from mailhost.dkim import report as dkim_report
from mailhost.dkim.life import Manifest
from mailhost.dkim.steps import FAIL, Step
from mailhost.dns import lookup
from mailhost.errors import KeyFileError, KeyInUse, ManifestError, SettingsError
from mailhost.files import AnyPath
from mailhost.opendkim import tables as opendkim_tables
from mailhost.scale import packing
from mailhost.scale.turns import Watched
from mailhost.shapes import Dns, DomainDkim, Domains, Settings

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Name = TypeVar("_Name")
Ask = Callable[[Iterable[lookup.Question], lookup.Options], dict[lookup.Question, lookup.Answers]]
"""Asks DNS, as :func:`mailhost.dns.lookup.ask` does."""

APPLIED = "/etc/mailserver/dkim.json"
"""The settings that the last highstate activated (mailserver/opendkim/keys.sls). Runs by hand and by schedule use them,
not the pillar in the minion's memory: that may be older than the last highstate, or empty."""
APPLIED_FORMAT = 2
"""Raise this, here and in that file, when a run needs other settings than before."""


@dataclass(frozen=True)
class SigningPaths:
    """Where a host has its keys and tables, and who owns the keys."""

    keys: str
    tables: opendkim_tables.Tables
    owner: keystore.Owner


def applied_settings(
    path: AnyPath = APPLIED,
    version: int = APPLIED_FORMAT,
    what: str = "settings for DKIM",
    by: str = "mailserver.opendkim",
) -> Settings:
    """Return the settings of the last highstate that keys need, nested as in ``mailserver.settings``.

    :param version: the format that this code understands.
    :param what, by: what the file holds, and the states that write it; for messages.
    :raises SettingsError: there was no highstate yet, or the file is damaged or of another version of the formula.
    """
    again = f"run a highstate, which writes it ({by})"
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        settings: Settings = data
        paths_of(settings)
        settings["domains"] = packing.unpacked(settings["domains"])
        found = data["format"]
    except FileNotFoundError as err:
        raise SettingsError(f"{path}: no highstate has put {what} in force on this host yet; {again}") from err
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as err:
        raise SettingsError(f"{path}: damaged ({err!r}); {again}") from err
    if found != version:
        raise SettingsError(f"{path}: another version of the formula wrote it (format {found!r}); {again}")
    return settings


def paths_of(settings: Settings) -> SigningPaths:
    """Return the :class:`SigningPaths` that a host's settings name."""
    paths = settings["os"]["opendkim"]
    domains = packing.unpacked(settings.get("domains", {}))
    return SigningPaths(
        paths["keys"],
        opendkim_tables.tables(paths["key_table"], paths["signing_table"], domains),
        keystore.Owner(paths["user"], paths["group"]),
    )


@dataclass(frozen=True)
class Planned:
    """What a dry run would have done so far: ``manifests`` as it would have written them, and the domains that it
    ``made`` a key for. Its later parts use this; a real run reads the disk."""

    manifests: dict[str, Manifest] = field(default_factory=dict)
    made: set[str] = field(default_factory=set)


def _nothing(ids: tuple[str, ...], domains: Mapping[str, object]) -> tuple[()]:
    """Report that no watch saw anything wrong."""
    return ()


@dataclass(frozen=True)
class Run:
    """One run: where, for which domains (their settings), at what time (trusted, UTC), and whether it is a dry run.

    ``dns`` is the pillar's section of that name (empty in a run that does not ask DNS); ``ask`` queries DNS
    (:func:`mailhost.dns.lookup.ask`). The host's clock is ``clock_ahead`` seconds ahead of ``now``, and ``warnings``
    say so if that is too much to be trusted.
    ``refused`` maps domains to the reason why their folders are not trusted (:func:`mailhost.dkim.folders.settle`).
    ``machine`` is the mark of this machine (:mod:`mailhost.dkim.machine`); if it is empty, keys of other machines are
    not recognized. ``watched`` is called with the ids of checks and domains, and returns those of the domains that the
    last watch saw wrong. ``planned`` is what earlier parts of the same dry run would have done.
    """

    paths: SigningPaths
    domains: Domains
    dns: Dns
    now: datetime
    test: bool = False
    ask: Ask = lookup.ask
    clock_ahead: float = 0.0
    warnings: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    machine: str = ""
    watched: Watched = _nothing
    planned: Planned = field(default_factory=Planned)

    @cached_property
    def wanted(self) -> Domains:
        """The settings of those domains that should have a key."""
        return {name: domain for name, domain in self.domains.items() if domain["dkim"]["enabled"]}

    @cached_property
    def top(self) -> str:
        """The folder of the keys, as text that paths in it begin with."""
        return str(Path(self.paths.keys))

    def policy(self, name: str) -> DomainDkim:
        """Return a domain's settings for its keys, the section ``dkim``."""
        return self.domains[name]["dkim"]

    def path(self, name: str, selector: str) -> Path:
        """Return the path of a private key file."""
        return keystore.private_path(self.paths.keys, name, selector)

    def is_compromised(self, name: str, selector: str) -> bool:
        """Tell whether a private key was reported as known to others."""
        return keystore.is_compromised(self.paths.keys, name, selector)

    @cached_property
    def in_force(self) -> dict[str, opendkim_tables.Signer]:
        """The signers that the tables named when this was first read, ``{domain: Signer}``."""
        return opendkim_tables.signers_in_force(self.paths.tables)

    @cached_property
    def _named(self) -> dict[str, set[str]]:
        return opendkim_tables.named(self.paths.tables)

    def named(self, name: str) -> frozenset[str]:
        """Return the selectors of a domain that the tables name, including tables of a change that was cut short."""
        return frozenset(self._named.get(name, ()))

    def is_named(self, name: str, selector: str) -> bool:
        """Tell whether the tables name a key, including tables of a change that was cut short."""
        return selector in self._named.get(name, ())

    def manifest(self, name: str) -> Manifest:
        """Return a domain's :class:`mailhost.dkim.life.Manifest` from disk, corrected by what the host shows."""
        manifest = self.on_disk(name)
        return dkim_given_up.seen_by(manifest, self.view(manifest), self.now)

    def view(self, manifest: Manifest) -> dkim_given_up.View:
        """Return what this host shows of a domain's keys besides their manifest."""
        name, keys = manifest.domain, filter(dkim_given_up.may_be_compromised, manifest.keys)
        known = frozenset(key.selector for key in keys if self.is_compromised(name, key.selector))
        return dkim_given_up.View(self.machine, self.named(name), known)

    def on_disk(self, name: str) -> Manifest:
        """Return a domain's manifest as its file says or, in a dry run, as it would say by now.

        :raises ManifestError: it cannot be read, or its folder is not trusted.
        """
        if name in self.refused:
            raise ManifestError(self.refused[name])
        if name in self.planned.manifests:
            return self.planned.manifests[name]
        return keystore.read_manifest(self.paths.keys, name)

    def destroy(self, name: str, selector: str) -> None:
        """Destroy a private key file, if it is there.

        :raises KeyInUse: a table names it, so OpenDKIM would temporarily reject all mail of the domain (451), or the
            KeyTable, which could tell, is missing.
        """
        path = self.path(name, selector)
        if opendkim_tables.may_read(self.paths.tables, path):
            raise KeyInUse(
                f"{path}: not destroyed, although {selector} is revoked: {self.paths.tables.key_table} names this "
                "file, or is missing. It is destroyed once another key signs (salt-call dkim.status)"
            )
        keystore.destroy(path)

    def do(self, deed: Callable[_P, _T], *given: _P.args, **named: _P.kwargs) -> _T | None:
        """Call what changes the host or DNS, unless this is a dry run; return its result, or ``None``."""
        return None if self.test else deed(*given, **named)

    def report(self, steps: Sequence[Step]) -> dkim_report.Report:
        """Return the :class:`mailhost.dkim.report.Report` of steps, in the words of a run or of a dry run."""
        return dkim_report.report_of(steps, self.test)

    def write(self, manifest: Manifest) -> None:
        """Write a manifest; a dry run only remembers it."""
        if self.test:
            self.planned.manifests[manifest.domain] = manifest
        self.do(keystore.write_manifest, self.paths.keys, manifest)

    def answers(self, questions: Mapping[_Name, lookup.Question]) -> dict[_Name, lookup.Answers]:
        """Ask DNS ``{name: Question}``, and return ``{name: Answers}``."""
        asked = self.ask(questions.values(), lookup.options(self.dns)) if questions else {}
        return {name: asked[question] for name, question in questions.items()}


OldestQueued = Callable[[Run], datetime | None]
"""Returns when the oldest message in the mail queue arrived (:func:`mailhost.dkim.life.keeps_record`)."""


def read_manifests(
    run: Run, names: Iterable[str], read: Callable[[str], Manifest] | None = None
) -> tuple[dict[str, Manifest], list[Step]]:
    """Return ``({domain: manifest}, steps)`` of these domains; a damaged manifest is a failure.

    :param read: returns a domain's manifest; :meth:`Run.manifest`, if left out.
    """
    manifests, troubles = keystore.read_each(names, read or run.manifest)
    return manifests, [Step(FAIL, name, reason=why) for name, why in troubles.items()]


def begin(
    paths: SigningPaths,
    domains: Domains,
    dns: Dns,
    test: bool = False,
    watched: Watched = _nothing,
    planned: Planned | None = None,
) -> Run:
    """Return a :class:`Run` at the trusted time (:mod:`mailhost.clock`). It warns if the clock is not trusted.

    A run that is not a dry run must hold the lock. Files that killed runs left beside the tables are deleted, and root
    becomes the owner of the key folders.

    :param watched: as in :class:`Run`, for a run that checks keys in DNS.
    :param planned: as in :class:`Run`, for a part of a dry run that is not its first.
    :raises ClockError: the host's clock was never set, or the trusted time's file is damaged.
    :raises UnsafeFile: another user could write to the folder of the keys, and somebody did.
    """
    path = Path(paths.keys) / dkim_clock.CLOCK
    refused = _refused(paths, test)
    if not test:
        opendkim_tables.tidy(paths.tables)
    before = dkim_clock.read(path)
    clock = trusted_clock.advance(before, trusted_clock.read())
    if not test and (
        before is None or clock.trusted - before.trusted >= dkim_clock.CLOCK_STEP or not clock.is_believed
    ):
        dkim_clock.write(path, clock)
    now = trusted_clock.utc(clock.trusted)
    warnings = () if clock.is_believed else (dkim_clock.disbelief(clock),)
    ahead, machine = clock.wall - clock.trusted, dkim_machine.mark()
    return Run(
        paths,
        domains,
        dns,
        now,
        test,
        clock_ahead=ahead,
        warnings=warnings,
        refused=refused,
        machine=machine,
        watched=watched,
        planned=planned or Planned(),
    )


def _refused(paths: SigningPaths, test: bool) -> dict[str, str]:
    try:
        paths.owner.ids()
    except KeyFileError:
        # The package that creates the user is not installed yet, so nothing can belong to that user.
        return {}
    return key_folders.settle(paths.keys, paths.owner, test)[1]
