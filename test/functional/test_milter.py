"""The milter client and the probe, against real OpenDKIM daemons on loopback."""

import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mailhost.errors import ProbeError
from mailhost.opendkim import milter as milters
from mailhost.opendkim import probe
from mailhost.receiver import dkim as receiver_dkim
from opendkim_daemon import LIMIT, Key, await_that, free_port

DOMAIN = "alpha.test"


@pytest.fixture(scope="module")
def keys():
    return Key(), Key()


@pytest.mark.parametrize("canonicalization", ["simple/simple", "relaxed/simple", "relaxed/relaxed"])
def test_a_signature_verifies_whether_or_not_the_milter_trusts_this_host(daemon, keys, canonicalization):
    milter = daemon()
    milter.key("new", keys[0])
    milter.tables((DOMAIN, "new"))
    milter.start(Canonicalization=canonicalization)
    probe.probe(milter.socket, DOMAIN, "new", keys[0].record)


@pytest.mark.parametrize("form", ["local:{}/socket", "unix:{}/socket", "inet6:{}@[::1]", "inet:{}@localhost"])
def test_each_spelling_of_a_socket_is_understood(daemon, keys, form):
    milter = daemon()
    milter.key("new", keys[0])
    milter.tables((DOMAIN, "new"))
    milter.start(form.format(free_port() if form.startswith("inet") else milter.folder))
    probe.probe(milter.socket, DOMAIN, "new", keys[0].record)


def test_a_long_message_with_folded_fields_comes_back_with_its_signature_on_top(daemon, keys):
    milter = daemon()
    milter.key("new", keys[0])
    milter.tables((DOMAIN, "new"))
    milter.start(Canonicalization="simple/simple")
    message = (
        f"From: Someone <someone@{DOMAIN}>\nTo: a@outside.test,\n\tb@outside.test\nSubject:  two spaces\nX-Empty:\n\n"
        + "A line that repeats, so that the body takes several packets.\n" * 4000
    ).encode()
    added = milters.sign(milter.socket, message, f"someone@{DOMAIN}", ["a@outside.test", "b@outside.test"])
    assert added[0][0] == "DKIM-Signature"
    whole = "".join(f"{name}:{value}\r\n" for name, value in added).encode() + message.replace(b"\n", b"\r\n")
    asked = []
    assert receiver_dkim.verify(whole, 0, lambda name: asked.append(name) or keys[0].record) == (True, "")
    assert asked == [f"new._domainkey.{DOMAIN}"]


def test_the_old_selector_is_named_when_the_tables_still_have_it(daemon, keys):
    milter = daemon()
    milter.key("old", keys[0])
    milter.tables((DOMAIN, "old"))
    milter.start()
    with pytest.raises(ProbeError, match="signed with selector old instead of new"):
        probe.probe(milter.socket, DOMAIN, "new", keys[1].record)


def test_a_domain_without_a_row_comes_back_unsigned(daemon, keys):
    milter = daemon()
    milter.key("new", keys[0])
    milter.tables(("beta.test", "new"))
    milter.start()
    with pytest.raises(ProbeError, match="came back unsigned"):
        probe.probe(milter.socket, DOMAIN, "new", keys[0].record)


def test_a_signature_for_another_domain_is_not_taken_for_ours(daemon, keys):
    milter = daemon()
    milter.key("new", keys[0])
    milter.tables(("beta.test", "new"), signing=[])
    (milter.folder / "SigningTable").write_text(f"{DOMAIN} new._domainkey.beta.test\n")
    milter.start()
    with pytest.raises(ProbeError, match=r"signed for beta\.test instead of alpha\.test"):
        probe.probe(milter.socket, DOMAIN, "new", keys[0].record)


def test_a_key_that_is_not_the_one_in_dns_is_found_out(daemon, keys):
    milter = daemon()
    milter.key("new", keys[0])
    milter.tables((DOMAIN, "new"))
    milter.start()
    for record in (keys[1].record, "v=DKIM1; k=rsa; p=", keys[0].record[:200], "not a key", ""):
        with pytest.raises(ProbeError, match="does not fit the record in DNS"):
            probe.probe(milter.socket, DOMAIN, "new", record)


