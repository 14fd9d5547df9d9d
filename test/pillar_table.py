"""Pillars that people write: of each whether it works, and how that is seen, or with which words it is refused.

Most are below ``postfix:main``, from postconf(5), Postfix's own documents and what other mail servers' set-ups have.
A row that works is applied to both mail hosts by ``test_pillar_table.py``, which shows it by mail, a login or the log;
one that is refused needs no host. ``a.example`` stands for a host's own domain, ``b.example`` for another one that it
receives mail for.
"""

from dataclasses import dataclass, field

HASHES = {
    "md5": "$1$saltsalt$JQBbW9mZ9/NDOyIlEImyp.",
    "sha256": "$5$saltstring$UNouvAAuUXMNRoKXgH9.yjHRClwHK18Zbefa.NeFzaB",
    "sha512": "{SHA512-CRYPT}$6$saltstring$"
    "uXKeUi4olDYi2J2NT4w4S/Tu4dcSxAntn0.gN61mXOwWuCvCegWxwzc4DEP8DurHm6CaiKlL8kKPSgKi6X5JT0",
    "bcrypt": "{BLF-CRYPT}$2y$05$abcdefghijklmnopqrstuuZ0Fx87Pb/Aqb0E90lfvCwzXnaFKUHpS",
    "argon": "{ARGON2ID}$argon2id$v=19$m=65536,t=3,p=1$EUglXSgl2siQpqN5mfsEPA$"
    "V2DYO69xjmWtxTNDC2iq08RLKs9ZMtiiARvBKp+whvQ",
    "yescrypt": "$y$j9T$abcdefghijkl$Cc810nhzA50o9z3UQ2o7FGDyTpApWX5LzcxpbAPqb34",
}
"""The tests' password, in the usual kinds of hashes."""
CLIENT = "198.18.0.31"


@dataclass(frozen=True)
class Row:
    """A pillar that works.

    ``group``: which highstate has it, together with the others of that group. ``makes``: parameters of main.cf, and
    what they then are. ``seen``: the proofs of test_pillar_table.py that it is in force, each with its arguments.
    """

    name: str
    group: str
    pillar: dict
    makes: dict = field(default_factory=dict)
    seen: tuple = ()

    @property
    def whole(self):
        """The pillar with what its group has in common."""
        return merged(COMMON[self.group], self.pillar)


def merged(*pillars):
    """Return one pillar with what several say; none says another thing than the ones before it."""
    found = {}
    for pillar in pillars:
        for name, value in pillar.items():
            here = found.get(name)
            if isinstance(here, dict) and isinstance(value, dict):
                found[name] = merged(here, value)
            else:
                assert name not in found or here == value, f"{name}: {here!r} and {value!r}"
                found[name] = value
    return found


def main(**parameters):
    return {"postfix": {"main": parameters}}


def options(**parameters):
    return {"postfix": {"submission": {"options": parameters}}}


def users(**more):
    return {"accounts": {"users": more}}


def virtual(**more):
    return {"accounts": {"virtual": more}}


_DOMAINS = {"domain": "a.example", "domains": {"a.example": {"ttl": 60}, "b.example": {"ttl": 60}}}
_HASH = {"password": HASHES["yescrypt"]}
_SYSTEM = {**_DOMAINS, "accounts": {"users": {"alice": _HASH, "bob": _HASH}}}
COMMON = {
    "homes": _SYSTEM,
    "spool": _SYSTEM,
    "dovecot": {**_SYSTEM, "sasl": {"type": "dovecot"}},
    "virtual": {
        **_DOMAINS,
        "accounts": {
            "type": "virtual",
            "aliases": {"postmaster": "root", "root": "operator-on-call", "abuse": "root"},
            "virtual": {
                "users": {"alice@a.example": _HASH, "bob@a.example": {**_HASH, "quota": "40KiB"}},
                "aliases": {"team@a.example": ["alice@a.example"]},
                "catch_all": {"b.example": "alice@a.example"},
            },
        },
    },
}
"""What the rows of a group have beside their own."""

