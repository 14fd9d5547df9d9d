"""The certificate from each of its sources, and the TLS of the ports as testssl.sh and sslscan judge it from afar."""

import json
from concurrent.futures import ThreadPoolExecutor
from xml.etree import ElementTree

import pytest

from conftest import LAB_HOSTS, MAIL_HOSTS, pillar

ON = "both"
STARTTLS = {"25": "smtp", "587": "smtp", "143": "imap", "110": "pop3"}
IMPLICIT = ("465", "993", "995")
PORTS = (*STARTTLS, *IMPLICIT)
CIPHERS = {
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_AES_128_GCM_SHA256",
    "TLS_AES_256_GCM_SHA384",
    "TLS_CHACHA20_POLY1305_SHA256",
}
"""Those of Mozilla's intermediate profile that a certificate with an ECDSA key can use."""

PEBBLE = {
    "pebble": {
        "listenAddress": "198.18.0.31:14000",
        "managementListenAddress": "127.0.0.1:15000",
        "certificate": "/srv/pebble/cert.pem",
        "privateKey": "/srv/pebble/key.pem",
        "httpPort": 80,
        "tlsPort": 443,
        "certificateValidityPeriod": 7776000,
        "ocspResponderURL": "http://ocsp.lab.test",
    }
}
ACME_ROOT = "/etc/ssl/acme-root.pem"
"""Of the authority's own HTTPS; it is not the root of what it issues."""
TRUSTED = "/srv/trusted.pem"
SERVER = "https://client.lab.test:14000/dir"
ACME = {
    "mx1": f"  tls: {{acme: {{challenge: http-01, server: '{SERVER}', ca_file: {ACME_ROOT}}}}}\n",
    "mx2": f"""  dns: {{rfc2136: {{server: ns1.lab.test}}}}
  tls: {{acme: {{challenge: dns-01, server: '{SERVER}', ca_file: {ACME_ROOT}, propagation: 3}}}}
""",
}
SURVEYED = "  limits: {exempt: [198.18.0.31]}\n"
"""testssl.sh and sslscan connect more often in a minute than a client may."""
STATE = "mailserver_|-mailserver-tls-acme-issued_|-mailserver_|-acme_issued"


def served(lab, host, port):
    """The certificate that a port serves, as PEM."""
    starttls = f"-starttls {STARTTLS[port]}" if port in STARTTLS else ""
    connect = f"openssl s_client -connect {host}.lab.test:{port} {starttls} </dev/null 2>/dev/null"
    return lab.sh("client", f"{connect} | openssl x509 2>/dev/null || true").strip()


def about(lab, pem, *options):
    return lab.run("client", "openssl", "x509", "-noout", *options, stdin=pem).out.strip()


def all_serve(lab, host, wanted, otherwise):
    for port in PORTS:
        lab.until(lambda port=port: wanted(served(lab, host, port)), f"{host} port {port}: {otherwise}")


def highstate(lab, texts):
    lab.forget_pillar()
    for host in MAIL_HOSTS:
        lab.set_pillar(texts[host], hosts=(host,))
    done = lab.highstate()
    for result in done.values():
        result.must_succeed()
    return done


@pytest.fixture(scope="module")
def awaited(lab):
    """What highstates return while the authority does not answer."""
    lab.sh(
        "client",
        "umask 077; mkdir -p /srv/pebble && cd /srv/pebble && openssl req -x509 -newkey ec "
        "-pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN=client.lab.test "
        "-addext subjectAltName=DNS:client.lab.test -keyout key.pem -out cert.pem 2>/dev/null",
    )
    lab.write("client", "/srv/pebble/config.json", json.dumps(PEBBLE))
    root = lab.sh("client", "cat /srv/pebble/cert.pem")
    for host in MAIL_HOSTS:
        lab.write(host, ACME_ROOT, root)
    key = lab.sh("ns1", "cat /etc/bind/lab.key")
    lab.write("mx2", "/etc/mailserver/rfc2136.key", key)
    lab.sh("mx2", "chmod 0600 /etc/mailserver/rfc2136.key")
    return highstate(lab, {host: pillar("default", ACME[host] + SURVEYED) for host in MAIL_HOSTS})


@pytest.fixture(scope="module")
def issued(lab, awaited):
    """An authority that answers, and what highstates return then.

    It asks the name server itself: the resolver would go on with the challenge before for its 120 s.
    """
    lab.sh(
        "client",
        "systemd-run --quiet --unit=pebble --setenv=PEBBLE_VA_NOSLEEP=1 "
        "pebble -config /srv/pebble/config.json -dnsserver 198.18.0.11:53",
    )
    ask = "import ssl, sys, urllib.request as r; c = ssl._create_unverified_context(); "
    ask += "sys.stdout.write(r.urlopen('https://127.0.0.1:15000/roots/0', context=c).read().decode())"
    root = lab.until(lambda: lab.run("client", "python3", "-c", ask, check=False).out, "pebble does not answer")
    lab.write("client", TRUSTED, root)
    done = lab.highstate()
    for result in done.values():
        result.must_succeed()
    return done


