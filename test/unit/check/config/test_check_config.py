"""The configuration is checked: each thing that is wrong on a host turns its own finding, and no other."""

import os
import re
from datetime import datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

import healthy_host
from healthy_host import DOMAINS, wrong
from mailhost.check.config import area as check_config
from mailhost.check.config import dkim as check_dkim
from mailhost.check.config.postfix import ON_TERMINAL, networks, tables
from mailhost.check.shared import drifts
from mailhost.command import CommandResult
from mailhost.dkim import keystore
from mailhost.dkim.life import KeyRow

MADE = datetime.now(timezone.utc).replace(microsecond=0) - timedelta(days=1)
A, B = DOMAINS


def survey(machine, domains=DOMAINS):
    return check_config.findings(machine.host, list(domains))


def test_all_is_ok_on_a_host_that_is_as_the_formula_made_it(machine):
    assert wrong(survey(machine)) == set()


def warning(text):
    return f"/usr/sbin/postconf: warning: {text}\n"


POSTFIX = [
    (
        "an unknown parameter",
        lambda m: m.says("postconf -n", m.answers["postconf", "-n"].out, warning("main.cf: unused parameter: foo=bar")),
        "config.postfix.parser|main.cf|warn",
    ),
    (
        "a main.cf that is no main.cf",
        lambda m: m.says("postconf -n", "", "postconf: fatal: main.cf, line 8: missing '='\n", 1),
        "config.postfix.parser|main.cf|fail",
    ),
    (
        "an option of master.cf that Postfix does not know",
        lambda m: m.says("postconf -M", m.answers["postconf", "-M"].out, warning("master.cf: unused parameter: a=b")),
        "config.postfix.parser|master.cf|warn",
    ),
    (
        "a broken master.cf",
        lambda m: m.says("postconf -M", "", "postconf: fatal: master.cf: line 138: bad field count\n", 1),
        "config.postfix.parser|master.cf|fail",
    ),
    (
        "a file of the wrong owner",
        lambda m: m.says(ON_TERMINAL, "postfix/postfix-script: warning: not owned by postfix: /var/lib/postfix/.\r\n"),
        "config.postfix.parser|postfix check|warn",
    ),
    (
        "no queue",
        lambda m: m.says(ON_TERMINAL, "postfix/postfix-script: fatal: no Postfix queue directory\r\n", status=1),
        "config.postfix.parser|postfix check|fail",
    ),
    (
        "an old copy in the chroot",
        lambda m: m.says(
            ON_TERMINAL,
            "postfix/postfix-script: warning: /var/spool/postfix/etc/resolv.conf and /etc/resolv.conf differ\r\n",
        ),
        "config.postfix.parser|postfix check|warn",
    ),
    (
        "a value that somebody changed",
        lambda m: m.prints("postconf -n", "home_mailbox = Maildir/", "home_mailbox = Mail/"),
        "config.postfix.main|home_mailbox|warn",
    ),
    (
        "a parameter that somebody took out",
        lambda m: m.prints("postconf -n", "disable_vrfy_command = yes\n", ""),
        "config.postfix.main|disable_vrfy_command|warn",
    ),
    (
        "a parameter that somebody added",
        lambda m: m.prints("postconf -n", "biff = no", "biff = no\nrelayhost = [smarthost.example]"),
        "config.postfix.main|relayhost|warn",
    ),
    (
        "no submission",
        lambda m: m.prints("postconf -M", "submission inet", "2525 inet"),
        "config.postfix.service|submission|fail config.postfix.service|2525|warn",
    ),
    (
        "a port that the pillar does not name",
        lambda m: m.says("postconf -M", m.answers["postconf", "-M"].out + "2525 inet n - y - - smtpd\n"),
        "config.postfix.service|2525|warn",
    ),
    (
        "a service out of its chroot",
        lambda m: m.prints("postconf -M", "smtp inet n - y", "smtp inet n - n"),
        "config.postfix.service|smtp|warn",
    ),
    (
        "a submission without its login",
        lambda m: m.prints("postconf -P", "submission/inet/smtpd_relay_restrictions = permit_sasl", "x/inet/y = z"),
        "config.postfix.option|submission: smtpd_relay_restrictions|warn",
    ),
    (
        "an option that somebody added",
        lambda m: m.says("postconf -P", m.answers["postconf", "-P"].out + "smtps/inet/smtpd_milters =\n"),
        "config.postfix.option|submissions: smtpd_milters|warn",
    ),
    (
        "a map without its database",
        lambda m: m.says(
            aliases(m), err=f"postmap: fatal: open database {m.folder}/aliases.db: No such file\n", status=1
        ),
        "config.postfix.map|hash:{}/aliases|fail",
    ),
    (
        "a map whose source is newer",
        lambda m: os.utime(m.folder / "aliases.db", (1, 1)),
        "config.postfix.map|hash:{}/aliases|warn",
    ),
    (
        "a map with a line that is no pattern",
        lambda m: m.says(
            f"postmap -q check@example.invalid regexp:{m.folder}/sender_login",
            err="postmap: warning: regexp map sender_login, line 1: Invalid regular expression\n",
            status=1,
        ),
        "config.postfix.map|regexp:{}/sender_login|warn",
    ),
    (
        "relaying for everybody",
        lambda m: m.prints("postconf -x", "mynetworks = ", "mynetworks = 0.0.0.0/0, "),
        "config.postfix.mynetworks|0.0.0.0/0|fail",
    ),
    (
        "relaying for all private addresses",
        lambda m: m.prints("postconf -x", "mynetworks = ", "mynetworks = 10.0.0.0/8, "),
        "config.postfix.mynetworks|10.0.0.0/8|warn",
    ),
    (
        "mail that leaves unsigned while OpenDKIM is down",
        lambda m: m.prints("postconf -x", "milter_default_action = tempfail", "milter_default_action = accept"),
        "config.milter.default_action|milter_default_action|warn",
    ),
    (
        "a milter outside of the chroot",
        lambda m: m.prints("postconf -x", "smtpd_milters = inet:127.0.0.1:8891", "smtpd_milters = unix:/run/no/socket"),
        "config.milter.socket|unix:/run/no/socket|fail",
    ),
    (
        "no configuration of Cyrus SASL",
        lambda m: (m.folder / "sasl/smtpd.conf").unlink(),
        "config.sasl.library|{}/sasl/smtpd.conf|fail",
    ),
    (
        "logins that are looked up elsewhere",
        lambda m: m.edit("sasl/smtpd.conf", "pwcheck_method: saslauthd", "pwcheck_method: auxprop"),
        "config.sasl.library|{}/sasl/smtpd.conf|fail",
    ),
    (
        "no saslauthd",
        lambda m: (m.folder / "queue/var/run/saslauthd/mux").unlink(),
        "config.sasl.socket|saslauthd|fail",
    ),
    (
        "a file instead of saslauthd's socket",
        lambda m: m.write_anew("queue/var/run/saslauthd/mux"),
        "config.sasl.socket|saslauthd|fail",
    ),
    (
        "a folder of saslauthd that postfix may not pass",
        lambda m: (m.folder / "queue/var/run/saslauthd").chmod(0o700),
        "config.sasl.socket|saslauthd|fail",
    ),
    (
        "saslauthd's socket in a place that the chroot has not",
        lambda m: m.edit("sasl/smtpd.conf", f"{m.folder}/queue/var", "/elsewhere"),
        "config.sasl.socket|saslauthd|fail",
    ),
]
OTHERS = [
    (
        "a setting that Dovecot does not know",
        lambda m: m.says(DOVECONF, "# 2.3\n", "doveconf: Fatal: dovecot.conf line 18: Unknown setting: fo\n", 89),
        "config.dovecot.parser|/etc/dovecot/dovecot.conf|fail",
    ),
    (
        "an obsolete setting of Dovecot",
        lambda m: m.says(DOVECONF, "# 2.3\n", "doveconf: Warning: Obsolete setting in dovecot.conf:17\n"),
        "config.dovecot.parser|/etc/dovecot/dovecot.conf|warn",
    ),
    (
        "a line that OpenDKIM does not know",
        lambda m: m.says(f"opendkim -n -x {m.folder}/opendkim/config", "", "opendkim: unrecognized parameter\n", 78),
        "config.opendkim.parser|{}/opendkim/config|fail",
    ),
    (
        "no trusted hosts",
        lambda m: (m.folder / "opendkim/trusted_hosts").unlink(),
        "config.opendkim.trusted_hosts|{}/opendkim/trusted_hosts|fail",
    ),
    (
        "an opendkim.conf that somebody changed",
        lambda m: m.edit("opendkim/config", "relaxed/simple", "simple/simple"),
        "config.opendkim.setting|Canonicalization|warn",
    ),
    (
        "SHA-1",
        lambda m: m.edit("opendkim/config", "Mode ", "SignatureAlgorithm rsa-sha1\nMode "),
        "config.opendkim.setting|SignatureAlgorithm|warn config.opendkim.algorithm|{}/opendkim/config|fail",
    ),
    (
        "a login that may write as anybody",
        lambda m: m.edit("opendkim/authors", "signed for which", "\nmallory *\n# signed for which"),
        "config.opendkim.authors|{}/opendkim/authors|warn",
    ),
    (
        "no authors",
        lambda m: (m.folder / "opendkim/authors").unlink(),
        "config.opendkim.authors|{}/opendkim/authors|fail",
    ),
    (
        "signatures for whatever author a message names",
        lambda m: m.edit("opendkim/config", "SetupPolicyScript", "# SetupPolicyScript"),
        "config.opendkim.setting|SetupPolicyScript|warn",
    ),
    (
        "a host that is not trusted any more",
        lambda m: m.edit("opendkim/trusted_hosts", "::1\n", ""),
        "config.opendkim.trusted_hosts|{}/opendkim/trusted_hosts|warn",
    ),
    (
        "a host that somebody trusts",
        lambda m: m.edit("opendkim/trusted_hosts", "::1\n", "::1\n192.0.2.0/24\n"),
        "config.opendkim.trusted_hosts|{}/opendkim/trusted_hosts|warn",
    ),
]
DKIM = [
    (
        "no KeyTable",
        lambda m: (m.folder / "opendkim/key_table").unlink(),
        "config.dkim.table|{}/opendkim/key_table|fail",
    ),
    (
        "signing tables that differ",
        lambda m: m.edit("opendkim/signing_table", f"*@{A} one._domainkey.{A}\n", ""),
        "config.dkim.tables_agree|{}/opendkim/signing_table|warn",
    ),
    (
        "a change that was cut short",
        lambda m: m.write_anew("opendkim/.key_table.worked"),
        "config.dkim.cut_short|{}/opendkim/key_table|warn",
    ),
    ("a damaged manifest", lambda m: m.write_anew(f"opendkim/keys/{A}/keys.json", "{"), f"config.dkim.signer|{A}|fail"),
    (
        "a key that waits for DNS",
        lambda m: (unsigned(m, A), m.write_manifest(A, KeyRow("two", "rsa", 2048, "MIIB", MADE))),
        f"config.dkim.signer|{A}|warn",
    ),
    ("a domain without a key", lambda m: (unsigned(m, A), m.write_manifest(A)), f"config.dkim.signer|{A}|warn"),
    ("a domain that is not signed for", lambda m: unsigned(m, A), f"config.dkim.signing_table|{A}|fail"),
    (
        "a row of another key",
        lambda m: both(m, f"one._domainkey.{A}", f"old._domainkey.{A}"),
        f"config.dkim.signing_table|{A}|fail",
    ),
    (
        "a row of a domain that went",
        lambda m: both(m, B, "c.example", f" one._domainkey.{B}"),
        f"config.dkim.signing_table|{B}|fail config.dkim.signing_table|c.example|warn",
    ),
    (
        "a key that the KeyTable lacks",
        lambda m: m.edit("opendkim/key_table", f"one._domainkey.{A}", f"two._domainkey.{A}"),
        f"config.dkim.key_table|{A}|fail",
    ),
    (
        "a key of another domain",
        lambda m: m.edit("opendkim/key_table", f"{A}:one:", f"{B}:one:"),
        f"config.dkim.key_table|{A}|fail",
    ),
    ("no key file", lambda m: key(m).unlink(), f"config.dkim.key_file|{A}|fail"),
    ("a key that all can read", lambda m: key(m).chmod(0o604), f"config.dkim.key_file|{A}|fail"),
    (
        "a folder that all can write to",
        lambda m: key(m).parent.chmod(0o702),
        "config.dkim.key_folder|{}/opendkim/keys/" + f"{A}|fail",
    ),
    (
        "a folder above that all can write to",
        lambda m: (m.folder / "opendkim").chmod(0o757),
        "config.dkim.key_folder|{}/opendkim|fail",
    ),
    ("another key", lambda m: key(m).write_text(m.pems["other"]), f"config.dkim.key|{A}|fail"),
    ("no RSA key", lambda m: key(m).write_text(edwards()), f"config.dkim.key|{A}|fail"),
    ("half a key", lambda m: key(m).write_text(m.pems[A][:200]), f"config.dkim.key|{A}|fail"),
    ("a key of 1024 bits", lambda m: m.give_key(A, m.pems["short"], 1024), f"config.dkim.key|{A}|warn"),
    (
        "a key that the manifest does not know",
        lambda m: m.write_manifest(A),
        f"config.dkim.key|{A}|warn",
    ),
]
DOVECONF = "doveconf -n -c /etc/dovecot/dovecot.conf"


