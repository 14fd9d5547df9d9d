"""Activating a daemon's configuration as one change: staged, checked, put in place, seen to serve, or rolled back.

``/var/lib/mailserver`` holds for each daemon the files to activate (``staged``), those that were in place before a
change began (``kept/NAME/former``) and those with which it was last seen to serve (``kept/NAME/served``). During a
change there is a mark (``kept/NAME/trying``), so that the next run can complete or roll back a run that was killed.
"""

import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from mailhost.errors import ConfigurationRefused, DaemonError, NotServing, WriteError
from mailhost.files import AnyPath, locked, replace_file

if TYPE_CHECKING:
    from mailhost.daemons.daemon import Daemon, DaemonState, Moment

STATE = "/var/lib/mailserver"


@dataclass(frozen=True)
class File:
    """A file as it is on disk: its bytes, its mode, and the ids of its owner and group."""

    octets: bytes
    mode: int
    uid: int
    gid: int


Files: TypeAlias = Mapping[str, File | None]
"""Files by their absolute paths; ``None`` for one that does not exist."""
RestartFor: TypeAlias = Mapping[str, Collection[str] | Literal[True]]
"""For a path, the settings for which a reload is not enough, or ``True`` for all of them."""
_Path = TypeVar("_Path", str, Path)


@dataclass(frozen=True)
class Configuration:
    """The files (absolute paths) of one daemon's configuration, and where copies of them are kept.

    ``restart_for`` maps a path to the settings in it for which a reload is not enough, or to ``True`` for all of them.
    """

    name: str
    files: tuple[str, ...]
    restart_for: RestartFor
    state: str = STATE

    @property
    def staged(self) -> Path:
        return staged_folder(self.state)

    @property
    def kept(self) -> Path:
        return Path(self.state) / "kept" / self.name

    @property
    def mark(self) -> Path:
        return self.kept / "trying"


@dataclass(frozen=True)
class Activation:
    """The outcome for a configuration: the paths that changed, and how the daemon took them (``""``: no change)."""

    changed: tuple[str, ...] = ()
    how: str = ""


def staged_folder(state: AnyPath = STATE) -> Path:
    """Return the folder that holds the files to activate, under their full paths."""
    return Path(state) / "staged"


def stage(path: AnyPath, state: AnyPath = STATE) -> Path:
    """Copy a file to its staging path, so that the staged file differs from it only by what must change.

    :return: the path of the copy; if the file does not exist, neither does the copy.
    :raises WriteError: it could not be written.
    """
    folder = staged_folder(state)
    staged = beneath(folder, path)
    _make_folder(Path(state), folder, staged.parent)
    here = read_file(path)
    if here is None:
        staged.unlink(missing_ok=True)
    elif here != read_file(staged):
        put({staged: here})
    return staged


def beneath(folder: AnyPath, path: AnyPath) -> Path:
    """Return the path in ``folder`` of a file with this absolute path."""
    return Path(folder) / str(path).lstrip("/")


def _make_folder(state: Path, top: Path, folder: Path) -> None:
    """Make a folder below ``top``, which only root may enter: some of the files hold secrets."""
    state.mkdir(mode=0o755, parents=True, exist_ok=True)
    top.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def read_file(path: AnyPath) -> File | None:
    """Return a file as :class:`File`, or ``None`` if it does not exist."""
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            return File(file.read(), stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)
    except FileNotFoundError:
        return None


def put(files: Mapping[_Path, File | None]) -> None:
    """Put files in place, ``{path: File}``; a path whose value is ``None`` is deleted.

    :raises WriteError: one could not be written.
    """
    for path, file in files.items():
        if file is None:
            Path(path).unlink(missing_ok=True)
        elif read_file(path) != file:
            replace_file(path, file.octets, file.mode, (file.uid, file.gid))


def relabel(paths: Collection[AnyPath]) -> None:
    """Set the SELinux labels of files, if SELinux is used: they came from another folder."""
    tool = shutil.which("restorecon")
    if tool and paths:
        subprocess.run((tool, *map(str, paths)), capture_output=True, timeout=60, check=False)


def is_cut_short(configuration: Configuration) -> bool:
    """Tell whether a change began that was neither seen to serve nor rolled back."""
    return configuration.mark.exists()


def is_to_change(configuration: Configuration) -> bool:
    """Tell whether the staged files differ from those in place, or an earlier change was cut short."""
    differ = any(read_file(beneath(configuration.staged, path)) != read_file(path) for path in configuration.files)
    return differ or is_cut_short(configuration)


def has_served(configuration: Configuration) -> bool:
    """Tell whether the daemon was ever seen to serve with a configuration that was activated here."""
    return any(_copies(configuration, "served").values())


def activate(configuration: Configuration, daemon: "Daemon") -> Activation:
    """Activate a daemon's staged files, or roll back to those that it had.

    :param daemon: a :class:`mailhost.daemons.daemon.Daemon`.
    :return: :class:`Activation`.
    :raises ConfigurationRefused: the files did not pass the checks, and nothing was touched.
    :raises NotServing: the daemon did not serve with them; the message says with which files it serves now.
    :raises WriteError: the copies could not be written, and nothing was touched.
    """
    _make_folder(Path(configuration.state), configuration.kept.parent, configuration.kept)
    with locked(configuration.kept, what=f"{configuration.name}'s configuration"):
        return _activate(configuration, daemon)


