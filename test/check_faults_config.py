"""Faults of a mail host's configuration, and of its keys on disk."""

from functools import partial

from check_faults import FAIL, OPENDKIM, POSTFIX, PYTHON, RESTART, UNKNOWN, WARN, Fault

KEYS = "/etc/opendkim/keys/$domain"
ALIASES = "/etc/aliases /etc/aliases.db"
config = partial(Fault, area="config", keeps=POSTFIX)

CONFIG_FAULTS = [
    # ---- config: Postfix
    config(
        "a parameter that Postfix does not know",
        "echo no_such_parameter = 1 >>/etc/postfix/main.cf",
        {"postfix.parser": {WARN}},
    ),
    config(
        "a line that Postfix does not understand",
        "echo smtpd_helo_required yes >>/etc/postfix/main.cf",
        {"postfix.parser": {FAIL}},
        besides={"running.queue_length": {UNKNOWN}},
        may=("running.log",),
    ),
    config(
        "an old copy in the chroot",
        "echo '# more' >>/etc/services",
        {"postfix.parser": {WARN}},
        keeps="/etc/services",
    ),
    config("a parameter changed by hand", "postconf -e message_size_limit=1000", {"postfix.main": {WARN}}),
    config(
        "no submission service", "postconf -MX submission/inet", {"postfix.service": {FAIL}, "postfix.option": {WARN}}
    ),
    config(
        "a service that nobody asked for",
        "postconf -M '2525/inet=2525 inet n - y - - smtpd'",
        {"postfix.service": {WARN}},
    ),
    config("a service without its chroot", "postconf -F submission/inet/chroot=n", {"postfix.service": {WARN}}),
    config(
        "an option of submission changed by hand",
        "postconf -P submission/inet/smtpd_tls_security_level=may",
        {"postfix.option": {WARN}},
    ),
    config(
        "a map without its database",
        "rm /etc/aliases.db",
        {"postfix.map": {FAIL}},
        keeps=ALIASES,
        mends=RESTART,
        besides={"running.log": {FAIL}},
    ),
    config(
        "a map older than its source",
        "touch /etc/aliases",
        {"postfix.map": {WARN}},
        keeps=ALIASES,
    ),
    config(
        "a table of a type that there is not",
        "postconf -e sender_canonical_maps=hahs:/etc/postfix/canonical",
        {"postfix.main": {WARN}, "postfix.map": {FAIL}},
    ),
    config(
        "a table that nobody made",
        "postconf -e smtp_generic_maps=hash:/etc/postfix/no-such-file",
        {"postfix.main": {WARN}, "postfix.map": {FAIL}},
    ),
    config(
        "a table of patterns in an option of master.cf that nobody made",
        "postconf -P 'submission/inet/smtpd_client_restrictions=check_client_access pcre:/etc/postfix/no-such-file'",
        {"postfix.option": {WARN}, "postfix.map": {FAIL}},
    ),
    config(
        "a content filter that master.cf has not",
        "postconf -e content_filter=smtp-amavis:[127.0.0.1]:10024",
        {"postfix.main": {WARN}, "postfix.transport": {FAIL}},
    ),
    config(
        "mailboxes smaller than messages",
        "postconf -e mailbox_size_limit=1000",
        {"postfix.main": {WARN}, "postfix.limits": {FAIL}},
    ),
    config(
        "everybody in mynetworks",
        "postconf -e mynetworks=0.0.0.0/0",
        {"postfix.main": {WARN}, "postfix.mynetworks": {FAIL}},
    ),
    config(
        "all of a private network in mynetworks",
        "postconf -e 'mynetworks=127.0.0.0/8, 10.0.0.0/8'",
        {"postfix.main": {WARN}, "postfix.mynetworks": {WARN}},
    ),
    config(
        "mail that leaves unsigned while OpenDKIM is down",
        "postconf -e milter_default_action=accept",
        {"postfix.main": {WARN}, "milter.default_action": {WARN}},
    ),
    config(
        "a milter's socket outside the chroot",
        "postconf -e smtpd_milters=unix:/run/opendkim/opendkim.sock",
        {"postfix.main": {WARN}, "milter.socket": {FAIL}},
    ),
    # ---- config: logins and Dovecot
    config(
        "saslauthd is stopped",
        "systemctl stop saslauthd",
        {"sasl.socket": {FAIL}},
        keeps="",
        mends="systemctl start saslauthd",
        besides={"running.unit": {FAIL}},
    ),
    config(
        "another way to check passwords",
        "sed -i s/saslauthd/auxprop/ /etc/postfix/sasl/smtpd.conf",
        {"sasl.library": {FAIL}},
    ),
    config(
        "a setting that Dovecot does not know",
        "echo no_such_setting = 1 >>/etc/dovecot/dovecot.conf",
        {"dovecot.parser": {FAIL}},
        keeps="/etc/dovecot",
    ),
    # ---- config: OpenDKIM and its keys
    config(
        "a setting that OpenDKIM does not know",
        "echo NoSuchSetting 1 >>/etc/opendkim.conf",
        {"opendkim.parser": {FAIL}, "opendkim.setting": {WARN}},
        keeps=OPENDKIM,
    ),
    config(
        "a setting of OpenDKIM changed by hand",
        "sed -i 's/^Mode .*/Mode v/' /etc/opendkim.conf",
        {"opendkim.setting": {WARN}},
        keeps=OPENDKIM,
    ),
    config(
        "signatures that nobody takes",
        "echo SignatureAlgorithm rsa-sha1 >>/etc/opendkim.conf",
        {"opendkim.setting": {WARN}, "opendkim.algorithm": {FAIL}},
        keeps=OPENDKIM,
    ),
    config(
        "a stranger whose mail is signed",
        "echo 192.0.2.1 >>/etc/opendkim/TrustedHosts",
        {"opendkim.trusted_hosts": {WARN}},
        keeps=OPENDKIM,
    ),
    config(
        "a login that may write as anybody",
        "echo 'mallory *' >>/etc/opendkim/Authors",
        {"opendkim.authors": {WARN}},
        keeps="/etc/opendkim/Authors",
    ),
    config(
        "signatures for whatever author a message names",
        "sed -i /^SetupPolicyScript/d /etc/opendkim.conf",
        {"opendkim.setting": {WARN}},
        keeps="/etc/opendkim.conf",
    ),
    config("no authors", "rm /etc/opendkim/Authors", {"opendkim.authors": {FAIL}}, keeps="/etc/opendkim/Authors"),
    config(
        "no KeyTable", "rm /etc/opendkim/KeyTable", {"dkim.table": {FAIL}, "opendkim.parser": {FAIL}}, keeps=OPENDKIM
    ),
    config(
        "a row in one signing table only",
        "sed -i /$domain/d /etc/opendkim/SigningTable",
        {"dkim.tables_agree": {WARN}},
        keeps=OPENDKIM,
    ),
    config(
        "a change of the tables that did not end",
        "cp -p /etc/opendkim/KeyTable /etc/opendkim/.KeyTable.worked",
        {"dkim.cut_short": {WARN}},
        keeps=OPENDKIM,
    ),
    config(
        "a damaged manifest",
        f"printf '{{' >{KEYS}/keys.json",
        {"dkim.signer": {FAIL}},
        keeps=OPENDKIM,
        besides={"dns.dkim": {UNKNOWN}},
    ),
    config(
        "a domain without its row in the signing tables",
        "sed -i /$domain/d /etc/opendkim/SigningTable*",
        {"dkim.signing_table": {FAIL}},
        keeps=OPENDKIM,
        besides={"dns.dkim.signs": {WARN}},
    ),
    config(
        "a row of a domain that went",
        "cd /etc/opendkim; sed -n s/$domain/gone.test/gp SigningTable >>SigningTable; "
        "sed -n s/$domain/gone.test/gp SigningTable.domains >>SigningTable.domains",
        {"dkim.signing_table": {WARN}},
        keeps=OPENDKIM,
    ),
    config(
        "a row of the KeyTable removed",
        "sed -i /$domain/d /etc/opendkim/KeyTable",
        {"dkim.key_table": {FAIL}},
        keeps=OPENDKIM,
        besides={"dns.dkim.signs": {WARN}},
    ),
    config("a key that all can read", f"chmod 0644 {KEYS}/*.private", {"dkim.key_file": {FAIL}}, keeps=OPENDKIM),
    config("a key of another owner", f"chown bob {KEYS}/*.private", {"dkim.key_file": {FAIL}}, keeps=OPENDKIM),
    config("no key", f"rm {KEYS}/*.private", {"dkim.key_file": {FAIL}}, keeps=OPENDKIM),
    config("a folder of keys that all can write to", f"chmod 0777 {KEYS}", {"dkim.key_folder": {FAIL}}, keeps=OPENDKIM),
    config(
        "another key in the key's place",
        f"openssl genrsa -traditional 2048 2>/dev/null >/run/key; cat /run/key >$(ls {KEYS}/*.private)",
        {"dkim.key": {FAIL}},
        keeps=OPENDKIM,
    ),
    config(
        "a manifest by which no key signs",
        f"""{PYTHON} - {KEYS}/keys.json <<'program'
import json, sys
told = json.load(open(sys.argv[1]))
for key in told["keys"]:
    key["signing"] = None
json.dump(told, open(sys.argv[1], "w"))
program""",
        {"dkim.signs": {WARN}},
        area="dns",
        keeps=OPENDKIM,
    ),
]