def aliases(m):
    return f"postmap -q check@example.invalid hash:{m.folder}/aliases"


def key(m):
    return m.folder / f"opendkim/keys/{A}/one.private"


def both(m, old, new, tail=""):
    """Change both signing tables alike."""
    m.edit("opendkim/signing_table", f"{old}{tail}", f"{new}{tail}")
    m.edit("opendkim/signing_table.domains", f"{old}{tail}", f"{new}{tail}")


def unsigned(m, name):
    m.edit("opendkim/signing_table", f"*@{name} one._domainkey.{name}\n", "")
    m.edit("opendkim/signing_table.domains", f"{name} one._domainkey.{name}\n", "")


def edwards():
    forms = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return ed25519.Ed25519PrivateKey.generate().private_bytes(*forms).decode()


FAULTS = [*POSTFIX, *OTHERS, *DKIM]


@pytest.mark.parametrize(("spoil", "expected"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_each_fault_turns_its_own_finding_and_no_other(machine, spoil, expected):
    spoil(machine)
    found = survey(machine)
    wanted = re.findall(r"(\S+?)\|([^|]+)\|(\w+)", expected.replace("{}", str(machine.folder)))
    assert wrong(found) == set(wanted)
    assert all(one.wanted and one.seen and one.remedy for one in found if one.status != "ok")


def test_of_a_long_list_that_drifted_only_the_difference_is_shown():
    names = [f"d{number}.example" for number in range(100)]
    wanted, seen = {"mydestination": ", ".join(names)}, {"mydestination": ", ".join([*names[1:], "x.example"])}
    (found,) = drifts("config.postfix.main", "main.cf", wanted, seen, "{}")
    assert (found.wanted, found.seen) == ("mydestination with d0.example", "mydestination with x.example in main.cf")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("# by Salt\n\na.example x\nb.example x\n", ""),
        ("a.example x\n", "it lacks b.example x"),
        ("a.example x\nb.example x\nc.example x\n", "it has c.example x besides"),
        ("b.example x\na.example x\n", "its rows are in another order"),
        (None, "cannot be read"),
    ],
    ids=["right", "a row taken out", "a row added", "another order", "gone"],
)
def test_a_table_is_compared_with_the_pillar(tmp_path, text, told):
    path = tmp_path / "mailserver_domains"
    if text is not None:
        path.write_text(text)
    (found,) = tables({str(path): ["a.example x", "b.example x"]})
    assert (found.id, found.about, found.status) == ("config.postfix.table", str(path), "warn" if told else "ok")
    assert told in found.seen


