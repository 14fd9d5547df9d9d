"""Real OpenDKIM daemons on loopback, for the tests beside this file."""

import base64
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from mailhost.errors import ProbeError
from mailhost.opendkim import milter as milters

LIMIT = 300


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
        self.environment = {}

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
        return self.start_with("".join(f"{name} {value}\n" for name, value in settings.items()))

    def start_with(self, settings):
        """Start it on a text of opendkim.conf, which names :attr:`socket`."""
        config = self.folder / "opendkim.conf"
        config.write_text(settings)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["opendkim", "-f", "-x", str(config)], stdout=log, stderr=log, env={**os.environ, **self.environment}
            )
        await_that(self._listens, f"OpenDKIM does not listen at {self.socket}")
        return self

    def _listens(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            milters._connect(self.socket, time.monotonic() + 5).close()
        except ProbeError:
            return False
        return True

    def reload(self):
        # A forked test cannot wait for the daemon, and send_signal would take it for one that has ended.
        os.kill(self.process.pid, signal.SIGUSR1)

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
        time.sleep(0.01)


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
