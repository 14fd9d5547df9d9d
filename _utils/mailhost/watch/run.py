"""One run of mailserver.watch: check, compare with the last run, and report by event, by mail and to Prometheus."""

import contextlib
import socket
import time
import urllib.parse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import TypedDict

from mailhost import clock as trusted_clock
from mailhost import files as safe_files
from mailhost.check import areas as check_areas
from mailhost.check.findings import Finding, Status, counts, worst
from mailhost.dkim import run as dkim_run
from mailhost.errors import MailserverError, NotTold, WatchError, WriteError
from mailhost.shapes import Settings
from mailhost.watch import changes as watch_changes
from mailhost.watch import mail as watch_mail
from mailhost.watch import memory as watch_memory
from mailhost.watch import prometheus
from mailhost.watch.changes import ChangeGroup
from mailhost.watch.memory import Memory, Rows

SETTINGS = "/etc/mailserver/settings.json"
"""All settings that the last highstate activated (mailserver/schedule/init.sls). The pillar in a minion's memory may be
older, or empty while the master is away; a watch that used it would report nonsense."""
SETTINGS_FORMAT = 2
"""Raise this, here and in that file, when settings change so that checks of another version cannot read them."""
CONNECT_LIMIT, LOCK_WAIT = 5, 60
RUN = "run"
"""The channel for what a run returns."""
EVENT = "mailserver/watch/changed"
MOST_GROUPS = 50
"""Most groups in an event: with texts of ``mailhost.watch.changes.LONGEST`` characters that is about 100 KB."""


def settings_in_force(path: str = SETTINGS) -> Settings:
    """Return the settings of the last highstate, as from ``mailserver.settings`` but without people's passwords.

    :raises SettingsError: there was no highstate yet, or the file is damaged or of another version of the formula.
    """
    return dkim_run.applied_settings(path, SETTINGS_FORMAT, "settings", "mailserver.schedule")


@dataclass(frozen=True)
class HostSurvey:
    """What a run saw: the findings, when it was done (Unix seconds), and how long it took (seconds)."""

    findings: list[Finding]
    at: float
    took: float


class WatchReport(TypedDict):
    """What a run saw: the worst status, how many findings there are of each, and what changed."""

    status: Status
    counts: dict[str, int]
    changed: list[ChangeGroup]


class Event(WatchReport):
    """The data of an event; ``more`` counts the changes that are left out."""

    more: int


class WatchReturn(WatchReport):
    """What a run returns, with what could not be reported or saved."""

    troubles: list[str]


Tell = Callable[[list[ChangeGroup]], str]
"""Notifies a channel of changes, and returns a note; raises a ``MailserverError``."""


def survey(settings: Settings) -> HostSurvey:
    """Check the whole host; return what is found, as :class:`HostSurvey`."""
    began = time.monotonic()
    findings = check_areas.check(settings, list(settings["domains"]))
    return HostSurvey(findings, time.time(), time.monotonic() - began)


def metrics(settings: Settings, seen: HostSurvey) -> str:
    """Return what was seen in Prometheus's text format."""
    keys, expiry = prometheus.keys_of(settings), prometheus.expiry_of(settings)
    return prometheus.exposition(seen.findings, keys, expiry, seen.at, seen.took)


def watch(
    settings: Settings,
    path: str,
    send_event: Callable[[Event], bool],
    submit: Callable[[EmailMessage, str, Sequence[str]], str] = watch_mail.submit,
    survey: Callable[[Settings], HostSurvey] = survey,
) -> WatchReturn:
    """Check the whole host, and report what changed since each channel was last notified.

    :param path: where the :class:`mailhost.watch.memory.Memory` is kept.
    :param send_event: called with an event's data; returns whether the master has it.
    :param submit: see :func:`mailhost.watch.mail.submit`.
    :return: ``status``, ``counts``, ``changed`` (since the last run, see :func:`mailhost.watch.changes.grouped`), and
        ``troubles``: sentences about what could not be reported or saved. The next run tries that again.
    :raises LockHeld: another run is in progress.
    """
    folder = Path(path).parent
    with safe_files.locked(folder, LOCK_WAIT, "the watch"):
        safe_files.sweep(folder)
        memory, troubles = remembered(path)
        seen = survey(settings)
        rows = watch_changes.advance(memory.rows, seen.findings, int(seen.at))
        told: WatchReport = {
            "status": worst(seen.findings),
            "counts": counts(seen.findings),
            "changed": watch_changes.grouped(watch_changes.changes(rows, RUN)),
        }
        rows = watch_changes.delivered(rows, RUN)
        textfile, trouble = write_textfile(settings, seen, memory.textfile)
        troubles += trouble
        channels = _channels(settings, seen.at, told, submit, send_event)
        for channel, tell in channels.items():
            rows, trouble = _told(rows, channel, tell)
            # Save after each channel: the next one may take minutes, in which the host may go down.
            troubles += trouble + _keep(path, Memory(watch_changes.kept(rows, (RUN, *channels)), textfile))
        return {**told, "troubles": list(dict.fromkeys(troubles))}


