"""The types of a host's settings, made by `script/reference shapes` from the schema of the pillar.

At run time settings are plain dicts. A key that no pillar has is filled in by
:mod:`mailhost.pillar.settings`.
"""

from typing import Any, Literal, TypedDict

Value = bool | int | str | list[bool | str]
"""A daemon's parameter as the pillar gives it."""
Domains = dict[str, "DomainSettings"]


class DeliveryPlace(TypedDict):
    domain: str
    virtual: bool
    nobody: bool


class DeliveryPlan(TypedDict):
    """The recipients of the formula's test messages, as :mod:`mailhost.selftest.recipients` plans them."""

    user: str
    alias: str
    folder: str
    home: str
    queue: str
    hostname: str
    addresses: list[str]
    places: list[DeliveryPlace]
    mailbox: str | None
    mailbox_alias: str | None
    room: int
    port: int
    imap: bool
    tables: list[str] | None
    trusted: bool


class Authors(TypedDict):
    """For whom a host's mail is signed, as :mod:`mailhost.opendkim.authors` settles it."""

    rules: dict[str, str | bool]
    rows: list[str]
    names: dict[str, str]


class DomainSpf(TypedDict):
    enabled: bool
    hosts: list[str]
    include: list[str]
    all: Literal["-all", "~all", "?all"]
    record: str | None
    exact: bool
    addresses: list[str] | None


class DomainDmarc(TypedDict):
    enabled: bool
    p: Literal["none", "quarantine", "reject"]
    sp: Literal["none", "quarantine", "reject"] | None
    np: Literal["none", "quarantine", "reject"] | None
    adkim: Literal["r", "s"] | None
    aspf: Literal["r", "s"] | None
    fo: str | None
    rua: list[str]
    ruf: list[str]
    t: Literal["y", "n"] | None
    psd: Literal["y", "n", "u"] | None
    record: str | None


class DomainMtaSts(TypedDict):
    mode: Literal["enforce", "testing", "none"] | None
    max_age: int
    addresses: list[str]


class DomainTlsRpt(TypedDict):
    rua: list[str]


class DomainDkim(TypedDict):
    enabled: bool
    selector: str
    bits: Literal[1024, 2048, 3072, 4096]
    ttl: int
    rotate_after: int
    retention: int
    revoke_for: int
    allow_unsafe: bool
    publish_deadline: int
    strict: bool
    subdomains: bool
    sign_as: str | None
    soak: int | None


class DomainSettings(TypedDict):
    receive: bool
    addresses: list[str]
    hosts: list[str] | None
    mx: list[str]
    ttl: int
    spf: DomainSpf
    dmarc: DomainDmarc
    mta_sts: DomainMtaSts
    tls_rpt: DomainTlsRpt
    caa: list[str]
    dkim: DomainDkim


class Dkim(TypedDict):
    enabled: bool
    selector: str
    bits: Literal[1024, 2048, 3072, 4096]
    soak: int | None
    rotate_after: int
    retention: int
    revoke_for: int
    allow_unsafe: bool
    publish_deadline: int
    strict: bool
    subdomains: bool
    ttl: int | None


class DnsRfc2136(TypedDict):
    server: str | None
    port: int
    key_file: str
    timeout: int


class DnsCentral(TypedDict):
    publisher: str | None
    publisher_type: Literal["glob", "pcre", "list", "grain", "grain_pcre", "compound", "nodegroup"]


class Dns(TypedDict):
    check: bool
    strict: bool
    ignore_servers: list[str]
    resolvers: list[str]
    root_servers: list[str] | None
    timeout: int
    lifetime: int
    in_flight: int
    publish: Literal["manual", "rfc2136", "central"]
    publish_records: bool
    alias_zones: list[str]
    rfc2136: DnsRfc2136
    central: DnsCentral


class PostfixSubmission(TypedDict):
    enabled: bool
    safe_options: bool
    chroot: bool
    options: dict[str, str]


class PostfixSubmissions(TypedDict):
    enabled: bool
    safe_options: bool
    chroot: bool
    options: dict[str, str]


class Postfix(TypedDict):
    version: str
    submission: PostfixSubmission
    submissions: PostfixSubmissions
    main: dict[str, str]
    delimiter: str
    log: str
    files: dict[str, list[str]]
    senders: list[str]
    syntax: dict[str, bool]
    local: dict[str, str]
    tlsproxy: bool
    message_size: int | None


