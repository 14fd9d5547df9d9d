"""Which packages the formula's own runs brought to a host: noted around each run, so that they can be taken away again.

The note is a file with ``brought``, the names of those packages, and, while a run that installs some is under way,
``before``: the names of all that there were when it began.
"""

import json
import re
from pathlib import Path

from mailhost.errors import PackagesError
from mailhost.files import replace_file

NOTE = "/var/lib/mailserver/packages.json"
DPKG_INFO = "/var/lib/dpkg/info"
QUEUES = ("incoming", "active", "deferred", "hold", "maildrop", "corrupt")


def read(path=NOTE):
    """Return the note; an empty one where there is none.

    :raises PackagesError: it is damaged.
    """
    try:
        note = json.loads(Path(path).read_text(encoding="utf-8"))
        return {"brought": [str(one) for one in note["brought"]], "before": note.get("before")}
    except FileNotFoundError:
        return {"brought": [], "before": None}
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise PackagesError(f"{path}: damaged ({err!r}); mend it, or delete it to have no package taken away") from err


def write(note, path=NOTE):
    """Put a note in place of the one on disk.

    :raises WriteError: it could not be written.
    """
    Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    replace_file(path, json.dumps({name: value for name, value in note.items() if value is not None}), 0o644)


def begun(note, wanted, installed):
    """Return the note of a run that begins.

    :param wanted: the names of the packages that the run asks for; ``installed``, of all that there are.
    """
    brought = set(note["brought"])
    if note["before"] is not None:
        # The run before was killed. What else came since may be somebody else's, so only what the formula names counts.
        brought |= set(wanted) & set(installed) - set(note["before"])
    is_short = set(wanted) - set(installed)
    return {"brought": sorted(brought), "before": sorted(installed) if is_short else None}


def ended(note, installed):
    """Return the note of a run that has installed all it could."""
    if note["before"] is None:
        return note
    return {"brought": sorted({*note["brought"], *(set(installed) - set(note["before"]))}), "before": None}


def wanted_by(chunks):
    """Return the names of the packages that states (low data) of this formula install."""
    found = []
    for one in chunks:
        if (one.get("state"), one.get("fun")) == ("pkg", "installed") and one["__id__"].startswith("mailserver-"):
            named = one.get("pkgs") or one.get("sources") or [one["name"]]
            found += [next(iter(name)) if hasattr(name, "keys") else str(name) for name in named]
    return sorted(set(found))


def to_remove(note, installed):
    """Return which packages are to be taken away: those that the formula brought, as far as they are still there."""
    return sorted(set(note["brought"]) & set(installed))


def in_turns(names, info=DPKG_INFO):
    """Return the names in the order in which packages go, a list a turn.

    Some of Debian's packages ask ``ucf``, as they go, which configuration files are theirs, and leave them all where
    it, or what it needs, went in the same turn.
    """
    first = [name for name in names if name != "ucf" and _asks_ucf(name, info)]
    return [turn for turn in (first, [name for name in names if name not in first]) if turn]


def _asks_ucf(name, info):
    scripts = [*Path(info).glob(f"{name}.postrm"), *Path(info).glob(f"{name}:*.postrm")]
    return any("ucf" in script.read_text(encoding="utf-8", errors="replace") for script in scripts)


def simulated(text):
    """Return the names that ``apt-get --simulate`` would remove and those that it would install."""
    removed = set(re.findall(r"^(?:Purg|Remv) (\S+)", text, re.MULTILINE))
    return removed, set(re.findall(r"^Inst (\S+)", text, re.MULTILINE))


def in_the_way(names, command):
    """Return why packages cannot be taken away without others; ``""`` if they can.

    :param command: runs a command (:class:`mailhost.check.findings.Host`).
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


def queued(queue):
    """Tell how many messages lie in Postfix's queue: its package takes them with it when it goes."""
    return sum(1 for name in QUEUES for path in Path(queue, name).rglob("*") if path.is_file())
