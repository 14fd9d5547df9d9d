"""Secrets among the parameters of daemons are refused, never repeated, and nothing else is taken for one."""

import pytest

from mailhost.daemons.secrets import problem
from mailhost.errors import PillarError
from mailhost.pillar.settings import resolve

SYSTEM = {"postfix": {"version": "3.10.1", "service": "postfix"}}
GRAINS = {"fqdn": "mx1.a.example", "ipv4": ["192.0.2.25"]}
HIDDEN = "hunter2hunter2"
MAIN, SUBMISSION, DOVECOT, OPENDKIM = (
    "postfix:main",
    "postfix:submission:options",
    "dovecot:settings",
    "opendkim:settings",
)
FILES = {"postfix": "/etc/postfix/", "dovecot": "</etc/dovecot/", "opendkim": "Include: /etc/opendkim/"}

SECRETS = [
    (MAIN, "smtp_sasl_password_maps", f"inline:{{ relay.example = user:{HIDDEN} }}"),
    (MAIN, "smtp_sasl_password_maps", f"inline:{{{{ [relay.example]:587 = user:{HIDDEN} }}}}"),
    (MAIN, "smtp_sasl_password_maps", f"static:user:{HIDDEN}"),
    (MAIN, "smtp_sasl_password_maps", ["hash:/etc/postfix/sasl_passwd", f"static:user:{HIDDEN}"]),
    (MAIN, "lmtp_sasl_password_maps", f"inline:{{ x = user:{HIDDEN} }}"),
    (MAIN, "relay_sasl_password_maps", f"pipemap:{{hash:/etc/x, inline:{{ x = user:{HIDDEN} }}}}"),
    (MAIN, "accounts_bind_pw", HIDDEN),
    (MAIN, "mysqlusers_password", HIDDEN),
    (MAIN, "virtual_alias_maps", f"mysql://user:{HIDDEN}@db.example/mail"),
    (MAIN, "virtual_alias_maps", f"pgsql:host=db password={HIDDEN}"),
    (MAIN, "smtp_sasl_password_maps", f"inline:{{\n relay.example = user:{HIDDEN}\n}}"),
    (MAIN, "smtp_sasl_password_maps", [f"inline:{{ x = user:{HIDDEN} }}", {"no": "value"}]),
    (DOVECOT, "dnpass", f"{HIDDEN}\n"),
    (DOVECOT, "dnpass", [HIDDEN]),
    (DOVECOT, "dnpass", 31415926),
    (SUBMISSION, "smtp_sasl_password_maps", f"static:user:{HIDDEN}"),
    (SUBMISSION, "content_filter", f"lmtp://user:{HIDDEN}@x.example"),
    (DOVECOT, "dnpass", HIDDEN),
    (DOVECOT, "ldap_auth_dn_password", HIDDEN),
    (DOVECOT, "ssl_key_password", HIDDEN),
    (DOVECOT, "doveadm_password", HIDDEN),
    (DOVECOT, "doveadm_api_key", HIDDEN),
    (DOVECOT, "imapc_password", HIDDEN),
    (DOVECOT, "auth_policy_hash_nonce", HIDDEN),
    (DOVECOT, "auth_policy_server_api_header", f"Authorization: Basic {HIDDEN}"),
    (DOVECOT, "oauth2_client_secret", HIDDEN),
    (DOVECOT, "fts", f"https://user:{HIDDEN}@solr.example/"),
    (DOVECOT, "connect", f"host=db user=mail password={HIDDEN}"),
    (DOVECOT, "connect", f"host=db user=mail password = '{HIDDEN}'"),
    (DOVECOT, "ssl_key", f"-----BEGIN PRIVATE KEY-----\\n{HIDDEN}"),
    (DOVECOT, "ssl_key", f"-----BEGIN RSA PRIVATE KEY-----{HIDDEN}"),
    (OPENDKIM, "LDAPBindPassword", HIDDEN),
    (OPENDKIM, "KeyTable", f"dsn:mysql://user:{HIDDEN}@db.example/keys"),
    (OPENDKIM, "KeyTable", f"dsn:mysql://user:{HIDDEN}@3306+db/keys"),
]