def test_without_an_answer_from_the_authority_the_host_comes_up_and_says_what_is_awaited(lab, awaited, host):
    state = awaited[host].states[STATE]
    assert state["result"] is True
    assert f"The certificate for {host}.lab.test is awaited" in state["comment"]
    assert state["warnings"] == [state["comment"]]


def test_each_challenge_gets_a_certificate_that_all_ports_serve(lab, issued, host):
    assert "issued by" in str(issued[host].states[STATE]["changes"])
    all_serve(lab, host, lambda pem: pem and "Pebble" in about(lab, pem, "-issuer"), "not the authority's")
    assert f"DNS:{host}.lab.test" in about(lab, served(lab, host, "465"), "-ext", "subjectAltName")
    assert lab.sh(host, "stat -c '%a %U' /etc/ssl/mailserver/acme/key.pem").strip() == "600 root"


def test_the_credential_of_dns_01_is_for_root_alone_and_in_no_return(lab, issued):
    secret = lab.sh("ns1", "cat /etc/bind/lab.key").split('"')[3]
    path = "/etc/mailserver/acme-rfc2136.ini"
    assert secret in lab.sh("mx2", f"cat {path}")
    assert lab.sh("mx2", f"stat -c '%a %U' {path}").strip() == "600 root"
    assert secret not in json.dumps(issued["mx2"].returned)


def run_testssl(lab, host, port):
    """What testssl.sh finds, by its ids: all but the simulation of clients, which are browsers."""
    starttls = f"--starttls {STARTTLS[port]}" if port in STARTTLS else ""
    file = f"/root/testssl-{host}-{port}.json"
    lab.sh(
        "client",
        f"rm -f {file}; testssl --quiet --color 0 --warnings batch --nodns min --ip one --add-ca {TRUSTED} "
        f"-p -s -f -P -S -h -U --jsonfile {file} {starttls} {host}.lab.test:{port} >{file}.log 2>&1 || true",
    )
    return {one["id"]: one for one in json.loads(lab.sh("client", f"cat {file}"))}


def run_sslscan(lab, host, port):
    starttls = f"--starttls-{STARTTLS[port]}" if port in STARTTLS else ""
    text = lab.sh("client", f"sslscan --no-colour --xml=- {starttls} {host}.lab.test:{port}")
    return ElementTree.fromstring(text).find("ssltest")


@pytest.fixture(scope="module")
def judged(request, lab, issued):
    """Of each host and port that is asked for, what both programs found; two at a time, to each a processor."""
    here = [item for item in request.session.items if item.path == request.path]
    asking = [item.callspec.params for item in here if "judged" in item.fixturenames]
    places = sorted({(one["host"], one["port"]) for one in asking})
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda place: (run_testssl(lab, *place), run_sslscan(lab, *place)), places))
    return dict(zip(places, found, strict=True))


PLACES_BY_TURNS = pytest.mark.rotating(of=7, by=("host", "port"))
NO_FINDINGS = {
    "engine_problem": "client's own OpenSSL has no GOST",
    "sessionresumption_ticket": "client's own s_client did not get through in this one check",
}
"""What testssl.sh warns of about itself, on this client, and each with why."""
OPENSSL_1 = {"secure_client_renego": "OpenSSL 1.1.1 lets clients renegotiate, and Dovecot has no setting against it"}
"""On Debian 11, at Dovecot's ports (docs/tls.md)."""
STARTTLS_ALONE = {"overall_grade": "T is the grade of all that begins in the clear, whatever comes then"}


@PLACES_BY_TURNS
@pytest.mark.parametrize("port", PORTS)
def test_testssl_finds_nothing_above_low(judged, host, port):
    has_openssl_1 = LAB_HOSTS[host].release == "bullseye" and port not in ("25", "465", "587")
    expected = {**NO_FINDINGS, **(STARTTLS_ALONE if port in STARTTLS else {}), **(OPENSSL_1 if has_openssl_1 else {})}
    found, _ = judged[host, port]
    bad = {id: one for id, one in found.items() if one["severity"] not in ("OK", "INFO", "LOW")}
    assert {id: one for id, one in bad.items() if id not in expected} == {}


@PLACES_BY_TURNS
@pytest.mark.parametrize("port", IMPLICIT)
def test_testssl_gives_grade_a(judged, host, port):
    found, _ = judged[host, port]
    assert found["overall_grade"]["finding"] in ("A", "A+")


