"""One run over the keys of a host: where they are, for which domains, at what trusted time, and what it reports."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path

from mailhost import clock as trusted_clock
from mailhost import files as safe_files
from mailhost import wording
from mailhost.clock import shown_time
from mailhost.dkim import folders as key_folders
from mailhost.dkim import given_up as dkim_given_up
from mailhost.dkim import keystore, life
from mailhost.dkim import machine as dkim_machine
from mailhost.dns import lookup
from mailhost.errors import ClockError, DkimError, KeyFileError, KeyInUse, ManifestError, SettingsError, UnsafeFile
from mailhost.opendkim import tables as opendkim_tables
from mailhost.scale import packing

APPLIED = "/etc/mailserver/dkim.json"
"""The settings that the last highstate put in force (mailserver/opendkim/keys.sls). Runs by hand and by schedule go by
them, and not by the pillar in the minion's memory: that may be older than the last highstate, or empty."""
APPLIED_FORMAT = 2
"""To be raised, there and here, when what a run needs of these settings changes."""
CLOCK = "clock.json"
"""The file of the trusted time, in the folder of the keys."""
CLOCK_STEP = 3600
"""Seconds after which the trusted time is written down anew; a run soon after another writes nothing."""


@dataclass
class Report:
    """What was done or, in a dry run, would be done; all texts are whole sentences that name the domain.

    ``changes`` maps a domain to what became of its keys (``{selector: {"old": stage, "new": stage}}``) and of its
    signer (``{"old": selector, "new": selector}``), ``waiting`` are warnings, and ``errors`` make the run fail.
    ``lost`` are the domains whose key was given up, so that another is to be made at once.
    """

    changes: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)
    waiting: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    lost: list = field(default_factory=list)

    def change(self, domain, selector, old, new):
        """Note that a key of a domain went from ``old`` to ``new``."""
        self.changes.setdefault(domain, {})[selector] = {"old": old, "new": new}


SHOWN = 25
"""How many texts of a kind a report is shown with: a minion's answer of megabytes is cut by the master, unreadably."""


def brief(texts):
    """Return the first of many texts of a report, and last how many more there are and where they are; all plain."""
    texts = [*map(wording.lines, texts[:SHOWN]), *texts[SHOWN:]]
    if len(texts) <= SHOWN:
        return texts
    more = (
        f"{len(texts) - SHOWN:,} more like these; dkim.status has each key, mailserver.records what is to be published."
    )
    return [*texts[:SHOWN], more]


def merged(*reports):
    """Return several reports as one; ``changes`` of a domain are joined."""
    whole = Report()
    for report in reports:
        for name, change in report.changes.items():
            whole.changes.setdefault(name, {}).update(change)
        whole.notes += report.notes
        whole.waiting += report.waiting
        whole.errors += report.errors
        whole.lost += report.lost
    return whole


@dataclass(frozen=True)
class Place:
    """Where a host has its keys and tables, and who owns the keys."""

    keys: str
    tables: opendkim_tables.Tables
    owner: keystore.Owner


def applied_settings(path=APPLIED, version=APPLIED_FORMAT, what="settings for DKIM", by="mailserver.opendkim"):
    """Return the settings of the last highstate, as far as keys need them; nested as ``mailserver.settings`` has them.

    :param version: the format that is understood.
    :param what, by: what the file holds, and the states that write it; for messages.
    :raises SettingsError: there was no highstate yet, or the file is damaged or of another version of the formula.
    """
    again = f"run a highstate, which writes it ({by})"
    try:
        settings = json.loads(Path(path).read_text(encoding="utf-8"))
        place_of(settings)
        settings["domains"] = packing.unpacked(settings["domains"])
        found = settings["format"]
    except FileNotFoundError as err:
        raise SettingsError(f"{path}: no highstate has put {what} in force on this host yet; {again}") from err
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as err:
        raise SettingsError(f"{path}: damaged ({err!r}); {again}") from err
    if found != version:
        raise SettingsError(f"{path}: another version of the formula wrote it (format {found!r}); {again}")
    return settings


def place_of(settings):
    """Return the :class:`Place` that the settings of a host name."""
    paths = settings["os"]["opendkim"]
    domains = packing.unpacked(settings.get("domains", {}))
    return Place(
        paths["keys"],
        opendkim_tables.tables(paths["key_table"], paths["signing_table"], domains),
        keystore.Owner(paths["user"], paths["group"]),
    )


