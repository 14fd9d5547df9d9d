"""Room: how long and how old the mail queue is, and what is left of the disks of queue, keys and mail."""

import json
import os

from mailhost.check.findings import Finding, ok
from mailhost.check.shared import brief, not_run
from mailhost.clock import shown_time, utc
from mailhost.command import Done
from mailhost.postfix import domains

POSTQUEUE = ("postqueue", "-j")
MANY, TOO_MANY = 100, 1000
"""Messages in the queue that are worth a look, and that are a failure."""
STUCK, OLD = 3600, 4 * 3600
"""Seconds after which a message that nobody tried to deliver is stuck, and a deferred one is worth a look (Postfix's
own ``delay_warning_time``, where it is set, is 4 h as a rule). No age of a deferred message is a failure: that one
recipient's host is down for days is not this host's fault, while a fault of this host defers many messages."""
LOW, TOO_LOW = 10, 3
"""Per cent of a filesystem that are free."""
_LOOK = "postqueue -p shows why; `postqueue -f` tries again, `postsuper -d ID` takes one out"


def findings(host, now):
    """Return what is found of the queue and of the disks; ``now`` in seconds since 1970."""
    return [*_queue(host, now), *_disks(host)]


def _queue(host, now):
    done, wanted = host.command(POSTQUEUE), f"fewer than {MANY} messages in the mail queue"
    if done.status != 0:
        return [not_run("running.queue_length", "mail queue", wanted, POSTQUEUE, done)]
    try:
        messages = [json.loads(line) for line in done.out.splitlines() if line.strip()]
        return [_length(messages), _age(messages, now)]
    except (ValueError, KeyError, TypeError):
        odd = Done(done.status, "", "what it printed is not a list of messages")
        return [not_run("running.queue_length", "mail queue", wanted, POSTQUEUE, odd)]


def _length(messages):
    id, about, count = "running.queue_length", "mail queue", len(messages)
    wanted = f"at most {MANY} messages in the mail queue (over {TOO_MANY}: fail)"
    if count <= MANY:
        return ok(id, about, wanted, f"{count} messages")
    return Finding(id, "fail" if count > TOO_MANY else "warn", about, wanted, f"{count} messages", f"{_LOOK}.")


def _age(messages, now):
    """Return whether a message waits too long; one that is on hold waits for a person."""
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


def _oldest(messages):
    one = min(messages, key=lambda one: one["arrival_time"])
    return f"the oldest of {shown_time(utc(one['arrival_time']))} ({one['queue_id']}, {one['queue_name']})"


def _disks(host):
    paths = [host.settings["os"]["postfix"]["queue"]]
    paths += [host.settings["os"]["opendkim"]["keys"]] if host.settings["opendkim"]["enabled"] else []
    devices = {}
    for path in [*paths, *_homes(host)]:
        try:
            devices.setdefault(os.stat(path).st_dev, []).append(path)
        except OSError:  # a user without a home yet; what is missing of the rest, others say
            continue
    return [one for paths in devices.values() for one in _disk(paths)]


def _homes(host):
    """Return the home folders of the pillar's users, where mail is delivered to; ``/home`` where it names none."""
    if domains.is_virtual(host.settings):
        return [host.settings["os"]["accounts"]["mail"]]
    users = list(host.settings["accounts"]["users"])
    rows = [line.split(":") for line in host.command(("getent", "passwd", *users)).out.splitlines()] if users else []
    return [row[5] for row in rows if len(row) > 5] or ["/home"]


def _disk(paths):
    about, seen = paths[0], os.statvfs(paths[0])
    where = f"of the filesystem of {brief(paths)}"
    return [
        _left("running.disk_space", about, "space", seen.f_bavail, seen.f_blocks, where),
        *([_left("running.disk_inodes", about, "inodes", seen.f_favail, seen.f_files, where)] if seen.f_files else []),
    ]


def _left(id, about, kind, free, all, where):
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
