"""The hosts of the lab: what each is, and how one is booted, entered and ended."""

import base64
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import machine
import network
from bases import HERE, STATE, LabError, base_for, build_all, overlay, run, say, unmount_below

FORMULA = HERE.parent.parent
FORMULA_PARTS = ("mailserver", "_modules", "_output", "_runners", "_states", "_utils")
RESOLVER = "198.18.0.53"
LONG = 1200
"""Seconds to wait for a boot or a shutdown on a machine that others keep busy."""
SESSION_KEY = 56
"""Bytes: 24 of AES-192, and 32 that sign."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Host:
    """A host of the lab: its Debian release, its role layer (``""``: bare) and its addresses."""

    name: str
    release: str
    role: str
    addresses: tuple


MAIL_HOSTS = ("mx1", "mx2")
PAIRS = {"usual": ("bookworm", "trixie"), "edges": ("bullseye", "forky")}
"""The releases that they boot, by LAB_PAIR; the first has Dovecot 2.3, and the second 2.4."""
PAIR = os.environ.get("LAB_PAIR") or "usual"
if PAIR not in PAIRS:
    sys.exit(f"lab: LAB_PAIR={PAIR}: there is no such pair of mail hosts, but {' and '.join(PAIRS)}")

HOSTS = {
    host.name: host
    for host in (
        Host("master", "trixie", "", ("198.18.0.10",)),
        Host("ns1", "trixie", "ns", ("198.18.0.11", RESOLVER)),
        Host("ns2", "trixie", "ns", ("198.18.0.12", "198.18.0.13")),
        Host("mx1", PAIRS[PAIR][0], "", ("198.18.0.21",)),
        Host("mx2", PAIRS[PAIR][1], "", ("198.18.0.22",)),
        Host("client", "trixie", "client", ("198.18.0.31",)),
    )
}


class Running:
    """One host of one lab: its folder, its process and its namespace."""

    def __init__(self, lab, host):
        self.lab, self.host = lab, host
        self.folder = STATE / lab / host.name
        self.record = self.folder / "leader.json"
        self.control_groups = [root / f"mailserver-{lab}-{host.name}" for root in _control_group_roots()]

    def leader(self):
        """Return the process id of the host's init, or ``None`` if the host does not run."""
        try:
            recorded = json.loads(self.record.read_text())
        except (FileNotFoundError, ValueError):
            return None
        lives = _started(recorded["pid"]) == recorded["started"] and _state(recorded["pid"]) != "Z"
        return recorded["pid"] if lives else None

    @property
    def release(self):
        """The Debian release that the host was booted from, or, if it was not booted, would be."""
        booted = self.folder / "release"
        return booted.read_text() if booted.exists() else self.host.release

    def _own_processes(self):
        """Every process in the host's network namespace and control group, which hold no others."""
        held = [int(pid) for file in self._control_group_files() for pid in file.read_text().split()]
        return sorted({*network.processes(self.lab, self.host.name), *held})

    def _remove_control_groups(self):
        """Remove the control groups, the innermost first; false while the kernel still has an ended process in one."""
        for file in sorted(self._control_group_files(), key=lambda file: -len(file.parts)):
            try:
                file.parent.rmdir()
            except OSError:
                return False
        return True

    def _control_group_files(self):
        return [file for group in self.control_groups for file in group.rglob("cgroup.procs")]

    def boot(self, started, saved=None):
        """Boot the host from its base; its file system begins empty above that, or above what :meth:`save` saved.

        :param saved: the folder that ``save`` was given.
        """
        base = base_for(self.host.release, self.host.role, started)
        self.remove()
        self._forget_old_key()
        for part in ("upper", "work", "root"):
            (self.folder / part).mkdir(parents=True)
        network.make_bridge(self.lab)
        network.connect(self.lab, self.host.name, self.host.addresses)
        layers = [place / self.host.name for place in _with_those_below(saved)]
        overlay((*layers, *base.layers), self.folder / "upper", self.folder / "work", self.folder / "root")
        self._furnish(self.folder / "root", is_new=not saved)
        for mark in ("booted-from", "untouched"):
            (self.folder / mark).write_text(str(saved or ""))
        (self.folder / "release").write_text(self.host.release)
        self._spawn(base)

    def save(self, folder):
        """Shut the host down, and copy what its disk holds above that from which it was booted; it stays down."""
        self.ask("systemctl", "--no-block", "poweroff")
        if not _wait(lambda: self.leader() is None, LONG):
            raise LabError(f"{self.host.name} does not shut down; its console said:\n{self.console()}")
        self.end()
        run("cp", "-a", self.folder / "upper", folder / self.host.name)
        (folder / "above").write_text((self.folder / "booted-from").read_text())

    def reboot(self, started):
        """Cut the host's power, and boot it again from what its disk holds."""
        base = base_for(self.release, self.host.role, started)
        self.end()
        if not _wait(self._remove_control_groups, LONG):
            raise LabError(f"{self.host.name}: its control groups are still in use: {self.control_groups[0]}")
        self._spawn(base)

    def _forget_old_key(self):
        master = Running(self.lab, HOSTS["master"])
        if master.leader() is not None:
            master.ask("salt-key", "--yes", f"--delete={self.host.name}")

    def _furnish(self, root, is_new):
        name = self.host.name
        _write(root / "etc/hostname", f"{name}\n")
        known = "".join(f"{host.addresses[0]} {host.name}.lab.test {host.name}\n" for host in HOSTS.values())
        _write(root / "etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n{known}")
        _write(root / "etc/resolv.conf", f"nameserver {RESOLVER}\noptions timeout:2 attempts:2\n")
        if is_new:
            _write(root / "etc/machine-id", "")
        # The master of another lab has another key.
        (root / "etc/salt/pki/minion/minion_master.pub").unlink(missing_ok=True)
        _write(root / "etc/salt/minion.d/lab.conf", f"id: {name}\n" + (HERE / "minion.conf").read_text())
        if name == "master":
            _write(root / "etc/salt/master.d/lab.conf", (HERE / "master.conf").read_text())
            _write(root / "srv/salt/top.sls", "base:\n  'mx*':\n    - mailserver\n")
            _write(root / "srv/pillar/top.sls", "base: {}\n")
            _write_sessions(root / "var/cache/salt/master/sessions")
            _enable(root, "salt-master.service")
        if self.host.role == "ns":
            _write(root / "etc/bind/named.conf", (HERE / "zones" / f"{name}.conf").read_text())
            shutil.copytree(HERE / "zones", root / "srv/zones", dirs_exist_ok=True)
            if RESOLVER in self.host.addresses:
                _enable(root, "lab-resolver.service")

    def _spawn(self, base):
        binds = {"/srv/packages": base.packages, "/srv/wheels": base.wheels}
        if self.host.name == "master":
            binds |= {f"/srv/formula/{part}": FORMULA / part for part in FORMULA_PARTS}
        log = (self.folder / "console.log").open("wb")
        # In a control group of its own, or every host's systemd would take the others' daemons for its own.
        self.control_groups[0].mkdir(exist_ok=True)
        process = subprocess.Popen(
            (
                "sh",
                "-c",
                'echo $$ >"$0/cgroup.procs" && exec "$@"',
                self.control_groups[0],
                "systemd-nspawn",
                "--quiet",
                "--register=no",
                "--keep-unit",
                f"--directory={self.folder / 'root'}",
                f"--machine={self.lab}-{self.host.name}",
                f"--hostname={self.host.name}",
                f"--network-namespace-path=/run/netns/{network.host_namespace(self.lab, self.host.name)}",
                "--capability=CAP_NET_ADMIN",
                "--resolv-conf=off",
                "--timezone=off",
                "--link-journal=no",
                "--console=pipe",
                *(f"--bind-ro={source}:{inside}" for inside, source in binds.items()),
                "--boot",
            ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
        )
        pid = _wait(lambda: _child(process.pid) or (process.poll() is not None and -1), LONG)
        if not pid or pid < 0:
            raise LabError(f"{self.host.name} did not boot; its console said:\n{self.console()}")
        self.record.write_text(json.dumps({"pid": pid, "started": _started(pid)}))

    def why_down(self):
        """Say that the host does not run, and what boots it; with the end of its console, if it ended by itself."""
        boots = f"boot it: test/lab/lab up {self.host.name}"
        if not self.record.exists():
            return f"{self.host.name} does not run; {boots}"
        return f"{self.host.name} ended; {boots}\nIts console said at the end:\n{self.console()}"

    def console(self):
        """Return the last lines that the host printed on its console."""
        return "\n".join((self.folder / "console.log").read_text(errors="replace").splitlines()[-15:])

    def enter(self, words):
        """Return the command line that runs ``words`` in the host."""
        leader = self.leader()
        if leader is None:
            raise LabError(self.why_down())
        clean = ("env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", f"TERM={os.environ.get('TERM', 'dumb')}")
        return ("nsenter", "-t", str(leader), "-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--", *clean, *words)

    def ask(self, *words):
        """Run a command in the host; its standard output, or ``""`` if it failed."""
        done = subprocess.run(self.enter(words), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        return done.stdout.strip() if done.returncode == 0 or words[0] == "systemctl" else ""

    def end(self):
        """End the host, with every process in it and the nspawn that holds it."""

        def gone():
            alive = [pid for pid in self._own_processes() if _state(pid) != "Z"]
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
            return not alive

        if not _wait(gone, LONG):
            raise LabError(f"{self.host.name}: these processes do not end: {' '.join(map(str, self._own_processes()))}")

    def remove(self):
        """End the host and remove all that it left: mounts, namespace, folder."""
        self.end()
        if not _wait(self._remove_control_groups, LONG):
            raise LabError(f"{self.host.name}: its control groups are still in use: {self.control_groups[0]}")
        network.disconnect(self.lab, self.host.name)
        unmount_below(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)


def boot_all(lab, names, started, saved=None):
    """Boot those of the named hosts that do not run, from what was saved of them if ``saved`` is given; their names."""
    every = [Running(lab, HOSTS[name]) for name in names]
    fresh = [running for running in every if running.leader() is None]
    for running in every:
        if running not in fresh and running.release != running.host.release:
            raise LabError(
                f"{running.host.name} runs {running.release}, and LAB_PAIR={PAIR} is {running.host.release}; "
                f"throw it away and boot that one: test/lab/lab reset {running.host.name}"
            )
    build_all(list(dict.fromkeys((running.host.release, running.host.role) for running in fresh)), started)
    for running in fresh:
        running.boot(started, saved)
        say(started, f"{running.host.name}: booting ({running.host.release}, {running.host.addresses[0]})")
    return [running.host.name for running in fresh]


def wait_until_up(lab, names, started):
    """Wait until the named hosts' systemd is up and, with the master among the running, their minions answer."""
    waiting = [Running(lab, HOSTS[name]) for name in names]
    for running in waiting:
        state = _wait(lambda r=running: _settled(r), LONG)
        if state != "running":
            failed = running.ask("systemctl", "--failed", "--plain", "--no-legend")
            raise LabError(f"{running.host.name}: systemd is {state or 'still starting'}; failed units:\n{failed}")
        say(started, f"{running.host.name}: systemd is running")
    master = Running(lab, HOSTS["master"])
    if master.leader() is None:
        return
    missing = _wait_for_minions(master, list(names), LONG)
    if missing:
        raise LabError(f"these minions do not answer the master: {', '.join(sorted(missing))}")
    say(started, "all minions answer")


def _with_those_below(saved):
    """Return a folder of saved hosts, that above which they were saved, and so on; none where nothing was saved."""
    while saved:
        yield saved
        below = (saved / "above").read_text()
        saved = Path(below) if below else None


def _wait_for_minions(master, names, limit):
    ends, missing = time.monotonic() + limit, set(names)
    while missing and time.monotonic() < ends:
        out = master.ask("salt", "--out=json", "--static", "--timeout=4", "-L", ",".join(sorted(missing)), "test.ping")
        try:
            missing -= {name for name, answer in json.loads(out or "{}").items() if answer is True}
        except ValueError:
            continue
    return missing


def _settled(running):
    state = running.ask("systemctl", "is-system-running")
    return state if state in ("running", "degraded") else None


def _wait(holds, limit):
    ends = time.monotonic() + limit
    while time.monotonic() < ends:
        found = holds()
        if found:
            return found
        time.sleep(0.05)
    return None


def _child(pid):
    """The init that nspawn ``pid`` has started: its child that is process 1 of a namespace of its own."""
    for child in _of_process(f"{pid}/task/{pid}/children").split():
        status = _of_process(f"{child}/status")
        inner = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
        if len(inner) > 1 and inner[-1] == "1" and "systemd" in _of_process(f"{child}/comm"):
            return int(child)
    return None


def _of_process(path):
    """What /proc says of a process at this moment; empty if it has ended: nspawn's first children are short-lived."""
    try:
        return Path("/proc", path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _control_group_roots():
    """Where the machine has its control groups: those of version 2, then systemd's of version 1, if there are any."""
    return [root for root in (machine.control_group_root(),) if root] + [
        Path(place) for place, _, options in machine.mounts() if "name=systemd" in options
    ]


def _stat(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _started(pid):
    try:
        return _stat(pid)[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _state(pid):
    try:
        return _stat(pid)[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def _write_sessions(folder):
    """Write the keys of the minions' sessions, as the master does when a minion first comes.

    Two of its workers that do so within the same tick of the clock each keep their own (Salt 3008.3), and each third
    request of the minion ends with "message authentication failed".
    """
    for name in HOSTS:
        _write(folder / name, base64.b64encode(os.urandom(SESSION_KEY)).decode())
        (folder / name).chmod(0o600)


def _enable(root, unit):
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True, exist_ok=True)
    (wants / unit).symlink_to(f"/etc/systemd/system/{unit}")


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        path.unlink()
    path.write_text(text)