WORKS = [
    # ---- users of the system, with folders in their homes
    Row(
        "smtpd_milters is empty",
        "homes",
        main(smtpd_milters=""),
        {"smtpd_milters": "inet:127.0.0.1:8891"},
        (("is_signed", "alice"),),
    ),
    Row(
        "a scanner's address in mynetworks",
        "homes",
        main(mynetworks=["127.0.0.0/8", "[::1]/128", "$scanners"], scanners=CLIENT),
        {"mynetworks": "127.0.0.0/8, [::1]/128, $scanners"},
        (("is_relayed_and_signed",),),
    ),
    Row(
        "folders of another name",
        "homes",
        main(home_mailbox="mail/inbox/"),
        {"home_mailbox": "mail/inbox/"},
        (("arrives", "bob@a.example", "bob"),),
    ),
    Row(
        "another delimiter",
        "homes",
        main(recipient_delimiter="-"),
        {"recipient_delimiter": "-"},
        (("arrives", "bob-tag@a.example", "bob"), ("sends", "alice", "alice-tag@a.example")),
    ),
    Row(
        "a log file beside fail2ban",
        "homes",
        merged(main(maillog_file="/var/log/postfix.log"), {"fail2ban": {"enabled": True}}),
        {"maillog_file": "/var/log/postfix.log"},
        (("is_logged_and_rotated", "/var/log/postfix.log"),),
    ),
    Row(
        "own alias_maps",
        "homes",
        main(alias_maps="inline:{ {office = bob} }"),
        {"alias_maps": "inline:{ {office = bob} }, hash:/etc/aliases"},
        (("arrives", "office@a.example", "bob"), ("arrives", "help@a.example", "bob")),
    ),
    Row(
        "own mydestination",
        "homes",
        main(mydestination=["localhost", "$myhostname"]),
        {"mydestination": "localhost, $myhostname, a.example, b.example"},
        (("arrives", "bob@b.example", "bob"),),
    ),
    Row(
        "restrictions with classes",
        "homes",
        main(
            smtpd_restriction_classes=["strict", "lenient"],
            strict=["reject_non_fqdn_sender", "permit"],
            lenient="permit",
            smtpd_sender_restrictions="check_sender_access inline:{ {outside.test = strict} }",
        ),
        {"strict": "reject_non_fqdn_sender, permit"},
        (("arrives", "bob@a.example", "bob"),),
    ),
    Row(
        "a DNS list among the recipients' restrictions",
        "homes",
        main(
            smtpd_recipient_restrictions=[
                "permit_mynetworks",
                "reject_unauth_destination",
                "reject_rbl_client bl.lab.test",
            ]
        ),
        {"smtpd_recipient_restrictions": "permit_mynetworks, reject_unauth_destination, reject_rbl_client bl.lab.test"},
        (("arrives", "bob@a.example", "bob"), ("is_no_open_relay",)),
    ),
    Row(
        "values that refer to others",
        "homes",
        main(
            message_size_limit="$our_limit",
            our_limit="20971520",
            smtpd_banner="$myhostname ESMTP${our_limit?{ at work}}",
        ),
        {"message_size_limit": "$our_limit"},
        (("arrives", "bob@a.example", "bob"),),
    ),
    Row(
        "own virtual_alias_maps with users of the system",
        "homes",
        main(virtual_alias_maps="inline:{ {sales@a.example = bob} }"),
        {"virtual_alias_maps": "inline:{ {sales@a.example = bob} }"},
        (("arrives", "sales@a.example", "bob"),),
    ),
    Row(
        "own transport_maps",
        "homes",
        main(transport_maps="inline:{ {sink.example = discard:} }"),
        {},
        (("is_sent_to", "x@sink.example", "discard"),),
    ),
    Row(
        "own smtpd_sender_login_maps",
        "homes",
        main(smtpd_sender_login_maps="inline:{ {desk@a.example = alice} }"),
        {"smtpd_sender_login_maps": "inline:{ {desk@a.example = alice} }, regexp:/etc/postfix/sender_login"},
        (("sends", "alice", "desk@a.example"), ("sends", "alice", "alice@a.example")),
    ),
    Row(
        "header_checks within the value",
        "homes",
        main(header_checks="regexp:{ {/^X-Own:/ PREPEND X-Seen: yes} }"),
        {},
        (("arrives_with", "bob@a.example", "bob", "X-Own: 1", "X-Seen: yes"),),
    ),
    Row(
        "a program with arguments as an alias",
        "homes",
        {
            "accounts": {
                "aliases": {"postmaster": "root", "ticket": '|/usr/local/bin/ticket --queue "help desk"', "help": "bob"}
            }
        },
        {},
        (("runs", "ticket@a.example", "--queue|help desk"),),
    ),
    Row(
        "a user with a dot in the name",
        "homes",
        users(**{"a.liddell": _HASH}),
        {},
        (("arrives", "a.liddell@a.example", "a.liddell"), ("sends", "a.liddell", "a.liddell@a.example")),
    ),
    Row(
        "hashes of the usual kinds",
        "homes",
        users(**{name: {"password": text} for name, text in HASHES.items() if name != "argon"}),
        {},
        tuple(("logs_in", name) for name in HASHES if name != "argon"),
    ),
    Row(
        "a domain that is only sent for",
        "homes",
        {
            "domains": {"out.example": {"receive": False, "dkim": {"sign_as": "a.example"}}},
            "opendkim": {"authors": {"alice": ["news@out.example"]}},
        },
        {},
        (("sends", "alice", "news@out.example"),),
    ),
    Row(
        "an internationalised domain",
        "homes",
        {"domains": {"bücher.test": {}}},
        {"smtputf8_enable": "no"},
        (
            ("arrives", "bob@xn--bcher-kva.test", "bob"),
            ("sends", "alice", "alice@xn--bcher-kva.test"),
            ("does_not_offer", "SMTPUTF8"),
        ),
    ),
    Row(
        "a map of the users to take mail for",
        "homes",
        main(local_recipient_maps="inline:{ {guest = x} }"),
        {},
        (("arrives", "bob@a.example", "bob"), ("arrives", "help@a.example", "bob")),
    ),
    Row(
        "milter macros as rspamd's documents have them",
        "homes",
        main(milter_mail_macros="i {mail_addr} {client_addr} {client_name} {auth_authen}"),
        {"milter_mail_macros": "i {mail_addr} {client_addr} {client_name} {auth_authen}, {auth_type}"},
        (("is_signed", "alice"),),
    ),
    Row(
        "DANE for outgoing mail",
        "homes",
        main(smtp_tls_security_level="dane"),
        {"smtp_dns_support_level": "dnssec"},
        (("is_signed", "alice"),),
    ),
    # Parameters as they are in many a main.cf: mail goes on.
    *(
        Row(f"{name}: {value}", "homes", main(**{name: value}), {name: text}, (("arrives", "bob@a.example", "bob"),))
        for name, value, text in (
            ("smtpd_client_connection_rate_limit", 500, "500"),
            ("maximal_queue_lifetime", "3d", "3d"),
            ("bounce_queue_lifetime", "1d", "1d"),
            ("notify_classes", ["resource", "software"], "resource, software"),
            (
                "smtpd_helo_restrictions",
                ["permit_mynetworks", "reject_invalid_helo_hostname"],
                "permit_mynetworks, reject_invalid_helo_hostname",
            ),
            ("smtpd_discard_ehlo_keywords", ["etrn", "silent-discard"], "etrn, silent-discard"),
            ("smtpd_tls_mandatory_exclude_ciphers", ["aNULL", "MD5"], "aNULL, MD5"),
            ("mailbox_delivery_lock", ["fcntl", "dotlock"], "fcntl, dotlock"),
            ("smtp_tls_policy_maps", "static:may", "static:may"),
            ("unknown_local_recipient_reject_code", 450, "450"),
            ("smtpd_error_sleep_time", "0", "0"),
            ("2bounce_notice_recipient", "postmaster", "postmaster"),
            ("relay_domains", ["backup.example"], "backup.example"),
            ("smtp_destination_concurrency_limit", 5, "5"),
            ("default_process_limit", 120, "120"),
            ("strict_rfc821_envelopes", True, "yes"),
            ("smtp_fallback_relay", ["[198.18.0.31]"], "[198.18.0.31]"),
            ("enable_long_queue_ids", True, "yes"),
            ("smtp_tls_connection_reuse", True, "yes"),
        )
    ),
    # ---- users of the system, with a spool
    Row(
        "home_mailbox is null",
        "spool",
        main(home_mailbox=None),
        {},
        (("arrives", "bob@a.example", "bob"),),
    ),
    Row(
        "another milter, and OpenDKIM's for what sendmail is given",
        "spool",
        main(non_smtpd_milters=""),
        {"non_smtpd_milters": "inet:127.0.0.1:8891"},
        (("is_signed_when_handed_in",),),
    ),
    Row(
        "mynetworks within the value",
        "spool",
        main(mynetworks=f"127.0.0.0/8 [::1]/128 cidr:{{ {{{CLIENT} OK}} }}"),
        {},
        (("is_relayed_and_signed",),),
    ),
    Row(
        "a relay host in brackets",
        "spool",
        main(relayhost=f"[{CLIENT}]"),
        {"relayhost": f"[{CLIENT}]"},
        (("is_signed", "alice"),),
    ),
    Row("one protocol", "spool", main(inet_protocols=["ipv4"]), {"inet_protocols": "ipv4"}, (("is_signed", "alice"),)),
    Row(
        "own restrictions for senders at submission",
        "spool",
        options(smtpd_sender_restrictions=["reject_non_fqdn_sender"]),
        {},
        (("may_not_send", "alice", "bob@a.example"), ("sends", "alice", "alice@a.example")),
    ),
    Row(
        "a milter of submission's own",
        "spool",
        options(smtpd_milters=""),
        {},
        (("is_signed", "alice"),),
    ),
    # ---- users of the system, delivered to by Dovecot, which also checks logins
    Row(
        "mailboxes by LMTP",
        "dovecot",
        main(mailbox_transport="lmtp:unix:private/dovecot-lmtp"),
        {"mailbox_transport": "lmtp:unix:private/dovecot-lmtp"},
        (("arrives", "Bob+tag@a.example", "bob"),),
    ),
    Row(
        "who checks logins, said in main.cf",
        "dovecot",
        main(smtpd_sasl_type="dovecot", smtpd_sasl_path="private/dovecot-auth"),
        {"smtpd_sasl_path": "private/dovecot-auth"},
        (("logs_in_alike", "Alice"), ("sends", "alice", "alice@a.example")),
    ),
    Row(
        "a log file alone",
        "dovecot",
        main(maillog_file="/var/log/mail/postfix.log"),
        {},
        (("is_logged_and_rotated", "/var/log/mail/postfix.log"),),
    ),
    # ---- virtual accounts
    Row(
        "own virtual_alias_maps",
        "virtual",
        main(virtual_alias_maps="inline:{ {info@a.example = alice@a.example} }"),
        {
            "virtual_alias_maps": "inline:{ {info@a.example = alice@a.example} }, "
            "texthash:/etc/postfix/mailserver_aliases"
        },
        (
            ("arrives", "info@a.example", "alice@a.example"),
            ("arrives", "team@a.example", "alice@a.example"),
            ("arrives", "whoever@b.example", "alice@a.example"),
            ("is_taken", "postmaster@a.example"),
        ),
    ),
    Row(
        "a DNS list among the recipients' restrictions, and quota",
        "virtual",
        main(smtpd_recipient_restrictions=["reject_unauth_destination", "reject_rbl_client bl.lab.test", "permit"]),
        {
            "smtpd_recipient_restrictions": "reject_unauth_destination, reject_rbl_client bl.lab.test, "
            "check_policy_service unix:private/quota-status, permit"
        },
        (("is_full", "bob@a.example"),),
    ),
    Row(
        "another delimiter with virtual accounts",
        "virtual",
        main(recipient_delimiter="-"),
        {"recipient_delimiter": "-"},
        (("arrives", "alice-tag@a.example", "alice@a.example"), ("sends", "alice@a.example", "alice-x@a.example")),
    ),
    Row(
        "more virtual domains and mailboxes",
        "virtual",
        main(virtual_mailbox_domains="c.example", virtual_mailbox_maps="inline:{ {x@c.example = x} }"),
        {
            "virtual_mailbox_domains": "c.example, a.example, b.example",
            "virtual_mailbox_maps": "inline:{ {x@c.example = x} }, texthash:/etc/postfix/mailserver_mailboxes",
        },
        (("arrives", "alice@a.example", "alice@a.example"),),
    ),
    Row(
        "capitals and dots in an address",
        "virtual",
        virtual(users={"Carol.Lewis@a.example": _HASH}),
        {},
        (("arrives", "carol.lewis@a.example", "carol.lewis@a.example"), ("logs_in_alike", "Carol.Lewis@a.example")),
    ),
    Row(
        "hashes of the usual kinds for virtual accounts",
        "virtual",
        virtual(users={f"{name}@a.example": {"password": text} for name, text in HASHES.items()}),
        {"smtputf8_enable": "no"},
        (*(("logs_in", f"{name}@a.example") for name in HASHES), ("does_not_offer", "SMTPUTF8")),
    ),
]

