"""The 32 effects of the hand-written procedure (docs/effects.md), each under its number, seen on the running hosts."""

import json
import re

import pytest

from conftest import ADDRESS, DOMAIN, MAIL_HOSTS, PASSWORD, pillar

ON = "both"
DOVECOT = {"mx1": "2.3", "mx2": "2.4"}
THREE = ["permit_mynetworks", "permit_sasl_authenticated", "reject_unauth_destination"]
STRANGER = "198.18.0.77"
"""An address without a name, lent to the client."""
BOB = next(line for line in pillar("default").splitlines(keepends=True) if line.startswith("      bob:"))
"""Whom the default pillar made, in the last section of the other, too: a pillar without him would have him leave."""


@pytest.fixture(scope="module", autouse=True)
def first_run(lab):
    """The procedure's own values are in force and its records in DNS; the highstate that changed to them."""
    lab.apply("default")
    lab.apply("original", BOB)
    first = lab.applied
    for domain in DOMAIN.values():  # the default's record means the same, and so would be left as it is
        lab.update_dns(f"update delete {domain}. TXT\nupdate delete _dmarc.{domain}. TXT\nsend\n")
    lab.sign("original", BOB)
    return first


def parameter(lab, host, name):
    """The value of a parameter as Postfix sees it."""
    return lab.sh(host, f"postconf -h {name}").strip()


def words(text):
    return re.split(r"[,\s]+", text.strip())


def dig(lab, name, rdtype):
    """TTL and text of each record that both authoritative servers show, at every address."""
    found = set()
    for server in ("198.18.0.11", "198.18.0.12", "198.18.0.13"):
        answer = lab.run("client", "dig", f"@{server}", "+norec", "+noall", "+answer", name, rdtype).out
        rows = [line.split(None, 4) for line in answer.splitlines()]
        found.add(tuple(sorted((int(row[1]), "".join(re.findall(r'"([^"]*)"', row[4])) or row[4]) for row in rows)))
    assert len(found) == 1, found
    return list(found.pop())


def key(lab, host):
    """Selector of the host's key that signs, and what `dkim.status` says of it."""
    rows = lab.salt(host, "dkim.status", DOMAIN[host])[host][DOMAIN[host]]
    return next((selector, row) for selector, row in rows.items() if row["signs"])


def send(lab, host, *options, check=True):
    """Send from the client to alice on ``host`` on port 25."""
    return lab.swaks(host, "--from", "world@outside.test", "--to", f"alice@{DOMAIN[host]}", *options, check=check)


def test_row_01_packages_installed(lab, host):
    wanted = ("sasl2-bin", "libsasl2-modules", "postfix", "dovecot-core", "opendkim")
    shown = lab.sh(host, f"dpkg-query -W -f '${{Package}} ${{Status}}\\n' {' '.join(wanted)}")
    assert shown.splitlines() == [f"{name} install ok installed" for name in sorted(wanted)]


def test_row_02_submission_service_on_587(lab, host):
    assert lab.sh(host, "postconf -M submission/inet").split() == "submission inet n - n - - smtpd".split()
    assert lab.sh(host, "postconf -P 'submission/inet/*'").strip() == ""
    assert re.search(r"LISTEN .*[*0]:587 .*master", lab.sh(host, "ss -ltnp"))
    assert lab.swaks(host, "--port", "587", "--quit-after", "EHLO").status == 0


def test_row_03_mydomain(lab, host):
    assert parameter(lab, host, "mydomain") == DOMAIN[host]


def test_row_04_myorigin(lab, host):
    assert parameter(lab, host, "myorigin") == "$mydomain"
    lab.run(host, "sendmail", "-i", "-f", "alice", "bob", stdin="Subject: row 4\n\nlocal names are completed\n")
    assert f"Return-Path: <alice@{DOMAIN[host]}>" in lab.delivered(host, "bob", "row 4")


def test_row_05_inet_interfaces_and_protocols(lab, host):
    assert parameter(lab, host, "inet_interfaces") == "all"
    assert parameter(lab, host, "inet_protocols") == "all"
    listening = lab.sh(host, "ss -ltn 'sport = :25'")
    assert "0.0.0.0:25" in listening
    assert "[::]:25" in listening


def test_row_06_mydestination(lab, host):
    expanded = words(lab.sh(host, "postconf -x -h mydestination"))
    domain = DOMAIN[host]
    assert set(expanded) == {f"{host}.lab.test", f"localhost.{domain}", "localhost", domain}
    assert words(parameter(lab, host, "mydestination"))[:4] == [
        "$myhostname",
        "localhost.$mydomain",
        "localhost",
        "$mydomain",
    ]
    assert domain in words(parameter(lab, host, "mydestination"))


