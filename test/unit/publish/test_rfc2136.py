"""Publishing: the credential, kept secret, and whose record a change may take the place of."""

import base64
import socket

import pytest

from mailhost.dns.lookup import Options
from mailhost.errors import PublishError
from mailhost.publish.change import Change
from mailhost.publish.credential import Credential, read_credential
from mailhost.publish.rfc2136 import publish
from mailhost.publish.server import Present

SECRET = base64.b64encode(b"thirty-two bytes that are secret").decode()
GOOD = f'key "mx1.example.com" {{\n\talgorithm hmac-sha256;\n\tsecret "{SECRET}";\n}};\n'
NAME, ZONE = "20261124-mx1._domainkey.example.com", "example.com"


def settings(path):
    return {"server": "192.0.2.53", "port": 53, "key_file": str(path), "timeout": 10}


@pytest.fixture
def key_file(tmp_path):
    def write(text, mode=0o600):
        path = tmp_path / "rfc2136.key"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        path.chmod(mode)
        return path

    return write


READ = [
    GOOD,
    f"// made by tsig-keygen\nkey mx1.example.com. {{ secret {SECRET}; algorithm HMAC-SHA256; }};  # ours",
    f'/* a\nb */ key "MX1.example.com" {{ algorithm "hmac-sha256"; secret "{SECRET}"; }}',
]


@pytest.mark.parametrize("text", READ)
def test_a_key_is_read_as_bind_reads_it(key_file, text):
    wanted = Credential("192.0.2.53", 53, "mx1.example.com", "hmac-sha256", SECRET, 10)
    assert read_credential(settings(key_file(text))) == wanted