TAKEN_BACK = [
    (main(sender_canonical_maps="hash:/etc/postfix/no-such-table"), "hash:/etc/postfix/no-such-table"),
    (main(virtual_alias_maps="mysql:/etc/postfix/no-such-table.cf"), "mysql:/etc/postfix/no-such-table.cf"),
    (main(smtpd_milters="inet:127.0.0.1:11332"), "connect to Milter service inet:127.0.0.1:11332: Connection refused"),
    (main(smtpd_timeout="often"), "smtpd_timeout"),
    (
        main(smtpd_recipient_restrictions=["check_policy_service inet:127.0.0.1:10023", "reject_unauth_destination"]),
        "451 4.3.5",
    ),
    (
        main(relay_domains="/etc/postfix/no-such-file"),
        "relay_domains: /etc/postfix/no-such-file: there is no such file",
    ),
]
"""Pillars that only a host shows to be wrong: what it says when the change is refused, or taken back."""

_RECEIVED = {"domains": {"a.example": {}}}
_VIRTUAL = {**_RECEIVED, "accounts": {"type": "virtual", "virtual": {"users": {"alice@a.example": _HASH}}}}


def _with(**parameters):
    return {**_RECEIVED, **main(**parameters)}


def _virtual_with(**parameters):
    return {**_VIRTUAL, **main(**parameters)}


