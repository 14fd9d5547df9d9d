"""Which settings of a hand-made host are listed before they are lost, and what of them is shown."""

import pytest

from mailhost.before import found as before_found
from mailhost.before import lost as before_lost
from mailhost.before.lost import lost, masked
from mailhost.command import CommandResult

ROWS = [
    # (name, hand-made, to come, defaults) -> is it listed?
    ("relayhost", "[smart]:587", None, (("",)), True),
    ("relayhost", "", None, ("",), False),  # as the daemon has it
    ("message_size_limit", "10485760", "10485760", ("10240000",), False),  # as the formula sets it
    ("message_size_limit", "10485760", "52428800", ("10240000",), True),
    ("mynetworks", "127.0.0.0/8 [::1]/128", "127.0.0.0/8, [::1]/128", ("",), False),  # a list is a list
    ("biff", "no", None, ("yes", "no"), False),  # as the distribution ships it
    ("biff", "no", "yes", ("yes",), True),
    ("mine", "x", None, (), True),  # a parameter of the operator's
    ("biff", "YES", None, ("yes",), False),
    ("explicit_default", "a", "b", ("a",), False),  # says nothing that the daemon did not
]


@pytest.mark.parametrize(("name", "old", "new", "known", "listed"), ROWS)
def test_what_differs_from_the_defaults_and_from_what_is_to_come_is_listed(name, old, new, known, listed):
    known = known if isinstance(known, tuple) else (known,)
    found = lost({name: old}, {} if new is None else {name: new}, {name: known} if known else {}, str, str)
    assert [one.name for one in found] == [name] * listed


SECRETS = [
    ("smtp_sasl_password_maps", "inline:{ smart=user:hunter2 }"),
    ("virtual_alias_maps", "inline:{sales@a.test=hunter2}"),
    ("ldap_bind", "hosts=x dnpass=hunter2 tls=no"),
    ("connect", "host=db dbname=mail user=mail password=hunter2"),
    ("uri", "mysql://mail:hunter2@db/mail"),
    ("doveadm_password", "hunter2"),
    ("ldap_auth_dn_password", "hunter2"),
    ("passdb/args", "nopassword=y password={PLAIN}hunter2"),
    ("api_key", "api_key = 'hunter2'"),
    ("static", "{SSHA256}hunter2=="),
    ("hash", "$6$salt$hunter2"),
    ("submission/inet/my_secret", "hunter2"),
    ("sql_password", '"hunter2 with more"'),
    ("mypassword", "hunter2"),
    ("bindpw", "0hunter2"),
    ("virtual_alias_maps", "inline:{ sales@a.test=hunter2, a=hunter2"),
    ("http_header", "Authorization: Basic aHVudGVyMg==hunter2"),
    ("key", "-----BEGIN PRIVATE KEY----- hunter2 -----END PRIVATE KEY-----"),
    ("auth_args", "password: hunter2"),
]


@pytest.mark.parametrize(("name", "value"), SECRETS)
def test_a_password_is_never_shown(name, value):
    shown = masked(name, value)
    assert "***" in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("smtp_sasl_password_maps", "hash:/etc/postfix/sasl_passwd"),
        ("smtp_tls_session_cache", "btree:${data_directory}/scache"),
        ("auth_cache_verify_password_with_worker", "yes"),
        ("relayhost", "[smart.example]:587"),
        ("password_query", "SELECT hash FROM users WHERE name = '%u'"),
        ("passdb/default_password_scheme", "SHA512-CRYPT"),
        ("ssl_key_password", "</etc/dovecot/key.pass"),
    ],
)
def test_what_is_no_password_is_shown(name, value):
    assert masked(name, value) == value


@pytest.mark.parametrize("value", ["a\x1b[2J", "a\rall is right", "a\x9bc", "x" * 500])
def test_what_a_file_holds_cannot_steer_a_terminal(value):
    assert all(one.isprintable() for one in masked("x", value))
    assert len(masked("x", value)) <= 200


def test_a_long_list_is_cut_and_says_so():
    found = lost({f"p{number:03}": "x" for number in range(100)}, {}, {}, str, str)
    lines = before_lost.report(found, "x").splitlines()
    assert lines[0].startswith("100 settings")
    assert lines[-1] == "  and 40 more"


def test_each_row_names_value_place_and_pillar_key():
    (row,) = lost(
        {"relayhost": "smart"}, {"relayhost": "other"}, {}, lambda name: "main.cf:3", lambda name: f"m:{name}"
    )
    assert str(row) == "relayhost = smart (main.cf:3); the formula sets other: m:relayhost"


DOVECONF = """# 2.3
auth_mechanisms = plain login
namespace inbox {
  location =
  mailbox Sent {
    special_use = \\Sent
  }
}
passdb {
  args = x = y
}
"""


def test_sections_of_doveconf_are_told_apart():
    assert before_lost.sections(DOVECONF) == {
        "auth_mechanisms": "plain login",
        "namespace inbox/location": "",
        "namespace inbox/mailbox Sent/special_use": "\\Sent",
        "passdb/args": "x = y",
    }


def test_without_postconf_main_cf_is_read_as_it_is(tmp_path):
    (tmp_path / "main.cf").write_text("# a comment\nrelayhost =\n  # in between\n  [smart]:587\nrelayhost = [last]\n")
    staged = tmp_path / "staged"
    staged.mkdir()
    (staged / "main.cf").write_text("biff = no\n")
    found = before_found.postfix(
        str(tmp_path), staged, lambda words: CommandResult(None, "", "no such file"), str(tmp_path)
    )
    assert [str(one) for one in found] == [
        f"relayhost = [last] ({tmp_path}/main.cf:5): mailserver:postfix:main:relayhost"
    ]


def test_opendkims_settings_and_trusted_hosts_are_listed(tmp_path):
    config, trusted = tmp_path / "hand.conf", tmp_path / "hosts"
    config.write_text(
        "syslog yes\nCanonicalization relaxed/relaxed # mine\nSocket inet:12301@localhost\nKeyTable /x\n"
        f"InternalHosts refile:{trusted}\nMinimumKeyBits 512\n"
    )
    trusted.write_text("127.0.0.1\n192.0.2.9 # the printer\n")
    staged = tmp_path / "staged"
    staged.mkdir()
    (staged / "opendkim.conf").write_text("Socket inet:8891@127.0.0.1\nCanonicalization relaxed/simple\n")
    (staged / "TrustedHosts").write_text("127.0.0.1\n")
    found = before_found.opendkim(str(config), staged, "/etc/opendkim/TrustedHosts")
    assert [(one.name, one.value, one.key) for one in found] == [
        ("Canonicalization", "relaxed/relaxed", "mailserver:opendkim:settings:Canonicalization"),
        ("MinimumKeyBits", "512", "mailserver:opendkim:settings:MinimumKeyBits"),
        ("Socket", "inet:12301@localhost", "mailserver:opendkim:socket"),
        ("trusted host", "192.0.2.9", "mailserver:opendkim:trusted_hosts"),
    ]