def test_what_postconf_says_of_a_file_is_told_once(machine):
    line = warning("main.cf: unused parameter: foo=bar")
    machine.says("postconf -n", machine.answers["postconf", "-n"].out, line)
    machine.says(ON_TERMINAL, line)
    assert wrong(survey(machine)) == {("config.postfix.parser", "main.cf", "warn")}


def test_a_key_that_opendkim_does_not_own_is_told_of_each_domain(machine):
    machine.says("id -u opendkim", "4711\n")
    machine.says("id -G opendkim", "4711\n")
    assert {one[:2] for one in wrong(survey(machine))} >= {("config.dkim.key_file", name) for name in DOMAINS}


@pytest.mark.parametrize("others", [[], ["postfix"]])
def test_a_key_file_may_be_its_groups_only_if_nobody_else_is_in_the_group(machine, monkeypatch, others):
    monkeypatch.setattr(check_dkim, "_others_in", lambda gid, reader: others)
    key(machine).chmod(0o640)
    assert wrong(survey(machine)) == {("config.dkim.key_file", A, "fail") for _ in others}


def test_unsafe_keys_only_warn_where_the_pillar_lets_opendkim_use_them(tmp_path, pems, monkeypatch):
    pillar = {"opendkim": {"settings": {"RequireSafeKeys": False}}}
    machine = healthy_host.make(tmp_path, pems, monkeypatch, pillar)
    key(machine).chmod(0o604)
    assert wrong(survey(machine)) == {("config.dkim.key_file", A, "warn")}


