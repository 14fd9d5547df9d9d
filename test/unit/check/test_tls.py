"""What is found out about certificates and TLS by shaking hands, on servers with real certificates, good and bad."""

import socket
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from mail_peers import (
    ADDRESS,
    ANSWERS,
    GARBAGE,
    HANG,
    NAME,
    NOW,
    Issued,
    context_of,
    service_of,
    settings_of,
    write,
)

from mailhost.check import tls as check_tls
from mailhost.daemons.talk import Budget
from mailhost.tls import certificate as tls_certificate

EVERYWHERE = tuple(ANSWERS)


@pytest.fixture(scope="module")
def root():
    return Issued("Root CA", names=())


@pytest.fixture(scope="module")
def between(root):
    return Issued("Issuing CA", root, names=())


@pytest.fixture
def survey(peers, tmp_path):
    """Check services that serve ``chain``, while ``disk`` (the same, if left out) is in the files of the pillar."""

    def survey(chain, names=("submission",), disk=None, now=NOW, given=True, old=False, key=None):
        (tmp_path / "served").mkdir()
        context = context_of(*write(tmp_path / "served", chain), old)
        paths = write(tmp_path, disk or chain, key)
        settings = settings_of((), *paths, given)
        asked = [service_of(name, peers(name, context).server_address[1]) for name in names]
        return check_tls.look_at(settings, asked, Budget(), now)

    return survey


def turned(findings):
    return [(one.id, one.status) for one in findings if one.status != "ok"]


def only(findings):
    (one,) = (one for one in findings if one.status != "ok")
    assert one.wanted
    assert one.seen
    return one


@pytest.mark.parametrize("given", [True, False], ids=["of the pillar", "of the formula"])
def test_a_self_signed_certificate_is_ok_and_called_so(survey, given):
    found = survey([Issued(ends=3650)], EVERYWHERE, given=given)
    assert turned(found) == []
    assert {one.about for one in found if one.id == "tls.certificate.served"} == {
        one.about for one in found if one.id == "tls.protocol.modern"
    }
    (expiry,) = (one for one in found if one.id == "tls.certificate.expiry")
    assert "self-signed" in expiry.seen
    assert expiry.about.count(",") == len(EVERYWHERE) - 1


def test_a_chain_that_is_whole_and_in_order_is_ok(survey, root, between):
    assert turned(survey([Issued(issuer=between), between], EVERYWHERE)) == []


def test_a_chain_with_its_root_is_ok(survey, root, between):
    assert turned(survey([Issued(issuer=between), between, root])) == []


@pytest.mark.parametrize(
    ("order", "words"),
    [
        (("leaf",), "only CN=mx1.example.com, by CN=Issuing CA"),
        (("leaf", "root"), "CN=mx1.example.com < CN=Root CA"),
        (("leaf", "root", "between"), "CN=mx1.example.com < CN=Root CA"),
    ],
)
def test_a_chain_with_a_gap_fails_and_names_the_file_to_take(survey, root, between, order, words):
    of = {"leaf": Issued(issuer=between), "between": between, "root": root}
    one = only(survey([of[name] for name in order]))
    assert (one.id, one.status) == ("tls.certificate.chain", "fail")
    assert words in one.seen
    assert "fullchain.pem" in one.remedy


@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_alone_is_a_whole_chain_if_the_system_trusts_its_issuer(survey, tmp_path, monkeypatch, trusted):
    age = {"begins": -50 * 365, "ends": 50 * 365}  # the system's own verdict goes by the real clock
    root = Issued("Private CA", names=(), **age)
    (tmp_path / "roots.pem").write_bytes(root.pem if trusted else Issued(names=()).pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "roots.pem"))
    found = survey([Issued(issuer=root, **age)])
    assert turned(found) == ([] if trusted else [("tls.certificate.chain", "fail")])


def test_a_renewed_certificate_that_is_not_served_yet_warns_and_says_to_reload(survey):
    found = survey([Issued(ends=30)], EVERYWHERE, disk=[Issued(ends=120)])
    assert set(turned(found)) == {("tls.certificate.served", "warn")}
    assert len(turned(found)) == len(EVERYWHERE)
    one = next(one for one in found if one.status != "ok")
    assert "postfix reload; doveadm reload" in one.remedy
    assert one.seen.count("SHA-256") == 2


@pytest.mark.parametrize(
    ("names", "hostname", "matches"),
    [
        ("mx1.example.com", "mx1.example.com", True),
        ("MX1.Example.COM", "mx1.example.com", True),
        ("*.example.com", "mx1.example.com", True),
        ("*.example.com", "a.mx1.example.com", False),
        ("*.example.com", "example.com", False),
        ("*.com", "example.com", False),
        ("mx*.example.com", "mx1.example.com", False),
        ("*.*.com", "mx1.example.com", False),
        ("mx2.example.com", "mx1.example.com", False),
        ("example.com", "mx1.example.com", False),
    ],
)
def test_a_wildcard_is_one_whole_label_the_first(names, hostname, matches):
    assert tls_certificate.covers(names, hostname) is matches


