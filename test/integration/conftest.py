"""Real hosts for the integration tests: the lab is booted once, and each test says which pillar it needs in force."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
PILLARS = TOP / "test" / "salt" / "pillar"
MAIL_HOSTS = ("mx1", "mx2")
HOSTS = ("master", "ns1", "ns2", "mx1", "mx2", "client")
DOMAIN = {"mx1": "alpha.test", "mx2": "beta.test"}
ADDRESS = {"mx1": "198.18.0.21", "mx2": "198.18.0.22"}
PASSWORD = "correct-horse"

# The order in which one booted lab serves all tests: bare hosts first, cleaned ones last.
ORDER = (
    "test_lab",
    "test_bare_host",
    "test_bad_pillar",
    "test_idempotence",
    "test_dkim_gate",
    "test_sasl",
    "test_submission",
    "test_selftest",
    "test_domains",
    "test_refused_configuration",
    "test_effects",
    "test_clean",
)


def pytest_collection_modifyitems(items):
    """Sort this folder's test files by ``ORDER``; a file that is not in it is an error, not a guess."""
    here = [item for item in items if Path(item.fspath).parent == Path(__file__).parent]
    others = [item for item in items if item not in here]
    here.sort(key=lambda item: ORDER.index(Path(item.fspath).stem))
    items[:] = others + here


class Result:
    """What a command in a host printed, and its exit status."""

    def __init__(self, done):
        self.out, self.err, self.status = done.stdout, done.stderr, done.returncode


class Lab:
    """The booted hosts, and the pillar that is in force on the mail hosts."""

    def __init__(self):
        self.pillar_in_force = {}

    def command(self, *words, stdin=None, timeout=900):
        command = [TOP / "test" / "lab" / "lab", *words]
        return subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=timeout, check=False)

    def run(self, host, *words, stdin=None, timeout=300, check=True):
        """Run a command in a host; raise with its output if it fails, unless ``check`` is false."""
        done = Result(self.command("exec", host, "--", *words, stdin=stdin, timeout=timeout))
        if check and done.status:
            raise AssertionError(f"{host}: {' '.join(words)}: exit {done.status}\n{done.out}{done.err}")
        return done

    def sh(self, host, script, **options):
        return self.run(host, "sh", "-c", script, **options).out

    def write(self, host, path, text):
        self.run(host, "sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", path, stdin=text)

    def salt(self, target, function, *words, timeout=600):
        """Run an execution function from the master; a dict from minion to what it returned."""
        done = self.run(
            "master", "salt", "--out=json", "--static", f"--timeout={timeout}", target, function, *words,
            timeout=timeout + 60, check=False,
        )  # fmt: skip
        try:
            return json.loads(done.out)
        except ValueError as err:
            raise AssertionError(f"salt {target} {function}: no JSON came back\n{done.out}\n{done.err}") from err

    def set_pillar(self, text, hosts=MAIL_HOSTS):
        """Give ``hosts`` the pillar ``text`` (the source of a pillar SLS)."""
        for host in hosts:
            self.write("master", f"/srv/pillar/{host}.sls", text)
        known = "".join(f"  '{host}':\n    - {host}\n" for host in MAIL_HOSTS if self._has_pillar(host))
        self.write("master", "/srv/pillar/top.sls", f"base:\n{known}")

    def _has_pillar(self, host):
        return self.run("master", "test", "-e", f"/srv/pillar/{host}.sls", check=False).status == 0

    def highstate(self, hosts=MAIL_HOSTS, test=False):
        """Run a highstate from the master on ``hosts``; a dict from host to a :class:`Highstate`."""
        self.salt("*", "saltutil.refresh_pillar", "wait=True")
        arguments = ["-L", ",".join(hosts)] if len(hosts) > 1 else [hosts[0]]
        words = ["test=True"] if test else []
        done = self.run(
            "master", "salt", "--out=json", "--static", "--timeout=900", *arguments, "state.highstate", *words,
            timeout=960, check=False,
        )  # fmt: skip
        try:
            returned = json.loads(done.out)
        except ValueError as err:
            raise AssertionError(f"highstate: no JSON came back\n{done.out}\n{done.err}") from err
        return {host: Highstate(host, returned.get(host)) for host in hosts}

    def apply(self, name):
        """Have the pillar ``test/salt/pillar/NAME.sls`` in force on the mail hosts; no highstate if it already is."""
        if self.pillar_in_force.get("name") == name:
            return
        self.pillar_in_force.clear()
        self.set_pillar((PILLARS / f"{name}.sls").read_text())
        for result in self.highstate().values():
            result.must_succeed()
        self.pillar_in_force["name"] = name

    def forget_pillar(self):
        """Say that a test left another pillar in force than :meth:`apply` put there."""
        self.pillar_in_force.clear()

    def update_dns(self, text):
        """Send ``text`` (nsupdate commands) to the primary name server, and wait until the secondary has it."""
        self.run("ns1", "nsupdate", "-k", "/etc/bind/lab.key", "-l" if "server " not in text else "-v", stdin=text)
        self.wait_for_secondary()

    def wait_for_secondary(self, zones=("alpha.test", "beta.test", "gamma.test", "delta.test")):
        for zone in zones:
            self.until(lambda zone=zone: self._serial("198.18.0.11", zone) == self._serial("198.18.0.12", zone),
                       f"the secondary has not taken over {zone}")  # fmt: skip

    def _serial(self, server, zone):
        return self.run("ns1", "dig", f"@{server}", "+short", "+norec", zone, "SOA").out.split()[2]

    def until(self, holds, otherwise, limit=30):
        """Wait until ``holds()`` is true, at most ``limit`` seconds, and return what it returned."""
        ends = time.monotonic() + limit
        while time.monotonic() < ends:
            found = holds()
            if found:
                return found
            time.sleep(0.2)
        raise AssertionError(f"{otherwise} (waited {limit} s)")


class Highstate:
    """What a highstate returned for one host."""

    def __init__(self, host, returned):
        self.host, self.returned = host, returned
        self.states = returned if isinstance(returned, dict) else {}

    def must_succeed(self):
        failed = [state for state in self.states.values() if state["result"] is False]
        assert not failed, f"{self.host}: {json.dumps(failed, indent=1)}"
        assert self.states, f"{self.host}: {json.dumps(self.returned, indent=1)}"
        return self

    @property
    def changed(self):
        """The IDs of the states that changed something, or would (``test=True``)."""
        return {state["__id__"] for state in self.states.values() if state["changes"] or state["result"] is None}

    def state(self, function):
        """The state with ``function`` (``dkim.published``)."""
        module, name = function.split(".")
        found = [s for tag, s in self.states.items() if tag.startswith(f"{module}_|-") and tag.endswith(f"_|-{name}")]
        assert len(found) == 1, f"{self.host}: {len(found)} states of {function}"
        return found[0]

    def said(self, function):
        """All that the state with ``function`` told the operator: its comment and its warnings."""
        state = self.state(function)
        return "\n".join([state["comment"], *state.get("warnings", ())])


@pytest.fixture(scope="session")
def lab():
    os.environ.setdefault("LAB_NAME", "test")
    booted = Lab()
    up = booted.command("up", timeout=1800)
    if up.returncode:
        pytest.exit(f"the lab did not come up, so nothing was tested:\n{up.stdout}\n{up.stderr}", returncode=1)
    yield booted
    if not os.environ.get("LAB_KEEP"):
        booted.command("down")


@pytest.fixture(params=MAIL_HOSTS)
def host(request):
    return request.param
