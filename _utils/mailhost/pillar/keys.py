"""The pillar of this formula: each key with its kind, default and meaning."""

from mailhost.pillar import accounts as pillar_accounts
from mailhost.pillar import hardening as pillar_hardening
from mailhost.pillar import tls as pillar_tls
from mailhost.pillar import transport as pillar_transport
from mailhost.schema import (
    Address,
    AliasTarget,
    Bool,
    Choice,
    Domain,
    Duration,
    Integer,
    Items,
    Key,
    Names,
    OneOf,
    PasswordHash,
    Scalars,
    Section,
    Text,
    UserName,
)

_PARAMETER = Text(r"[a-zA-Z0-9][A-Za-z0-9_.-]*", "the name of a parameter")
_SCALAR = OneOf((Bool(), Integer(-(2**31)), Text()))
_VALUE = OneOf((_SCALAR, Scalars()))
_TTL = Integer(0, 2**31 - 1, "seconds")
_MAIL_ADDRESS = Text(r"[^@\s]+@[A-Za-z0-9.-]+", "a mail address (user@example.com)")
_REPORT_URI = Text(r"(mailto:[^@\s,]+@[A-Za-z0-9.-]+|https://\S+)", "a report URI (mailto:dmarc@example.com)")
_DMARC_POLICY = Choice(("none", "quarantine", "reject"))
_ALIGNMENT = Choice(("r", "s"))


DKIM_KEYS = {
    "enabled": Key(Bool(), "Make a key for the domain and sign with it once DNS shows it.", True),
    "selector": Key(
        Text(r"[A-Za-z0-9{}_.-]+", "a selector template"),
        "Template of a new key's selector: `{date}` (20261124) and `{host}` (mx1) are filled in, and capitals become "
        "small letters. Letters, digits and inner hyphens, with dots between labels of at most 63 characters (RFC 6376 "
        "section 3.1). Hosts that send for the same domain need different selectors.",
        "{date}-{host}",
    ),
    "bits": Key(
        Choice((1024, 2048, 3072, 4096)),
        "RSA key size. RFC 8301 asks for 2048; 1024 can be broken by those who care to; 4096 does not fit one UDP "
        "answer everywhere.",
        2048,
    ),
    "ttl": Key(_TTL, "TTL of the key's record.", computed="the domain's `ttl`"),
    "soak": Key(
        Duration(),
        "How long a key must have been seen in DNS before it signs.",
        computed="0 for a domain's first key, else the larger of the record's TTL and the zone's negative-cache time",
    ),
    "rotate_after": Key(
        Duration(),
        "How long a key signs before it gets a successor; the domains' moments are spread over it. `0`: for ever.",
        7776000,
    ),
    "retention": Key(
        Duration(),
        "How long a key's record stays after a successor signs, for mail that is still in transit; it also stays as "
        "long as such mail is in this host's queue. Under 7 days only with `allow_unsafe`.",
        1209600,
    ),
    "revoke_for": Key(Duration(), "How long a revoked key's record, with an empty `p=`, stays.", 2592000),
    "allow_unsafe": Key(
        Bool(), "Allow a retention under 7 days: mail that was delayed can no longer be verified. For tests.", False
    ),
    "publish_deadline": Key(
        Duration(),
        "How long waiting for DNS is a warning; after that the state fails until the record is there.",
        259200,
    ),
    "strict": Key(Bool(), "Fail at once, instead of warning, while a key waits for DNS.", False),
    "subdomains": Key(
        Bool(),
        "Also sign mail from all names below the domain with the domain's key (`d=example.com` for "
        "user@news.example.com). A name that has a key of its own uses the domain's key only until its own key signs.",
        False,
    ),
}

