"""What is broken in the world that `client` plays, a domain each, and which findings of mailserver.check that makes."""

import json
from dataclasses import dataclass, field

ZONE = "broken.test"
WELL = "198.18.0.31"
SILENT = "198.18.0.41"
MANNERS = {
    f"198.18.0.{number}": manner
    for number, manner in enumerate(
        (
            *("silent", "refused", "servfail", "notimp", "lame", "upward", "cut", "trickle"),
            *("other_id", "other_question", "foreign", "garbage"),
        ),
        41,
    )
}
"""How the name server at each of the client's further addresses answers (world_program.py)."""

WARN, FAIL, UNKNOWN = {"warn"}, {"fail"}, {"unknown"}
SPF = '"v=spf1 ip4:198.18.0.21 -all"'
SIGNED = {"dkim": {"enabled": True}}
UNSEEN = dict.fromkeys(("mx", "spf", "dmarc"), UNKNOWN)
"""Of what everybody needs nothing is known as long as one server of the zone is in trouble."""
BY_RESOLVER = ("spf.passes", "mta_sts", "tls_rpt")


@dataclass(frozen=True)
class Broken:
    """A domain of mx1 that has all it needs in DNS but for ``records``: (owner in the domain, type, values…).

    ``servers`` are the addresses of its zone's name servers; ``pillar`` is the domain's, ``host`` what else the
    pillar says. ``wanted`` are the findings of the area dns that are not ok: the statuses of each. Those in ``perhaps``
    may be unknown besides: it is up to the host's resolver which of a zone's servers it asks.
    """

    name: str
    records: list = field(default_factory=list)
    wanted: dict = field(default_factory=dict)
    perhaps: tuple = ()
    servers: tuple = (WELL,)
    pillar: dict = field(default_factory=dict)
    host: dict = field(default_factory=dict)

    @property
    def domain(self):
        return f"{self.name}.{ZONE}"

    @property
    def settings(self):
        """The pillar of a host that has this one domain, and little patience."""
        return {
            "hostname": "mx1.lab.test",
            "addresses": ["198.18.0.21"],
            "dns": {"timeout": 2, "lifetime": 20, "root_servers": []},
            **self.host,
            "domains": {self.domain: {"dkim": {"enabled": False}, **self.pillar}},
        }

    def lines(self):
        """Return the records of its zone, each an absolute owner, a type and a value."""
        servers = [name_server(address) for address in self.servers]
        sound = {
            ("@", "SOA"): [f"{servers[0]} hostmaster.{ZONE}. 1 60 10 600 2"],
            ("@", "NS"): servers,
            ("@", "MX"): ["10 mx1.lab.test."],
            ("@", "TXT"): [SPF],
            ("_dmarc", "TXT"): ['"v=DMARC1; p=none"'],
            ("mta-sts", "A"): [WELL],
        }
        sound |= {(owner, rdtype): values for owner, rdtype, *values in self.records}
        return [
            [f"{self.domain}." if owner == "@" else f"{owner}.{self.domain}.", rdtype, value]
            for (owner, rdtype), values in sound.items()
            for value in values
        ]


def name_server(address):
    return f"ns{address.rpartition('.')[2]}.{ZONE}."


def spf(name, record, wanted, *more):
    """A domain whose SPF record is another one; that it allows more than is wanted is all right."""
    strings = " ".join(f'"{record[start : start + 255]}"' for start in range(0, len(record), 255))
    lacks = {} if "ip4:198.18.0.21 " in record else {"spf": WARN}
    return Broken(name, [("@", "TXT", strings), *more], {**lacks, **wanted})


def sts(name, status):
    """A domain with an MTA-STS record, and a web server of the policy that is as its name says."""
    return Broken(name, [("_mta-sts", "TXT", '"v=STSv1; id=1"')], {"mta_sts": status} if status else {})


def host(name, records, wanted):
    """A mail host ``mx`` in a domain of its own."""
    records = [("mx", "A", "198.18.0.21"), ("@", "MX", f"10 mx.{name}.{ZONE}."), *records]
    return Broken(name, records, {"reverse": WARN, **wanted}, host={"hostname": f"mx.{name}.{ZONE}"})


ALIASED = dict.fromkeys(("address", "caa", "tlsa"), UNKNOWN)
ALL_SERVERS = [
    Broken(f"all-{manner.replace('_', '-')}", wanted=UNSEEN, perhaps=BY_RESOLVER, servers=(address,))
    for address, manner in MANNERS.items()
]
ONE_SERVER = [
    Broken(f"one-{manner.replace('_', '-')}", wanted=UNSEEN, perhaps=BY_RESOLVER, servers=(WELL, address))
    for address, manner in MANNERS.items()
]