BAD = [
    ("", "holds no key; one is wanted"),
    ("key", "holds no key"),
    (f"Private-key-format: v1.3\nKey: {SECRET}\n", "holds no key"),
    (GOOD + GOOD.replace("mx1", "mx2"), "holds 2 keys; one is wanted"),
    (GOOD.replace("secret", "secert"), "needs an algorithm and a secret"),
    (GOOD.replace('";', '"'), "needs an algorithm and a secret"),
    (GOOD.replace("}", ""), "holds no key"),
    (f'key "mx1" {{ secret "{SECRET}"; }};', "needs an algorithm and a secret"),
    (GOOD.replace("hmac-sha256", "hmac-md5"), "is none of hmac-sha1, hmac-sha224, hmac-sha256"),
    (f'key "mx1" {{ algorithm "{SECRET}"; secret "hmac-sha256"; }};', "algorithm is none of"),
    (f'key "{SECRET}" {{ algorithm hmac-sha256; secret "mx1"; }};', "is no domain name"),
    (GOOD.replace(SECRET, f"{SECRET}!"), "secret is not base64"),
    (GOOD.replace(SECRET, ""), "secret is not base64"),
    (GOOD.encode() + b"\xff", "is not text"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_bad_key_file_is_named_and_its_secret_never_repeated(key_file, text, message):
    path = key_file(text)
    with pytest.raises(PublishError) as caught:
        read_credential(settings(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert SECRET not in str(caught.getrepr())


@pytest.mark.parametrize("mode", [0o604, 0o606, 0o644, 0o602])
def test_a_key_file_that_others_may_use_is_refused(key_file, mode):
    path = key_file(GOOD, mode)
    with pytest.raises(PublishError, match=rf"others may use .* \(mode {mode:04o}\); `chmod 0600 "):
        read_credential(settings(path))


def test_a_missing_key_file_is_an_error_with_the_way_to_make_one(tmp_path):
    with pytest.raises(PublishError, match=r"no such TSIG key file .*tsig-keygen"):
        read_credential(settings(tmp_path / "none"))
    with pytest.raises(PublishError, match="cannot be read: Is a directory"):
        read_credential(settings(tmp_path))


def test_the_secret_is_not_shown_with_the_credential(key_file):
    credential = read_credential(settings(key_file(GOOD)))
    assert SECRET not in f"{credential!r}{credential}"


@pytest.fixture
def nobody():
    """A credential for an address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield Credential("127.0.0.1", taken.getsockname()[1], "mx1", "hmac-sha256", SECRET, 5)


def key_text(key, head="v=DKIM1; k=rsa; "):
    return f"{head}p={base64.b64encode(key).decode()}"


OURS, OLD, OTHER = (key_text(name * 40) for name in (b"ours", b"old.", b"else"))
REVOKED = "v=DKIM1; k=rsa; p="
SEND = "no connection to 127.0.0.1: connection refused"
ELSE = "it holds somebody else's record"

WHOSE = [
    ((), OURS, (), SEND),
    ((), None, (), None),
    ((OURS,), OURS, (), None),
    ((OURS.replace("; ", ";"),), OURS, (), None),
    ((OURS.replace("p=", "t=y; p= ")[:-8] + " " + OURS[-8:],), OURS, (), None),
    ((OURS.replace("k=rsa", "k=ed25519"),), OURS, (), ELSE),
    ((OURS.replace("k=rsa", "h=sha1"),), OURS, (), SEND),
    ((OURS, OURS.replace("; ", ";")), OURS, (), SEND),
    ((OURS, OTHER), OURS, (), ELSE),
    ((OLD,), OURS, (OLD,), SEND),
    ((OLD,), OURS, (), ELSE),
    ((OLD.replace("; ", ";"),), REVOKED, (OLD,), SEND),
    (("v=DKIM1; p=",), REVOKED, (OLD,), None),
    ((REVOKED,), OURS, (), ELSE),
    ((REVOKED,), None, (REVOKED,), SEND),
    ((OTHER,), None, (OURS, REVOKED), ELSE),
    (("verification=1",), OURS, (OLD,), ELSE),
    (("some text",), "some text", (), None),
    (("Some text",), "some text", (), ELSE),
    (("p=%%%",), "p=%%%", (), None),
    (("\udcff",), OURS, (), ELSE),
]


@pytest.mark.parametrize(("present", "wanted", "expected", "said"), WHOSE)
def test_only_what_is_known_to_be_ours_is_replaced(nobody, present, wanted, expected, said):
    values = tuple(value.encode("utf-8", "surrogateescape") for value in present)
    change = Change(NAME, ZONE, 60, wanted, expected)
    (sent,) = publish([change], nobody, Options(), read=lambda server, changes: {change: Present(values)})
    if said is None:
        assert (sent.result, sent.detail) == ("already", "")
    else:
        assert sent.result == "refused"
        endpoint = f"127.0.0.1 port {nobody.port} did not change {NAME} TXT in the zone {ZONE}: "
        assert sent.detail.startswith(endpoint + said)


NO_NAMES = [
    (f"x._domainkey.{ZONE}", "example.org", "the name does not lie in this zone"),
    (f"{'x' * 64}.{ZONE}", ZONE, "it is no domain name"),
    (f"x..{ZONE}", ZONE, "it is no domain name"),
    (f"{'x.' * 130}{ZONE}", ZONE, "it is no domain name"),
    (NAME, ZONE, SEND),
]


@pytest.mark.parametrize(("name", "zone", "said"), NO_NAMES)
def test_what_cannot_be_sent_is_told_and_never_raises(nobody, name, zone, said):
    (sent,) = publish([Change(name, zone, 60, OURS)], nobody, Options())
    assert sent.result == "refused"
    assert said in sent.detail


def test_a_server_without_an_address_is_told():
    credential = Credential("ns1.nowhere.invalid", 53, "mx1", "hmac-sha256", SECRET, 5)
    (sent,) = publish([Change(NAME, ZONE, 60, OURS)], credential, Options())
    assert "the name of the server has no address" in sent.detail


def test_two_records_wanted_at_one_name_are_a_contradiction(nobody):
    changes = [Change(NAME, ZONE, 60, OURS), Change(NAME.upper(), ZONE, 60, OLD), Change(NAME, ZONE, 60, OURS)]
    sent = publish(changes, nobody, Options())
    assert [one.change for one in sent] == changes
    assert [("two different records" in one.detail) for one in sent] == [False, True, False]


def test_a_run_whose_time_is_over_sends_nothing_more(nobody):
    (sent,) = publish([Change(NAME, ZONE, 60, OURS)], nobody, Options(lifetime=-1))
    assert sent.result == "refused"
    assert "the time of this run was over" in sent.detail


def test_nothing_to_change_asks_nobody(nobody):
    assert publish([], nobody, Options()) == []
