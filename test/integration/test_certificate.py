"""A certificate that somebody renews is served at once; half of a new pair reloads nothing, and somebody is told."""

import pytest

from conftest import DOMAIN

OWN = ("/etc/ssl/mailserver/certificate.pem", "/etc/ssl/mailserver/key.pem")
LIVE = "/etc/letsencrypt/live/mail"
ISSUED = (f"{LIVE}/fullchain.pem", f"{LIVE}/privkey.pem")
PORTS = {"25": "-starttls smtp", "465": "", "587": "-starttls smtp", "143": "-starttls imap", "993": "", "995": ""}


@pytest.fixture(params=("self-signed", "certbot"), scope="module")
def renewal(request, lab):
    """Files of the certificate in force, and the name of the folder that a renewal's files first lie in."""
    if request.param == "self-signed":
        lab.apply("default")
        return OWN
    for host in DOMAIN:
        _issue(lab, host, "1", ISSUED)
    lab.apply("default", f"  tls: {{certificate: {ISSUED[0]}, key: {ISSUED[1]}}}\n")
    return ISSUED


def _make(lab, host, folder):
    """Make a new pair in a folder of ``host``; return the certificate's serial number."""
    lab.sh(
        host,
        f"umask 077; mkdir -p {folder} && cd {folder} && openssl req -x509 -newkey ec "
        f"-pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 90 -subj /CN={host}.lab.test "
        f"-addext subjectAltName=DNS:{host}.lab.test -keyout privkey.pem -out fullchain.pem 2>/dev/null",
    )
    return lab.sh(host, f"openssl x509 -in {folder}/fullchain.pem -noout -serial").strip()


def _issue(lab, host, number, files):
    """Renew as certbot does: new files in an archive, and then a symbolic link after the other; or in place."""
    archive = f"/etc/letsencrypt/archive/mail-{number}"
    serial = _make(lab, host, archive)
    for new, file in zip(("fullchain.pem", "privkey.pem"), files, strict=True):
        put = f"ln -sfn {archive}/{new} {file}" if files == ISSUED else f"cat {archive}/{new} >{file}"
        lab.sh(host, f'mkdir -p "$(dirname {file})" && {put}')
    return serial


def served(lab, host, port):
    """The serial number of the certificate that a port serves."""
    connect = f"openssl s_client -connect 127.0.0.1:{port} {PORTS[port]} </dev/null 2>/dev/null"
    return lab.run(host, "sh", "-c", f"{connect} | openssl x509 -noout -serial", check=False).out.strip()


def test_a_renewed_certificate_is_served_at_once(lab, renewal, host):
    serial = _issue(lab, host, "2", renewal)
    for port in PORTS:
        lab.until(lambda port=port: served(lab, host, port) == serial, f"port {port} serves the old certificate")


def test_half_of_a_new_pair_reloads_nothing_and_its_other_half_mends_it(lab, renewal, host):
    before = served(lab, host, "993")
    serial = _make(lab, host, "/root/half")
    certificate, key = renewal
    lab.sh(host, f"cat /root/half/fullchain.pem >{certificate}")
    state = "systemctl is-failed mailserver-certificate.service || true"
    lab.until(lambda: lab.sh(host, state).strip() == "failed", "nobody was told of half a pair")
    assert "nothing was reloaded" in lab.sh(host, "journalctl -u mailserver-certificate.service -o cat")
    assert served(lab, host, "993") == before
    lab.sh(host, f"cat /root/half/privkey.pem >{key}")
    for port in PORTS:
        lab.until(lambda port=port: served(lab, host, port) == serial, f"port {port} serves the old certificate")
    assert lab.sh(host, state).strip() == "inactive"


def test_the_self_signed_key_is_for_root_alone_whatever_was_there_before(lab, host):
    lab.apply("default")
    lab.sh(host, f"rm {OWN[0]}; chmod 0644 {OWN[1]}")
    lab.salt(host, "state.apply", "mailserver.tls")
    assert lab.sh(host, f"stat -c %a {OWN[1]}").strip() == "600"
    lab.forget_pillar()