def _nothing(ids, domains):
    """Return what no watch saw wrong."""
    return ()


@dataclass(frozen=True)
class Run:
    """One run: where, for which domains (their settings), at what time (trusted, UTC), and whether it only looks.

    ``dns`` is the pillar's section of that name; ``ask`` asks DNS (:func:`mailhost.dns.lookup.ask`). The host's clock
    is ``clock_ahead`` seconds ahead of ``now``, and ``warnings`` say so if that is too much to believe it. ``refused``
    maps domains to why what is in their folders is not believed (:func:`mailhost.dkim.folders.settle`). ``machine`` is
    the mark of this machine (:mod:`mailhost.dkim.machine`); empty, keys are not told from those of another. ``watched``
    is called with the ids of checks and domains, and returns those of the domains that the last watch saw wrong.
    """

    place: Place
    domains: dict
    dns: dict
    now: datetime
    test: bool = False
    ask: Callable = lookup.ask
    clock_ahead: float = 0.0
    warnings: tuple = ()
    refused: dict = field(default_factory=dict)
    machine: str = ""
    watched: Callable = _nothing

    @cached_property
    def wanted(self):
        """The settings of those domains that are to have a key."""
        return {name: domain for name, domain in self.domains.items() if domain["dkim"]["enabled"]}

    @cached_property
    def top(self):
        """The folder of the keys, as paths below it begin."""
        return str(Path(self.place.keys))

    def policy(self, name):
        """Return a domain's settings for its keys, the section ``dkim``."""
        return self.domains[name]["dkim"]

    def path(self, name, selector):
        """Return the path of a private key file."""
        return keystore.private_path(self.place.keys, name, selector)

    def is_compromised(self, name, selector):
        """Tell whether somebody said that a private key is known to others."""
        return keystore.is_compromised(self.place.keys, name, selector)

    @cached_property
    def in_force(self):
        """The signers that the tables named when this was first asked, ``{domain: Signer}``."""
        return opendkim_tables.signers_in_force(self.place.tables)

    @cached_property
    def _named(self):
        return opendkim_tables.named(self.place.tables)

    def is_named(self, name, selector):
        """Tell whether the tables name a key, be it in those of a change that was cut short."""
        return selector in self._named.get(name, ())

    def manifest(self, name):
        """Return a domain's :class:`mailhost.dkim.life.Manifest`: that on disk, in the light of what the host shows."""
        view = dkim_given_up.View(
            self.machine, frozenset(self._named.get(name, ())), partial(self.is_compromised, name)
        )
        return dkim_given_up.seen_by(self.on_disk(name), view, self.now)

    def on_disk(self, name):
        """Return a domain's manifest as its file says.

        :raises ManifestError: it cannot be read, or is not believed.
        """
        if name in self.refused:
            raise ManifestError(self.refused[name])
        return keystore.read_manifest(self.place.keys, name)

    def destroy(self, name, selector):
        """Destroy a private key file, if it is there.

        :raises KeyInUse: a table names it, so that all mail of the domain would be refused for the time being (451),
            or there is no KeyTable that could say.
        """
        path = self.path(name, selector)
        if opendkim_tables.may_read(self.place.tables, path):
            raise KeyInUse(
                f"{path}: not destroyed, although {selector} is revoked: {self.place.tables.key_table} names this "
                "file, or is missing. It is destroyed once another key signs (salt-call dkim.status)"
            )
        keystore.destroy(path)

    def write(self, manifest):
        """Write a manifest, unless the run only looks."""
        if not self.test:
            keystore.write_manifest(self.place.keys, manifest)

    def answers(self, questions):
        """Ask DNS ``{place: Question}``, and return ``{place: Answers}``."""
        asked = self.ask(questions.values(), lookup.options(self.dns)) if questions else {}
        return {place: asked[question] for place, question in questions.items()}


def read_manifests(run, report, names=None):
    """Return the manifests of these domains, or of all with DKIM; a damaged one is an error of the report."""
    manifests, troubles = read_each(run.wanted if names is None else names, run.manifest)
    report.errors += [f"{name}: {why}" for name, why in troubles.items()]
    return manifests


def read_each(names, read):
    """Return ``({domain: manifest}, {domain: why it cannot be read})``; ``read`` takes a domain's name."""
    manifests, troubles = {}, {}
    for name in names:
        try:
            manifests[name] = read(name)
        except DkimError as err:
            troubles[name] = str(err)
    return manifests, troubles