def test_only_one_domain_is_told_of_where_one_is_asked_for(machine):
    unsigned(machine, A)
    assert wrong(survey(machine, [B])) == set()
    assert ("config.dkim.signing_table", A, "fail") in wrong(survey(machine, [A]))


def test_a_domain_without_dkim_needs_no_key(tmp_path, pems, monkeypatch):
    domains = {A: {}, B: {"dkim": {"enabled": False}}}
    machine = healthy_host.make(tmp_path, pems, monkeypatch, {"domains": domains})
    unsigned(machine, B)
    assert wrong(survey(machine)) == set()


def test_a_host_without_opendkim_and_dovecot_is_not_asked_about_them(machine):
    machine.settings["opendkim"]["enabled"] = machine.settings["dovecot"]["enabled"] = False
    told = {one.id for one in survey(machine)}
    assert not [id for id in told if id.startswith(("config.opendkim", "config.dkim", "config.dovecot"))]


def test_a_key_that_no_verifier_takes_is_a_failure(machine, monkeypatch):
    monkeypatch.setattr(keystore, "public_half", lambda pem, where: ("MIIB", 768))
    assert wrong(survey(machine)) == {("config.dkim.key", name, "fail") for name in DOMAINS}


@pytest.mark.parametrize(
    ("made", "status"), [(0o660, ""), (0o600, "fail"), (None, "fail")], ids=["reached", "shut", "absent"]
)
def test_dovecots_socket_is_looked_for_in_the_queue(tmp_path, pems, monkeypatch, made, status):
    machine = healthy_host.make(tmp_path, pems, monkeypatch, {"sasl": {"type": "dovecot"}})
    if made is not None:
        machine.socket("queue/private/auth", made)
    assert wrong(survey(machine)) == ({("config.sasl.socket", "Dovecot", status)} if status else set())


