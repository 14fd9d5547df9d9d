"""Faults that show at a mail host's ports: what it says to anyone, and its TLS."""

import json
import shlex
from functools import partial
from pathlib import Path

from check_faults import FAIL, MODULES, POSTFIX, PYTHON, RESTART, TLS, UNKNOWN, WARN, Fault

RELOAD = "postfix reload; doveadm reload"
protocol = partial(Fault, area="protocol", keeps=POSTFIX, then=RESTART)
FRESH = "systemctl reset-failed dovecot; systemctl restart dovecot"
"""Mends Dovecot for certain: a reload may come to read its files only when the next fault has changed them."""
tls = partial(Fault, area="tls", keeps=TLS, then=RELOAD, mends=FRESH)


def certificate(names="$host.lab.test", since=-1, until=90, signed_by="itself"):
    """Return a script that puts another pair of certificate and key into the files; moments are in days from now."""
    return f"{PYTHON} - {names} {since} {until} {signed_by} <<'program'\n{_CERTIFICATE}\nprogram"


_CERTIFICATE = r"""
import datetime, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
name, since, until, signed_by = sys.argv[1:]
now, day = datetime.datetime.now(datetime.timezone.utc), datetime.timedelta(1)
own, authority = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
called = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, one)]) for one in (name, signed_by)]
made = (x509.CertificateBuilder().subject_name(called[0]).issuer_name(called[signed_by != "itself"])
        .public_key(own.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now + int(since) * day).not_valid_after(now + int(until) * day)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
        .sign(own if signed_by == "itself" else authority, hashes.SHA256()))
pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
with open("/etc/ssl/mailserver/certificate.pem", "wb") as file:
    file.write(made.public_bytes(pem))
with open("/etc/ssl/mailserver/key.pem", "wb") as file:
    file.write(own.private_bytes(pem, form, serialization.NoEncryption()))
"""


def taken(name, port, leaves, restart, **changes):
    """Return the parts of a fault by which another server has a port of one of the host's daemons.

    :param leaves: has the daemon leave the port, once it is restarted by ``restart``; ``changes`` are what the other
        server answers otherwise than a healthy one (:data:`mail_peers.ANSWERS`; ``_`` stands for a space).
    """
    answers = json.dumps({key.replace("_", " "): text for key, text in changes.items()})
    program = f"{PYTHON} {_FOLDER}/stand_in.py {name} {port} $host.lab.test {shlex.quote(answers)}"
    files = [f"cat >{_FOLDER}/{path.name} <<'program'\n{path.read_text()}\nprogram" for path in _STAND_IN]
    start = f"systemd-run -q --collect --unit=stand-in -E PYTHONPATH={MODULES} {program}"
    return {
        "breaks": "\n".join([leaves, restart, f"mkdir -p {_FOLDER}", *files, start]),
        "then": "",
        "mends": f"systemctl stop stand-in; {restart}",
    }


_FOLDER = "/run/test/stand-in"
_STAND_IN = [Path(__file__).parent / name for name in ("stand_in.py", "unit/mail_peers.py")]


def no_port(protocol):
    """Return a script that has Dovecot leave the port without TLS of a protocol."""
    block = f"service {protocol}-login {{\n  inet_listener {protocol} {{\n    port = 0\n  }}\n}}"
    return f"printf '{block}\n' >>/etc/dovecot/dovecot.conf"


def dovecot_gone(protocol, port, **changes):
    """Return the parts of a fault by which another server has one of Dovecot's ports."""
    return {"keeps": "/etc/dovecot", **taken(protocol, port, no_port(protocol), FRESH, **changes)}