def begin(place, domains, dns, test=False, watched=_nothing):
    """Return a :class:`Run` at the trusted time (:mod:`mailhost.clock`); it warns of a clock that is not believed.

    A run that is no test begins under the lock; what killed runs left beside the tables is deleted, and the folders of
    the keys are made root's.

    :param watched: as in :class:`Run`, for a run that looks for keys in DNS.
    :raises ClockError: the host's clock was never set, or the trusted time's file is damaged.
    :raises UnsafeFile: another user could write to the folder of the keys, and somebody did.
    """
    path = Path(place.keys) / CLOCK
    refused = _refused(place, test)
    if not test:
        opendkim_tables.tidy(place.tables)
    before = _clock(path)
    clock = trusted_clock.advance(before, trusted_clock.read())
    if not test and (before is None or clock.trusted - before.trusted >= CLOCK_STEP or not clock.is_believed):
        _write_clock(path, clock)
    now = trusted_clock.utc(clock.trusted)
    warnings = () if clock.is_believed else (_disbelief(clock),)
    ahead, machine = clock.wall - clock.trusted, dkim_machine.mark()
    return Run(
        place,
        domains,
        dns,
        now,
        test,
        clock_ahead=ahead,
        warnings=warnings,
        refused=refused,
        machine=machine,
        watched=watched,
    )


def _refused(place, test):
    try:
        place.owner.ids()
    except KeyFileError:
        # The package that brings the user is not installed yet: nothing can be this user's.
        return {}
    return key_folders.settle(place.keys, place.owner, test)[1]


def believe_clock(keys):
    """Have the host's clock believed from now on, because an operator says that it is right; return the trusted time.

    No soak and no retention gets shorter by that. Where the clock was ahead, nobody witnessed the time by which it was,
    so the waits begin anew; where it was behind, stamps of what is the future now become stamps of now. A call that was
    cut short is to be repeated.

    :raises ManifestError: manifests are damaged; nothing was changed.
    :raises ClockError: the clock was never set, or the trusted time's file is damaged.
    """
    path = Path(keys) / CLOCK
    before = trusted_clock.advance(_clock(path), trusted_clock.read())
    clock = trusted_clock.believe(before)
    now, manifests = trusted_clock.utc(clock.trusted), _all_manifests(keys)
    # Stamps move ahead before the clock does, and back after it: the other way round, a call that is cut short in
    # between would leave retentions that are over.
    if clock.trusted > before.trusted:
        manifests = _rewritten(keys, manifests, lambda manifest: life.wait_anew(manifest, now))
    _write_clock(path, clock)
    _rewritten(keys, manifests, lambda manifest: life.not_after(manifest, now))
    return now


def _all_manifests(keys):
    """Return the manifests of all domains that have one.

    :raises ManifestError: some are damaged; it names them all.
    """
    names, read = keystore.domains_on_disk(keys), partial(keystore.read_manifest, keys)
    manifests, troubles = read_each(names, read)
    if troubles:
        raise ManifestError("\n".join([*troubles.values(), "The clock is not believed yet, and nothing was changed."]))
    return list(manifests.values())


def _rewritten(keys, manifests, change):
    """Return the manifests after ``change``; those that it changed are written."""
    changed = [change(manifest) for manifest in manifests]
    for before, after in zip(manifests, changed, strict=True):
        if after != before:
            keystore.write_manifest(keys, after)
    return changed


def _clock(path):
    try:
        return trusted_clock.parse(safe_files.read_text(path, roots=True), str(path))
    except FileNotFoundError:
        return None
    except UnsafeFile as err:
        raise ClockError(str(err)) from err
    except (OSError, UnicodeDecodeError) as err:
        raise ClockError(f"{path}: cannot be read: {err}") from err


def _write_clock(path, clock):
    safe_files.replace_file(path, trusted_clock.emit(clock), 0o644)


def _disbelief(clock):
    wall, now = trusted_clock.utc(clock.wall), trusted_clock.utc(clock.trusted)
    waits = ", and waits until the clock gets there" if wall < now and clock.credit else ""
    return (
        f"The host's clock says {shown_time(wall)}, but by all that was witnessed it is {shown_time(now)}; that "
        f"is what the keys go by{waits}. Set the clock right or, if it is right, run: salt-call dkim.believe_clock"
    )