class Sasl(TypedDict):
    type: Literal["cyrus", "dovecot"]
    mechanisms: list[Literal["PLAIN", "LOGIN"]]
    path: str


class Dovecot(TypedDict):
    enabled: bool
    protocols: list[Literal["imap", "pop3", "lmtp"]]
    allow_cleartext_auth: bool
    settings: dict[str, bool | int | str]
    mail: dict[str, str]
    lmtp_socket: bool
    folds_case: bool


class OpendkimTakeover(TypedDict):
    drop: list[str]


class Opendkim(TypedDict):
    enabled: bool
    mode: Literal["s", "v", "sv"]
    socket: str
    signing_table: Literal["file", "refile"]
    trusted_hosts: list[str]
    authors: dict[str, list[str]]
    settings: dict[str, bool | int | str]
    takeover: OpendkimTakeover


class Firewalld(TypedDict):
    enabled: bool
    zone: str
    services: list[str]
    ports: list[str]
    shut: list[str]


class Limits(TypedDict):
    connections: int
    connection_rate: int
    message_rate: int
    recipient_rate: int
    auth_rate: int
    recipients: int
    header_size: int
    exempt: list[str]


class Postscreen(TypedDict):
    enabled: bool
    lists: dict[str, int]
    threshold: int
    allow_threshold: int | None
    greet_wait: int
    action: Literal["enforce", "drop", "ignore"]
    access: dict[str, Literal["permit", "reject", "dunno"]]


class Fail2ban(TypedDict):
    enabled: bool
    maxretry: int
    findtime: int
    bantime: int
    ignore: list[str]
    ports: list[str]


class Selinux(TypedDict):
    enabled: bool
    booleans: dict[str, bool]
    milter_ports: list[int]


class Repositories(TypedDict):
    install: bool


class TlsCa(TypedDict):
    server: str | None
    signing_policy: str | None
    days_remaining: int
    chain: list[str]


class TlsAcme(TypedDict):
    challenge: Literal["http-01", "dns-01"] | None
    email: str | None
    ca_file: str | None
    webroot: str | None
    propagation: int
    server: str | None


class Tls(TypedDict):
    certificate: str | None
    key: str | None
    ca: TlsCa
    acme: TlsAcme
    names: list[str]
    tlsa: bool
    source: str


class MtaSts(TypedDict):
    serve: Literal["nothing", "nginx"]
    listen: list[str]
    certificate: str | None
    key: str | None


class AccountsUser(TypedDict):
    enabled: bool
    fullname: str | None
    shell: str | None
    password: bool


class AccountsVirtualUser(TypedDict):
    aliases: list[str]
    quota: int
    enabled: bool
    sieve: bool


class AccountsVirtual(TypedDict):
    users: dict[str, AccountsVirtualUser]
    aliases: dict[str, list[str]]
    catch_all: dict[str, str]
    quota: int
    managesieve: bool
    sieve: bool
    weak_hashes: bool


class Accounts(TypedDict):
    users: dict[str, AccountsUser]
    aliases: dict[str, str | list[str]]
    type: Literal["system", "virtual"]
    virtual: AccountsVirtual


class Schedule(TypedDict):
    enabled: bool
    every: int
    splay: int


class Watch(TypedDict):
    enabled: bool
    every: int
    splay: int
    mail: list[str]
    prometheus: Literal[False] | str


class Selftest(TypedDict):
    port: int


class Reflector(TypedDict):
    address: str | None
    language: Literal["en", "ja"]
    rate: int
    total: int


class Clean(TypedDict):
    packages: bool


class Python(TypedDict):
    install: bool


class Settings(TypedDict):
    hostname: str
    domain: str
    addresses: list[str]
    domains: dict[str, DomainSettings]
    dkim: Dkim
    dns: Dns
    postfix: Postfix
    sasl: Sasl
    dovecot: Dovecot
    opendkim: Opendkim
    firewalld: Firewalld
    limits: Limits
    postscreen: Postscreen
    fail2ban: Fail2ban
    selinux: Selinux
    repositories: Repositories
    tls: Tls
    mta_sts: MtaSts
    accounts: Accounts
    schedule: Schedule
    watch: Watch
    selftest: Selftest
    reflector: Reflector
    clean: Clean
    python: Python
    families: list[Literal[4, 6]]
    own_addresses: list[str]
    os: dict[str, Any]
    delivery: DeliveryPlan | None
    authors: Authors | None