WIRE_FAULTS = [
    # ---- protocol
    protocol(
        "logins before TLS at submission",
        "postconf -P submission/inet/smtpd_tls_security_level=may submission/inet/smtpd_tls_auth_only=no",
        {"smtp.auth_before_tls": {FAIL}},
        besides={"config.postfix.option": {WARN}},
    ),
    protocol(
        "no TLS at port 25",
        "postconf -e smtpd_tls_security_level=none",
        {"smtp.starttls": {FAIL}},
        besides={"config.postfix.main": {WARN}, "tls.protocol.modern": {FAIL}},
    ),
    protocol(
        "no logins at submission",
        "postconf -P submission/inet/smtpd_sasl_auth_enable=no",
        {"smtp.auth_after_tls": {FAIL}},
        besides={"config.postfix.option": {WARN}},
    ),
    protocol(
        "mail without a login at submission",
        "for what in relay recipient sender; do "
        "postconf -P submission/inet/smtpd_${what}_restrictions=check_client_access,static:OK,reject; done",
        {"smtp.login_required": {FAIL}},
        besides={"config.postfix.option": {WARN}},
    ),
    protocol(
        "a banner with a version",
        "postconf -e 'smtpd_banner=$myhostname ESMTP $mail_name $mail_version'",
        {"smtp.banner": {WARN}},
        besides={"config.postfix.main": {WARN}},
    ),
    protocol(
        "another name",
        "postconf -e myhostname=other.test",
        {"smtp.banner": {WARN}, "smtp.ehlo_name": {WARN}, "smtp.open_relay": {UNKNOWN}},
        besides={"config.postfix.main": {WARN}},
    ),
    protocol(
        "VRFY", "postconf -e disable_vrfy_command=no", {"smtp.vrfy": {WARN}}, besides={"config.postfix.main": {WARN}}
    ),
    protocol(
        "an open relay",
        "postconf -e relay_domains=static:all",
        {"smtp.open_relay": {FAIL}},
        besides={"config.postfix.main": {WARN}},
    ),
    protocol(
        "restrictions with which Postfix serves nobody",
        "postconf -e smtpd_relay_restrictions=permit smtpd_recipient_restrictions=permit",
        {"smtp.banner": {UNKNOWN}},
        besides={"config.postfix.main": {WARN}, "tls.protocol.modern": {UNKNOWN}},
    ),
    protocol(
        "a host that trusts itself",
        "postconf -e mynetworks=198.18.0.0/24",
        {"smtp.open_relay": {UNKNOWN}},
        besides={"config.postfix.main": {WARN}},
    ),
    protocol(
        "bare newlines",
        "postconf -e smtpd_forbid_bare_newline=no",
        {"smtp.bare_newline": {FAIL}},
        besides={"config.postfix.main": {WARN}},
    ),
    protocol(
        "clients that do not wait",
        "postconf -e smtpd_forbid_unauth_pipelining=no",
        {"smtp.pipelining": {WARN}},
        besides={"config.postfix.main": {WARN}},
    ),
    protocol(
        "Postfix is down",
        "postfix stop 2>/dev/null",
        {"smtp.listens": {FAIL}},
        keeps="",
        then="",
        mends=RESTART,
        besides={"running.listener": {FAIL}, "running.unit": {FAIL}, "tls.protocol.modern": {UNKNOWN}},
    ),
    protocol(
        "Dovecot is down",
        "systemctl stop dovecot.socket dovecot 2>/dev/null",
        {"imap.listens": {FAIL}, "pop3.listens": {FAIL}},
        keeps="",
        then="",
        mends="systemctl start dovecot",
        besides={"running.listener": {FAIL}, "running.unit": {FAIL}, "tls.protocol.modern": {UNKNOWN}},
    ),
    protocol(
        "logins before TLS at Dovecot",
        "sed -i -E 's/^disable_plaintext_auth.*/disable_plaintext_auth = no/; "
        "s/^auth_allow_cleartext.*/auth_allow_cleartext = yes/; s/^ssl = .*/ssl = yes/' /etc/dovecot/dovecot.conf",
        {"imap.auth_before_tls": {FAIL}, "pop3.auth_before_tls": {FAIL}},
        keeps="/etc/dovecot",
        then="doveadm reload",
    ),
    protocol(
        "no TLS at Dovecot",
        "sed -i 's/^ssl = .*/ssl = no/' /etc/dovecot/dovecot.conf",
        {"imap.starttls": {FAIL}, "pop3.starttls": {FAIL}, "imap.listens": {FAIL}, "pop3.listens": {FAIL}},
        keeps="/etc/dovecot",
        then=FRESH,
        besides={"tls.protocol.modern": {FAIL, UNKNOWN}, "running.listener": {FAIL}},
    ),
    protocol(
        "IMAP for nobody",
        wanted={"imap.greeting": {FAIL}},
        **dovecot_gone("imap", 143, greeting="* BYE come back never"),
    ),
    protocol(
        "POP3 for nobody",
        wanted={"pop3.greeting": {FAIL}},
        **dovecot_gone("pop3", 110, greeting="-ERR come back never"),
    ),
    protocol(
        "no logins at IMAP",
        wanted={"imap.auth_after_tls": {FAIL}},
        **dovecot_gone("imap", 143, tls_a1_CAPABILITY="* CAPABILITY IMAP4rev1 LOGINDISABLED\r\na1 OK done"),
    ),
    protocol(
        "no logins at POP3",
        wanted={"pop3.auth_after_tls": {FAIL}},
        **dovecot_gone("pop3", 110, tls_CAPA="+OK\r\nUIDL\r\n."),
    ),
    protocol(
        "another program at port 25, which tells who is behind an alias",
        wanted={"smtp.expn": {WARN}},
        besides={"config.postfix.service": {FAIL}},
        **taken("smtp", 25, "postconf -MX smtp/inet", RESTART, EXPN="250 alice"),
    ),
    # ---- tls
    tls(
        "a certificate that was renewed and not reloaded",
        f"systemctl stop mailserver-certificate.path\n{certificate()}",
        {"certificate.served": {WARN}},
        then="",
        mends=f"{FRESH}\npostfix reload\nsystemctl start mailserver-certificate.path",
    ),
    tls("a certificate that expired", certificate(since=-9, until=-1), {"certificate.expiry": {FAIL}}),
    tls("a certificate that soon expires", certificate(until=10), {"certificate.expiry": {WARN}}),
    tls("a certificate that is not valid yet", certificate(since=1), {"certificate.expiry": {FAIL}}),
    tls("a certificate for another name", certificate("other.test"), {"certificate.names": {WARN}}),
    tls("a certificate without those between", certificate(signed_by="An-Authority"), {"certificate.chain": {FAIL}}),
    tls(
        "another name, by an authority",
        certificate("other.test", signed_by="An-Authority"),
        {"certificate.chain": {FAIL}, "certificate.names": {FAIL}},
    ),
    tls("a key that all can read", f"chmod 0644 {TLS}/key.pem", {"key.mode": {FAIL}}, then=""),
    tls(
        "another certificate's key",
        f"cp {TLS}/certificate.pem /run/old; {certificate()}\ncat /run/old >{TLS}/certificate.pem",
        {"key.pair": {FAIL}, "protocol.modern": {FAIL}},
        then="postfix reload",
        besides={"protocol.smtp.listens": {FAIL}, "protocol.smtp.starttls": {FAIL}},
    ),
    tls(
        "no certificate",
        f"rm {TLS}/certificate.pem",
        {"certificate.file": {FAIL}, "certificate.served": {UNKNOWN}, "protocol.modern": {FAIL}},
        then="postfix reload",
        besides={"protocol.smtp.listens": {FAIL}, "protocol.smtp.starttls": {FAIL}},
    ),
    tls(
        "TLS 1.0 at Postfix",
        "postconf -e 'smtpd_tls_protocols=>=TLSv1' 'smtpd_tls_mandatory_protocols=>=TLSv1' "
        "tls_high_cipherlist=ALL:@SECLEVEL=0",
        {"protocol.old": {WARN, FAIL}},
        keeps=POSTFIX,
        besides={"config.postfix.main": {WARN}},
    ),
    tls(
        "TLS 1.0 at Dovecot",
        "sed -i -e 's/^ssl_min_protocol.*/ssl_min_protocol = TLSv1/' "
        "-e 's/^ssl_cipher_list.*/ssl_cipher_list = ALL:@SECLEVEL=0/' /etc/dovecot/dovecot.conf",
        {"protocol.old": {FAIL}},
        keeps="/etc/dovecot",
    ),
    tls(
        "no TLS at port 25",
        "postconf -e smtpd_tls_security_level=none",
        {"protocol.modern": {FAIL}},
        keeps=POSTFIX,
        besides={"config.postfix.main": {WARN}, "protocol.smtp.starttls": {FAIL}},
    ),
]