RECORDS = [
    Broken("well"),
    # ---- SPF (RFC 7208)
    spf(
        "spf15",
        f"v=spf1 {' '.join(f'include:i{one}.spf15.{ZONE}' for one in range(15))} ip4:198.18.0.21 -all",
        {"spf.passes": FAIL},
        *((f"i{one}", "TXT", '"v=spf1 ip4:192.0.2.1 -all"') for one in range(15)),
    ),
    spf("spfself", f"v=spf1 include:spfself.{ZONE} -all", {"spf.passes": FAIL}),
    spf(
        "spfloop",
        f"v=spf1 include:a.spfloop.{ZONE} -all",
        {"spf.passes": FAIL},
        ("a", "TXT", f'"v=spf1 include:b.spfloop.{ZONE} -all"'),
        ("b", "TXT", f'"v=spf1 include:a.spfloop.{ZONE} -all"'),
    ),
    spf("spfredirect", f"v=spf1 redirect=spfredirect.{ZONE}", {"spf.passes": FAIL}),
    spf("spfdead", f"v=spf1 include:all-silent.{ZONE} ip4:198.18.0.21 -all", {"spf.passes": UNKNOWN}),
    spf("spflame", f"v=spf1 include:all-refused.{ZONE} ip4:198.18.0.21 -all", {"spf.passes": UNKNOWN}),
    spf("spfnothing", f"v=spf1 include:nothing.{ZONE} -all", {"spf.passes": FAIL}),
    spf("spfbad", "v=spf1 ip4:198.18.0.21 ip4:300.1.2.3 nonsense:x -all", {"spf": WARN, "spf.passes": FAIL}),
    Broken("spfmany", [("@", "TXT", SPF, '"v=spf1 mx -all"', '"v=spf1 -all"')], {"spf": FAIL}),
    # ---- DKIM; what stands for the key by which mx1 signs is filled in when the world is made
    Broken("dkim", [("SELECTOR._domainkey", "TXT", '"v=DKIM1; k=rsa; p=BEGINNING" "END"')], pillar=SIGNED),
    Broken(
        "dkimcut",
        [("SELECTOR._domainkey", "TXT", '"v=DKIM1; k=rsa; p=BEGINNING"', '"END"')],
        {"dkim": FAIL},
        pillar=SIGNED,
    ),
    Broken("dkimdead", [("SELECTOR._domainkey", "CNAME", f"x.all-silent.{ZONE}.")], {"dkim": UNKNOWN}, pillar=SIGNED),
    # ---- DMARC (RFC 9989, RFC 9990)
    Broken("dmarcmany", [("_dmarc", "TXT", '"v=DMARC1; p=none"', '"v=DMARC1; p=reject"')], {"dmarc": WARN}),
    Broken(
        "dmarcrua",
        [("_dmarc", "TXT", '"v=DMARC1; p=none; rua=mailto:x@outside.test"')],
        {"dmarc": WARN, "dmarc.reports": WARN},
    ),
    Broken(
        "dmarcloop",
        [("_dmarc", "TXT", f'"v=DMARC1; p=none; rua=mailto:x@mxloop.{ZONE}"')],
        {"dmarc": WARN, "dmarc.reports": UNKNOWN},
    ),
    Broken(
        "dmarcdead",
        [("_dmarc", "TXT", f'"v=DMARC1; p=none; rua=mailto:x@all-silent.{ZONE}"')],
        {"dmarc": WARN, "dmarc.reports": UNKNOWN},
    ),
    Broken(
        "dmarcodd",
        [("_dmarc", "TXT", '"v=DMARC1; p=none; rua=mailto:,http://[::1,mailto:x@-.-,:::; ruf=@@@,mailto:x@\\\\3"')],
        {"dmarc": WARN, "dmarc.reports": WARN},
    ),
    # ---- MX
    Broken(
        "mxalias",
        [("alias", "CNAME", "mx1.lab.test."), ("@", "MX", f"10 alias.mxalias.{ZONE}.")],
        {"mx": FAIL, "mx.target": WARN},
    ),
    Broken("mxaddress", [("@", "MX", "10 198.18.0.21.")], {"mx": FAIL, "mx.target": FAIL}),
    Broken("mxnull", [("@", "MX", "0 .", "10 mx1.lab.test.")], {"mx": WARN}),
    Broken("mxroot", [("@", "MX", "0 .")], {"mx": FAIL}),
    Broken(
        "mxloop",
        [
            ("a", "CNAME", f"b.mxloop.{ZONE}."),
            ("b", "CNAME", f"a.mxloop.{ZONE}."),
            (f"dmarcloop.{ZONE}._report._dmarc", "CNAME", f"a.mxloop.{ZONE}."),
            ("@", "MX", f"10 a.mxloop.{ZONE}.", "20 mx1.lab.test."),
        ],
        {"mx": WARN, "mx.target": UNKNOWN, "tlsa": UNKNOWN},
    ),
    Broken(
        "mxdead",
        [("@", "MX", "10 mx1.lab.test.", f"20 x.all-silent.{ZONE}.")],
        {"mx": WARN, "mx.target": UNKNOWN, "tlsa": UNKNOWN},
    ),
    # ---- MTA-STS (RFC 8461)
    sts("sound", None),
    *(
        sts(name, WARN)
        for name in ("expired", "wrongname", "redirect", "huge", "gone", "html", "nothttp", "nonsense", "shut")
    ),
    *(sts(name, UNKNOWN) for name in ("hangs", "deaf", "drips")),
    # ---- the mail host
    host("tlsagarbage", [("_25._tcp.mx", "TLSA", "\\# 4 ffffffff")], {"tlsa": WARN}),
    host("tlsacut", [("_25._tcp.mx", "TLSA", "\\# 2 0301")], {"tlsa": UNKNOWN}),
    host("caacritical", [("mx", "CAA", '128 unheardof "x"')], {"caa": WARN}),
    host("caagarbage", [("mx", "CAA", "\\# 3 80ff41")], {"caa": UNKNOWN}),
    host("hostloop", [("mx", "CNAME", f"mx2.hostloop.{ZONE}."), ("mx2", "CNAME", f"mx.hostloop.{ZONE}.")], ALIASED),
]
REVERSE = "7.18.198.in-addr.arpa"
POINTERS = [
    [f"{REVERSE}.", "SOA", f"{name_server(WELL)} hostmaster.{ZONE}. 1 60 10 600 2"],
    [f"{REVERSE}.", "NS", name_server(WELL)],
    [f"1.{REVERSE}.", "CNAME", f"2.{REVERSE}."],
    [f"2.{REVERSE}.", "CNAME", f"1.{REVERSE}."],
    [f"3.{REVERSE}.", "PTR", f"a.mxloop.{ZONE}."],
    [f"4.{REVERSE}.", "PTR", f"4.{REVERSE}."],
    *([f"5.{REVERSE}.", "PTR", f"host{number}.well.{ZONE}."] for number in range(40)),
    [f"6.{REVERSE}.", "PTR", "."],
]


