"""The milter client and the probe, against real OpenDKIM daemons on loopback."""

import base64
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import mailserver_milter
from mailserver_errors import ProbeError

DOMAIN = "alpha.test"
LIMIT = 30


class Key:
    """An RSA key: its private PEM and the text of its record."""

    def __init__(self):
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.pem = private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        public = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.record = f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"


class OpenDkim:
    """An OpenDKIM daemon with tables of its own, in a folder that RequireSafeKeys accepts."""

    def __init__(self, folder, name):
        self.folder = folder / name
        self.folder.mkdir(mode=0o700)
        self.log = self.folder / "log"
        self.process = None
        self.socket = ""

    def key(self, selector, key, mode=0o600):
        path = self.folder / f"{selector}.private"
        path.write_bytes(key.pem)
        path.chmod(mode)

    def tables(self, *rows, signing=None):
        """Write tables with a row for each (domain, selector); ``signing`` has other rows for the signing table."""
        key_table = (f"{s}._domainkey.{d} {d}:{s}:{self.folder}/{s}.private\n" for d, s in rows)
        (self.folder / "KeyTable").write_text("".join(key_table))
        signing_table = (f"{d} {s}._domainkey.{d}\n" for d, s in (rows if signing is None else signing))
        (self.folder / "SigningTable").write_text("".join(signing_table))

    def start(self, socket_text="", **more):
        self.socket = socket_text or f"inet:{free_port()}@127.0.0.1"
        (self.folder / "TrustedHosts").write_text("192.0.2.1\n")
        settings = {
            "Mode": "sv",
            "Socket": self.socket,
            "KeyTable": f"file:{self.folder}/KeyTable",
            "SigningTable": f"file:{self.folder}/SigningTable",
            "InternalHosts": f"refile:{self.folder}/TrustedHosts",
            "ExternalIgnoreList": f"refile:{self.folder}/TrustedHosts",
            "Canonicalization": "relaxed/simple",
            "OversignHeaders": "From",
            "Syslog": "no",
            **more,
        }
        config = self.folder / "opendkim.conf"
        config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(["opendkim", "-f", "-x", str(config)], stdout=log, stderr=log)
        await_that(self._listens, f"OpenDKIM does not listen at {self.socket}")
        return self

    def _listens(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            mailserver_milter._connect(self.socket, time.monotonic() + 5).close()
        except ProbeError:
            return False
        return True

    def reload(self):
        self.process.send_signal(signal.SIGUSR1)

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait(LIMIT)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def await_that(holds, otherwise):
    ends = time.monotonic() + LIMIT
    while not holds():
        assert time.monotonic() < ends, otherwise
        time.sleep(0.05)


@pytest.fixture(scope="module")
def keys():
    return Key(), Key()


@pytest.fixture
def daemon():
    assert os.geteuid() == 0, "OpenDKIM is started as root here; run script/test functional as root"
    folder = Path(tempfile.mkdtemp(prefix="mailserver-test-", dir="/run"))
    made = []

    def make():
        made.append(OpenDkim(folder, str(len(made))))
        return made[-1]

    yield make
    for one in made:
        one.stop()
    shutil.rmtree(folder)


@pytest.mark.parametrize("canonicalization", ["simple/simple", "relaxed/simple", "relaxed/relaxed"])
def test_a_signature_verifies_whether_or_not_the_milter_trusts_this_host(daemon, keys, canonicalization):
    milter = daemon()
    milter.key("new", keys[0])
    milter.tables((DOMAIN, "new"))
    milter.start(Canonicalization=canonicalization)
    mailserver_milter.probe(milter.socket, DOMAIN, "new", keys[0].record)


@pytest.mark.parametrize("form", ["local:{}/socket", "unix:{}/socket", "inet6:{}@[::1]", "inet:{}@localhost"])
def test_each_spelling_of_a_socket_is_understood(daemon, keys, form):
    milter = daemon()
    milter.key("new", keys[0])
    milter.tables((DOMAIN, "new"))
    milter.start(form.format(free_port() if form.startswith("inet") else milter.folder))
    mailserver_milter.probe(milter.socket, DOMAIN, "new", keys[0].record)


def test_a_long_message_with_folded_fields_comes_back_with_its_signature_on_top(daemon, keys):
    milter = daemon()
    milter.key("new", keys[0])
    milter.tables((DOMAIN, "new"))
    milter.start(Canonicalization="simple/simple")
    message = (
        f"From: Someone <someone@{DOMAIN}>\nTo: a@outside.test,\n\tb@outside.test\nSubject:  two spaces\nX-Empty:\n\n"
        + "A line that repeats, so that the body takes several packets.\n" * 4000
    ).encode()
    added = mailserver_milter.sign(milter.socket, message, f"someone@{DOMAIN}", ["a@outside.test", "b@outside.test"])
    assert added[0][0] == "DKIM-Signature"
    whole = "".join(f"{name}:{value}\r\n" for name, value in added).encode() + message.replace(b"\n", b"\r\n")
    asked = []
    assert mailserver_milter.verify(whole, 0, lambda name: asked.append(name) or keys[0].record) == (True, "")
    assert asked == [f"new._domainkey.{DOMAIN}"]


def test_the_old_selector_is_named_when_the_tables_still_have_it(daemon, keys):
    milter = daemon()
    milter.key("old", keys[0])
    milter.tables((DOMAIN, "old"))
    milter.start()
    with pytest.raises(ProbeError, match="signed with selector old instead of new"):
        mailserver_milter.probe(milter.socket, DOMAIN, "new", keys[1].record)


def test_a_domain_without_a_row_comes_back_unsigned(daemon, keys):
    milter = daemon()
    milter.key("new", keys[0])
    milter.tables(("beta.test", "new"))
    milter.start()
    with pytest.raises(ProbeError, match="came back unsigned"):
        mailserver_milter.probe(milter.socket, DOMAIN, "new", keys[0].record)


def test_a_signature_for_another_domain_is_not_taken_for_ours(daemon, keys):
    milter = daemon()
    milter.key("new", keys[0])
    milter.tables(("beta.test", "new"), signing=[])
    (milter.folder / "SigningTable").write_text(f"{DOMAIN} new._domainkey.beta.test\n")
    milter.start()
    with pytest.raises(ProbeError, match=r"signed for beta\.test instead of alpha\.test"):
        mailserver_milter.probe(milter.socket, DOMAIN, "new", keys[0].record)


def test_a_key_that_is_not_the_one_in_dns_is_found_out(daemon, keys):
    milter = daemon()
    milter.key("new", keys[0])
    milter.tables((DOMAIN, "new"))
    milter.start()
    for record in (keys[1].record, "v=DKIM1; k=rsa; p=", keys[0].record[:200], "not a key", ""):
        with pytest.raises(ProbeError, match="does not fit the record in DNS"):
            mailserver_milter.probe(milter.socket, DOMAIN, "new", record)


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
        mailserver_milter.probe(milter.socket, DOMAIN, "new", keys[0].record)


def test_new_tables_are_believed_only_after_a_reload_was_seen(daemon, keys):
    milter = daemon()
    milter.key("old", keys[0])
    milter.tables((DOMAIN, "old"))
    milter.start()
    mailserver_milter.probe(milter.socket, DOMAIN, "old", keys[0].record)
    milter.key("new", keys[1])
    milter.tables((DOMAIN, "new"))
    with pytest.raises(ProbeError, match="signed with selector old instead of new"):
        mailserver_milter.probe(milter.socket, DOMAIN, "new", keys[1].record)
    milter.reload()

    def said():
        try:
            return mailserver_milter.probe(milter.socket, DOMAIN, "new", keys[1].record) or ""
        except ProbeError as err:
            return str(err)

    await_that(lambda: not said(), "a new connection does not see the new tables")


def test_a_reload_with_a_missing_table_leaves_the_old_selector_in_force(daemon, keys):
    milter = daemon()
    milter.key("old", keys[0])
    milter.tables((DOMAIN, "old"))
    milter.start()
    mailserver_milter.probe(milter.socket, DOMAIN, "old", keys[0].record)
    milter.key("new", keys[1])
    milter.tables((DOMAIN, "new"))
    (milter.folder / "KeyTable").unlink()
    milter.reload()
    with pytest.raises(ProbeError, match="signed with selector old instead of new"):
        mailserver_milter.probe(milter.socket, DOMAIN, "new", keys[1].record)


def test_a_dead_socket_is_named():
    dead = f"inet:{free_port()}@127.0.0.1"
    with pytest.raises(ProbeError, match=rf"no connection to {dead} .*is OpenDKIM running"):
        mailserver_milter.probe(dead, DOMAIN, "new", "v=DKIM1; p=")
    with pytest.raises(ProbeError, match="no connection to local:/run/no/such"):
        mailserver_milter.probe("local:/run/no/such", DOMAIN, "new", "v=DKIM1; p=")


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

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(ProbeError, match=said):
            mailserver_milter.probe(f"inet:{server.getsockname()[1]}@127.0.0.1", DOMAIN, "new", "v=DKIM1; p=")
        thread.join(LIMIT)


def test_a_silent_server_costs_no_more_than_the_time_that_was_given():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(ProbeError, match=r"time is over: no answer to the negotiation"),
    ):
        mailserver_milter.probe(f"inet:{server.getsockname()[1]}@127.0.0.1", DOMAIN, "new", "v=DKIM1; p=", timeout=0.2)
