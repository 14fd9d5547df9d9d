"""Where the host's certificate comes from: one source, and whole, or one message; and what certbot is told."""

import pytest
from mail_peers import NAME, Issued

from mailhost.errors import AcmeError, PillarError, PublishError
from mailhost.pillar.settings import resolve
from mailhost.tls import acme as tls_acme

DOMAINS = {"domains": {"a.example": {}}, "hostname": NAME}
ACME = {"challenge": "http-01", "server": "https://acme.example/directory"}
KEY = 'key "mx1" { algorithm hmac-sha256; secret "c2VjcmV0"; };'


def settings(pillar):
    system = {"postfix": {"version": "3.7"}, "tls": {"folder": "/etc/ssl/mailserver"}}
    return resolve(pillar, system, {"ipv4": ["192.0.2.25"]})


def of(tls, **more):
    return settings({**DOMAINS, **more, "tls": tls})


def problems_of(pillar):
    with pytest.raises(PillarError) as caught:
        settings(pillar)
    return caught.value.problems


def text_of(issued):
    return {"certificate_text": issued.pem.decode(), "key_text": issued.key_pem.decode()}


SOURCES = [
    ({}, "self-signed", None),
    ({"certificate": "/c.pem", "key": "/k.pem"}, "files", "/c.pem"),
    ({"ca": {"server": "ca", "signing_policy": "mail"}}, "ca", "/etc/ssl/mailserver/ca/certificate.pem"),
    ({"acme": ACME}, "acme", "/etc/ssl/mailserver/acme/certificate.pem"),
]


@pytest.mark.parametrize(("tls", "source", "certificate"), SOURCES, ids=[row[1] for row in SOURCES])
def test_each_source_has_files_of_its_own(tls, source, certificate):
    found = of(tls)["tls"]
    assert (found["source"], found["certificate"]) == (source, certificate)


def test_text_is_judged_and_is_then_in_no_settings():
    issued = Issued()
    found = of(text_of(issued))
    assert found["tls"]["key"] == "/etc/ssl/mailserver/text/key.pem"
    assert issued.key_pem.decode().splitlines()[1] not in str(found)


def test_port_80_is_opened_for_http_01_alone():
    assert "http" in of({"acme": ACME})["firewalld"]["services"]
    dns = {"rfc2136": {"server": "ns1.example.com"}}
    assert "http" not in of({"acme": {"challenge": "dns-01"}}, dns=dns)["firewalld"]["services"]
    assert "http" not in of({})["firewalld"]["services"]


WRONG = [
    (
        {"certificate": "/c.pem", "key": "/k.pem", "acme": ACME},
        "mailserver:tls:certificate, mailserver:tls:acme:challenge: these are 2 sources of one certificate; keep one",
    ),
    (
        {"ca": {"server": "ca", "signing_policy": "mail"}, "acme": ACME},
        "mailserver:tls:ca:server, mailserver:tls:acme:challenge: these are 2 sources",
    ),
    ({"ca": {"server": "ca"}}, "mailserver:tls:ca:signing_policy: not given, but mailserver:tls:ca:server is"),
    (
        {"ca": {"signing_policy": "mail"}},
        "mailserver:tls:ca:server: not given, but mailserver:tls:ca:signing_policy is",
    ),
    ({"acme": {"email": "a@a.example"}}, "mailserver:tls:acme:challenge: not given, but mailserver:tls:acme:email is"),
    ({"acme": {"challenge": "http-1"}}, "did you mean 'http-01'?"),
    ({"acme": {**ACME, "server": "http://acme.example"}}, "is not a URL (https://…)"),
    ({"acme": {"challenge": "dns-01"}}, "mailserver:dns:rfc2136:server: not given, but mailserver:tls:acme:challenge"),
    (
        {"acme": {"challenge": "dns-01", "webroot": "/var/www/html"}},
        "mailserver:tls:acme:webroot: given, but mailserver:tls:acme:challenge is not http-01",
    ),
    ({"certificate_text": Issued().pem.decode()}, "mailserver:tls:key_text: not given, but mailserver:tls:certif"),
    ({"names": []}, "mailserver:tls:names: the list has 0 entries"),
]


@pytest.mark.parametrize(("tls", "words"), WRONG, ids=[row[1][:60] for row in WRONG])
def test_what_is_given_by_half_or_twice_is_said(tls, words):
    assert any(words in one for one in problems_of({**DOMAINS, "tls": tls}))


def test_http_01_beside_nginx_needs_the_folder_of_its_site():
    found = problems_of({**DOMAINS, "tls": {"acme": ACME}, "mta_sts": {"serve": "nginx"}})
    assert [one for one in found if "mailserver:tls:acme:webroot: not given, but nginx serves" in one]


