"""mailserver.check on the lab's mail hosts at the cost of one check: Salt's start, which takes longer, is paid once."""

import contextlib
import json
import select
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from check_faults import AREAS, MODULES, PYTHON

PROGRAM = (Path(__file__).parent / "check_program.py").read_text()
LIMIT = 900
"""Seconds within which a check has ended by its own limits, whatever the world does."""


class HostCheck:
    """A host's eye: one process of Salt's own Python there, with the modules and settings that the minion has."""

    def __init__(self, lab, host, settings):
        self.host = host
        self._process = lab.start(host, "env", f"PYTHONPATH={MODULES}", PYTHON, "-c", PROGRAM)
        self._send(settings)

    def __call__(self, areas=AREAS, **more):
        """Return what mailserver.check would say of these areas."""
        self._send({"areas": areas, **more})
        ready, _, _ = select.select([self._process.stdout], [], [], LIMIT)
        assert ready, f"{self.host}: the check has no end"
        line = self._process.stdout.readline()
        assert line, f"{self.host}: the check ended with {self._process.wait()}"
        return json.loads(line)

    def _send(self, value):
        self._process.stdin.write(json.dumps(value) + "\n")
        self._process.stdin.flush()

    def close(self):
        self._process.stdin.close()
        self._process.wait(60)


@contextlib.contextmanager
def checks(lab, hosts):
    """Yield a :class:`HostCheck` for each host, by its name."""
    settings = lab.salt(list(hosts), "mailserver.settings")
    found = {host: HostCheck(lab, host, settings[host]) for host in hosts}
    try:
        yield found
    finally:
        for check in found.values():
            check.close()


def on_all(work, hosts):
    """Do the same for all hosts at once; a dict from host to what came of it."""
    with ThreadPoolExecutor() as threads:
        return dict(zip(hosts, threads.map(work, hosts), strict=True))


def statuses(told):
    """Return what is not as wanted: the statuses of each id. Whatever it is, the operator is told what to do."""
    found = {}
    for one in told["findings"]:
        assert one["remedy"].strip(), one
        assert one["seen"].strip(), one
        found.setdefault(one["id"], set()).add(one["status"])
    return found
