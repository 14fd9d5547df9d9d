"""The lab itself: real hosts, a network without a way out, and a command that leaves nothing behind."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from conftest import HOSTS, LAB_HOSTS, TOP
from hosts import PAIR, PAIRS

BEGINS = None
ON = "both"
LAB = TOP / "test" / "lab" / "lab"


def lab_command(*words, name=None, **variables):
    environment = {**os.environ, "LAB_NAME": name or os.environ["LAB_NAME"], **variables}
    return subprocess.run((LAB, *words), capture_output=True, text=True, timeout=600, env=environment, check=False)


def test_status_has_a_line_for_each_host_and_all_are_running(lab):
    rows = [line.split() for line in lab_command("status").stdout.splitlines()]
    assert [row[0] for row in rows] == list(HOSTS)
    assert {row[3] for row in rows} == {"running"}
    assert [row[1] for row in rows] == [LAB_HOSTS[host].release for host in HOSTS]
    assert {row[4].split(".")[0] for row in rows} == {"3006", "3008"}


def test_exec_gives_output_and_exit_status(lab):
    done = lab_command("exec", "mx1", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)


def test_up_is_safe_to_repeat(lab):
    before = lab.sh("mx1", "stat -c %Y /proc/1")
    assert lab_command("up").returncode == 0
    assert lab.sh("mx1", "stat -c %Y /proc/1") == before


def test_up_does_not_put_another_release_in_the_place_of_a_host_that_runs(lab):
    before = lab.sh("mx1", "stat -c %Y /proc/1")
    other = next(name for name in PAIRS if name != PAIR)
    done = lab_command("up", "mx1", LAB_PAIR=other)
    assert done.returncode == 1
    assert f"mx1 runs {PAIRS[PAIR][0]}, and LAB_PAIR={other} is {PAIRS[other][0]}" in done.stderr
    assert "test/lab/lab reset mx1" in done.stderr
    assert lab.sh("mx1", "stat -c %Y /proc/1") == before


def test_a_pair_that_there_is_not_is_refused_with_those_that_there_are():
    done = lab_command("status", LAB_PAIR="nonsense")
    assert done.returncode == 1
    assert done.stderr == "lab: LAB_PAIR=nonsense: there is no such pair of mail hosts, but usual and edges\n"


def test_every_host_is_a_real_one_with_its_own_network(lab):
    for host in HOSTS:
        assert lab.sh(host, "cat /proc/1/comm").strip() == "systemd"
    assert lab.sh("client", "ip route").split("\n") == [
        "198.18.0.0/24 dev host0 proto kernel scope link src 198.18.0.31 ",
        "",
    ]
    assert lab.run("client", "sh", "-c", "exec 3<>/dev/tcp/192.0.2.1/80", check=False).status != 0


@pytest.mark.parametrize("server", ["198.18.0.11", "198.18.0.12", "198.18.0.13", "198.18.0.53"])
def test_dns_answers_at_every_address(lab, server):
    assert lab.run("client", "dig", "+short", f"@{server}", "alpha.test", "MX").out == "10 mx1.lab.test.\n"


def test_an_unknown_host_and_one_that_is_down_are_named(lab):
    assert "mx9" in lab_command("exec", "mx9", "--", "true").stderr
    assert "test/lab/lab up mx1" in lab_command("exec", "mx1", "--", "true", name="none").stderr


def test_what_the_machine_lacks_is_told_with_what_mends_it_before_anything_is_booted():
    words = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", LAB, "up", "ns2")
    environment = {**os.environ, "LAB_NAME": "lacking"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert "this machine cannot boot the hosts:\n  - namespaces cannot be made" in done.stderr
    assert "CAP_SYS_ADMIN" in done.stderr
    assert "docker run --privileged" in done.stderr
    assert not Path("/var/lib/mailserver-lab/lacking").exists()


def test_down_leaves_nothing_even_after_a_crash(lab):
    name = "crashed"
    lab_command("up", "ns2", name=name)
    inside = lab_command("exec", "ns2", "--", "hostname", name=name)
    assert inside.stdout == "ns2\n", inside.stderr
    groups = list(control_groups(name))
    assert groups
    held = [int(pid) for group in groups for pid in group.read_text().split()]
    nspawn = [pid for pid in held if "nspawn" in Path(f"/proc/{pid}/comm").read_text()]
    for pid in nspawn:
        os.kill(pid, signal.SIGKILL)
    os.kill(json.loads(Path(f"/var/lib/mailserver-lab/{name}/ns2/leader.json").read_text())["pid"], signal.SIGKILL)
    said = lab.until(lambda: _why_down(name), "its first process lives on")
    assert said.startswith("lab: ns2 ended; boot it: test/lab/lab up ns2\nIts console said at the end:\n")
    assert lab_command("down", name=name).returncode == 0
    assert not [
        pid for pid in held if Path(f"/proc/{pid}").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text()
    ]
    assert not list(control_groups(name))
    assert f"/{name}/" not in Path("/proc/mounts").read_text()
    assert f"{name}-" not in subprocess.run(("ip", "netns", "list"), capture_output=True, text=True, check=True).stdout
    assert not Path(f"/var/lib/mailserver-lab/{name}").exists()
    assert lab.run("ns2", "true").status == 0


def _why_down(name):
    said = lab_command("exec", "ns2", "--", "true", name=name).stderr
    return said if said.startswith("lab:") else ""


def control_groups(name):
    return Path("/sys/fs/cgroup").rglob(f"mailserver-{name}-*/**/cgroup.procs")