@pytest.mark.parametrize("names", [("mail.example.com",), ("*.mx1.example.com",)])
def test_a_certificate_for_another_name_fails(survey, between, names):
    one = only(survey([Issued(issuer=between, names=names), between]))
    assert (one.id, one.status) == ("tls.certificate.names", "fail")
    assert names[0] in one.seen
    assert NAME in one.remedy


def test_a_self_signed_certificate_for_another_name_warns_and_says_how_to_make_a_new_one(survey):
    one = only(survey([Issued(names=("old.example.com",))], given=False))
    assert (one.id, one.status) == ("tls.certificate.names", "warn")
    assert "rm " in one.remedy
    assert "mailserver.tls" in one.remedy


def test_the_common_name_is_no_name(survey, between):
    one = only(survey([Issued(issuer=between, names=()), between]))
    assert (one.id, one.status) == ("tls.certificate.names", "fail")
    assert "no DNS name" in one.seen


@pytest.mark.parametrize(
    ("days", "status", "words"),
    [
        (21, None, ""),
        (20.9, "warn", "20 days left"),
        (7, "warn", "7 days left"),
        (6.9, "fail", "6 days left"),
        (0.1, "fail", "0 days left"),
        (-1, "fail", "expired"),
    ],
)
def test_expiry_warns_three_weeks_before_and_fails_one_week_before(survey, between, days, status, words):
    found = survey([Issued(issuer=between), between], now=NOW + timedelta(days=90 - days))
    assert turned(found) == ([("tls.certificate.expiry", status)] if status else [])
    if status:
        assert words in only(found).seen
        assert "certbot renew" in only(found).remedy


def test_a_certificate_that_begins_in_the_future_fails_and_doubts_the_clock(survey, between):
    one = only(survey([Issued(issuer=between), between], now=NOW - timedelta(days=2)))
    assert (one.id, one.status) == ("tls.certificate.expiry", "fail")
    assert "timedatectl" in one.remedy


def test_a_key_of_another_certificate_fails(survey):
    one = only(survey([Issued()], key=Issued()))
    assert (one.id, one.status) == ("tls.key.pair", "fail")