def _activate(configuration: Configuration, daemon: "Daemon") -> Activation:
    wanted = _wanted(configuration)
    here = {path: read_file(path) for path in configuration.files}
    cut_short = is_cut_short(configuration)
    changed = tuple(path for path in configuration.files if wanted[path] != here[path])
    if not changed and not cut_short:
        if daemon.is_active() and _copies(configuration, "served") != wanted and not daemon.seen().problems:
            _keep(configuration, "served", wanted)
        return Activation()
    refused = daemon.refused(configuration.staged)
    if refused:
        raise ConfigurationRefused(
            f"{configuration.name}: not put in place, the old configuration stays active: {refused}"
        )
    if not cut_short:
        _keep(configuration, "former", here)
        replace_file(configuration.mark, json.dumps({"ran": daemon.is_active()}), 0o600)
    return _try(configuration, daemon, wanted, changed or configuration.files)


def _wanted(configuration: Configuration) -> dict[str, File | None]:
    wanted = {path: read_file(beneath(configuration.staged, path)) for path in configuration.files}
    missing = [path for path, file in wanted.items() if file is None]
    if missing:
        raise ConfigurationRefused(f"{configuration.name}: {', '.join(missing)} was not staged; nothing was touched")
    return wanted


def _try(configuration: Configuration, daemon: "Daemon", wanted: Files, changed: tuple[str, ...]) -> Activation:
    former = _copies(configuration, "former")
    before = daemon.before(has_served(configuration))
    # Postfix throttles a program that could not start for a minute, and a reload does not end that.
    is_stuck = not before.active or before.undelivered
    how: Literal["reload", "restart"]
    how = "restart" if is_stuck or needs_restart(configuration.restart_for, former, wanted) else "reload"
    since = daemon.moment()
    wrong = _act(daemon, how, wanted, before, since)
    if wrong:
        said = _sentence([*wrong, *daemon.words(since)])
        raise NotServing(
            f"{configuration.name} does not serve with the new configuration: {said}\n"
            + _take_back(configuration, daemon, before)
        )
    _keep(configuration, "served", wanted)
    configuration.mark.unlink()
    return Activation(changed, "restarted" if how == "restart" else "reloaded")


def _act(
    daemon: "Daemon", how: Literal["reload", "restart"], files: Files, before: "DaemonState", since: "Moment"
) -> list[str]:
    """Put files in place and make the daemon take them; return what keeps it from serving."""
    try:
        put(files)
        relabel([path for path, file in files.items() if file])
        daemon.take(how)
    except (DaemonError, WriteError) as err:
        return [str(err)]
    return daemon.settled(before, since)


def _take_back(configuration: Configuration, daemon: "Daemon", before: "DaemonState") -> str:
    """Put back the former files and, if the daemon does not serve with them, the last ones that served; return a
    sentence that says which.
    """
    former, served = _copies(configuration, "former"), _copies(configuration, "served")
    if not _ran(configuration) and not has_served(configuration):
        put(former)
        daemon.stop()
        configuration.mark.unlink()
        return "It did not run before: the old files are back, and it is stopped."
    wrong = []
    for files in [former, *([served] if has_served(configuration) and served != former else [])]:
        # A reload is not enough: a failed program may be throttled for a minute, or be half loaded.
        wrong = _act(daemon, "restart", files, before, daemon.moment())
        if not wrong:
            configuration.mark.unlink()
            return "The configuration that served before is active again."
    return f"With the old one, which is back in place, it does not serve either: {_sentence(wrong)}"


def _ran(configuration: Configuration) -> bool:
    """Tell whether the daemon ran before the change began, which may have been in a run that was killed."""
    try:
        return bool(json.loads(configuration.mark.read_text(encoding="ascii"))["ran"])
    except (ValueError, KeyError, TypeError):
        return True


def _sentence(words: Iterable[str]) -> str:
    return "\n".join(dict.fromkeys(words))


def needs_restart(restart_for: RestartFor, former: Files, wanted: Files) -> bool:
    """Tell whether the files differ in a setting for which a reload is not enough."""
    return any(
        names is True or any(_values(former.get(path), name) != _values(wanted.get(path), name) for name in names)
        for path, names in restart_for.items()
        if former.get(path) != wanted.get(path)
    )


def _values(file: File | None, name: str) -> list[str]:
    text = file.octets.decode("utf-8", "replace") if file else ""
    return [value.strip() for value in re.findall(rf"^[ \t]*{re.escape(name)}\b[ \t]*=?(.*)$", text, re.MULTILINE)]


def _keep(configuration: Configuration, which: str, files: Files) -> None:
    """Keep copies of files; one that does not exist has no copy."""
    for path, file in files.items():
        staged = beneath(configuration.kept / which, path)
        _make_folder(Path(configuration.state), configuration.kept, staged.parent)
        put({staged: file})


def _copies(configuration: Configuration, which: str) -> dict[str, File | None]:
    return {path: read_file(beneath(configuration.kept / which, path)) for path in configuration.files}
