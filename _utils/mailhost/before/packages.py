"""Which packages the formula's runs brought to a host. This is recorded around each run, so that they can be removed.

The note is a file with ``brought``, the names of those packages, and, while a run that installs some is in progress,
``before``: the names of all packages that were installed when it began.
"""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from mailhost.command import Command
from mailhost.errors import PackagesError
from mailhost.files import AnyPath, replace_file

NOTE = "/var/lib/mailserver/packages.json"
DPKG_INFO = "/var/lib/dpkg/info"
QUEUES = ("incoming", "active", "deferred", "hold", "maildrop", "corrupt")


class Brought(TypedDict):
    """The names of the packages that the formula brought."""

    brought: list[str]


class Note(Brought):
    """The whole note; ``before`` is ``None`` unless a run is in progress."""

    before: list[str] | None


def read(path: AnyPath = NOTE) -> Note:
    """Return the note; an empty one if the file does not exist.

    :raises PackagesError: it is damaged.
    """
    try:
        note = json.loads(Path(path).read_text(encoding="utf-8"))
        return {"brought": [str(one) for one in note["brought"]], "before": note.get("before")}
    except FileNotFoundError:
        return {"brought": [], "before": None}
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise PackagesError(
            f"{path}: damaged ({err!r}); repair it, or delete it so that no package is removed"
        ) from err


def write(note: Note, path: AnyPath = NOTE) -> None:
    """Replace the note on disk.

    :raises WriteError: it could not be written.
    """
    Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    replace_file(path, json.dumps({name: value for name, value in note.items() if value is not None}), 0o644)


def begun(note: Note, wanted: Collection[str], installed: Collection[str]) -> Note:
    """Return the note for a run that begins.

    :param wanted: the names of the packages that the run asks for; ``installed`` are all installed packages.
    """
    brought = set(note["brought"])
    if note["before"] is not None:
        # The run before was killed. Other packages may be somebody else's, so only those that the formula names count.
        brought |= set(wanted) & set(installed) - set(note["before"])
    is_short = set(wanted) - set(installed)
    return {"brought": sorted(brought), "before": sorted(installed) if is_short else None}


def ended(note: Note, installed: Iterable[str]) -> Note:
    """Return the note for a run that has installed all it could."""
    if note["before"] is None:
        return note
    return {"brought": sorted({*note["brought"], *(set(installed) - set(note["before"]))}), "before": None}


def wanted_by(chunks: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of the packages that states (low data) of this formula install."""
    found = []
    for one in chunks:
        if (one.get("state"), one.get("fun")) == ("pkg", "installed") and one["__id__"].startswith("mailserver-"):
            named = one.get("pkgs") or one.get("sources") or [one["name"]]
            found += [next(iter(name)) if hasattr(name, "keys") else str(name) for name in named]
    return sorted(set(found))


def to_remove(note: Brought, installed: Iterable[str]) -> list[str]:
    """Return the packages to remove: those that the formula brought and that are still installed."""
    return sorted(set(note["brought"]) & set(installed))


def in_turns(names: Sequence[str], info: AnyPath = DPKG_INFO) -> list[list[str]]:
    """Return the names in the order of their removal, one list for each step.

    When removed, some Debian packages ask ``ucf`` which configuration files are theirs. They leave all files in place
    if ucf, or something that it needs, is removed in the same step.
    """
    first = [name for name in names if name != "ucf" and _asks_ucf(name, info)]
    return [turn for turn in (first, [name for name in names if name not in first]) if turn]


def _asks_ucf(name: str, info: AnyPath) -> bool:
    scripts = [*Path(info).glob(f"{name}.postrm"), *Path(info).glob(f"{name}:*.postrm")]
    return any("ucf" in script.read_text(encoding="utf-8", errors="replace") for script in scripts)


def simulated(text: str) -> tuple[set[str], set[str]]:
    """Return the names that ``apt-get --simulate`` would remove and those that it would install."""
    removed = set(re.findall(r"^(?:Purg|Remv) (\S+)", text, re.MULTILINE))
    return removed, set(re.findall(r"^Inst (\S+)", text, re.MULTILINE))


def in_the_way(names: Sequence[str], command: Command) -> str:
    """Return why packages cannot be removed without others; ``""`` if they can.

    :param command: runs a command (:class:`mailhost.check.findings.CheckedHost`).
    """
    done = command(("apt-get", "--simulate", "--yes", "purge", *names))
    if done.status is None:  # no apt here
        done = command(("rpm", "--erase", "--test", *names))
        return "" if done.status == 0 else (done.err or done.out).strip()
    if done.status != 0:
        return (done.err or done.out).strip()
    removed, installed = simulated(done.out)
    others = sorted(removed - set(names))
    if others:
        return f"{', '.join(others)} would go with them"
    return f"{', '.join(sorted(installed))} would come in their stead" if installed else ""


def queued(queue: AnyPath) -> int:
    """Return how many messages are in Postfix's queue: removing its package removes them as well."""
    return sum(1 for name in QUEUES for path in Path(queue, name).rglob("*") if path.is_file())
