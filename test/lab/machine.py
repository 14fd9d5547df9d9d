"""What the lab needs of the machine: looked at before a host is booted, and each lack told with what mends it."""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bases import CACHE, STATE, LabError

GIB = 2**30
INOTIFY_PER_HOST = 5
"""On average: systemd has three, a mail host's dbus, polkit, firewalld and path units five more."""
MEMORY_PER_HOST = 0.2 * GIB
DISK_PER_HOST, DISK_TO_BUILD = 0.4 * GIB, 4 * GIB
PRIVILEGED = "in a container, start it with: docker run --privileged (or podman run --privileged)"
NAMESPACES = ("--net", "--mount", "--pid", "--uts", "--ipc", "--cgroup")


@dataclass(frozen=True)
class Lack:
    """Something that the machine does not have: what was seen, and the command or the change that mends it."""

    seen: str
    remedy: str

    def __str__(self):
        return f"{self.seen}\n    {self.remedy}"


def require(hosts):
    """Check that the machine can boot so many more hosts.

    :raises LabError: it cannot; each lack is named.
    """
    lacking = lacks(hosts)
    if lacking:
        raise LabError(f"this machine cannot boot the hosts:\n{listed(lacking)}")


def listed(lacking):
    return "\n".join(f"  - {lack}" for lack in lacking)


def lacks(hosts):
    """Return each :class:`Lack` for which the machine cannot boot this many more hosts; none: it can."""
    if os.geteuid() != 0:
        return [Lack("this is not root, who alone can make namespaces and mounts", "call it with sudo")]
    if not Path("/etc/debian_version").exists() or not shutil.which("apt-get"):
        where = "have it in a container (test/lab/README.md)"
        return [Lack("this is neither Debian nor Ubuntu, and hosts are built with mmdebstrap and apt", where)]
    return [
        *_namespaces(),
        *_control_groups(),
        *_overlays(),
        *_inotify(hosts),
        *_memory(hosts),
        *_disk(hosts, builds=not any(CACHE.glob("*-wheels-*"))),
    ]


CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21
"""capabilities(7)"""


def _namespaces():
    for kind in NAMESPACES:
        probe = subprocess.run(("unshare", kind, "true"), capture_output=True, text=True, check=False)
        if probe.returncode:
            why = "" if _may(CAP_SYS_ADMIN) else "this process lacks CAP_SYS_ADMIN: "
            yield Lack(f"namespaces cannot be made (unshare {kind}): {probe.stderr.strip()}", f"{why}{PRIVILEGED}")
            return
    if not _may(CAP_NET_ADMIN):
        yield Lack("this process lacks CAP_NET_ADMIN, which firewalld and the hosts' bridge need", PRIVILEGED)


def _may(capability):
    [line] = [one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith("CapEff:")]
    return bool(int(line.split()[1], 16) >> capability & 1)


def mounts():
    """Return ``(place, kind, options)`` of each mount, the options as a list."""
    rows = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return [(place, kind, options.split(",")) for _, place, kind, options, *_ in rows]


def control_group_root():
    """Return where the machine has its control groups of version 2, or ``None``."""
    return next((Path(place) for place, kind, _ in mounts() if kind == "cgroup2"), None)


def _control_groups():
    root = control_group_root()
    if root is None:
        remedy = "mkdir -p /mnt/cgroup2 && mount -t cgroup2 none /mnt/cgroup2"
        yield Lack("there are no control groups of version 2, which systemd needs", remedy)
    elif not os.access(root, os.W_OK) or "ro" in _options(root):
        yield Lack(f"{root} is read-only, and each host needs a control group of its own", PRIVILEGED)


def _options(place):
    return next((options for where, _, options in mounts() if where == str(place)), [])


def _overlays():
    """An overlay whose changes go to another overlay, as the disk of a container is one, is refused by the kernel."""
    if not _may(CAP_SYS_ADMIN):
        return
    STATE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=STATE, prefix=".look-") as folder:
        low, up, work, top = (Path(folder) / name for name in ("low", "up", "work", "top"))
        for path in (low, up, work, top):
            path.mkdir()
        words = f"mount -t overlay overlay -o lowerdir={low},upperdir={up},workdir={work} {top}".split()
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            subprocess.run(("umount", top), check=True)
            return
    where = f"have {STATE} on a file system that is no overlay (in a container: -v mailserver-lab:{STATE})"
    yield Lack(f"an overlay cannot be mounted in {STATE}: {done.stderr.strip()}", where)


def _inotify(hosts):
    path = Path("/proc/sys/fs/inotify/max_user_instances")
    most, used = int(path.read_text()), _inotify_used()
    wanted = used + hosts * INOTIFY_PER_HOST
    if wanted > most:
        seen = f"of {most} inotify instances {used} are used, and each host takes {INOTIFY_PER_HOST}"
        yield Lack(seen, f"sysctl -w fs.inotify.max_user_instances={max(1024, 2 * wanted)}")


def _inotify_used():
    """Return how many instances this user has open; processes that cannot be looked into are left out."""
    used = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.stat().st_uid == os.geteuid():
                used += sum(os.readlink(file) == "anon_inode:inotify" for file in os.scandir(process / "fd"))
        except OSError:
            continue
    return used


def free_memory():
    """Return the bytes of memory that programs can have."""
    text = Path("/proc/meminfo").read_text()
    return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("MemAvailable:"))


def _memory(hosts):
    free = free_memory()
    wanted = hosts * MEMORY_PER_HOST
    if free < wanted:
        seen = f"{free / GIB:.1f} GiB of memory are available, and {hosts} hosts take {wanted / GIB:.1f}"
        yield Lack(seen, "end what else runs, or boot fewer hosts: test/lab/lab up master ns1 ns2 mx1")


def _disk(hosts, builds):
    wanted = {STATE: hosts * DISK_PER_HOST, CACHE: DISK_TO_BUILD * builds}
    for place, size in wanted.items():
        there = next(path for path in (place, *place.parents) if path.exists())
        free = shutil.disk_usage(there).free
        if free < size:
            seen = f"{place}: {free / GIB:.1f} GiB are free on its disk, and {size / GIB:.1f} are needed"
            yield Lack(seen, f"make room there, or have it elsewhere ({_elsewhere(place)})")


def _elsewhere(place):
    return "XDG_CACHE_HOME=…" if place == CACHE else f"mount another disk on {place}"
