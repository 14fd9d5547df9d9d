"""The policy of MTA-STS fetched from real web servers on loopback: right ones, wrong ones, silent and slow ones."""

import ssl
import threading
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from mailhost.records import mta_sts
from mailhost.records.mta_sts import LARGEST, PolicyError, Unfetched, fetch, is_record, record_problem, url

POLICY = "version: STSv1\r\nmode: testing\r\nmx: mx1.a.example\r\nmax_age: 86400\r\n"
PATIENT, QUICK = 30, 0.3


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A certificate for localhost and one for another name: the files, each with its key in it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    folder, now = tmp_path_factory.mktemp("tls"), datetime.now(timezone.utc)
    for host in ("localhost", "other.example"):
        key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
        made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=True)
        text = made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
        text += key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / host).write_bytes(text)
    return SimpleNamespace(right=str(folder / "localhost"), other=str(folder / "other.example"))


@contextmanager
def served(certificate, status=200, kind="text/plain", body=POLICY, location="", silent=None, drips=False):
    """Serve one answer by HTTPS at a free port; with the event ``silent``, none before it is set.

    ``drips``: until then a header comes that has no end, one byte at a time.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if silent:
                self.wfile.write(b"HTTP/1.0 200 " if drips else b"")
                while not silent.wait(QUICK / 4 if drips else PATIENT):
                    self.wfile.write(b"O")
                return
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if location:
                self.send_header("Location", location)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"https://localhost:{server.server_port}/policy"
    finally:
        if silent:
            silent.set()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def fetched(certificates, monkeypatch):
    """Fetch what a server serves, trusting the certificates of these tests."""

    def fetched(limit=PATIENT, certificate=certificates.right, **answer):
        context = ssl.create_default_context(cafile=certificate)
        with served(certificate, **answer) as url:
            monkeypatch.setattr(mta_sts, "url", lambda name: url)
            return fetch("a.example", limit, context)

    return fetched


def test_a_policy_is_fetched_from_where_senders_look():
    assert url("a.example") == "https://mta-sts.a.example/.well-known/mta-sts.txt"


def test_a_policy_is_returned_as_it_is_served(fetched):
    assert fetched() == POLICY
    assert fetched(kind="text/plain; charset=utf-8") == POLICY


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"status": 404}, "status 404"),
        ({"status": 301, "location": "https://www.a.example/"}, "status 301"),
        ({"kind": "text/html"}, "served as text/html"),
        ({"body": "x" * (LARGEST + 1)}, "larger than"),
    ],
)
def test_what_senders_would_not_take_is_no_policy(fetched, answer, why):
    with pytest.raises(PolicyError, match=why):
        fetched(**answer)


def test_a_certificate_for_another_name_is_no_policy(fetched, certificates):
    with pytest.raises(PolicyError, match=r"certificate is not valid: .*localhost"):
        fetched(certificate=certificates.other)


def test_a_certificate_that_nobody_vouches_for_is_no_policy(certificates, monkeypatch):
    with served(certificates.right) as url:
        monkeypatch.setattr(mta_sts, "url", lambda name: url)
        with pytest.raises(PolicyError, match="certificate is not valid"):
            fetch("a.example", PATIENT)


def test_a_server_that_says_nothing_leaves_it_unknown(fetched):
    with pytest.raises(Unfetched, match=f"no answer in {QUICK:g} s"):
        fetched(QUICK, silent=threading.Event())


def test_a_server_from_which_bytes_drip_is_not_waited_for_byte_by_byte(fetched):
    with pytest.raises(Unfetched, match=f"no answer in {QUICK:g} s"):
        fetched(QUICK, silent=threading.Event(), drips=True)


def test_where_nobody_listens_there_is_no_policy(certificates, monkeypatch):
    with served(certificates.right) as url:
        pass
    monkeypatch.setattr(mta_sts, "url", lambda name: url)
    with pytest.raises(PolicyError, match="refused"):
        fetch("a.example", PATIENT)


@pytest.mark.parametrize(
    ("value", "counts", "problem"),
    [
        (b"v=STSv1; id=20261124T1", True, None),
        (b"v=STSv1;id=1;", True, None),
        (b"v=STSv1; x=y", True, "id="),
        (b"v=STSv1; id=1; id=2", True, "id="),
        (b"v=STSv1; id=" + b"1" * 33, True, "id="),
        (b"v=STSv1; id=a-b", True, "id="),
        (b"v=STSv1", False, ""),
        (b"v=spf1 -all", False, ""),
        (b" v=STSv1; id=1", False, ""),
    ],
)
def test_a_record_begins_with_its_version_and_has_an_id(value, counts, problem):
    assert is_record(value) is counts
    if counts:
        found = record_problem(value)
        assert found is None if problem is None else problem in found