_SPF = Section(
    {
        "enabled": Key(Bool(), "Emit and check the domain's SPF record.", True),
        "addresses": Key(
            Items(Address()), "Addresses that may send for the domain.", computed="the domain's `addresses`"
        ),
        "hosts": Key(
            Items(Domain()),
            "Hosts whose addresses may send for the domain, as `a:` terms (a look-up each).",
            computed="the domain's `hosts`, unless `addresses` or the domain's are given",
        ),
        "include": Key(Items(Domain(underscores=True)), "Domains whose SPF record is included.", ()),
        "all": Key(Choice(("-all", "~all", "?all")), "What holds for every other address.", "-all"),
        "record": Key(
            Text(r"v=spf1( .*)?", "an SPF record (v=spf1 …)"), "The record's exact text, instead of all the above."
        ),
        "exact": Key(
            Bool(),
            "Require exactly these terms. `false`: other terms in the record, such as another host's addresses or a "
            "service, are kept.",
            computed="`true` with `addresses`, `hosts` or `record`",
        ),
    }
)

_DMARC = Section(
    {
        "enabled": Key(Bool(), "Emit and check the domain's DMARC record (RFC 9989).", True),
        "p": Key(
            _DMARC_POLICY,
            "Policy for mail that fails. `none` only reports: forged mail is still delivered. Go on to `quarantine` "
            "and `reject` when the reports look right.",
            "none",
        ),
        "sp": Key(_DMARC_POLICY, "Policy for existing subdomains.", computed="left out: as `p`"),
        "np": Key(_DMARC_POLICY, "Policy for subdomains that do not exist.", computed="left out: as `sp`"),
        "adkim": Key(_ALIGNMENT, "DKIM alignment: `r` relaxed, `s` strict.", computed="left out: `r`"),
        "aspf": Key(_ALIGNMENT, "SPF alignment: `r` relaxed, `s` strict.", computed="left out: `r`"),
        "fo": Key(
            Text(r"[01ds](:[01ds])*", "failure report options (0, 1, d, s, joined with :)"),
            "When to send failure reports.",
            computed="left out: `0`",
        ),
        "rua": Key(Items(_REPORT_URI), "Where aggregate reports go.", ()),
        "ruf": Key(Items(_REPORT_URI), "Where failure reports go. They hold parts of other people's mail.", ()),
        "t": Key(Choice(("y", "n")), "`y`: a test; receivers should not enforce the policy.", computed="left out: `n`"),
        "psd": Key(Choice(("y", "n", "u")), "Whether the domain is a public suffix.", computed="left out: `u`"),
        "record": Key(
            Text(r"v=DMARC1( *;.*)?", "a DMARC record (v=DMARC1; …)"),
            "The record's exact text, instead of all the above.",
        ),
    }
)

DOMAIN = Section(
    {
        "receive": Key(Bool(), "Accept mail for the domain and deliver it to the users of this host.", True),
        "addresses": Key(
            Items(Address()), "Addresses that the domain's mail leaves from.", computed="the host's `addresses`"
        ),
        "hosts": Key(
            Items(Domain(), 1),
            "All hosts that have the domain, this one among them, and the same list on each: so all of them want the "
            "same SPF, MX and MTA-STS records.",
            computed="not given: this host knows of no other",
        ),
        "mx": Key(
            Items(Domain()),
            "Hosts that the domain's MX record is to name; `[]`: not checked.",
            computed="`hosts`, or `hostname`; none with `receive: false`",
        ),
        "ttl": Key(_TTL, "TTL of the domain's records.", 3600),
        "spf": Key(_SPF, "The domain's SPF record."),
        "dmarc": Key(_DMARC, "The domain's DMARC record."),
        **pillar_transport.domain_keys(_REPORT_URI),
        "dkim": Key(
            Section(
                {
                    **{
                        name: Key(key.kind, key.doc, None, "as under `mailserver:dkim`")
                        for name, key in DKIM_KEYS.items()
                    },
                    "sign_as": Key(
                        Domain(),
                        "Another of the `domains`, whose key signs this one's mail (`d=` is that other domain); this "
                        "one gets no key. Such a signature is not aligned for DMARC, unless one domain lies below the "
                        "other: then this domain's SPF has to be.",
                        computed="none: the domain signs its own mail",
                    ),
                }
            ),
            "The domain's DKIM keys, where they differ from `mailserver:dkim`.",
        ),
    }
)
"""What the pillar says of a domain."""


