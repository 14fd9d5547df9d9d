"""Real hosts for the integration tests: the lab is booted once, and each test says which pillar it needs in force."""

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "test" / "lab"))

from hosts import HOSTS as LAB_HOSTS  # noqa: E402
from hosts import Running  # noqa: E402

PILLARS = TOP / "test" / "salt" / "pillar"
MAIL_HOSTS = ("mx1", "mx2")
HOSTS = ("master", "ns1", "ns2", "mx1", "mx2", "client")
DOMAIN = {"mx1": "alpha.test", "mx2": "beta.test"}
ADDRESS = {"mx1": "198.18.0.21", "mx2": "198.18.0.22"}
PASSWORD = "correct-horse"

# Two labs side by side can serve the tests (--half). The order of a half's files is that in which its lab serves them:
# bare hosts first, cleaned ones last.
HALVES = {
    "first": (
        "test_lab",
        "test_bare_host",
        "test_takeover_seen",
        "test_bad_pillar",
        "test_idempotence",
        "test_dkim_gate",
        "test_sasl",
        "test_submission",
        "test_verdict",
        "test_reflector_answers",
        "test_domains",
        "test_refused_configuration",
        "test_safe_change",
        "test_effects",
        "test_certificate",
        "test_rotation",
        "test_central_publishing",
        "test_publishing_records",
        "test_clean",
        "test_clean_traces",
        "test_migration",
    ),
    "second": (
        "test_check",
        "test_report",
        "test_watch",
        "test_hardening_seen",
        "test_check_faults",
        "test_broken_world",
        "test_virtual_accounts",
        "test_authors_seen",
        "test_tls_ports",
        "test_faults",
        "test_earlier_folders",
    ),
}


def pytest_addoption(parser):
    parser.addoption("--half", choices=HALVES, help="of the tests on the lab's hosts only this half")


def pytest_collection_modifyitems(config, items):
    """Sort this folder's test files as ``HALVES`` says; a file that is not there is an error, not a guess."""
    here = [item for item in items if Path(item.fspath).parent == Path(__file__).parent]
    others = [item for item in items if item not in here]
    order = [name for half in HALVES.values() for name in half]
    here.sort(key=lambda item: order.index(Path(item.fspath).stem))
    wanted = HALVES.get(config.getoption("half"), order)
    config.hook.pytest_deselected(items=[item for item in here if Path(item.fspath).stem not in wanted])
    items[:] = others + [item for item in here if Path(item.fspath).stem in wanted]


def pillar(name, more=""):
    """Return the source of ``test/salt/pillar/NAME.sls`` with ``more`` lines of YAML below ``mailserver:``."""
    return (PILLARS / f"{name}.sls").read_text() + more


class Result:
    """What a command in a host printed, and its exit status."""

    def __init__(self, done):
        self.out, self.err, self.status = done.stdout, done.stderr, done.returncode