def remembered(path: str) -> tuple[Memory, list[str]]:
    """Return the :class:`mailhost.watch.memory.Memory` of the last run, and a list of what is wrong with its file."""
    try:
        return watch_memory.parse(Path(path).read_text(encoding="utf-8"), path), []
    except FileNotFoundError:
        return Memory(), []
    except (OSError, UnicodeDecodeError) as err:
        return Memory(), [f"{path}: cannot be read: {err}; so everything that is wrong was reported again"]
    except WatchError as err:
        return Memory(), [f"{err}; so everything that is wrong was reported again"]


def _channels(
    settings: Settings,
    at: float,
    told: WatchReport,
    submit: Callable[[EmailMessage, str, Sequence[str]], str],
    send_event: Callable[[Event], bool],
) -> dict[str, Tell]:
    """Return for each channel a function that reports groups of changes; it returns a note, or raises.

    The event comes last: if the master accepts connections and does not answer, sending takes minutes.
    """
    recipients, postmaster = settings["watch"]["mail"], f"postmaster@{settings['domain']}"

    def mail(groups: list[ChangeGroup]) -> str:
        now = trusted_clock.utc(at)
        names = settings["hostname"], settings["domain"]
        said = submit(watch_mail.message(*names, recipients, groups, told["counts"], now), postmaster, recipients)
        return f"mail: Postfix took it, and says: {said}" if said else ""

    def event(groups: list[ChangeGroup]) -> str:
        data: Event = {
            "status": told["status"],
            "counts": told["counts"],
            "changed": groups[:MOST_GROUPS],
            "more": max(0, len(groups) - MOST_GROUPS),
        }
        if not send_event(data):
            raise NotTold("the master did not take it")
        return ""

    return {"mail": mail, "event": event} if recipients else {"event": event}


def _told(rows: Rows, channel: str, tell: Tell) -> tuple[Rows, list[str]]:
    """Notify a channel of what it does not know yet; return the rows after that, and a list of notes."""
    groups = watch_changes.grouped(watch_changes.changes(rows, channel))
    try:
        note = tell(groups) if groups else ""
    except MailserverError as err:
        return rows, [f"{channel}: {err}; it is kept for the next run"]
    return watch_changes.delivered(rows, channel), [note] if note else []


def _keep(path: str, memory: Memory) -> list[str]:
    try:
        safe_files.replace_file(path, watch_memory.emit(memory), 0o600)
    except WriteError as err:
        return [f"{err}. Until then each run tells what it told before"]
    return []


def write_textfile(settings: Settings, seen: HostSurvey, before: str) -> tuple[str, list[str]]:
    """Write the file for Prometheus, if the pillar wants one, and delete one that was written elsewhere before.

    :return: the path of the present file (``""`` if there is none), and a list of what went wrong.
    """
    path = settings["watch"]["prometheus"]
    try:
        if before and before != path:
            safe_files.delete(before)
        if path:
            safe_files.replace_file(path, metrics(settings, seen), 0o644)
    except (MailserverError, OSError) as err:
        return path or before, [f"prometheus: {err}"]
    return path or "", []


def anyone_listens(uris: Iterable[str | None]) -> bool:
    """Tell whether a master can be reached at one of these URIs (``tcp://ADDRESS:PORT``).

    This is checked before an event is sent: without a master Salt keeps trying, and the run hangs with it.
    """
    for uri in uris:
        with contextlib.suppress(OSError, ValueError):
            url = urllib.parse.urlsplit(uri or "")
            socket.create_connection((url.hostname, url.port or 0), CONNECT_LIMIT).close()
            return True
    return False
