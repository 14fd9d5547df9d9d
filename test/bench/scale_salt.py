"""Salt: an unchanged run of the DKIM states over thousands of domains, by the formula and by three states a domain.

The states run under salt-call, in a mount namespace where what they write is their own; what would be done to the
machine (packages, services) has stand-ins, and so has the daemon that a new configuration is put in force with.
"""

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

from name_server import NameServer, running, zone
from scale_dns import AUTHORITY, RESOLVER, SETTINGS
from scale_host import HOST, TOP, KeyedHost, names
from scale_measure import Measured, Ratio, Row, sizes, tell, told

RUNS = 3
ADDED = 9
"""Domains that are added, one a run: each brings a key, whose time is a matter of chance."""
EMPTY, OPENDKIM, USUAL_SLS = "bench.nothing", "mailserver.opendkim", "bench.usual"
STAND_IN = '''
"""Says that all is well: the bench looks at other states."""


def {}(name, **_):
    return {{"name": name, "result": True, "changes": {{}}, "comment": ""}}
'''
DAEMON = """

Daemon.is_active = lambda self: True
Daemon.refused = lambda self, staged: ""
Daemon.take = lambda self, how: None
Daemon.seen = lambda self: DaemonState(True, {})
Daemon.settled = lambda self, before, since: []
Daemon.moment = lambda self: ("", 0)
"""
OWN = ("/etc", "/var/lib", "/usr/local")
"""Folders of which a run has a copy of its own, by an overlay."""
USUAL = """
{%- for name in pillar.mailserver.domains %}
folder-{{ name }}:
  file.directory:
    - name: /etc/usual/{{ name }}
key-{{ name }}:
  cmd.run:
    - name: opendkim-genkey -b 2048 -d {{ name }} -s s -D /etc/usual/{{ name }}
    - unless: test -e /etc/usual/{{ name }}/s.private
    - require: [file: folder-{{ name }}]
file-{{ name }}:
  file.managed:
    - name: /etc/usual/{{ name }}/s.private
    - replace: false
    - mode: '0600'
    - require: [cmd: key-{{ name }}]
{%- endfor %}
"""