@pytest.mark.parametrize("path", ["/spool/milter", "spool/milter"])
def test_a_milters_socket_is_looked_for_where_the_chroot_has_it(machine, path):
    machine.write_anew("queue/spool/README")
    machine.socket("queue/spool/milter")
    machine.prints("postconf -x", "smtpd_milters = inet:127.0.0.1:8891", f"smtpd_milters = unix:{path}")
    assert wrong(survey(machine)) == set()


def test_what_cannot_be_run_is_unknown_and_no_failure(machine):
    quiet = [ON_TERMINAL, ("postfix", "check")]  # one stands in for the other
    needed = "postconf postmap doveconf opendkim id".split()
    for words in [one for one in machine.answers if one[0] in needed]:
        before = machine.answers[words]
        machine.answers[words] = CommandResult(None, "", "took longer than 60 s")
        assert {status for _, _, status in wrong(survey(machine))} == {"unknown"}, words
        machine.answers[words] = before
    for words in quiet:
        machine.answers[words] = CommandResult(None, "", "no such file")
    assert wrong(survey(machine)) == {("config.postfix.parser", "postfix check", "unknown")}


SECRETS = [
    lambda m: m.says("postconf -n", m.answers["postconf", "-n"].out, warning("main.cf: unused parameter: pw=hunter2")),
    lambda m: m.prints("postconf -n", "biff = no", "biff = no\nsmtp_sasl_password_maps = static:me:hunter2"),
    lambda m: m.edit("opendkim/config", "Mode ", "LDAPBindPassword hunter2\nMode "),
    lambda m: m.edit("opendkim/config", "relaxed/simple", "dsn:mysql://me:hunter2@db/dkim"),
    lambda m: key(m).write_text(m.pems[A].replace("KEY-----\nM", "KEY-----\nhunter2")),
]


