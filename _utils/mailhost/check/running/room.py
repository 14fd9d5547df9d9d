"""Room: the length and age of the mail queue, and the free space on the disks of queue, keys and mail."""

import json
import os
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from mailhost.check.findings import CheckedHost, Finding, ok
from mailhost.check.shared import brief, not_run
from mailhost.clock import shown_time, utc
from mailhost.command import CommandResult
from mailhost.postfix import domains

POSTQUEUE = ("postqueue", "-j")
MANY, TOO_MANY = 100, 1000
"""Numbers of messages in the queue that are a warning and a failure."""
STUCK, OLD = 3600, 4 * 3600
"""Seconds after which a message that was never tried is stuck, and a deferred one is a warning (Postfix's own
``delay_warning_time``, if set, is usually 4 h). A deferred message is never a failure, however old: if one recipient's
host is down for days, that is not this host's fault, while a fault of this host defers many messages."""
LOW, TOO_LOW = 10, 3
"""Free space of a filesystem in per cent."""
_LOOK = "postqueue -p shows why; `postqueue -f` tries again, `postsuper -d ID` takes one out"


def findings(host: CheckedHost, now: float) -> list[Finding]:
    """Return the findings about the queue and the disks; ``now`` is in seconds since 1970."""
    return [*_queue(host, now), *_disks(host)]


def _queue(host: CheckedHost, now: float) -> list[Finding]:
    done, wanted = host.command(POSTQUEUE), f"fewer than {MANY} messages in the mail queue"
    if done.status != 0:
        return [not_run("running.queue_length", "mail queue", wanted, POSTQUEUE, done)]
    try:
        messages = [json.loads(line) for line in done.out.splitlines() if line.strip()]
        return [_length(messages), _age(messages, now)]
    except (ValueError, KeyError, TypeError):
        odd = CommandResult(done.status, "", "what it printed is not a list of messages")
        return [not_run("running.queue_length", "mail queue", wanted, POSTQUEUE, odd)]


def _length(messages: Collection[dict[str, Any]]) -> Finding:
    id, about, count = "running.queue_length", "mail queue", len(messages)
    wanted = f"at most {MANY} messages in the mail queue (over {TOO_MANY}: fail)"
    if count <= MANY:
        return ok(id, about, wanted, f"{count} messages")
    return Finding(id, "fail" if count > TOO_MANY else "warn", about, wanted, f"{count} messages", f"{_LOOK}.")


def _age(messages: Iterable[dict[str, Any]], now: float) -> Finding:
    """Return whether a message waits too long; messages on hold wait for a person and do not count."""
    id, about = "running.queue_age", "mail queue"
    wanted = f"nothing deferred for over {OLD // 3600} h (warn), nothing untried for over {STUCK // 3600} h (fail)"
    waiting = [one for one in messages if one["queue_name"] != "hold"]
    stuck = [one for one in waiting if one["queue_name"] != "deferred" and now - one["arrival_time"] > STUCK]
    if stuck:
        remedy = "Run: systemctl restart postfix; journalctl -u 'postfix*' -n 50 says what the queue manager lacks."
        return Finding(id, "fail", about, wanted, f"{len(stuck)} messages, {_oldest(stuck)}", remedy)
    old = [one for one in waiting if now - one["arrival_time"] > OLD]
    if old:
        return Finding(id, "warn", about, wanted, f"{len(old)} messages, {_oldest(old)}", f"{_LOOK}.")
    return ok(id, about, wanted, _oldest(waiting) if waiting else "empty")


def _oldest(messages: Iterable[dict[str, Any]]) -> str:
    one = min(messages, key=lambda one: one["arrival_time"])
    return f"the oldest of {shown_time(utc(one['arrival_time']))} ({one['queue_id']}, {one['queue_name']})"


def _disks(host: CheckedHost) -> list[Finding]:
    paths = [host.settings["os"]["postfix"]["queue"]]
    paths += [host.settings["os"]["opendkim"]["keys"]] if host.settings["opendkim"]["enabled"] else []
    devices: dict[int, list[str]] = {}
    for path in [*paths, *_homes(host)]:
        try:
            devices.setdefault(os.stat(path).st_dev, []).append(path)
        except OSError:  # a user without a home yet; other checks report other missing folders
            continue
    return [one for paths in devices.values() for one in _disk(paths)]


def _homes(host: CheckedHost) -> list[str]:
    """Return the home folders of the pillar's users, where mail is delivered; ``/home`` if it names none."""
    if domains.is_virtual(host.settings):
        return [host.settings["os"]["accounts"]["mail"]]
    users = list(host.settings["accounts"]["users"])
    rows = [line.split(":") for line in host.command(("getent", "passwd", *users)).out.splitlines()] if users else []
    return [row[5] for row in rows if len(row) > 5] or ["/home"]


def _disk(paths: Sequence[str]) -> list[Finding]:
    about, seen = paths[0], os.statvfs(paths[0])
    where = f"of the filesystem of {brief(paths)}"
    return [
        _left("running.disk_space", about, "space", seen.f_bavail, seen.f_blocks, where),
        *([_left("running.disk_inodes", about, "inodes", seen.f_favail, seen.f_files, where)] if seen.f_files else []),
    ]


def _left(id: str, about: str, kind: str, free: int, all: int, where: str) -> Finding:
    share = 100 * free / all if all else 100
    wanted, seen = f"at least {LOW} % of {kind} free (under {TOO_LOW} %: fail)", f"{share:.1f} % {where}"
    if share >= LOW:
        return ok(id, about, wanted, seen)
    option = " --inodes" if kind == "inodes" else ""
    remedy = (
        f"Make room: `du{option} -xd1 {about} | sort -n`, old logs (journalctl --vacuum-size=500M), then check again. "
        "Postfix refuses mail (452) before the disk is full."
    )
    return Finding(id, "fail" if share < TOO_LOW else "warn", about, wanted, seen, remedy)