@pytest.mark.parametrize(
    ("name", "content", "id"),
    [
        ("certificate.pem", None, "tls.certificate.file"),
        ("certificate.pem", b"", "tls.certificate.file"),
        ("certificate.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "tls.certificate.file"),
        ("key.pem", None, "tls.key.pair"),
        ("key.pem", b"no key", "tls.key.pair"),
    ],
)
def test_a_file_that_is_missing_or_damaged_fails(tmp_path, name, content, id):
    paths = write(tmp_path, [Issued()])
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    one = only(check_tls.look_at(settings_of((), *paths), [], Budget(), NOW))
    assert (one.id, one.status) == (id, "fail")
    assert str(tmp_path / name) in one.seen
    assert "mailserver:tls:certificate" in one.remedy


@pytest.mark.parametrize(
    ("mode", "folder", "status"),
    [(0o644, 0o755, "fail"), (0o604, 0o711, "fail"), (0o640, 0o755, None), (0o600, 0o755, None), (0o644, 0o700, None)],
)
def test_a_key_that_others_can_read_fails(mode, folder, status):
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        paths = write(Path(name), [Issued()])
        Path(name).chmod(folder)
        Path(paths[1]).chmod(mode)
        found = check_tls.look_at(settings_of((), *paths), [], Budget(), NOW)
    assert turned(found) == ([("tls.key.mode", status)] if status else [])
    if status:
        assert "chmod 0600" in only(found).remedy


def test_a_key_behind_a_link_is_judged_where_it_lies():
    with tempfile.TemporaryDirectory() as name:
        paths = write(Path(name), [Issued()])
        Path(name).chmod(0o755)
        closed = Path(name) / "archive"
        closed.mkdir(0o700)
        Path(paths[1]).rename(closed / "privkey1.pem").chmod(0o644)
        Path(paths[1]).symlink_to(closed / "privkey1.pem")
        found = check_tls.look_at(settings_of((), *paths), [], Budget(), NOW)
    assert turned(found) == []


@pytest.mark.parametrize(
    ("name", "status", "key"),
    [
        ("smtp", "warn", "smtpd_tls_protocols"),
        ("submission", "fail", "smtpd_tls_protocols"),
        ("submissions", "fail", "smtpd_tls_protocols"),
        ("imap", "fail", "ssl_min_protocol"),
        ("pop3s", "fail", "ssl_min_protocol"),
    ],
)
def test_old_versions_that_are_taken_are_found(survey, name, status, key):
    one = only(survey([Issued()], [name], old=True))
    assert (one.id, one.status) == ("tls.protocol.old", status)
    assert "agreed on TLSv1" in one.seen
    assert key in one.remedy


def test_old_versions_that_this_system_cannot_offer_are_unknown(survey, monkeypatch):
    def cannot():
        raise ValueError("unsupported protocol version 0x302")

    monkeypatch.setattr(check_tls, "_old_context", cannot)
    assert turned(survey([Issued()])) == [("tls.protocol.old", "unknown")]


def test_a_port_that_suddenly_has_no_tls_is_not_taken_for_a_system_that_cannot_offer_old_versions(
    peers, tmp_path, monkeypatch
):
    paths = write(tmp_path, [Issued()])
    peer, old_context = peers("submission", context_of(*paths)), check_tls._old_context

    def then_none():
        peer.answers = {**peer.answers, "STARTTLS": "454 4.7.0 TLS not available due to local problem"}
        return old_context()

    monkeypatch.setattr(check_tls, "_old_context", then_none)
    service = service_of("submission", peer.server_address[1])
    one = only(check_tls.look_at(settings_of((), *paths), [service], Budget(), NOW))
    assert (one.id, one.status) == ("tls.protocol.old", "unknown")
    assert "454 4.7.0" in one.seen
    assert "area=protocol" in one.remedy


@pytest.mark.parametrize("reply", ["454 4.3.0 Try again later", "451 4.7.1 Service unavailable - try again later"])
def test_a_server_that_puts_off_every_command_says_nothing_of_its_tls(peers, tmp_path, reply):
    paths = write(tmp_path, [Issued()])
    peer = peers("submission", context_of(*paths))
    peer.answers = {**peer.answers, "STARTTLS": reply}
    service = service_of("submission", peer.server_address[1])
    one = only(check_tls.look_at(settings_of((), *paths), [service], Budget(), NOW))
    assert (one.id, one.status) == ("tls.protocol.modern", "unknown")
    assert reply[:9] in one.seen


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize(("tls", "status"), [(GARBAGE, "fail"), (HANG, "unknown")], ids=["no TLS", "silence"])
def test_tls_that_cannot_be_had_fails_and_tls_that_hangs_does_not(peers, tmp_path, name, tls, status):
    settings = settings_of((), *write(tmp_path, [Issued()]))
    service = service_of(name, peers(name, tls).server_address[1])
    found = check_tls.look_at(settings, [service], Budget(0.3 if tls is HANG else 5), NOW)
    assert turned(found) == [("tls.protocol.modern", status)]
    assert only(found).remedy
    assert only(found).seen.startswith(f"{ADDRESS} port ")


def test_a_port_where_nothing_listens_is_left_to_the_protocols_check(tmp_path):
    settings = settings_of((), *write(tmp_path, [Issued()]))
    with socket.socket() as bound:
        bound.bind((ADDRESS, 0))
        service = service_of("submission", bound.getsockname()[1])
        found = check_tls.look_at(settings, [service], Budget(), NOW)
    assert turned(found) == [("tls.protocol.modern", "unknown")]
    assert "area=protocol" in only(found).remedy


def test_postfix_is_compared_with_the_files_that_its_own_parameter_names(peers, tmp_path):
    certificates = {"postfix": Issued(), "dovecot": Issued()}
    paths = {}
    for name, certificate in certificates.items():
        (tmp_path / name).mkdir()
        paths[name] = write(tmp_path / name, [certificate])
    pillar = {"postfix": {"main": {"smtpd_tls_chain_files": paths["postfix"][::-1]}}}
    settings = settings_of(pillar, *paths["dovecot"])
    for name, own in (("submission", "postfix"), ("imap", "dovecot")):
        service = service_of(name, peers(name, context_of(*paths[own])).server_address[1])
        assert turned(check_tls.look_at(settings, [service], Budget(), NOW)) == []


@pytest.mark.parametrize("source", ["ca", "acme"])
def test_while_the_certificate_of_an_authority_is_awaited_the_self_signed_one_warns(peers, tmp_path, source):
    chain = [Issued()]
    settings = settings_of((), *write(tmp_path, chain))
    settings["tls"]["source"] = source
    service = service_of(
        "submission", peers("submission", context_of(*write(tmp_path, chain), False)).server_address[1]
    )
    one = only(check_tls.look_at(settings, [service], Budget(), NOW))
    assert (one.id, one.status) == ("tls.certificate.chain", "warn")
    assert f"mailserver:tls:{source} is awaited" in one.seen