def test_row_07_home_mailbox(lab, host):
    assert parameter(lab, host, "home_mailbox") == "Maildir/"
    send(lab, host, "--header", "Subject: row-07")
    assert "row-07" in lab.delivered(host, "alice", "row-07")


def test_row_08_smtpd_sasl_auth_enable(lab, host):
    assert parameter(lab, host, "smtpd_sasl_auth_enable") == "yes"
    assert parameter(lab, host, "smtpd_sasl_type") == "cyrus"
    login = ("--auth-user", "alice", "--auth-password", PASSWORD, "--from", f"alice@{DOMAIN[host]}")
    for port in ("25", "587"):
        token = f"row-08-{host}-{port}"
        lab.swaks(host, "--port", port, *login, "--to", "world@outside.test", "--header", f"Subject: {token}")
        assert f"alice@{DOMAIN[host]}" in lab.delivered("client", "world", token)


def test_row_09_smtpd_sasl_security_options(lab, host):
    assert (
        parameter(lab, host, "smtpd_sasl_security_options")
        == lab.sh(host, "postconf -d -h smtpd_sasl_security_options").strip()
    )


def test_row_10_broken_sasl_auth_clients(lab, host):
    assert parameter(lab, host, "broken_sasl_auth_clients") == "yes"
    assert re.search(r"250-AUTH=(PLAIN LOGIN|LOGIN PLAIN)", lab.swaks(host, "--quit-after", "EHLO").out)


def test_row_11_smtpd_sasl_local_domain(lab, host):
    assert parameter(lab, host, "smtpd_sasl_local_domain") == "$mydomain"


def test_row_12_smtpd_relay_restrictions(lab, host):
    assert words(parameter(lab, host, "smtpd_relay_restrictions")) == THREE
    for port in ("25", "587"):
        stranger = ("--port", port, "--from", "world@outside.test", "--to", "someone@elsewhere.test")
        assert "Relay access denied" in lab.swaks(host, *stranger, check=False).out


def test_row_13_smtpd_recipient_restrictions(lab, host):
    assert words(parameter(lab, host, "smtpd_recipient_restrictions")) == THREE


def test_row_14_message_size_limit(lab, host):
    assert parameter(lab, host, "message_size_limit") == "10485760"
    assert "250-SIZE 10485760" in lab.swaks(host, "--quit-after", "EHLO").out


def test_row_15_smtpd_client_restrictions(lab, host):
    assert words(parameter(lab, host, "smtpd_client_restrictions")) == [
        "permit_mynetworks",
        "reject_unknown_client_hostname",
    ]
    lab.run("client", "ip", "address", "replace", f"{STRANGER}/24", "dev", "host0")
    try:
        done = send(lab, host, "--local-interface", STRANGER, check=False)
    finally:
        lab.run("client", "ip", "address", "delete", f"{STRANGER}/24", "dev", "host0")
    assert "cannot find your hostname" in done.out
    assert send(lab, host).status == 0


def test_row_16_smtp_tls_security_level(lab, host):
    assert parameter(lab, host, "smtp_tls_security_level") == "may"


def test_row_17_dovecot_protocols(lab, host):
    shown = lab.sh(host, "doveconf protocols")
    assert set(re.findall(r"imap|pop3|lmtp", shown)) == {"imap", "pop3", "lmtp"}, shown
    assert lab.sh(host, "dovecot --version").startswith(DOVECOT[host])
    for port in (110, 143):
        assert re.search(rf"LISTEN .*:{port} .*dovecot", lab.sh(host, "ss -ltnp"))
    assert re.search(r"/run/dovecot/lmtp .*dovecot", lab.sh(host, "ss -xlp"))


def test_row_18_cleartext_logins_allowed(lab, host):
    setting = {"2.3": "disable_plaintext_auth = no", "2.4": "auth_allow_cleartext = yes"}[DOVECOT[host]]
    assert lab.sh(host, f"doveconf {setting.split()[0]}").strip() == setting
    send(lab, host, "--header", "Subject: row-18")
    lab.delivered(host, "alice", "row-18")
    for protocol in ("imap", "pop3"):
        logged_in, said = lab.mailbox(host, protocol, "cleartext", "row-18")
        assert logged_in, said
        assert "row-18" in said