def _service(port: int, tls: str) -> Section:
    return Section(
        {
            "enabled": Key(Bool(), f"Listen on port {port}.", True),
            "safe_options": Key(
                Bool(),
                f"Require TLS ({tls}), a login, and a sender address that belongs to the login. `false` leaves the "
                "service with main.cf alone: passwords may cross the network in the clear, and a user can send in "
                "another's name.",
                True,
            ),
            "chroot": Key(Bool(), "Run the service in Postfix's chroot.", computed="as the distribution does"),
            "options": Key(
                Names(_PARAMETER, _VALUE, nullable=True), "More parameters of this service (`-o` in master.cf).", {}
            ),
        }
    )


SCHEMA = Section(
    {
        "hostname": Key(
            Domain(),
            "The host's full name: Postfix's `myhostname`, the name in HELO and in the certificate.",
            computed="the grain `fqdn`",
        ),
        "domain": Key(
            Domain(),
            "The host's own mail domain: `mydomain`, and what is appended to local senders.",
            computed="the only one of `domains`; must be given when there are several",
        ),
        "addresses": Key(
            Items(Address(), 1),
            "Addresses that the host's mail leaves from, and that its name is to have; behind NAT, the public ones, "
            "which have to be given.",
            computed="the host's own public addresses, from grains, of the families in `inet_protocols`",
        ),
        "domains": Key(
            Names(Domain(), DOMAIN, alike=True),
            "The mail domains: a mapping, so that several pillar files can add to it.",
            {},
        ),
        "dkim": Key(Section(DKIM_KEYS), "DKIM for all domains; each can differ under `domains:NAME:dkim`."),
        "dns": Key(
            Section(
                {
                    "check": Key(
                        Bool(), "Compare all records of the host and its domains but DKIM's with DNS at each run.", True
                    ),
                    "strict": Key(
                        Bool(), "Fail, instead of warning, when one of these records is absent or different.", False
                    ),
                    "ignore_servers": Key(
                        Items(OneOf((Address(), Domain()))),
                        "Name servers (names or addresses) that are not queried, such as one that is lame for good. "
                        "What only they would answer goes unnoticed.",
                        (),
                    ),
                    "resolvers": Key(
                        Items(Address()),
                        "Recursive resolvers that must agree too, after every authoritative server did.",
                        (),
                    ),
                    "root_servers": Key(
                        Items(Address()),
                        "Root servers from which delegations are followed down to each zone, for a DNS with a root "
                        "of its own; `[]`: delegations are not followed, and this host's resolver is trusted for "
                        "zones and their servers.",
                        computed="those of the Internet",
                    ),
                    "timeout": Key(Duration(1), "Limit for one query.", 5),
                    "lifetime": Key(Duration(1), "Limit for all queries of a run.", 30),
                    "in_flight": Key(
                        Integer(1, 1000),
                        "Simultaneous queries to one server; to all servers together, four times as many.",
                        100,
                    ),
                    "publish": Key(
                        Choice(("manual", "rfc2136", "central")),
                        "How DKIM records get into DNS: `manual`, by people; `rfc2136`, by this host with TSIG; "
                        "`central`, by the host that holds the credential, through the master.",
                        "manual",
                    ),
                    "publish_records": Key(
                        Bool(),
                        "Each highstate also publishes SPF, DMARC, MTA-STS and TLS-RPT records that DNS does not "
                        "show as wanted, in the way that `publish` names; `false`: only `mailserver.publish` does.",
                        False,
                    ),
                    "alias_zones": Key(
                        Items(Domain(underscores=True)),
                        "Zones, or names in them, that aliases (CNAME) of the domains' keys may point into. Key "
                        "records are published only there, and below `_domainkey` of the host's own domains. A "
                        "publisher (`central`) uses what the master's pillar has here for the host that asks.",
                        (),
                    ),
                    "rfc2136": Key(
                        Section(
                            {
                                "server": Key(
                                    OneOf((Address(), Domain())),
                                    "The zones' primary server, which takes the updates.",
                                    computed="must be given with `publish: rfc2136`",
                                ),
                                "port": Key(Integer(1, 65535), "Its port (TCP).", 53),
                                "key_file": Key(
                                    Text(r"/\S+", "an absolute path"),
                                    "File with the TSIG key, as `tsig-keygen` prints it; root alone may read it.",
                                    "/etc/mailserver/rfc2136.key",
                                ),
                                "timeout": Key(Duration(1), "Limit for one message.", 10),
                            }
                        ),
                        "Where records are sent to (RFC 2136).",
                    ),
                    "central": Key(
                        Section(
                            {
                                "publisher": Key(
                                    Text(),
                                    "The minion that publishes, as a target of Salt's; it alone may read the records "
                                    "in the mine.",
                                    computed="must be given with `publish: central`",
                                ),
                                "publisher_type": Key(
                                    Choice(("glob", "pcre", "list", "grain", "grain_pcre", "compound", "nodegroup")),
                                    "What kind of target that is.",
                                    "glob",
                                ),
                            }
                        ),
                        "Who publishes for this host.",
                    ),
                }
            ),
            "How DNS is queried, and how DKIM records get into it.",
        ),
        "postfix": Key(
            Section(
                {
                    "main": Key(
                        Names(_PARAMETER, _VALUE, nullable=True),
                        "Parameters of main.cf by their own names, over the formula's defaults; a list, where Postfix "
                        "takes one, is joined with commas; `null` leaves a default out. A size may have a unit. What "
                        "the formula needs in a list (OpenDKIM's milter, its tables, the check of quota) stays in it; "
                        "what cannot work with the rest is refused (docs/hardening.md).",
                        {},
                    ),
                    "version": Key(
                        Text(r"[0-9]+\.[0-9]+\.[0-9]+", "a version of Postfix with its patch level (3.8.5)"),
                        "Version of Postfix on the host (`postconf -h mail_version`): what it does not know is left "
                        "out of the formula's own configuration, and refused in yours.",
                        computed="that of the distribution's own package",
                    ),
                    "submission": Key(_service(587, "STARTTLS"), "The submission service, port 587."),
                    "submissions": Key(_service(465, "from the first byte"), "The submissions service, port 465."),
                }
            ),
            "Postfix.",
        ),
        "sasl": Key(
            Section(
                {
                    "type": Key(
                        Choice(("cyrus", "dovecot")),
                        "Who checks SMTP logins: saslauthd, or Dovecot.",
                        computed="`cyrus`; `dovecot` with virtual accounts",
                    ),
                    "mechanisms": Key(
                        Items(Choice(("PLAIN", "LOGIN")), 1), "Login mechanisms offered.", ("PLAIN", "LOGIN")
                    ),
                }
            ),
            "SMTP logins.",
        ),
        "dovecot": Key(
            Section(
                {
                    "enabled": Key(Bool(), "Run Dovecot.", True),
                    "protocols": Key(
                        Items(Choice(("imap", "pop3", "lmtp"))),
                        "Protocols that Dovecot serves.",
                        ("imap", "pop3", "lmtp"),
                    ),
                    "allow_cleartext_auth": Key(
                        Bool(),
                        "Allow IMAP and POP3 logins without TLS: anyone on the network path can read the password.",
                        False,
                    ),
                    "settings": Key(
                        Names(_PARAMETER, _SCALAR), "More settings, in the language of the host's Dovecot version.", {}
                    ),
                }
            ),
            "Dovecot.",
        ),
        "opendkim": Key(
            Section(
                {
                    "enabled": Key(Bool(), "Run OpenDKIM.", True),
                    "mode": Key(Choice(("s", "v", "sv")), "Sign, verify, or both.", "sv"),
                    "socket": Key(
                        Text(r"inet:[0-9]{1,5}@[0-9a-zA-Z.:\[\]-]+", "an OpenDKIM socket (inet:8891@127.0.0.1)"),
                        "Where the milter listens.",
                        "inet:8891@127.0.0.1",
                    ),
                    "signing_table": Key(
                        Choice(("file", "refile")),
                        "`file`: a line a domain. `refile`: a pattern `*@domain`, as the original procedure had it; at "
                        "10,000 domains it signs an eighth as fast with ten times the memory.",
                        "file",
                    ),
                    "trusted_hosts": Key(
                        Items(Text(r"[!]?[*0-9A-Za-z.:/_-]+", "an address, network or host name")),
                        "Hosts whose mail is signed (InternalHosts, ExternalIgnoreList). Mail of a login is signed "
                        "for its own addresses (docs/hardening.md).",
                        computed="`127.0.0.1`, `::1`, `localhost`, and the networks of `postfix:main:mynetworks`",
                    ),
                    "authors": Key(
                        Names(
                            Text(r"[A-Za-z0-9@._+-]+", "a login"),
                            Items(
                                Text(
                                    r"\*|[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]*@[A-Za-z0-9._-]+", "an address, @domain or *"
                                ),
                                1,
                            ),
                        ),
                        "Logins, and the authors (addresses, `@domain`, `@.domain` for all below it, `*`) for whom "
                        "their mail is signed in addition to their own addresses (docs/hardening.md).",
                        {},
                    ),
                    "settings": Key(Names(_PARAMETER, _SCALAR), "More lines of opendkim.conf, over the formula's.", {}),
                    "takeover": Key(
                        Section(
                            {
                                "drop": Key(
                                    Items(Text()),
                                    "Parts of the OpenDKIM configuration found on the host that may be dropped: "
                                    "patterns of its SigningTable, hosts, settings, spelled as the refusal names "
                                    "them. Without this, a run that would end a signature changes nothing "
                                    "(docs/takeover.md).",
                                    (),
                                ),
                            }
                        ),
                        "Taking over an OpenDKIM configuration that was written by hand.",
                    ),
                }
            ),
            "OpenDKIM.",
        ),
        "firewalld": Key(
            Section(
                {
                    "enabled": Key(Bool(), "Run firewalld and open the mail ports.", True),
                    "zone": Key(
                        Text(r"[A-Za-z0-9_-]{1,17}", "a firewalld zone"), "The zone to open them in.", "public"
                    ),
                    "services": Key(
                        Items(Text(r"[a-z0-9-]+", "a firewalld service")),
                        "Services to allow.",
                        computed="those of the enabled protocols",
                    ),
                    "ports": Key(
                        Items(Text(r"[0-9]{1,5}(-[0-9]{1,5})?/(tcp|udp)", "a port (587/tcp)")),
                        "Ports to open.",
                        computed="587/tcp, when submission is enabled",
                    ),
                    "shut": Key(
                        Items(Text(r"[0-9]{1,5}(-[0-9]{1,5})?/(tcp|udp)", "a port (587/tcp)")),
                        "Ports that may be shut although something listens there when firewalld starts on this host "
                        "for the first time. If any other port would be shut, firewalld is not started.",
                        (),
                    ),
                }
            ),
            "The firewall.",
        ),
        **pillar_hardening.HOST_KEYS,
        "selinux": Key(
            Section(
                {
                    "enabled": Key(
                        Bool(), "Label what SELinux's policy does not know.", computed="where SELinux is enabled"
                    ),
                    "booleans": Key(
                        Names(Text(r"[a-z][a-z0-9_]*", "a boolean of SELinux"), Bool()),
                        "Booleans to set for good (`semanage boolean -l`); the formula itself needs none.",
                        {},
                    ),
                }
            ),
            "SELinux, on EL.",
        ),
        "repositories": Key(
            Section(
                {
                    "install": Key(
                        Bool(),
                        "On EL, install EPEL, where OpenDKIM is, and enable CRB (PowerTools), which EPEL builds on. "
                        "`false` where hosts get their packages from mirrors of your own.",
                        True,
                    )
                }
            ),
            "Package repositories.",
        ),
        "tls": pillar_tls.HOST_KEY,
        "mta_sts": pillar_transport.HOST_KEY,
        "accounts": Key(
            Section(
                {
                    "users": Key(
                        Names(
                            UserName(),
                            Section(
                                {
                                    "password": Key(
                                        PasswordHash(),
                                        "Password hash of crypt(3).",
                                        computed="left as it is",
                                    ),
                                    "enabled": Key(
                                        Bool(),
                                        "Let the user log in. `false` locks the login, also for SSH; mail still "
                                        "arrives.",
                                        True,
                                    ),
                                    "fullname": Key(Text(), "The user's full name.", computed="left as it is"),
                                    "shell": Key(
                                        Text(r"/\S+", "an absolute path"),
                                        "Login shell.",
                                        computed="left as it is; `/usr/sbin/nologin` for a user that is made",
                                    ),
                                }
                            ),
                        ),
                        "System users with a mailbox (`~/Maildir/`).",
                        {},
                    ),
                    "aliases": Key(
                        Names(
                            Text(
                                r"[^\s:@]+",
                                "the name of an alias without a domain (an address is forwarded by "
                                "accounts:virtual:aliases, or by a table that postfix:main:virtual_alias_maps names)",
                            ),
                            OneOf((AliasTarget(), Items(AliasTarget(), 1))),
                        ),
                        "Aliases: where mail for a name goes: names, addresses, a file (`/…`), a program with its "
                        "arguments (`|/usr/local/bin/ticket --queue help`).",
                        {"postmaster": "root"},
                    ),
                    **pillar_accounts.KEYS,
                }
            ),
            "Users and aliases.",
        ),
        "schedule": Key(
            Section(
                {
                    "enabled": Key(
                        Bool(), "Let the minion run `dkim.advance` on its schedule, with or without its master.", True
                    ),
                    "every": Key(Duration(10), "Time between two such runs.", 3600),
                    "splay": Key(
                        Duration(), "Random delay of each run, so that hosts do not all query DNS at once.", 600
                    ),
                }
            ),
            "The minion's scheduled runs over its DKIM keys.",
        ),
        "watch": Key(
            Section(
                {
                    "enabled": Key(
                        Bool(),
                        "Let the minion run `mailserver.watch`, which reports what changed. It is on because a fault "
                        "that nobody looks for costs mail for days, and a run takes some seconds; without `mail` and "
                        "`prometheus` it only sends events.",
                        True,
                    ),
                    "every": Key(Duration(10), "Time between two such runs.", 3600),
                    "splay": Key(
                        Duration(), "Random delay of each run, so that hosts do not all query DNS at once.", 600
                    ),
                    "mail": Key(
                        Items(_MAIL_ADDRESS),
                        "Who gets a mail about it. Name a mailbox that does not depend on this host, or the mail "
                        "about its fault is stuck in it.",
                        (),
                    ),
                    "prometheus": Key(
                        OneOf((Bool(), Text(r"/\S+\.prom", "an absolute path (/….prom)"))),
                        "Where each run writes its findings for the node exporter's textfile collector; `true`: "
                        "`mailserver.prom` in the folder that its Debian package reads.",
                        False,
                    ),
                }
            ),
            "What the minion reports about its mail server (docs/watch.md).",
        ),
        "selftest": Key(
            Section(
                {
                    "port": Key(
                        Integer(1024, 65535),
                        "Loopback port on which `mailserver.selftest` takes its own message back.",
                        10587,
                    )
                }
            ),
            "The self-test.",
        ),
        "reflector": Key(
            Section(
                {
                    "address": Key(
                        Text(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+", "a mail address (check@example.com)"),
                        "The address that answers any message with a report of its SPF, DKIM and DMARC, in one of "
                        "the `domains` that the host receives mail for.",
                        computed="none: there is no reflector",
                    ),
                    "language": Key(Choice(("en", "ja")), "The report's language: English or Japanese.", "en"),
                    "rate": Key(Integer(1, 10000), "Answers an hour to one sender; more messages get none.", 10),
                    "total": Key(Integer(1, 10000), "Answers an hour to all senders together.", 200),
                }
            ),
            "An address to which people write to check their mail.",
        ),
        "clean": Key(
            Section(
                {
                    "packages": Key(
                        Bool(),
                        "Let `mailserver.clean` also remove the packages that the formula installed; those that were "
                        "there before stay.",
                        False,
                    )
                }
            ),
            "What else `mailserver.clean` removes.",
        ),
        "python": Key(
            Section(
                {
                    "install": Key(
                        Bool(),
                        "Install dnspython, dkimpy and pyspf into Salt's own Python, and for the reflector "
                        "publicsuffixlist and PyNaCl.",
                        True,
                    )
                }
            ),
            "Python packages that the formula's modules need.",
        ),
    }
)
