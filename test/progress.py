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
        self.outcome, before = "passed", _used()
        try:
            return (yield)
        finally:
            now = _used()
            file = str(item.path.relative_to(item.config.rootpath))
            costs = {what: round(now[what] - before[what], 2) for what in ("seconds", "processor")}
            # A host that was booted meanwhile counts from its boot.
            hosts = round(sum(new - before.get(host, 0) for host, new in now.items() if new >= before.get(host, 0)), 2)
            self._tell(test=item.nodeid, file=file, outcome=self.outcome, hosts=hosts, **costs)

    def pytest_runtest_logreport(self, report):
        if report.failed or (report.skipped and self.outcome == "passed"):
            self.outcome = report.outcome


def _used():
    own = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "seconds": time.monotonic(),
        "processor": sum(one.ru_utime + one.ru_stime for one in own),
        "hosts": sum(map(_used_by, _control_groups())),
    }


def _control_groups():
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    roots = [Path(place) for _, place, kind, *_ in mounts if kind == "cgroup2"]
    name = os.environ.get("LAB_NAME")
    return [group for root in roots for group in root.glob(f"mailserver-{name}-*")] if name else []


def _used_by(group):
    try:
        rows = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    except FileNotFoundError:  # its host was removed
        return 0.0
    return int(rows["usage_usec"]) / 1e6
