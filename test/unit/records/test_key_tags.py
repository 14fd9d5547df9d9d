"""What the gate takes for a key's record the verifier of the probe takes, too, tag by tag (RFC 6376 section 3.6.1)."""

import dkim
import pytest

from mailhost.dkim import keystore
from mailhost.receiver import dkim as receiver_dkim
from mailhost.records import key

MESSAGE = b"From: a@alpha.test\r\nSubject: x\r\n\r\nhello\r\n"


@pytest.fixture(scope="module")
def pair():
    (pem,) = keystore.generate([2048])
    return pem, keystore.public_half(pem, "the test")[0]


def judged(pair, text, identity=b"@alpha.test"):
    """Return (whether the gate takes a record, whether the verifier does); PUB, BEGIN and END stand for the key."""
    pem, public = pair
    text = text.replace("PUB", public).replace("BEGIN", public[:99]).replace("END", public[99:])
    signature = dkim.sign(MESSAGE, b"sel", b"alpha.test", pem.encode(), include_headers=[b"from"], identity=identity)
    valid, _ = receiver_dkim.verify(signature + MESSAGE, 0, lambda name: text)
    return key.check_key((text.encode("utf-8", "surrogateescape"),), public) is None, valid


@pytest.mark.parametrize(
    "text",
    [
        "v=DKIM1; k=rsa; p=PUB",
        "p=PUB",
        "v=DKIM1;p=PUB;",
        " v = DKIM1 ; p = PUB ; ",
        "v=DKIM1; p=BEGIN \r\n\tEND",
        "v=DKIM1; p=PUB\r\n",
        "v=DKIM1; h=sha1 : sha256; p=PUB",
        "v=DKIM1; h=other:sha256; p=PUB",
        "v=DKIM1; n=a note, 1=1; p=PUB",
        "v=DKIM1; n=; p=PUB",
        "v=DKIM1; s=*; p=PUB",
        "v=DKIM1; s= email ; p=PUB",
        "v=DKIM1; t=y; p=PUB",
        "v=DKIM1; t=s:y; p=PUB",
        "v=DKIM1; t=; p=PUB",
        "v=DKIM1; g=; x=unknown; X=another; p=PUB",
    ],
)
def test_a_record_that_the_gate_takes_is_one_that_the_verifier_takes(pair, text):
    assert judged(pair, text) == (True, True)


# Some of these dkimpy takes, and other verifiers do not: a gate may be narrower, never wider.
@pytest.mark.parametrize(
    "text",
    [
        "",
        ";",
        "v=DKIM1",
        "v=DKIM1; p=",
        "v=DKIM1; p=PUB;;",
        "v=DKIM1;; p=PUB",
        "p=PUB; v=DKIM1",
        "v=dkim1; p=PUB",
        "v=; p=PUB",
        "v=DKIM2; p=PUB",
        "V=DKIM1; P=PUB",
        "v=DKIM1; k=RSA; p=PUB",
        "v=DKIM1; k=; p=PUB",
        "v=DKIM1; k=ed25519; p=PUB",
        "v=DKIM1; h=; p=PUB",
        "v=DKIM1; h=sha1; p=PUB",
        "v=DKIM1; h=SHA256; p=PUB",
        "v=DKIM1; s=; p=PUB",
        "v=DKIM1; s=EMAIL; p=PUB",
        "v=DKIM1; s=tlsrpt; p=PUB",
        "v=DKIM1; s=email:tlsrpt; p=PUB",
        "v=DKIM1; s=*:tlsrpt; p=PUB",
        "v=DKIM1; p=PUB; p=PUB",
        "v=DKIM1; k=rsa; k=rsa; p=PUB",
        "v=DKIM1; n=\u00fc; p=PUB",
        "v=DKIM1; n=\x07; p=PUB",
        "v=DKIM1; 9=1; p=PUB",
        "v=DKIM1; x-y=1; p=PUB",
        "v=DKIM1; note; p=PUB",
        "v=DKIM1; p=PUB=",
        "v=DKIM1; p=PUB!",
        "v=DKIM1; p=BEGIN*END",
        "v=DKIM1; p=BEGIN\\ END",
        "v=DKIM1; p=BEGIN\u00a0END",
        "v=DKIM1; p=BEGIN\x00END",
        "v=DKIM1; p=PUB\udcff",
        '"v=DKIM1; p=PUB"',
        "v=DKIM1\\; p=PUB",
        "v=DKIM1, k=rsa, p=PUB",
        "v=DKIM1 k=rsa p=PUB",
    ],
)
def test_a_record_that_some_verifier_refuses_is_not_taken_by_the_gate(pair, text):
    assert judged(pair, text)[0] is False


def test_a_signature_of_the_domain_itself_stands_where_no_identity_below_it_is_allowed(pair):
    # t=s is about i=, which OpenDKIM does not write: without it, it is the signing domain (RFC 6376 section 3.5).
    assert judged(pair, "v=DKIM1; t=s; p=PUB", identity=None) == (True, True)


@pytest.mark.parametrize(
    ("text", "is_so"),
    [("v=DKIM1; t=y; p=A", True), ("t=s : y; p=A", True), ("t=s; p=A", False), ("p=A", False), ("p", False)],
)
def test_the_flag_of_a_test_is_seen(text, is_so):
    assert key.is_testing(text.encode()) is is_so