class Lab:
    """The booted hosts, and the pillar that is in force on the mail hosts."""

    def __init__(self):
        self.pillar_in_force = {}
        self.applied = {}

    def command(self, *words, stdin=None, timeout=900):
        command = [TOP / "test" / "lab" / "lab", *words]
        return subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=timeout, check=False)

    def run(self, host, *words, stdin=None, timeout=300, check=True):
        """Run a command in a host; raise with its output if it fails, unless ``check`` is false."""
        command = Running(os.environ["LAB_NAME"], LAB_HOSTS[host]).enter(words)
        source = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
        done = Result(subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False, **source))
        if check and done.status:
            raise AssertionError(f"{host}: {' '.join(words)}: exit {done.status}\n{done.out}{done.err}")
        return done

    def start(self, host, *words):
        """Start a program in a host, which is talked to by lines; return its :class:`subprocess.Popen`."""
        command = Running(os.environ["LAB_NAME"], LAB_HOSTS[host]).enter(words)
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def sh(self, host, script, **options):
        return self.run(host, "sh", "-c", script, **options).out

    def write(self, host, path, text):
        self.run(host, "sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "sh", path, stdin=text)

    def salt(self, target, function, *words, timeout=600):
        """Run an execution function from the master; a dict from minion to what it returned."""
        return self._salt(target, function, *words, timeout=timeout)

    def _salt(self, *words, timeout):
        done = self.run("master", "salt", "--out=json", *words, timeout=timeout, check=False)
        returned, text = {}, done.out.strip()
        try:
            while text:  # an object for each minion, as it comes (--static would have Salt ping them all first)
                one, end = json.JSONDecoder().raw_decode(text)
                returned.update(one)
                text = text[end:].strip()
        except ValueError as err:
            raise AssertionError(f"salt {' '.join(words)}: no JSON came back\n{done.out}\n{done.err}") from err
        return returned

    def set_pillar(self, text, hosts=MAIL_HOSTS):
        """Give ``hosts`` the pillar ``text`` (the source of a pillar SLS)."""
        for host in hosts:
            self.write("master", f"/srv/pillar/{host}.sls", text)
        # The lab's DNS has a root of its own, so that the hosts follow each delegation down from there.
        roots = [host.addresses[0] for host in LAB_HOSTS.values() if host.role == "ns"]
        self.write("master", "/srv/pillar/root.sls", f"mailserver: {{dns: {{root_servers: {roots}}}}}\n")
        known = "".join(f"  '{host}':\n    - root\n    - {host}\n" for host in HOSTS if self._has_pillar(host))
        self.write("master", "/srv/pillar/top.sls", f"base:\n{known}")

    def _has_pillar(self, host):
        return self.run("master", "test", "-e", f"/srv/pillar/{host}.sls", check=False).status == 0

    def highstate(self, hosts=MAIL_HOSTS, test=False):
        """Run a highstate from the master on ``hosts``; a dict from host to a :class:`Highstate`."""
        # While a firewall first starts, the question whether the job still runs may get lost: not to be asked too soon.
        words = ("--timeout=600", "-L", ",".join(hosts), "state.highstate", *(["test=True"] * test))
        returned = self._salt(*words, timeout=960)
        return {host: Highstate(host, returned.get(host)) for host in hosts}

    def apply(self, name, more=""):
        """Have the pillar ``test/salt/pillar/NAME.sls`` in force on the mail hosts; no highstate if it already is.

        :param more: lines of YAML that are added to it, below ``mailserver:``.
        """
        if self.pillar_in_force.get("text") == pillar(name, more):
            return
        self.forget_pillar()
        self.set_pillar(pillar(name, more))
        self.applied = self.highstate()
        for result in self.applied.values():
            result.must_succeed()
        self.pillar_in_force["text"] = pillar(name, more)

    def forget_pillar(self):
        """Say that a test left another pillar in force than :meth:`apply` put there."""
        self.pillar_in_force.clear()

    def publish(self, host):
        """Put into the lab's DNS what ``host`` emits for its domains; the next highstate sees it."""
        emitted = self.salt(host, "mailserver.records", "format=nsupdate")[host]
        self.update_dns(emitted)
        return emitted

    def sign(self, name="default"):
        """Have the pillar ``name`` in force, every record in DNS, and mail signed by both mail hosts."""
        if self.pillar_in_force.get("signing") == name:
            return
        self.apply(name)
        for host in MAIL_HOSTS:
            self.publish(host)
        for result in self.highstate().values():
            result.must_succeed()
        self.pillar_in_force["signing"] = name

    def swaks(self, host, *options, check=True):
        """Talk SMTP from ``client`` with the mail host ``host``."""
        words = ("swaks", "--server", ADDRESS[host], "--timeout", "20s", "--helo", "client.lab.test", *options)
        return self.run("client", *words, check=check)

    def submit(self, host, *options, user="alice", password=PASSWORD, sender=None, to=None, check=True):
        """Submit a message to ``host`` on port 587, with STARTTLS, as a mail program does; (token, :class:`Result`).

        :param to: default: bob at the host's own domain. The message holds the token, to find it again.
        """
        token = uuid.uuid4().hex
        address = sender or f"{user}@{DOMAIN[host]}"
        words = [
            "--port", "587", "--tls", "--auth-user", user, "--auth-password", password, "--from", address,
            "--to", to or f"bob@{DOMAIN[host]}", "--header", f"Subject: {token}", *options,
        ]  # fmt: skip
        return token, self.swaks(host, *words, check=check)

    def delivered(self, host, user, token, limit=30):
        """Wait for the message that holds ``token`` in ``user``'s Maildir on ``host``; its text."""

        def found():
            script = 'set -- $(grep -rl "$1" "$2/new" 2>/dev/null) && [ $# -gt 0 ] && cat "$@"'
            return self.run(host, "sh", "-c", script, "sh", token, f"/home/{user}/Maildir", check=False).out

        return self.until(found, f"{host}: no message with {token} for {user}", limit)

    def mailbox(self, host, protocol, *options, user="alice", password=PASSWORD):
        """Log in by ``protocol`` (imap, pop3) from ``client``, as mail_program.py does; (result, what it printed)."""
        program = (Path(__file__).parent / "mail_program.py").read_text()
        words = ("python3", "-", protocol, ADDRESS[host], user, password, *options)
        done = self.run("client", *words, stdin=program, check=False)
        return done.status == 0, done.out + done.err

    def snapshot(self, host):
        """What the host's disk holds, without what Salt and systemd note down about their own work: a line a file."""
        # Salt 3008 has apt read its index anew even in a dry run of pkg.installed, whatever a state asks for.
        theirs = ("/etc/salt", "/var/lib/systemd", "/var/lib/private", "/var/lib/polkit-1", "/var/lib/apt/lists")
        pruned = " -o ".join(f"-path {path}" for path in theirs)
        places = "/etc /home /root /usr/local /usr/lib /usr/sbin /var/lib /var/spool /var/mail /opt/saltstack"
        found = self.sh(host, f"find {places} \\( {pruned} \\) -prune -o -printf '%p %y %m %U %G %s %T@\\n'")
        written = (line for line in found.splitlines() if "/__pycache__" not in line)
        return set(written) | set(self.sh(host, "dpkg-query -W").splitlines())

    def services(self, host):
        """When each of the host's daemons was started, and its process ids; equal twice if nothing restarted."""
        units = ("postfix", "postfix@-", "dovecot", "opendkim", "saslauthd", "firewalld")
        shown = self.run(
            host, "systemctl", "show", "-p", "Id,ActiveState,ActiveEnterTimestampMonotonic,MainPID", *units
        )
        return shown.out + self.sh(host, "cat /var/spool/postfix/pid/master.pid")

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
