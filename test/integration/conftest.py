"""Real hosts for the integration tests: the lab is booted once, and each test says which pillar it needs in force.

Each file begins on hosts that no other has touched, and says how they are: ``BEGINS = "bare"`` (Salt and nothing else),
``"configured"`` (the first highstate with the pillar ``default`` is over) or ``"signing"`` (its records are in DNS,
too), which is what a file has that says nothing; ``None``: as they happen to be.

``LAB_ON=mx2`` in the environment runs all on that mail host alone. ``script/test`` sets it: each file takes one of
them, another one with the next share, unless it says ``ON = "both"`` (what one host sends, the other receives) or names
the one that it is for.
"""

import json
import os
import re
import select
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TOP / "test" / "lab"))

import saved  # noqa: E402

from bases import STATE  # noqa: E402
from check_faults import PYTHON  # noqa: E402
from hosts import HOSTS as LAB_HOSTS  # noqa: E402
from hosts import MAIL_HOSTS as BOTH  # noqa: E402
from hosts import Running  # noqa: E402

PILLARS = TOP / "test" / "salt" / "pillar"
MAIL_HOSTS = tuple(os.environ.get("LAB_ON", "").split()) or BOTH
HOSTS = ("master", "ns1", "ns2", *BOTH, "client")
DOMAIN = {host: {"mx1": "alpha.test", "mx2": "beta.test"}[host] for host in MAIL_HOSTS}
ADDRESS = {"mx1": "198.18.0.21", "mx2": "198.18.0.22"}
PASSWORD = "correct-horse"
WAIT, LONG = 900, 3600
"""Seconds for what is awaited, and for a command that ends by itself: over ten times what an idle machine takes."""


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
        self._caller = None

    def command(self, *words, stdin=None, timeout=LONG):
        command = [TOP / "test" / "lab" / "lab", *words]
        return subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=timeout, check=False)

    def run(self, host, *words, stdin=None, timeout=LONG, check=True):
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

    def salt(self, target, function, *words, timeout=None):
        """Run an execution function from the master; a dict from minion to what it returned.

        :param target: a glob, or a list of minions.
        :param timeout: seconds after which Salt first asks whether the job still runs; default: as it is configured.
        """
        asked = {"target": target, "function": function, "words": words, "timeout": timeout}
        for _ in range(2):  # the first program may have ended with its master
            if self._caller is None:
                program = (Path(__file__).parent / "salt_program.py").read_text()
                self._caller = self.start("master", PYTHON, "-c", program)
            told = self._ask_caller(json.dumps(asked) + "\n")
            if told:
                return json.loads(told)
            self.end_caller()
        raise AssertionError(f"salt {target} {function} {' '.join(words)}: nothing came back")

    def _ask_caller(self, line):
        try:
            self._caller.stdin.write(line)
            self._caller.stdin.flush()
        except BrokenPipeError:
            return ""
        ready, _, _ = select.select([self._caller.stdout], [], [], LONG)
        return self._caller.stdout.readline() if ready else ""

    def end_caller(self):
        """End the program on the master that calls functions, if there is one."""
        if self._caller:
            self._caller.kill()
            self._caller.communicate()
        self._caller = None

    def salt_command(self, *words, timeout=LONG):
        """Run `salt` itself on the master, as a person does; a dict from minion to what it returned."""
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

    def begin(self, state):
        """Have mail hosts and zones as they are at the beginning of a file of tests (see the module's text)."""
        place = None if state == "bare" else saved.folder(state)
        if place:
            with saved.lock():
                if not saved.is_usable(place):
                    self._save()
                    self._reset(place, BOTH)  # they were shut down for it, and some tests want all minions there
                saved.use()
        self._reset(place)
        self.forget_pillar()
        if place:
            self.set_pillar(pillar("default"))
            self.pillar_in_force["text"] = pillar("default")
        if state == "signing":
            self.update_dns(saved.records(place))
            self.pillar_in_force["signing"] = "default"

    def _reset(self, place, hosts=MAIL_HOSTS):
        wanted = {host: str(place or "") for host in hosts}
        if {host: self._untouched(host) for host in hosts} != wanted:
            self._must_command("reset", *([f"--saved={place}"] if place else []), *hosts)
        if self._untouched("ns1") is None:
            self._zones_anew()
        self.sh("master", "rm -f /srv/pillar/*.sls; echo 'base: {}' >/srv/pillar/top.sls")
        for host in (*hosts, "ns1"):
            (STATE / os.environ["LAB_NAME"] / host / "untouched").unlink(missing_ok=True)

    @staticmethod
    def _untouched(host):
        """Return from what a host was booted that no test has had; ``""``: from its base; ``None``: one has had it."""
        mark = STATE / os.environ["LAB_NAME"] / host / "untouched"
        return mark.read_text() if mark.exists() else None

    def _zones_anew(self):
        self.sh("ns2", "systemctl stop named; rm -f /var/lib/bind/* /var/cache/bind/*")
        again = (
            "systemctl reset-failed; systemctl restart lab-zones; systemctl start named; systemctl restart lab-resolver"
        )
        self.sh("ns1", f"systemctl stop named; rm -f /var/lib/bind/* /var/cache/bind/*; {again}")
        self.sh("ns2", "systemctl reset-failed; systemctl start named")
        self.wait_for_secondary()

    def _save(self):
        """Save hosts right after their first highstate, and once more when their mail is signed."""
        configured, signing = saved.begun("configured"), saved.begun("signing")
        self._reset(None, BOTH)
        self.forget_pillar()
        self.set_pillar(pillar("default"), BOTH)
        self._must_highstate(BOTH)
        self._save_as(configured, "")
        self._reset(configured, BOTH)
        self.set_pillar(pillar("default"), BOTH)
        records = "".join(self.publish(host) for host in BOTH)
        self._must_highstate(BOTH)
        self._save_as(signing, records)

    def _must_highstate(self, hosts=MAIL_HOSTS):
        return {host: result.must_succeed() for host, result in self.highstate(hosts).items()}

    def _must_command(self, *words):
        done = self.command(*words)
        assert done.returncode == 0, done.stdout + done.stderr

    def _save_as(self, place, records):
        self._must_command("save", f"--saved={place}", *BOTH)
        saved.complete(place, records)

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
        returned = self.salt(list(hosts), "state.highstate", *(["test=True"] * test), timeout=600)
        return {host: Highstate(host, returned.get(host)) for host in hosts}

    def apply(self, name, more=""):
        """Have the pillar ``test/salt/pillar/NAME.sls`` in force on the mail hosts; no highstate if it already is.

        :param more: lines of YAML that are added to it, below ``mailserver:``.
        """
        if self.pillar_in_force.get("text") == pillar(name, more):
            return
        self.forget_pillar()
        self.set_pillar(pillar(name, more))
        self.applied = self._must_highstate()
        self.pillar_in_force["text"] = pillar(name, more)

    def forget_pillar(self):
        """Say that a test left another pillar in force than :meth:`apply` put there."""
        self.pillar_in_force.clear()

    def publish(self, host):
        """Put into the lab's DNS what ``host`` emits for its domains; the next highstate sees it."""
        emitted = self.salt(host, "mailserver.records", "format=nsupdate")[host]
        self.update_dns(emitted)
        return emitted

    def sign(self, name="default", more=""):
        """Have the pillar ``name``, with ``more``, in force, every record in DNS, and mail signed by the mail hosts."""
        if self.pillar_in_force.get("signing") == name + more:
            return
        self.apply(name, more)
        for host in MAIL_HOSTS:
            self.publish(host)
        self._must_highstate()
        self.pillar_in_force["signing"] = name + more

    def signers(self, host):
        """The selectors with which the host's domain is signed for, by OpenDKIM's table."""
        table = self.sh(host, "cat /etc/opendkim/KeyTable")
        return set(re.findall(rf"^\S+ {re.escape(DOMAIN[host])}:([^:]+):", table, re.MULTILINE))

    def swaks(self, host, *options, check=True):
        """Talk SMTP from ``client`` with the mail host ``host``."""
        words = ("swaks", "--server", ADDRESS[host], "--timeout", f"{WAIT}s", "--helo", "client.lab.test", *options)
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

    def delivered(self, host, user, token):
        """Wait for the message that holds ``token`` in ``user``'s Maildir on ``host``; its text."""

        def found():
            script = 'set -- $(grep -rl "$1" "$2/new" 2>/dev/null) && [ $# -gt 0 ] && cat "$@"'
            return self.run(host, "sh", "-c", script, "sh", token, f"/home/{user}/Maildir", check=False).out

        return self.until(found, f"{host}: no message with {token} for {user}")

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
            self.until(lambda zone=zone: self._is_on_both(zone), f"the secondary has not taken over {zone}")

    def _is_on_both(self, zone):
        first, second = (self._serial(server, zone) for server in ("198.18.0.11", "198.18.0.12"))
        return first is not None and first == second

    def _serial(self, server, zone):
        """Return the serial number of a zone; ``None`` while its server does not answer, or does not have it yet."""
        words = self.run("ns1", "dig", f"@{server}", "+short", "+norec", zone, "SOA", check=False).out.splitlines()
        rows = [line.split() for line in words if not line.startswith(";")]
        return rows[0][2] if rows else None

    def until(self, holds, otherwise, limit=WAIT):
        """Wait until ``holds()`` is true, at most ``limit`` seconds, and return what it returned."""
        ends = time.monotonic() + limit
        while time.monotonic() < ends:
            found = holds()
            if found:
                return found
            time.sleep(0.2)
        raise AssertionError(f"{otherwise} (waited {limit} s; at the end there was {found!r})")


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
        """The IDs of the states that changed something, or would (``test=True``); the last one only counts them."""
        found = {state["__id__"] for state in self.states.values() if state["changes"] or state["result"] is None}
        return found - {"mailserver-summary"}

    def state(self, function):
        """The state with ``function`` (``dkim.published``)."""
        module, name = function.split(".")
        found = [s for tag, s in self.states.items() if tag.startswith(f"{module}_|-") and tag.endswith(f"_|-{name}")]
        assert len(found) == 1, f"{self.host}: {len(found)} states of {function}"
        return found[0]

    def of(self, id):
        """The one state with the ID ``id``."""
        (found,) = (state for state in self.states.values() if state["__id__"] == id)
        return found

    def said(self, function):
        """All that the state with ``function`` told the operator: its comment and its warnings."""
        state = self.state(function)
        return "\n".join([state["comment"], *state.get("warnings", ())])


@pytest.fixture(scope="session")
def lab():
    os.environ.setdefault("LAB_NAME", "test")
    booted = Lab()
    up = booted.command("up", timeout=LONG)
    if up.returncode:
        pytest.exit(f"the lab did not come up, so nothing was tested:\n{up.stdout}\n{up.stderr}", returncode=1)
    yield booted
    booted.end_caller()
    if not os.environ.get("LAB_KEEP"):
        booted.command("down")


@pytest.fixture(scope="module", autouse=True)
def _hosts_as_they_begin(request, lab):
    state = getattr(request.module, "BEGINS", "signing")
    if state:
        lab.begin(state)


@pytest.fixture(params=MAIL_HOSTS)
def host(request):
    return request.param