REFUSED = [
    # ---- sizes
    (_with(mailbox_size_limit=1000), "mailbox_size_limit is 1000 bytes, and message_size_limit 52428800 bytes"),
    (_with(mailbox_size_limit="5MiB"), "mailbox_size_limit is 5242880 bytes, and message_size_limit 52428800 bytes"),
    (_with(mailbox_size_limit=51200000), "mailbox_size_limit is 51200000 bytes, and message_size_limit 52428800"),
    (_with(mailbox_size_limit=None), "mailbox_size_limit is 51200000 bytes, and message_size_limit 52428800"),
    (_with(message_size_limit=0, mailbox_size_limit="1GiB"), "message_size_limit 0, which is no limit"),
    (_with(virtual_mailbox_limit="10MiB"), "virtual_mailbox_limit is 10485760 bytes"),
    (_with(mailbox_size_limit="$our_limit", our_limit="1000"), "mailbox_size_limit is 1000 bytes"),
    # ---- transports and services
    (
        _with(content_filter="smtp-amavis:[127.0.0.1]:10024"),
        "main:content_filter: master.cf has no transport 'smtp-amavis'",
    ),
    (_with(default_transport="uucp"), "main:default_transport: master.cf has no transport 'uucp'"),
    (_with(mailbox_transport="maildrop:"), "main:mailbox_transport: master.cf has no transport 'maildrop'"),
    (_with(relay_transport="relay-out:[gw.example]"), "main:relay_transport: master.cf has no transport 'relay-out'"),
    (_with(virtual_transport="dovecot"), "main:virtual_transport: master.cf has no transport 'dovecot'"),
    (
        _with(transport_maps="inline:{ {x.example = amavis:[127.0.0.1]:10024} }"),
        "transport_maps: master.cf has no transport",
    ),
    (_with(fallback_transport="cyrus"), "main:fallback_transport: master.cf has no transport 'cyrus'"),
    (
        _with(sender_dependent_default_transport_maps="static:slow:"),
        "default_transport_maps: master.cf has no transport 'slow'",
    ),
    (
        _with(header_checks="regexp:{ {/^X:/ FILTER scan:[127.0.0.1]} }"),
        "main:header_checks: master.cf has no transport 'scan'",
    ),
    (_with(cleanup_service_name="pre-cleanup"), "main:cleanup_service_name: master.cf has no service 'pre-cleanup'"),
    (
        {**_RECEIVED, **options(content_filter="scan:[127.0.0.1]:10026")},
        "options:content_filter: master.cf has no transport",
    ),
    (_with(local_transport="error:no local mail"), "main:local_transport: error delivers to none of the accounts"),
    # ---- lists of YAML's
    (_with(relayhost=["smtp.example.org"]), "quote it: '[smtp.example.org]' or '[smtp.example.org]:587'"),
    (_with(myorigin=["a.example"]), "main:myorigin: ['a.example'] is a list in YAML, but myorigin has one value"),
    (_with(default_transport=["smtp", "relay"]), "is a list in YAML, but default_transport has one value"),
    (_with(smtp_fallback_relay=["backup.example.org"]), "quote the brackets of hosts: ['[backup.example.org]']"),
    # ---- tables and restrictions
    (_with(sender_canonical_maps="hahs:/etc/postfix/canonical"), "is no table of Postfix's; did you mean 'hash'?"),
    (_with(virtual_alias_maps="/etc/postfix/virtual"), "a table is written type:name"),
    (_with(smtpd_recipient_restrictions="reject_unauth_destinatoin"), "did you mean 'reject_unauth_destination'?"),
    (
        _with(smtpd_sender_restrictions=["check_sender_acces hash:/etc/postfix/x"]),
        "did you mean 'check_sender_access'?",
    ),
    (
        _with(smtpd_relay_restrictions="permit", smtpd_recipient_restrictions="permit"),
        "everybody could relay through this host",
    ),
    # ---- what belongs together
    (
        _with(mynetworks="127.0.0.0/8 cidr:/etc/postfix/scanners"),
        "is not for OpenDKIM to read, so that mail from there",
    ),
    (_with(mynetworks_style="subnet"), "main:mynetworks_style: 'subnet' has no effect beside mynetworks"),
    (_with(mynetworks="0.0.0.0/0"), "main:mynetworks: 0.0.0.0/0 covers so much of the Internet"),
    (_with(mynetworks=["127.0.0.0/8", "[::]/0"]), "main:mynetworks: [::]/0 covers so much of the Internet"),
    (_with(home_mailbox="Maildir"), "Maildir would be one file, an mbox; a folder ends with a slash: Maildir/"),
    (_with(home_mailbox="/var/mail/alice/"), "is not a path below the user's home"),
    (_with(home_mailbox="", mail_spool_directory="/var/mail/"), "main:mail_spool_directory: /var/mail/: users may not"),
    (_with(recipient_delimiter="x"), "main:recipient_delimiter: 'x': it is one or more of"),
    (_with(maillog_file="/srv/log/postfix"), "main:maillog_file: Postfix takes only files below /var"),
    (_with(maillog_file="/dev/stdout"), "main:maillog_file: /dev/stdout is for `postfix start-fg`"),
    (_with(receive_override_options="no_milters"), "receive_override_options: no_milters has mail leave unsigned"),
    (_with(mail_owner="vmail"), "main:mail_owner: 'vmail', but Dovecot, saslauthd and OpenDKIM are set up for postfix"),
    (_with(smtpd_sasl_path="private/auth"), "main:smtpd_sasl_path: 'private/auth': Cyrus SASL reads smtpd.conf"),
    ({**_with(smtpd_sasl_type="dovecot"), "sasl": {"type": "cyrus"}}, "but mailserver:sasl:type is cyrus"),
    ({**_RECEIVED, **options(smtpd_sasl_type="dovecot")}, "but logins are checked by cyrus"),
    ({**_with(myhostname="mail.b.example"), "hostname": "mx1.a.example"}, "but mailserver:hostname is mx1.a.example"),
    ({**_RECEIVED, "dovecot": {"settings": {"mail_location": "mbox:~/mail"}}}, "Dovecot looks there by itself"),
    (
        {**_with(mailbox_transport="lmtp:unix:private/dovecot-lmtp"), "dovecot": {"protocols": ["imap"]}},
        "lmtp is not in",
    ),
    (
        _with(virtual_alias_domains="a.example"),
        "a.example is in mailserver:domains with receive: true, and so in mydest",
    ),
    (_with(virtual_mailbox_domains="a.example"), "main:virtual_mailbox_domains: a.example is in mailserver:domains"),
    (_with(relayhost="[localhost]"), "is this host itself, so that mail would loop back"),
    ({"domains": {"bücher.test": {}}, **main(smtputf8_enable=True)}, "xn--bcher-kva.test is written in its other form"),
    # ---- virtual accounts
    (_virtual_with(mydestination="$myhostname, a.example"), "main:mydestination: a.example is in mailserver:domains"),
    (_virtual_with(virtual_transport="virtual"), "main:virtual_transport: virtual delivers to none of the accounts"),
    (_virtual_with(smtputf8_enable=True), "Dovecot's LMTP has no SMTPUTF8"),
    (_virtual_with(receive_override_options="no_address_mappings"), "no_address_mappings has aliases and catch-alls"),
    (
        {
            **main(recipient_delimiter="-"),
            **_RECEIVED,
            "accounts": {"type": "virtual", "virtual": {"users": {"mary-ann@a.example": _HASH}}},
        },
        "mary-ann@a.example has a delimiter of mailserver:postfix:main:recipient_delimiter (-) in it",
    ),
    (
        {
            "domains": {"bücher.test": {}},
            "accounts": {"type": "virtual", "virtual": {"users": {"a@bücher.test": _HASH}}},
        },
        "write its domain as DNS has it: a@xn--bcher-kva.test",
    ),
    # ---- accounts
    ({**_RECEIVED, "accounts": {"users": {"Alice": {}}}}, "has capitals, and Postfix looks users up in lower case"),
    ({**_RECEIVED, "accounts": {"users": {"alice": {"password": "{PLAIN}secret"}}}}, "these are known here: BLF-CRYPT"),
    (
        {**_RECEIVED, "accounts": {"users": {"alice": {"password": "$argon2id$v=19$m=1,t=1,p=1$a$b"}}}},
        "these are known here",
    ),
    ({**_RECEIVED, "accounts": {"aliases": {"ticket": "|"}}}, "'|' is not a recipient"),
    ({**_RECEIVED, "accounts": {"aliases": {"ticket": "two words"}}}, "'two words' is not a recipient"),
]
"""Pillars, and what is said of each."""