def test_row_19_firewalld(lab, host):
    for where in ("--permanent", ""):
        assert {"587/tcp", "25/tcp"} <= set(lab.sh(host, f"firewall-cmd {where} --zone=public --list-ports").split())
        assert {"pop3", "imap"} <= set(lab.sh(host, f"firewall-cmd {where} --zone=public --list-services").split())
    assert lab.sh(host, "firewall-cmd --get-default-zone").strip() == "public"
    for port in (25, 587, 110, 143):
        assert lab.run("client", "bash", "-c", f"exec 3<>/dev/tcp/{ADDRESS[host]}/{port}", check=False).status == 0
    lab.run(host, "sh", "-c", "systemd-run -q --unit=unasked python3 -m http.server 8080")
    try:
        lab.until(lambda: ":8080" in lab.sh(host, "ss -ltn"), "nothing listens on 8080")
        assert lab.run("client", "bash", "-c", f"exec 3<>/dev/tcp/{ADDRESS[host]}/8080", check=False).status != 0
    finally:
        lab.run(host, "systemctl", "stop", "unasked")


def test_row_20_spf_record(lab, host):
    text = f"v=spf1 +ip4:{ADDRESS[host]} -all"
    emitted = lab.salt(host, "mailserver.records", DOMAIN[host], "format=zone")[host]
    assert f'{DOMAIN[host]}. 120 IN TXT "{text}"' in emitted
    assert dig(lab, DOMAIN[host], "TXT") == [(120, text)]


def test_row_21_dmarc_record(lab, host):
    domain = DOMAIN[host]
    text = f"v=DMARC1; p=none; rua=mailto:dmarc-ra@{domain}; ruf=mailto:dmarc@{domain}"
    emitted = lab.salt(host, "mailserver.records", domain, "format=zone")[host]
    assert f'_dmarc.{domain}. 120 IN TXT "{text}"' in emitted
    assert dig(lab, f"_dmarc.{domain}", "TXT") == [(120, text)]


def test_row_22_dkim_key_per_domain(lab, host):
    selector, _ = key(lab, host)
    assert re.fullmatch(r"20\d{6}(-\w+)?", selector)
    file = f"/etc/opendkim/keys/{DOMAIN[host]}/{selector}.private"
    assert lab.sh(host, f"stat -c '%U %a' {file}") == "opendkim 600\n"
    bits = lab.sh(host, f"openssl rsa -in {file} -noout -text | head -1")
    assert "2048 bit" in bits


def test_row_23_dkim_record_as_a_zone_line_and_as_one_string(lab, host):
    selector, _ = key(lab, host)
    name = f"{selector}._domainkey.{DOMAIN[host]}"
    line = lab.salt(host, "dkim.records", DOMAIN[host])[host]
    string = lab.salt(host, "dkim.records", DOMAIN[host], "format=string")[host][name]
    assert re.search(rf"^{re.escape(name)}\. \d+ IN TXT ", line, re.MULTILINE)
    assert "".join(re.findall(r'"([^"]*)"', line)) == string
    assert string.startswith("v=DKIM1; k=rsa; p=")
    ((_, shown),) = dig(lab, name, "TXT")
    assert shown == string
    ours = lab.sh(host, f"openssl rsa -in /etc/opendkim/keys/{DOMAIN[host]}/{selector}.private -pubout 2>/dev/null")
    assert string.partition("p=")[2] == "".join(ours.splitlines()[1:-1])


def test_row_24_opendkim_signs_and_verifies_by_tables(lab, host):
    token = "row-24"
    lab.submit(host, "--header", f"X-Token: {token}")
    assert f"d={DOMAIN[host]}" in lab.delivered(host, "bob", token), "Mode s"
    other = next(one for one in MAIL_HOSTS if one != host)
    lab.submit(other, "--header", f"X-Token: verified-{token}", to=f"bob@{DOMAIN[host]}")
    # Looked at, if not found: the libunbound in OpenDKIM takes .test for a domain that does not exist (RFC 6761).
    assert f"header.d={DOMAIN[other]}" in lab.delivered(host, "bob", f"verified-{token}"), "Mode v"
    send(lab, host, "--from", f"alice@{DOMAIN[host]}", "--header", f"X-Token: stranger-{token}")
    assert "DKIM-Signature" not in lab.delivered(host, "alice", f"stranger-{token}"), "InternalHosts"
    used = lab.sh(host, "tr '\\0' ' ' </proc/$(systemctl show -P MainPID opendkim)/cmdline; cat /etc/opendkim.conf")
    settings = dict(line.split(None, 1) for line in used.splitlines() if re.match(r"[A-Z]\w+ ", line))
    assert "KeyFile" not in settings
    assert settings["KeyTable"].endswith("/etc/opendkim/KeyTable")
    assert settings["SigningTable"] == "refile:/etc/opendkim/SigningTable"
    assert settings["ExternalIgnoreList"] == settings["InternalHosts"] == "refile:/etc/opendkim/TrustedHosts"