BROKEN_TEXTS = [
    ({"key_text": Issued().key_pem.decode()}, "this is not the key of the first certificate"),
    ({"key_text": "secret"}, "mailserver:tls:key_text: the value is not PEM text of a private key"),
    (
        {"key_text": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"},
        "mailserver:tls:key_text: it is no key",
    ),
    (
        {"certificate_text": "-----BEGIN CERTIFICATE-----\nc2VjcmV0\n-----END CERTIFICATE-----\n"},
        "mailserver:tls:certificate_text: what calls itself a certificate in it is none",
    ),
]


@pytest.mark.parametrize(("broken", "words"), BROKEN_TEXTS, ids=[row[1] for row in BROKEN_TEXTS])
def test_text_that_is_no_pair_stops_the_run_and_is_not_repeated(broken, words):
    given = {**text_of(Issued()), **broken}
    found = problems_of({**DOMAINS, "tls": given})
    assert any(words in one for one in found)
    assert not any(line in str(found) for line in given["key_text"].splitlines()[1:-1])
    assert "secret" not in str(found)


@pytest.fixture
def lineage(tmp_path):
    """certbot's folder with a certificate for NAME that was issued as ``ACME`` says."""
    live, renewal = tmp_path / "live/mailserver", tmp_path / "renewal"
    live.mkdir(parents=True)
    renewal.mkdir()
    (live / "fullchain.pem").write_bytes(Issued().pem)
    (renewal / "mailserver.conf").write_text(f"[params]\nauthenticator = standalone\nserver = {ACME['server']}\n")
    return tmp_path


def acme_of(**more):
    return of({"acme": {**ACME, **more}})["tls"]["acme"]


LACKING = [
    ({}, {}, None),
    ({"names": [NAME, "mail.a.example"]}, {}, f"is for {NAME}"),
    ({"reuse_key": True}, {}, "reuse_key = False, and True is wanted"),
    ({}, {"server": "https://other.example/directory"}, "and https://other.example/directory is wanted"),
    ({}, {"webroot": "/var/www/html"}, "authenticator = standalone, and webroot is wanted"),
]


@pytest.mark.parametrize(("more", "acme", "reason"), LACKING)
def test_certbot_is_asked_only_for_what_it_has_not(lineage, more, acme, reason):
    asked = {"names": [NAME], "reuse_key": False, **more}
    found = tls_acme.lacking("mailserver", acme=acme_of(**acme), folder=lineage, **asked)
    assert found is None if reason is None else reason in found


def test_a_certificate_that_is_not_there_is_lacking(tmp_path):
    assert "is not there" in tls_acme.lacking("mailserver", [NAME], acme_of(), tmp_path, False)


def test_certbot_is_told_all_and_asks_nothing():
    words = tls_acme.command("mailserver", [NAME], acme_of(email="a@a.example"), "/credentials", True)
    line = " ".join(words)
    for part in ("--non-interactive", "--server https://acme.example/directory", "--email a@a.example",
                 "--authenticator standalone", "--reuse-key", f"-d {NAME}"):  # fmt: skip
        assert part in line
    dns = tls_acme.command("mailserver", [NAME], {**acme_of(), "challenge": "dns-01"}, "/credentials", False)
    assert "--authenticator dns-rfc2136 --dns-rfc2136-credentials /credentials" in " ".join(dns)
    assert "--register-unsafely-without-email" in dns
    assert "--reuse-key" not in dns


def test_what_certbot_says_of_a_failure_is_passed_on():
    said = "echo 'Saving debug log to /x' >&2; echo 'too many certificates already issued' >&2; exit 1"
    with pytest.raises(AcmeError, match=r"^too many certificates already issued$"):
        tls_acme.issue(["sh", "-c", said], None)
    with pytest.raises(AcmeError, match="certbot is not installed"):
        tls_acme.issue(["certbot-that-is-not-there"], None)
    tls_acme.issue(["sh", "-c", 'test "$REQUESTS_CA_BUNDLE" = /root.pem'], "/root.pem")


def test_the_plugin_gets_the_key_that_records_are_published_with(tmp_path):
    key = tmp_path / "rfc2136.key"
    key.write_text(KEY)
    key.chmod(0o600)
    rfc2136 = {"server": "127.0.0.1", "port": 53, "key_file": str(key), "timeout": 1}
    text = tls_acme.credentials(rfc2136)
    path = tmp_path / "folder/acme.ini"
    tls_acme.put_private(path, text)
    assert path.stat().st_mode & 0o777 == 0o600
    assert tls_acme.is_private(path, text)
    assert path.read_text().splitlines()[1:] == [
        "dns_rfc2136_server = 127.0.0.1",
        "dns_rfc2136_port = 53",
        "dns_rfc2136_name = mx1.",
        "dns_rfc2136_secret = c2VjcmV0",
        "dns_rfc2136_algorithm = HMAC-SHA256",
    ]
    path.chmod(0o640)
    assert not tls_acme.is_private(path, text)
    key.chmod(0o644)
    with pytest.raises(PublishError, match="others may use the TSIG key file"):
        tls_acme.credentials(rfc2136)