@pytest.mark.parametrize("flaw", ["no key file", "key readable by others", "no row in the key table"])
def test_what_temp_fails_every_message_is_a_probe_error(daemon, keys, flaw):
    milter = daemon()
    if flaw != "no key file":
        milter.key("new", keys[0], 0o644 if flaw == "key readable by others" else 0o600)
    if flaw == "no row in the key table":
        milter.tables(signing=[(DOMAIN, "new")])
    else:
        milter.tables((DOMAIN, "new"))
    milter.start()
    with pytest.raises(ProbeError, match=r"temp-failed \(4.*OpenDKIM's log"):
        probe.probe(milter.socket, DOMAIN, "new", keys[0].record)


def test_new_tables_are_believed_only_after_a_reload_was_seen(daemon, keys):
    milter = daemon()
    milter.key("old", keys[0])
    milter.tables((DOMAIN, "old"))
    milter.start()
    probe.probe(milter.socket, DOMAIN, "old", keys[0].record)
    milter.key("new", keys[1])
    milter.tables((DOMAIN, "new"))
    with pytest.raises(ProbeError, match="signed with selector old instead of new"):
        probe.probe(milter.socket, DOMAIN, "new", keys[1].record)
    milter.reload()

    def said():
        try:
            return probe.probe(milter.socket, DOMAIN, "new", keys[1].record) or ""
        except ProbeError as err:
            return str(err)

    await_that(lambda: not said(), "a new connection does not see the new tables")


def test_a_reload_with_a_missing_table_leaves_the_old_selector_in_force(daemon, keys):
    milter = daemon()
    milter.key("old", keys[0])
    milter.tables((DOMAIN, "old"))
    milter.start()
    probe.probe(milter.socket, DOMAIN, "old", keys[0].record)
    milter.key("new", keys[1])
    milter.tables((DOMAIN, "new"))
    (milter.folder / "KeyTable").unlink()
    milter.reload()
    with pytest.raises(ProbeError, match="signed with selector old instead of new"):
        probe.probe(milter.socket, DOMAIN, "new", keys[1].record)


def test_a_dead_socket_is_named():
    dead = f"inet:{free_port()}@127.0.0.1"
    with pytest.raises(ProbeError, match=rf"no connection to {dead} .*is OpenDKIM running"):
        probe.probe(dead, DOMAIN, "new", "v=DKIM1; p=")
    with pytest.raises(ProbeError, match="no connection to local:/run/no/such"):
        probe.probe("local:/run/no/such", DOMAIN, "new", "v=DKIM1; p=")


@pytest.mark.parametrize(
    ("greeting", "said"),
    [(b"220 mail.test ESMTP\r\n", "does not speak the milter protocol"), (b"", "closed the connection")],
)
def test_another_server_at_the_port_is_not_taken_for_a_milter(greeting, said):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            peer, _ = server.accept()
            with peer:
                peer.recv(100)
                peer.sendall(greeting)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with pytest.raises(ProbeError, match=said):
            probe.probe(f"inet:{server.getsockname()[1]}@127.0.0.1", DOMAIN, "new", "v=DKIM1; p=")
        thread.join(LIMIT)


def test_a_silent_server_costs_no_more_than_the_time_that_was_given():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(ProbeError, match=r"time is over: no answer to the negotiation"),
    ):
        probe.probe(f"inet:{server.getsockname()[1]}@127.0.0.1", DOMAIN, "new", "v=DKIM1; p=", timeout=0.2)


def test_modules_that_salt_left_under_the_same_names_are_not_taken_for_the_packages():
    program = (
        "import sys, types\n"
        "sys.modules['dns'] = types.ModuleType('dns'); sys.modules['dkim'] = types.ModuleType('dkim')\n"
        "from mailhost.receiver import dkim\n"
        "print(dkim.dkimpy().DKIM.__name__)\n"
    )
    utils = str(Path(milters.__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=utils)
    assert done.stdout == "DKIM\n"
