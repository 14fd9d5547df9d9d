"""Mail servers that say what they are told to: SMTP, IMAP and POP3 on loopback, in threads, with real TLS."""

import contextlib
import functools
import json
import socketserver
import ssl
import threading
import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from mailhost.check.findings import CheckedHost
from mailhost.command import CommandResult
from mailhost.daemons.services import Service
from mailhost.pillar.settings import resolve

TOP = Path(__file__).resolve().parents[2]
NAME = "mx1.example.com"
ADDRESS, OTHER_ADDRESS = "127.57.0.1", "127.57.0.2"
NOW = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
HANG, CLOSE, TRICKLE, GARBAGE = object(), object(), object(), object()

_SMTP_END = {
    "MAIL": "250 2.1.0 Ok",
    "RSET": "250 2.0.0 Ok",
    "NOOP": "250 2.0.0 Ok",
    "QUIT": "221 2.0.0 Bye",
    "": "500 5.5.2 Error: command not recognized",
}
_LOGIN_ONLY = {"RCPT": "554 5.7.1 Recipient address rejected: Access denied", **_SMTP_END}
_IMAP_TLS = {
    "tls greeting": "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=LOGIN] ready.",
    "tls a1 CAPABILITY": "* CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=LOGIN\r\na1 OK done",
    "a1 LOGOUT": "* BYE\r\na1 OK done",
    "": "a1 BAD command",
}
_POP3_TLS = {"tls CAPA": "+OK\r\nUSER\r\nSASL PLAIN LOGIN\r\n.", "QUIT": "+OK", "": "-ERR unknown"}
ANSWERS = {
    "smtp": {
        "greeting": f"220 {NAME} ESMTP",
        "plain EHLO": f"250-{NAME}\r\n250-PIPELINING\r\n250-STARTTLS\r\n250 8BITMIME",
        "tls EHLO": f"250-{NAME}\r\n250-PIPELINING\r\n250 8BITMIME",
        "STARTTLS": "220 2.0.0 Ready to start TLS",
        "VRFY": "502 5.5.1 VRFY command is disabled",
        f"RCPT TO:<postmaster@{NAME}>": "250 2.1.5 Ok",
        f"RCPT TO:<no-such-user-relaytest@{NAME}>": "550 5.1.1 User unknown",
        "RCPT": "554 5.7.1 Relay access denied",
        "pipelined": "554 5.5.0 Error: SMTP protocol synchronization",
        **_SMTP_END,
    },
    "submission": {
        "greeting": f"220 {NAME} ESMTP",
        "plain EHLO": f"250-{NAME}\r\n250-PIPELINING\r\n250 STARTTLS",
        "tls EHLO": f"250-{NAME}\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN",
        "STARTTLS": "220 2.0.0 Ready to start TLS",
        **_LOGIN_ONLY,
    },
    "submissions": {
        "greeting": f"220 {NAME} ESMTP",
        "EHLO": f"250-{NAME}\r\n250-PIPELINING\r\n250 AUTH PLAIN LOGIN",
        **_LOGIN_ONLY,
    },
    "imap": {
        "greeting": "* OK ready.",
        "plain a1 CAPABILITY": "* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na1 OK done",
        "a1 STARTTLS": "a1 OK begin",
        **_IMAP_TLS,
    },
    "imaps": _IMAP_TLS,
    "pop3": {"greeting": "+OK ready.", "plain CAPA": "+OK\r\nSTLS\r\nSASL\r\n.", "STLS": "+OK begin", **_POP3_TLS},
    "pop3s": {"greeting": "+OK ready.", **_POP3_TLS},
}
"""What a healthy server of each service answers: what the first key has that begins the line, before TLS or in it.

``greeting`` is said first; ``pipelined`` is the answer to a command that others follow at once.
"""


