"""Tell another program how far a run of tests is, and what each test costs (a pytest plugin).

With ``--progress FILE`` a line of JSON is added to the file as it happens: ``{"selected": number}`` before the first
test, and of each test that ended ``{"test", "file", "outcome", "seconds", "processor", "hosts"}``: its node id, its
file below the checkout, ``passed``, ``failed`` or ``skipped``, seconds by the clock, and seconds of processors that
pytest's own processes and the booted hosts used (by their control groups).
"""

import json
import os
import resource
import time
from pathlib import Path

import pytest


def pytest_addoption(parser):
    parser.addoption("--progress", metavar="FILE", help="add a line of JSON for each test that ended")


def pytest_configure(config):
    if config.getoption("--progress"):
        config.pluginmanager.register(_Progress(Path(config.getoption("--progress"))), "progress-to-a-file")


class _Progress:
    def __init__(self, target):
        self.target, self.outcome = target, "passed"

    def _tell(self, **row):
        with self.target.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def pytest_collection_finish(self, session):
        self._tell(selected=len(session.items))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item, nextitem):
        self.outcome, before, hosts_before = "passed", _used(), _hosts()
        try:
            return (yield)
        finally:
            costs = {what: round(now - before[what], 2) for what, now in _used().items()}
            # A host that was booted meanwhile counts from its boot.
            since = ((now, hosts_before.get(host, 0)) for host, now in _hosts().items())
            hosts = round(sum(now - then if now >= then else now for now, then in since), 2)
            file = str(item.path.relative_to(item.config.rootpath))
            self._tell(test=item.nodeid, file=file, outcome=self.outcome, hosts=hosts, **costs)

    def pytest_runtest_logreport(self, report):
        if report.failed or (report.skipped and self.outcome == "passed"):
            self.outcome = report.outcome


def _used():
    own = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"seconds": time.monotonic(), "processor": sum(one.ru_utime + one.ru_stime for one in own)}


def _hosts():
    """Return the seconds of processors that each host of the lab has used since its boot."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    roots = [Path(place) for _, place, kind, *_ in mounts if kind == "cgroup2"]
    name = os.environ.get("LAB_NAME")
    groups = [group for root in roots for group in root.glob(f"mailserver-{name}-*")] if name else []
    return {group.name: _used_by(group) for group in groups}


def _used_by(group):
    try:
        rows = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    except FileNotFoundError:  # its host was removed
        return 0.0
    return int(rows["usage_usec"]) / 1e6
