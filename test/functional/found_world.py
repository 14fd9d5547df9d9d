"""A host with an OpenDKIM configuration that somebody made by hand, and the take-over of it, with a real OpenDKIM."""

import os
import pwd
import re
import subprocess

import jinja2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from mailhost.dkim import keystore
from mailhost.dkim.run import SigningPaths
from mailhost.errors import ProbeError
from mailhost.opendkim import milter as milters
from mailhost.opendkim import tables as opendkim_tables
from mailhost.pillar import settings as pillar_settings
from mailhost.takeover import run as takeover_run
from mailhost.takeover.plan import WantedHost

TEMPLATE = "mailserver/opendkim/files/opendkim.conf.jinja"


class Found:
    """Its folder stands for /etc: opendkim.conf and all that it names are there, and what the formula writes, too."""

    def __init__(self, milter, top):
        self.milter, self.top, self.folder = milter, top, milter.folder
        self.milter.socket = f"local:{self.folder}/socket"
        self.config = self.folder / "opendkim.conf"
        self.me = pwd.getpwuid(os.getuid()).pw_name

    def write(self, name, text, mode=0o600):
        """Write a file; ``{etc}`` in its text is the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.replace("{etc}", str(self.folder)).encode())
        path.chmod(mode)
        return path

    def hand_made(self, conf, files):
        """Start OpenDKIM on a configuration; nothing in it is the formula's."""
        for name, text in files.items():
            self.write(name, text, 0o600 if isinstance(text, bytes) else 0o644)
        self.milter.stop()
        conf = conf.replace("{etc}", str(self.folder))
        self.milter.start_with(f"{conf}\nSocket {self.milter.socket}\nSyslog no\n")

    def settle(self, pillar):
        """Read a pillar: its ``domains`` and ``opendkim``."""
        pillar = {"domain": next(iter(pillar["domains"])), **pillar}
        parameters = {"postfix": {"version": "3.7"}}
        self.settings = pillar_settings.resolve(pillar, parameters, {"fqdn": "mx1.lab.test"})
        domains = self.settings["domains"]
        tables = opendkim_tables.tables(self.folder / "KeyTable", self.folder / "SigningTable", domains)
        self.paths = SigningPaths(str(self.folder / "keys"), tables, keystore.Owner(self.me, self.me))
        self.host = WantedHost(domains, self.settings["opendkim"], "mx1.lab.test", (), self.paths.keys)

    def survey(self, words=()):
        return takeover_run.survey(str(self.config), self.host, self.paths, words)

    def take_over(self):
        """What the highstate does: survey, copy, and put the formula's configuration in place of the other."""
        outlook = takeover_run.checked(self.survey())
        if outlook:
            takeover_run.act(outlook, self.paths, self.folder / "state")
        opendkim_tables.ensure_tables(self.paths.tables)

    def put_ours(self):
        """Restart OpenDKIM on what the formula's template makes."""
        self.write("TrustedHosts", "127.0.0.1\n", 0o644)
        paths = {name: str(self.folder / name) for name in ("TrustedHosts",)}
        paths = {
            "key_table": self.paths.tables.key_table,
            "signing_table": self.paths.tables.signing_table,
            "trusted_hosts": paths["TrustedHosts"],
        }
        opendkim = {**self.settings["opendkim"], "socket": self.milter.socket, "settings": {"Syslog": False}}
        text = jinja2.Template((self.top / TEMPLATE).read_text()).render(opendkim=opendkim, paths=paths)
        self.milter.stop()
        self.milter.start_with(text + "\n")

    def signed(self, sender):
        """Return the set of (d, s) that mail from an address gets; ``None`` if OpenDKIM has it wait."""
        message = f"From: {sender}\r\nTo: b@outside.test\r\nSubject: x\r\n\r\nbody\r\n".encode()
        try:
            fields = milters.sign(self.milter.socket, message, sender, ["b@outside.test"])
        except ProbeError:
            return None
        values = [re.sub(r"\s+", "", value) for name, value in fields if name.lower() == "dkim-signature"]
        return {(re.search(r"\bd=([^;]+)", one)[1], re.search(r"\bs=([^;]+)", one)[1]) for one in values}

    def everything(self):
        """All that is on disk but the log and the socket, with times: to see that nothing was touched."""
        paths = [path for path in sorted(self.folder.rglob("*")) if path.name not in ("log", "socket")]
        return [(str(path), path.lstat().st_mtime_ns, path.lstat().st_ino, path.lstat().st_mode) for path in paths]


def rsa_pem(bits=2048, pkcs8=False, passphrase=None):
    """Return a new RSA key as PEM."""
    form = serialization.PrivateFormat.PKCS8 if pkcs8 else serialization.PrivateFormat.TraditionalOpenSSL
    lock = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return rsa.generate_private_key(public_exponent=65537, key_size=bits).private_bytes(
        serialization.Encoding.PEM, form, lock
    )


def weak_pem():
    """Return a new RSA key of 768 bits, which only OpenSSL still makes."""
    return subprocess.run(["openssl", "genrsa", "-traditional", "768"], capture_output=True, check=True).stdout


def ed25519_pem():
    """Return a new Ed25519 key as PEM."""
    forms = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return ed25519.Ed25519PrivateKey.generate().private_bytes(*forms)


@pytest.fixture
def found(daemon, request):
    return Found(daemon(), request.config.rootpath)