@pytest.mark.parametrize("spoil", SECRETS)
def test_no_secret_is_shown(machine, spoil):
    spoil(machine)
    found = survey(machine)
    assert wrong(found)
    assert "hunter2" not in repr(found)
    assert not any(line in repr(found) for line in machine.pems[A].splitlines()[1:-1])


NETWORKS = [
    ("127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128", ""),
    ("192.0.2.0/24", ""),
    ("192.0.2.0/23", "fail"),
    ("10.1.0.0/16, 192.168.7.0/24", ""),
    ("192.168.0.0/16", "warn"),
    ("172.16.0.0/12", "warn"),
    ("10.0.0.0/7", "fail"),
    ("0.0.0.0/0", "fail"),
    ("[::]/0", "fail"),
    ("[::ffff:0.0.0.0]/96", "fail"),
    ("[2001:db8::]/56", ""),
    ("[2001:db8::]/48", "fail"),
    ("[fd00:1:2::]/48", ""),
    ("[fd00::]/8", "warn"),
    ("!192.0.0.0/8 hash:/etc/postfix/networks", ""),
]


@pytest.mark.parametrize(("text", "status"), NETWORKS)
def test_a_network_that_is_not_ones_own_is_told_of(text, status):
    assert {one.status for one in networks(text)} - {"ok"} == ({status} if status else set())


def test_networks_in_a_file_are_looked_at(tmp_path):
    (tmp_path / "networks").write_text("192.0.2.1  # mine\n8.0.0.0/8\n")
    assert wrong(networks(f"{tmp_path}/networks")) == {("config.postfix.mynetworks", "8.0.0.0/8", "fail")}


def test_a_thousand_domains_in_order_make_no_more_findings_than_two(machine, tmp_path, pems, monkeypatch):
    count = len(survey(machine))
    many = {f"d{number}.example": {} for number in range(1000)}
    (tmp_path / "many").mkdir()
    monkeypatch.setattr(healthy_host, "DOMAINS", tuple(many))
    pillar = {"domain": "d0.example", "domains": many}
    found = survey(healthy_host.make(tmp_path / "many", dict.fromkeys(many, pems[A]), monkeypatch, pillar), many)
    assert wrong(found) == set()
    assert len(found) == count