def test_row_25_the_key_table_row(lab, host):
    selector, _ = key(lab, host)
    domain = DOMAIN[host]
    row = f"{selector}._domainkey.{domain} {domain}:{selector}:/etc/opendkim/keys/{domain}/{selector}.private"
    assert row in lab.sh(host, "cat /etc/opendkim/KeyTable").splitlines()
    token, _ = lab.submit(host)
    assert f"d={domain};s={selector};" in signature(lab, host, token)


def test_row_26_the_signing_table_row(lab, host):
    selector, _ = key(lab, host)
    row = f"*@{DOMAIN[host]} {selector}._domainkey.{DOMAIN[host]}"
    assert row in lab.sh(host, "cat /etc/opendkim/SigningTable").splitlines()
    token, _ = lab.submit(host, sender=f"alice+row26@{DOMAIN[host]}")
    assert f"d={DOMAIN[host]};" in signature(lab, host, token), "the pattern takes every address of the domain"


def signature(lab, host, token):
    """The DKIM-Signature of the message with ``token`` that bob got, without white space."""
    return re.sub(r"\s+", "", lab.delivered(host, "bob", token).partition("DKIM-Signature:")[2])


def test_row_27_opendkim_runs_and_starts_at_boot(lab, host):
    assert lab.sh(host, "systemctl is-active opendkim; systemctl is-enabled opendkim") == "active\nenabled\n"
    assert re.search(r"127\.0\.0\.1:8891 .*opendkim", lab.sh(host, "ss -ltnp"))


def test_row_28_milters(lab, host):
    assert parameter(lab, host, "smtpd_milters") == "inet:127.0.0.1:8891"
    assert parameter(lab, host, "non_smtpd_milters") == "$smtpd_milters"
    assert parameter(lab, host, "milter_default_action") == "accept"
    lab.run(host, "systemctl", "stop", "opendkim")
    try:
        token, _ = lab.submit(host)
        assert "DKIM-Signature" not in lab.delivered(host, "bob", token)
    finally:
        lab.run(host, "systemctl", "start", "opendkim")


def test_row_29_postfix_is_checked_and_shown_before_it_restarts(first_run, host):
    by_id = {state["__id__"]: state for state in first_run[host].states.values()}
    shown, in_force = by_id["mailserver-postfix-shown"], by_id["mailserver-postfix-in-force"]
    assert shown["name"].startswith("postconf -c /var/lib/mailserver/staged/etc/postfix -n")
    assert shown["result"] is True
    assert f"mydomain = {DOMAIN[host]}" in shown["changes"]["stdout"]
    assert shown["__run_num__"] < in_force["__run_num__"]
    assert in_force["changes"]


def test_row_30_the_log_says_that_it_was_signed(lab, host):
    selector, _ = key(lab, host)
    token, _ = lab.submit(host)
    lab.delivered(host, "bob", token)
    said = f"DKIM-Signature field added (s={selector}, d={DOMAIN[host]})"
    lab.until(lambda: said in lab.sh(host, "journalctl -t opendkim --since=-2min --no-pager"), f"no line {said}")


def test_row_31_a_verdict_like_the_reflectors(lab, host):
    found = lab.salt(host, "mailserver.selftest", DOMAIN[host])[host]
    assert found["result"] is True, json.dumps(found, indent=1)
    assert found["overall"]
    assert {(one["address"], one["result"]) for one in found["spf"]} == {(ADDRESS[host], "pass")}
    assert [(one["domain"], one["result"]) for one in found["dkim"]] == [(DOMAIN[host], "pass")]
    assert {name: found["dmarc"][name] for name in ("result", "domain", "policy")} == {
        "result": "pass", "domain": DOMAIN[host], "policy": "none",
    }  # fmt: skip


def test_row_32_a_and_mx_records_are_checked(lab, host):
    results = lab.highstate([host])
    said = results[host].must_succeed().said("mailserver.records_published")
    assert f"{host}.lab.test: A" in said
    assert f"{DOMAIN[host]}: " in said
    assert "MX" in said
    assert dig(lab, DOMAIN[host], "MX") == [(5, f"10 {host}.lab.test.")]
    assert dig(lab, f"{host}.lab.test", "A") == [(5, ADDRESS[host])]