@PLACES_BY_TURNS
@pytest.mark.parametrize("port", PORTS)
def test_sslscan_sees_the_intermediate_profile_and_no_more(judged, host, port):
    _, found = judged[host, port]
    assert {one.get("version") for one in found.iter("protocol") if one.get("enabled") == "1"} == {"1.2", "1.3"}
    assert {one.get("cipher") for one in found.iter("cipher")} == CIPHERS
    assert found.find("renegotiation").get("secure") == "1" or found.find("renegotiation").get("supported") == "0"
    assert found.find("compression").get("supported") == "0"
    assert not [one for one in found.iter("heartbleed") if one.get("vulnerable") == "1"]


def test_a_renewal_by_certbot_itself_is_what_the_ports_serve(lab, issued, host):
    before = served(lab, host, "993")
    lab.sh(
        host,
        f"REQUESTS_CA_BUNDLE={ACME_ROOT} certbot renew --quiet --force-renewal --no-random-sleep-on-renew",
    )
    all_serve(lab, host, lambda pem: pem and pem != before, "serves the certificate before")
    assert len({served(lab, host, port) for port in PORTS}) == 1
    assert "active" in lab.sh(host, "systemctl is-active certbot.timer")


AUTHORITY = "  tls: {ca: {server: master, signing_policy: mail%s}}\n"


@pytest.fixture(scope="module")
def signed(lab, issued):
    """What highstates return with the master's minion as the authority."""
    lab.sh(
        "master",
        "umask 077; mkdir -p /etc/pki && cd /etc/pki && openssl req -x509 -newkey ec "
        "-pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 900 -subj '/CN=Lab authority' "
        "-addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.crt 2>/dev/null",
    )
    policy = {
        "signing_private_key": "/etc/pki/ca.key",
        "signing_cert": "/etc/pki/ca.crt",
        "days_valid": 90,
        "basicConstraints": "critical, CA:false",
        "keyUsage": "critical, digitalSignature",
        "extendedKeyUsage": "serverAuth",
    }
    lab.set_pillar(json.dumps({"x509_signing_policies": {"mail": policy}}), hosts=("master",))
    lab.salt("master", "saltutil.refresh_pillar", "wait=True")
    return highstate(lab, dict.fromkeys(MAIL_HOSTS, pillar("default", AUTHORITY % "")))


def test_salts_own_authority_signs_a_key_that_stays_on_the_host(lab, signed, host):
    all_serve(lab, host, lambda pem: pem and "Lab authority" in about(lab, pem, "-issuer"), "not the authority's")
    again = lab.salt(host, "state.apply", "mailserver.tls")[host]
    assert {id: state["changes"] for id, state in again.items() if state["changes"]} == {}
    assert lab.sh(host, "stat -c '%a %U' /etc/ssl/mailserver/ca/key.pem").strip() == "600 root"
    assert "PRIVATE KEY" not in json.dumps(signed[host].returned)


def test_a_highstate_renews_what_is_valid_for_too_few_days(lab, signed, host):
    before, key = served(lab, host, "465"), lab.sh(host, "sha256sum /etc/ssl/mailserver/ca/key.pem")
    lab.forget_pillar()
    lab.set_pillar(pillar("default", AUTHORITY % ", days_remaining: 91"), hosts=(host,))
    lab.salt(host, "saltutil.refresh_pillar", "wait=True")
    lab.salt(host, "state.apply", "mailserver.tls")
    all_serve(lab, host, lambda pem: pem and pem != before, "serves the certificate before")
    assert lab.sh(host, "sha256sum /etc/ssl/mailserver/ca/key.pem") == key


def _pair(lab, host):
    text = lab.sh(
        "client",
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN={host}.lab.test "
        f"-addext subjectAltName=DNS:{host}.lab.test -keyout /dev/stdout 2>/dev/null",
    )
    key, end, certificate = text.partition("-----END PRIVATE KEY-----\n")
    return key + end, certificate


def test_text_in_the_pillar_is_served_and_its_key_is_in_no_return(lab, signed):
    pairs = {host: _pair(lab, host) for host in MAIL_HOSTS}
    texts = {
        host: pillar("default", f"  tls: {json.dumps({'key_text': key, 'certificate_text': certificate})}\n")
        for host, (key, certificate) in pairs.items()
    }
    done = highstate(lab, texts)
    for host, (key, certificate) in pairs.items():
        all_serve(lab, host, lambda pem, wanted=certificate: pem == wanted.strip(), "not the pillar's")
        assert lab.sh(host, "cat /etc/ssl/mailserver/text/key.pem").strip() == key.strip()
        assert lab.sh(host, "stat -c '%a %U' /etc/ssl/mailserver/text/key.pem").strip() == "600 root"
        shown = json.dumps([done[host].returned, lab.salt(host, "mailserver.settings")[host]])
        assert all(line not in shown for line in key.splitlines()[1:-1])
    lab.forget_pillar()