def rows(domains):
    """Return the rows about Salt's runs, and the curves of an unchanged run and an empty one."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, _names_served(Path(folder), domains + ADDED):
        worlds, runs = {}, {}
        for size in sizes(domains):
            tell(f"salt: a host of {size:,} domains")
            worlds[size] = World(Path(folder) / str(size), size)
            runs[size] = _by_turns(worlds[size], (EMPTY, OPENDKIM))
        most = runs[max(runs)]
        tell("salt: one domain added, and the usual way")
        world = worlds[max(worlds)]
        added = Ratio(tuple(world.add().apply(OPENDKIM, changes=True).seconds / world.apply(OPENDKIM).seconds
                            for _ in range(ADDED)))  # fmt: skip
        usual = world.prepare_usual().apply(USUAL_SLS)
    empty, unchanged = most[EMPTY], most[OPENDKIM]
    alone = empty.seconds + unchanged.dkim
    made = (
        Row("the DKIM states alone, and an empty run", "three states a domain", usual.seconds / alone, 25, least=True,
            note="faster"),
        Row(f"one domain added to {domains:,}", "unchanged run", added.median, 1.3, note=added.spread),
    )  # fmt: skip
    curves = {
        "empty SLS, unchanged run": {size: found[EMPTY].seconds for size, found in runs.items()},
        "mailserver.opendkim, unchanged run": {size: found[OPENDKIM].seconds for size, found in runs.items()},
        "the DKIM states of it": {size: found[OPENDKIM].dkim for size, found in runs.items()},
    }
    return Measured(tuple(map(told, made)), curves)


@contextlib.contextmanager
def _names_served(folder, domains):
    host = KeyedHost(folder / "keys", names(domains))
    World.pair = (host.pem, host.public)
    served = {
        "bench.test": zone(["ns.test"], host.record_lines()),
        "test": zone(["ns.test"], f"ns A {AUTHORITY}\nbench NS ns"),
        "": zone(["ns.test"], f"test NS ns.test.\nns.test. A {AUTHORITY}"),
    }
    servers = {
        AUTHORITY: NameServer(folder, AUTHORITY, served),
        RESOLVER: NameServer(folder, RESOLVER, root_servers=(AUTHORITY,)),
    }
    with running(servers):
        yield


@dataclass(frozen=True)
class Ran:
    """One run of salt-call: its seconds, the most memory that it held (MB), and the seconds of the ``dkim`` states."""

    seconds: float
    memory: float
    dkim: float = 0.0


class World:
    """A host of so many domains whose keys sign, as a minion without a master sees it."""

    pair = ()

    def __init__(self, home, domains):
        self.home, self.domains = home, names(domains)
        self.upper = home / "etc"
        (home / "pillar").mkdir(parents=True)
        self.upper.mkdir()
        (self.upper / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
        self._configure()
        self._write_keys()
        self._call("state.apply", OPENDKIM, "sync_mods=all")

    def _configure(self):
        roots = self.home / "roots"
        for name in ("_modules", "_utils", "_states", "mailserver"):
            shutil.copytree(TOP / name, roots / name, ignore=shutil.ignore_patterns("__pycache__"))
        for module, function in (("pkg", "installed"), ("service", "running"), ("module", "run")):
            (roots / "_states" / f"{module}.py").write_text(STAND_IN.format(function))
        with (roots / "_utils" / "mailhost" / "daemons" / "daemon.py").open("a") as file:
            file.write(DAEMON)
        bench = roots / "bench"
        bench.mkdir()
        (bench / "nothing.sls").write_text("nothing: {test.nop: []}\n")
        (bench / "usual.sls").write_text(USUAL)
        (self.home / "pillar" / "top.sls").write_text("base: {'*': [bench]}\n")
        options = {
            "root_dir": str(self.home),
            "file_client": "local",
            "id": "mx1",
            "file_roots": {"base": [str(roots)]},
            "pillar_roots": {"base": [str(self.home / "pillar")]},
            "log_level": "quiet",
            "grains": {"osfinger": "Debian-12", "os_family": "Debian", "fqdn": HOST},
            "enable_fqdns_grains": False,
            "enable_gpu_grains": False,
            "fileserver_backend": ["roots"],
        }
        (self.home / "minion").write_text(json.dumps(options))
        self._write_pillar()

    def _write_pillar(self):
        pillar = {
            "hostname": HOST,
            "domain": self.domains[0],
            "addresses": ["192.0.2.25"],
            "domains": {name: {} for name in self.domains},
            "python": {"install": False},
            "repositories": {"install": False},
            "dns": SETTINGS,
        }
        text = "#!json\n" + json.dumps({"mailserver": pillar})
        (self.home / "pillar" / "bench.sls").write_text(text)

    def _write_keys(self):
        folder = self.upper / "opendkim"
        folder.mkdir()
        host = KeyedHost(folder, self.domains)
        host.pem, host.public = self.pair
        host.write()
        for table in host.paths.tables.all:
            table.write_text(table.read_text().replace(str(self.upper), "/etc"))
        shutil.chown(host.paths.keys, "root", "opendkim")
        for path in Path(host.paths.keys).glob("*"):
            shutil.chown(path, "opendkim", "opendkim")
        # All key files are one.
        shutil.chown(next(Path(host.paths.keys).glob("*/*.private")), "opendkim", "opendkim")

    def add(self):
        """Add a domain to the pillar."""
        self.domains = names(len(self.domains) + 1)
        self._write_pillar()
        return self

    def prepare_usual(self):
        """Make what the usual way finds unchanged."""
        for name in self.domains:
            folder = self.upper / "usual" / name
            folder.mkdir(parents=True)
            (folder / "s.private").touch(0o600)
        return self

    def apply(self, sls, changes=False):
        """Apply an SLS; a failure ends the bench, and so do changes, or none, where the other is expected."""
        ran, told = self._call("state.apply", sls)
        wrong = [one for one in told.values() if one["result"] is False]
        if wrong or changes != any(one["changes"] for one in told.values()):
            raise SystemExit(f"bench: this run is not what it was to measure: {json.dumps(wrong or told)[:2000]}")
        own = [one["duration"] for name, one in told.items() if name.startswith("dkim_|")]
        return replace(ran, dkim=sum(own) / 1000)

    def _overlay(self, folder):
        work = self.home / f"work{folder.replace('/', '-')}"
        upper = self.home / folder.lstrip("/")
        for one in (work, upper):
            one.mkdir(parents=True, exist_ok=True)
        return f"mount -t overlay overlay -o lowerdir={folder},upperdir={upper},workdir={work} {folder}"

    def _call(self, *words):
        call = [
            "env",
            "-u",
            "PYTHONPATH",
            "PYTHONWARNINGS=ignore",
            Path(sys.executable).parent / "salt-call",
            "--local",
            "-c",
            self.home,
            "--out=json",
            *words,
        ]
        # No host has its keys in an overlay, where each stat costs twice as much.
        keys = f"mount --bind {self.upper}/opendkim /etc/opendkim"
        inside = " && ".join([*map(self._overlay, OWN), keys, 'exec "$@"'])
        out = self.home / "out"
        began = time.perf_counter()
        with out.open("wb") as file:
            done = subprocess.Popen(["unshare", "-m", "sh", "-c", inside, "sh", *call], stdout=file)
            _, status, used = os.wait4(done.pid, 0)
        done.returncode = os.waitstatus_to_exitcode(status)
        ran = Ran(time.perf_counter() - began, used.ru_maxrss / 1024)
        try:
            return ran, json.loads(out.read_text())["local"]
        except (ValueError, KeyError):
            raise SystemExit(f"bench: salt-call {' '.join(words)}: {out.read_text()[:2000]}") from None


def _by_turns(world, slses):
    found = {sls: [] for sls in slses}
    for _ in range(RUNS):
        for sls in slses:
            found[sls].append(world.apply(sls))
    return {sls: _median(ran) for sls, ran in found.items()}


def _median(ran):
    seconds, dkim = (
        statistics.median(values) for values in zip(*((one.seconds, one.dkim) for one in ran), strict=True)
    )
    return Ran(seconds, max(one.memory for one in ran), dkim)