class Peer(socketserver.ThreadingTCPServer):
    """A server of one service that answers as :data:`ANSWERS` has it, but for ``changes``; ``heard`` is what came."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, name, context, changes=(), address=(ADDRESS, 0)):
        self.answers = {**dict(changes), **{key: text for key, text in ANSWERS[name].items() if key not in changes}}
        self.context, self.direct = context, name in ("submissions", "imaps", "pop3s")
        self.heard, self.over = [], threading.Event()
        super().__init__(address, _Session)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, secure, line):
        state = "tls" if secure else "plain"
        return next(text for key, text in self.answers.items() if f"{state} {line}".startswith((key, f"{state} {key}")))

    def stop(self):
        self.over.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        """Say nothing: clients that go away are part of these tests."""


class _Session(socketserver.BaseRequestHandler):
    def handle(self):
        peer, self.secure, self.buffer = self.server, False, b""
        if peer.direct and not self.begin_tls():
            return
        if not self.say(peer.answer(self.secure, "greeting")):
            return
        while (line := self.line()) is not None:
            peer.heard.append(line)
            pipelined = bool(self.buffer) and "pipelined" in peer.answers
            answer = peer.answer(self.secure, "pipelined" if pipelined else line)
            if not self.say(answer) or line.endswith(("QUIT", "LOGOUT")) or pipelined:
                return
            if line.endswith(("STARTTLS", "STLS")) and answer.startswith(("220", "a1 OK", "+OK")):
                if not self.begin_tls():
                    return
                self.secure, self.buffer = True, b""

    def begin_tls(self):
        if self.server.context in (HANG, GARBAGE):
            return self.say(self.server.context)
        self.request = self.server.context.wrap_socket(self.request, server_side=True)
        self.secure = True
        return True

    def line(self):
        while b"\n" not in self.buffer:
            octets = self.request.recv(4096)
            if not octets:
                return None
            self.buffer += octets
        line, _, self.buffer = self.buffer.partition(b"\n")
        bare = not line.endswith(b"\r")
        return ("bare " if bare else "") + line.rstrip(b"\r").decode()

    def say(self, answer):
        if answer is HANG:
            self.server.over.wait()
        elif answer is TRICKLE:
            while not self.server.over.wait(0.02):
                self.request.sendall(b"2")
        elif answer is GARBAGE:
            self.request.sendall(b"this is no TLS\r\n" * 4)
        elif answer is not CLOSE:
            self.request.sendall(answer.encode() + b"\r\n")
            return True
        return False


def service_of(name, port):
    """The service ``name``, at the address of the peers."""
    protocol = {"imaps": "imap", "pop3s": "pop3", "imap": "imap", "pop3": "pop3"}.get(name, "smtp")
    source = None if protocol == "smtp" else OTHER_ADDRESS
    return Service(NAME, name, protocol, ADDRESS, port, name in ("submissions", "imaps", "pop3s"), source)


@functools.cache
def _system():
    system = yaml.safe_load((TOP / "mailserver/parameters/defaults.yaml").read_text())
    system["postfix"]["version"] = "3.7"
    return json.dumps(system)


def settings_of(pillar=(), certificate=None, key=None, given=True):
    """The settings of a host with one domain; its certificate is ``given`` in the pillar, or made by the formula."""
    system = json.loads(_system())
    tls = {"certificate": certificate, "key": key} if certificate else {}
    if not given:
        system["tls"].update(tls)
        tls = {}
    given = {"hostname": NAME, "domains": {"example.com": {}}, "tls": tls, **dict(pillar)}
    return resolve(given, system, {"ipv4": [ADDRESS]})


def host_of(settings, **parameters):
    """A host whose ``postconf`` knows these parameters, and in whose networks the peers' clients are strangers."""
    known = {"mynetworks": "10.0.0.0/8 [fd00::]/8", "smtpd_forbid_bare_newline": "normalize", **parameters}

    def command(words):
        value = known[words[-1]]
        return value if isinstance(value, CommandResult) else CommandResult(0, f"{value}\n", "")

    return CheckedHost(settings, command)


class Issued:
    """A certificate and its key; ``issuer``: another one, or ``None`` for a self-signed."""

    def __init__(self, name=NAME, issuer=None, names=(NAME,), begins=-1, ends=90):
        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + timedelta(days=begins))
            .not_valid_after(NOW + timedelta(days=ends))
            .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), False)
        self.certificate = builder.sign(issuer.key if issuer else self.key, hashes.SHA256())

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self):
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def write(folder, chain, key=None):
    """Write a chain and the key of its first certificate, and return the two paths as text."""
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(b"".join(one.pem for one in chain))
    paths[1].touch(0o600)
    paths[1].write_bytes((key or chain[0]).key_pem)
    return tuple(map(str, paths))


def context_of(certificate, key, old=False):
    """A server's TLS context; ``old``: it takes TLS 1.0 and 1.1, too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if old:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(certificate, key)
    return context


@contextlib.contextmanager
def peers_stopped():
    """Yield a function that starts peers, and stop them in the end; none may have got a message or password."""
    started = []

    def start(*arguments):
        started.append(Peer(*arguments))
        return started[-1]

    try:
        yield start
    finally:
        for peer in started:
            peer.stop()
    heard = [line.upper().removeprefix("A1 ") for peer in started for line in peer.heard]
    assert not [line for line in heard if line.startswith(("DATA", "BDAT", "AUTH", "LOGIN ", "USER", "PASS"))]
