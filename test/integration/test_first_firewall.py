"""firewalld is not started on a host where it would shut what listens, until the pillar opens that or gives it up."""

import pytest

from conftest import ADDRESS, DOMAIN, MAIL_HOSTS, pillar

BEGINS = "bare"

LISTENERS = {
    "web": "python3 -m http.server 8080",
    # As SSH at a port of its own: what counts is the port.
    "shell": "python3 -m http.server 2222",
    "inner": "python3 -m http.server 8081 --bind 127.0.0.1",
}
GATE = "mailserver-kept-lost-ports"


def reached(lab, host, port):
    connect = f"import socket; socket.create_connection(('{ADDRESS[host]}', {port}), 5)"
    return lab.run("client", "python3", "-c", connect, check=False).status == 0


def is_active(lab, host):
    return lab.run(host, "systemctl", "is-active", "--quiet", "firewalld", check=False).status == 0


@pytest.fixture(scope="module")
def first(lab):
    """What a dry run and the first highstate said on hosts on which others listen."""
    for host in MAIL_HOSTS:
        for unit, command in LISTENERS.items():
            lab.sh(host, f"systemd-run --quiet --collect --unit=lab-{unit} --working-directory=/srv {command}")
        for port in (8080, 2222):
            lab.until(lambda host=host, port=port: reached(lab, host, port), f"{host} does not listen at {port}")
    lab.set_pillar(pillar("default"))
    return lab.highstate(test=True), lab.highstate()


@pytest.mark.parametrize("run", ["dry", "real"])
def test_what_it_would_shut_is_named_and_it_is_not_started(first, lab, host, run):
    found = first[run == "real"][host].of(GATE)
    assert found["result"] is False
    for port in (8080, 2222):
        pid = lab.sh(host, f"ss -Hltnp 'sport = :{port}' | grep -o 'pid=[0-9]*' | head -1").strip().removeprefix("pid=")
        assert f"(process {pid}) at 0.0.0.0:{port}/tcp" in found["comment"]
        assert reached(lab, host, port)
    assert "8081" not in found["comment"]
    assert "mailserver:firewalld:ports: [587/tcp, 2222/tcp, 8080/tcp]" in found["comment"]
    assert not is_active(lab, host)


def test_all_else_is_done_and_mail_flows(first, lab, host):
    _, done = first
    failed = {one["__id__"] for one in done[host].states.values() if one["result"] is False}
    assert all("firewalld" in one or one == GATE for one in failed), failed
    token, _ = lab.submit(host)
    assert f"for <bob@{DOMAIN[host]}>" in lab.delivered(host, "bob", token)


def test_a_dry_run_and_a_run_say_so_until_all_of_it_is_opened_or_given_up(first, lab, host):
    lab.set_pillar(pillar("default", "  firewalld: {ports: [587/tcp, 2222/tcp]}\n"), [host])
    comment = lab.highstate([host], test=True)[host].of(GATE)["comment"]
    assert "8080/tcp" in comment
    assert "at 0.0.0.0:2222" not in comment
    lab.set_pillar(pillar("default", "  firewalld: {ports: [587/tcp, 2222/tcp], shut: [8080/tcp]}\n"), [host])
    lab.highstate([host])[host].must_succeed()
    assert is_active(lab, host)
    assert reached(lab, host, 2222)
    assert reached(lab, host, 587)
    assert not reached(lab, host, 8080)
    # Once it runs, what else begins to listen is no reason to go red.
    lab.set_pillar(pillar("default", "  firewalld: {ports: [587/tcp, 2222/tcp]}\n"), [host])
    assert lab.highstate([host])[host].must_succeed().changed == {"mailserver-schedule-settings"}