def pointer(number, status):
    """A host whose own address has no right name: what its PTR record leads to is in :data:`POINTERS`."""
    pillar = {"addresses": ["198.18.0.21"]}
    return Broken(
        f"pointer{number}",
        wanted={"address": FAIL, "reverse": status},
        pillar=pillar,
        host={"addresses": [f"198.18.7.{number}"]},
    )


POINTERS_OF_HOSTS = [pointer(*row) for row in ((1, UNKNOWN), (3, UNKNOWN), (4, FAIL), (5, FAIL), (6, FAIL))]
CASES = [*POINTERS_OF_HOSTS, *ALL_SERVERS, *ONE_SERVER, *RECORDS]
DEAD = [Broken(f"dead{number}", servers=(SILENT,)) for number in range(5)]
"""Zones whose only name server is silent."""


def world(selector, public):
    """Return what the world consists of, as world_program.py takes it.

    :param selector: of the key by which mx1 signs; ``public`` is its public half in base64.
    """
    text = json.dumps(_world()).replace("SELECTOR", selector)
    return json.loads(text.replace("BEGINNING", public[:200]).replace("END", public[200:]))


def _world():
    servers = {address: [MANNERS.get(address, "well")] for address in (WELL, *MANNERS)}
    top = [[f"{ZONE}.", "SOA", f"{name_server(WELL)} hostmaster.{ZONE}. 1 60 10 600 2"]]
    top += [[f"{ZONE}.", "NS", name_server(WELL)], *([name_server(one), "A", one] for one in servers)]
    zones = {ZONE: top, REVERSE: POINTERS}
    servers[WELL] += zones
    for case in [*CASES, *DEAD]:
        zones[case.domain] = case.lines()
        for address in case.servers:
            servers[address].append(case.domain)
            top.append([f"{case.domain}.", "NS", name_server(address)])
    return {"zones": zones, "servers": servers}