NONE = [
    (MAIN, "smtp_sasl_password_maps", "hash:/etc/postfix/sasl_passwd"),
    (MAIN, "smtp_sasl_password_maps", ["texthash:/etc/postfix/sasl_passwd"]),
    (MAIN, "smtp_sasl_password_maps", "proxy:hash:$config_directory/sasl_passwd"),
    (MAIN, "smtp_sasl_password_maps", ""),
    (MAIN, "smtp_sasl_password_result_delimiter", ":"),
    (MAIN, "transport_maps", "inline:{ a.example = smtp:[mx.b.example]:25 }"),
    (MAIN, "virtual_alias_maps", "proxy:mysql:/etc/postfix/mysql-aliases.cf"),
    (MAIN, "smtpd_sender_login_maps", "inline:{ a@a.example = a }"),
    (MAIN, "smtpd_tls_chain_files", ["/etc/ssl/key.pem", "/etc/ssl/cert.pem"]),
    (MAIN, "smtpd_tls_key_file", "/etc/ssl/key.pem"),
    (MAIN, "smtpd_recipient_restrictions", "check_policy_service inet:127.0.0.1:10023, reject"),
    (MAIN, "smtpd_milters", "inet:127.0.0.1:8891, unix:/run/x.sock"),
    (MAIN, "smtp_sasl_auth_enable", True),
    (MAIN, "message_size_limit", 1000),
    (MAIN, "relayhost", "[relay.example]:587"),
    (MAIN, "smtpd_banner", "$myhostname ESMTP, no passwords in the clear"),
    (MAIN, "pass_through", True),
    (MAIN, "smtpd_sasl_security_options", "noanonymous, noplaintext"),
    (DOVECOT, "ssl_key", "</etc/ssl/key.pem"),
    (DOVECOT, "ldap_auth_dn_password", "</etc/dovecot/ldap-password"),
    (DOVECOT, "ssl_key_password", "< /etc/dovecot/key-password"),
    (DOVECOT, "doveadm_password", "$ENV:DOVEADM_PASSWORD"),
    (DOVECOT, "passdb_default_password_scheme", "SHA512-CRYPT"),
    (DOVECOT, "default_pass_scheme", "CRYPT"),
    (DOVECOT, "auth_verbose_passwords", "sha1"),
    (DOVECOT, "password_query", "SELECT password FROM users WHERE name = '%n' AND password = 'x'"),
    (DOVECOT, "pass_attrs", "uid=user,userPassword=password"),
    (DOVECOT, "pass_filter", "(&(objectClass=posixAccount)(uid=%u))"),
    (DOVECOT, "auth_cache_size", "10 M"),
    (DOVECOT, "login_greeting", "Have your password ready"),
    (DOVECOT, "auth_cache_verify_password_with_worker", True),
    (DOVECOT, "auth_token_timeout", 30),
    (DOVECOT, "mail_plugins", "quota acl"),
    (DOVECOT, "userdb_passwd_file_path", "/etc/dovecot/users"),
    (DOVECOT, "auth_policy_server_url", "http://localhost:4001/"),
    (OPENDKIM, "KeyTable", "file:/etc/opendkim/KeyTable"),
    (OPENDKIM, "LDAPBindUser", "cn=opendkim,dc=example"),
    (OPENDKIM, "LDAPAuthMechanism", "simple"),
    (OPENDKIM, "Socket", "inet:8891@127.0.0.1"),
    (OPENDKIM, "RequireSafeKeys", True),
    (OPENDKIM, "ResolverConfiguration", "/etc/unbound.conf"),
]


def given(place, name, value):
    """A pillar with a value at a place."""
    found = {name: value}
    for part in reversed(place.split(":")):
        found = {part: found}
    return {"domains": {"a.example": {}}, **found}


@pytest.mark.parametrize(("place", "name", "value"), SECRETS)
def test_a_secret_is_refused_where_all_may_read_it_and_the_message_says_where_it_goes(place, name, value):
    with pytest.raises(PillarError) as refused:
        resolve(given(place, name, value), SYSTEM, GRAINS)
    (told,) = [one for one in refused.value.problems if "for all to read" in one]
    assert told.startswith(f"mailserver:{place}:{name}: ")
    assert FILES[place.partition(":")[0]] in told
    assert HIDDEN not in str(refused.value)
    assert "31415926" not in str(refused.value)


@pytest.mark.parametrize(("place", "name", "value"), NONE)
def test_what_is_no_secret_is_taken(place, name, value):
    assert problem(place.partition(":")[0], name, value) == ""


def test_the_hash_of_a_users_password_is_not_in_the_settings():
    pillar = {"domains": {"a.example": {}}, "accounts": {"users": {"alice": {"password": "$6$salt$hash"}, "bob": {}}}}
    found = resolve(pillar, SYSTEM, GRAINS)
    assert "$6$" not in repr(found)
    assert found["accounts"]["users"]["alice"]["password"] is True
    assert found["accounts"]["users"]["bob"]["password"] is False
