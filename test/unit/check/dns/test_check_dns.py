"""What DNS shows of a mail server: all of it right, then one thing of it wrong, or not answered, at a time."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
import spf

from mailhost.check.dns import area as check_dns
from mailhost.check.dns import dane as check_dane
from mailhost.check.dns.answers import Means
from mailhost.check.dns.dmarc import report_hosts
from mailhost.check.dns.hosts import is_private
from mailhost.check.dns.spf import ending
from mailhost.check.findings import CheckedHost
from mailhost.dkim import keystore
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.dns.lookup import Answers, ServerAnswer
from mailhost.errors import MissingPackage
from mailhost.pillar.settings import resolve
from mailhost.receiver import spf as receiver_spf
from mailhost.records import mta_sts
from mailhost.records.mta_sts import PolicyError, Unfetched
from mailhost.tls import certificate as certificates

NOW = datetime.now(timezone.utc).replace(microsecond=0)
LONG_AGO = NOW - timedelta(days=20)
GRAINS = {"fqdn": "mx1.a.example", "ipv4": ["192.0.2.25"], "ipv6": ["2001:db8::25"]}
PILLAR = {
    "domains": {
        "a.example": {
            "ttl": 60,
            "spf": {"include": ["spf.b.example"]},
            "dmarc": {"p": "reject", "rua": ["mailto:dmarc@a.example", "mailto:a@reports.example"]},
        }
    }
}
HOST, FOUR, SIX = "mx1.a.example", "25.2.0.192.in-addr.arpa", "5.2.0.0" + ".0" * 20 + ".8.b.d.0.1.0.0.2.ip6.arpa"
SPF = b"v=spf1 ip4:192.0.2.25 ip6:2001:db8::25 include:spf.b.example -all"
DMARC = b"v=DMARC1; p=reject; rua=mailto:dmarc@a.example,mailto:a@reports.example"
OURS, REVOKED, OTHER = b"v=DKIM1; k=rsa; p=MIIB", b"v=DKIM1; k=rsa; p=", b"v=DKIM1; k=rsa; p=MIIC"
STS = "version: STSv1\nmode: enforce\nmx: mx1.a.example\nmax_age: 86400\n"
KEY = KeyRow("now", "rsa", 2048, "MIIB", LONG_AGO, LONG_AGO, LONG_AGO)
KEY_NAME, TLSA_NAME = "now._domainkey.a.example", "_25._tcp.mx1.a.example"
TLSA = ...  # the record that fits the certificate
SILENT = "?"

RIGHT = {
    (HOST, "A"): ("192.0.2.25",),
    (HOST, "AAAA"): ("2001:db8::25",),
    (FOUR, "PTR"): (HOST,),
    (SIX, "PTR"): (HOST,),
    ("a.example", "MX"): ((10, HOST),),
    ("a.example", "TXT"): (b"other", SPF),
    ("spf.b.example", "TXT"): (b"v=spf1 ip4:198.51.100.0/24 -all",),
    (KEY_NAME, "TXT"): (OURS,),
    ("_dmarc.a.example", "TXT"): (DMARC,),
    ("a.example._report._dmarc.reports.example", "TXT"): (b"v=DMARC1;",),
    ("_mta-sts.a.example", "TXT"): (b"v=STSv1; id=20261124",),
    ("_smtp._tls.a.example", "TXT"): (b"v=TLSRPTv1; rua=mailto:tls@a.example",),
    (TLSA_NAME, "TLSA"): TLSA,
    ("a.example", "DS"): ("1 13 2 ab",),
    ("a.example", "CAA"): ('0 issue "letsencrypt.org"', '128 issuewild ";"'),
}
ALL_IDS = {
    *("dns.address", "dns.reverse", "dns.mx", "dns.mx.target", "dns.spf", "dns.spf.all", "dns.spf.passes"),
    *("dns.spf.lookups", "dns.dkim", "dns.dkim.signs", "dns.dmarc", "dns.dmarc.policy", "dns.dmarc.reports"),
    *("dns.mta_sts", "dns.tls_rpt", "dns.tlsa", "dns.caa"),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate: its file, and the TLSA record that fits it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=9))
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    (made,) = certificates.read_chain(path)
    return SimpleNamespace(path=str(path), tlsa=f"3 1 1 {check_dane.digest(made, 1, 1)}")


@pytest.fixture
def survey(tmp_path, monkeypatch, certificate):
    """Check a world in which some answers differ from the right ones; return the findings, and what was asked."""

    def checked(changes=(), pillar=None, keys=(KEY,), fetch=lambda name: STS, names=None, aliases=(), evaluate=None):
        settings = resolve(pillar or PILLAR, {"postfix": {"version": "3.7"}, **_system(tmp_path, certificate)}, GRAINS)
        for name in settings["domains"]:
            if settings["domains"][name]["dkim"]["enabled"]:
                (tmp_path / "keys" / name).mkdir(parents=True, exist_ok=True)
                keystore.write_manifest(tmp_path / "keys", Manifest(name, keys))
        world = World({**RIGHT, (TLSA_NAME, "TLSA"): (certificate.tlsa,), **dict(changes)}, dict(aliases))
        monkeypatch.setattr(spf, "DNSLookup", world.lookup)
        means = Means(world.ask, evaluate or receiver_spf.evaluator, fetch, lambda run: run.now)
        found = check_dns.findings(CheckedHost(settings, None), names or list(settings["domains"]), means)
        return found, world

    return checked


def _system(folder, certificate):
    tables = {name: str(folder / name) for name in ("key_table", "signing_table")}
    own = {"keys": str(folder / "keys"), "user": "root", "group": "root", "settings": {}}
    return {"opendkim": {**tables, **own}, "tls": {"certificate": certificate.path, "key": "/nowhere"}}


class World:
    """Two name servers with the same records, or (where a value is a pair of values in a list) each with its own.

    A name that is not listed is absent; ``SILENT`` stands for a server that does not answer.
    """

    def __init__(self, values, aliases):
        self.values, self.aliases, self.rounds = values, aliases, []

    def ask(self, questions, options):
        assert len(set(questions)) == len(questions)
        assert not [one for one in questions if ".." in one.name]
        self.rounds.append(list(questions))
        return {question: self._answers(question) for question in questions}

    def _answers(self, question):
        value = self.values.get((question.name, question.rdtype))
        pair = value if isinstance(value, list) else [value, value]
        seen = tuple(self._seen(number, one, question.rdtype) for number, one in enumerate(pair, 1))
        target = self.aliases.get(question.name, question.name)
        return Answers(question, target, question.name.rpartition("._tcp.mx1.")[2], 60, seen)

    @staticmethod
    def _seen(number, value, rdtype):
        server, address = f"ns{number}.a.example", f"192.0.2.{number}"
        if value == SILENT:
            return ServerAnswer(server, address, "unknown", detail="no answer in 5 s")
        if value is None:
            return ServerAnswer(server, address, "absent", detail=f"no {rdtype} record")
        return ServerAnswer(server, address, "answer", value, 60)

    def lookup(self, name, rdtype, *_):
        """Answer pyspf as a resolver does."""
        value = self.values.get((str(name), rdtype))
        value = value[0] if isinstance(value, list) else value
        if value == SILENT:
            raise spf.TempError(f"DNS gave no answer for {name}")
        return [((name, rdtype), (one,) if rdtype == "TXT" else one) for one in value or ()]


def bad(found):
    """What is not as wanted: id, about and status of each."""
    return {(one.id, one.about, one.status) for one in found if one.status != "ok"}


def only(found, id):
    """The one finding with an id that is not as wanted."""
    (one,) = [one for one in found if one.id == id and one.status != "ok"]
    return one


def test_a_mail_server_that_is_all_right_is_found_so_in_every_respect(survey):
    found, _ = survey()
    assert bad(found) == set()
    assert {one.id for one in found} == ALL_IDS
    assert all(one.wanted and one.seen and not one.remedy for one in found)


D, SPFS = "a.example", "v=spf1 ip4:192.0.2.25 ip6:2001:db8::25"
PUBLISH_SPF = f'Publish: a.example. 60 IN TXT "{SPF.decode()}"'

# What differs; what is not as wanted then: id, about, status; words of the first one's "seen"; words of its remedy.
BROKEN = {
    "no address of one kind": (
        {(HOST, "AAAA"): None},
        [("dns.address", HOST, "warn"), ("dns.reverse", "2001:db8::25", "fail")],
        "ns1.a.example (192.0.2.1) shows no AAAA",
        "Publish: mx1.a.example. 60 IN AAAA 2001:db8::25",
    ),
    "no address": (
        {(HOST, "AAAA"): None, (HOST, "A"): ("192.0.2.9",)},
        [
            ("dns.reverse", "192.0.2.25", "fail"),
            ("dns.reverse", "2001:db8::25", "fail"),
            ("dns.address", HOST, "fail"),
        ],
        "its name mx1.a.example has 192.0.2.9 at ns1.a.example (192.0.2.1)",
        "Publish: mx1.a.example. 3600 IN A 192.0.2.25",
    ),
    "address of one server only": (
        {(HOST, "A"): [("192.0.2.25",), ("192.0.2.25", "192.0.2.9")]},
        [("dns.address", HOST, "warn")],
        "ns2.a.example (192.0.2.2): the name has 192.0.2.9",
        "mailserver:addresses",
    ),
    "no name of an address": (
        {(FOUR, "PTR"): None},
        [("dns.reverse", "192.0.2.25", "fail")],
        f"ns1.a.example (192.0.2.1) shows no PTR at {FOUR}",
        f"{FOUR}. 3600 IN PTR mx1.a.example.",
    ),
    "a name that is not the address's": (
        {(FOUR, "PTR"): ("other.example",), ("other.example", "A"): ("192.0.2.7",)},
        [("dns.reverse", "192.0.2.25", "fail")],
        "its name other.example has 192.0.2.7",
        f"{FOUR}. 3600 IN PTR mx1.a.example.",
    ),
    "a provider's name for an address": (
        {(FOUR, "PTR"): ("static-25.isp.example",), ("static-25.isp.example", "A"): ("192.0.2.25",)},
        [("dns.reverse", "192.0.2.25", "warn")],
        "static-25.isp.example",
        f"{FOUR}. 3600 IN PTR mx1.a.example.",
    ),
    "no MX": (
        {(D, "MX"): None},
        [("dns.mx", D, "fail")],
        "ns1.a.example (192.0.2.1) shows no MX at a.example",
        "Publish: a.example. 60 IN MX 10 mx1.a.example.",
    ),
    "MX of another host at one server": (
        {(D, "MX"): [((10, HOST),), ((10, "old.b.example"),)], ("old.b.example", "A"): ("192.0.2.8",)},
        [("dns.mx", D, "fail"), ("dns.mta_sts", D, "fail")],
        "ns2.a.example (192.0.2.2): the MX record lacks mx1.a.example",
        "Publish: a.example. 60 IN MX 10 mx1.a.example.; a.example. 60 IN MX 10 old.b.example.",
    ),
    "MX of another host besides": (
        {(D, "MX"): ((10, HOST), (20, "mx2.b.example")), ("mx2.b.example", "AAAA"): ("2001:db8::2",)},
        [("dns.mx", D, "warn"), ("dns.mta_sts", D, "fail")],
        "has mx2.b.example, of which this host's pillar says nothing",
        "IN MX 20 mx2.b.example. (or, if DNS is right, list its hosts in mailserver:domains:a.example:hosts",
    ),
    "null MX": (
        {(D, "MX"): ((0, ""),)},
        [("dns.mx", D, "fail")],
        "the null MX (RFC 7505)",
        "Publish: a.example. 60 IN MX 10 mx1.a.example.",
    ),
    "MX host without address": (
        {(D, "MX"): ((10, HOST), (20, "mx2.a.example"))},
        [("dns.mx.target", "mx2.a.example", "fail"), ("dns.mx", D, "warn"), ("dns.mta_sts", D, "fail")],
        "shows no A at mx2.a.example",
        "Give mx2.a.example A or AAAA records of its own",
    ),
    "MX to an address": (
        {(D, "MX"): ((10, HOST), (20, "192.0.2.25"))},
        [("dns.mx.target", "192.0.2.25", "fail"), ("dns.mx", D, "warn"), ("dns.mta_sts", D, "fail")],
        "names an address, and must name a host, at ns1.a.example (192.0.2.1)",
        "RFC 5321 section 5.1",
    ),
    "no SPF": (
        {(D, "TXT"): (b"other",)},
        [("dns.spf", D, "warn")],
        "none of the 1 TXT records there is an SPF record",
        PUBLISH_SPF,
    ),
    "SPF absent": ({(D, "TXT"): None}, [("dns.spf", D, "warn")], "shows no TXT at a.example", PUBLISH_SPF),
    "two SPF": ({(D, "TXT"): (SPF, b"v=spf1 -all")}, [("dns.spf", D, "fail")], "2 SPF records", PUBLISH_SPF),
    "SPF of another host": (
        {(D, "TXT"): (b"v=spf1 ip4:192.0.2.9 -all",)},
        [("dns.spf", D, "warn"), ("dns.spf.passes", D, "fail")],
        "lacks ip4:192.0.2.25",
        PUBLISH_SPF.replace(" -all", " ip4:192.0.2.9 -all"),
    ),
    "SPF of another host and ours": ({(D, "TXT"): (SPF.replace(b"-all", b"ip4:192.0.2.9 -all"),)}, [], "", ""),
    "SPF that is soft on us": (
        {(D, "TXT"): (b"v=spf1 ip4:192.0.2.25 ~all",)},
        [("dns.spf.passes", D, "warn"), ("dns.spf", D, "warn")],
        "softfail for 2001:db8::25",
        "salt-call mailserver.records a.example format=zone",
    ),
    "SPF for everybody": (
        {(D, "TXT"): (f"{SPFS} include:spf.b.example +all".encode(),)},
        [("dns.spf.all", D, "fail"), ("dns.spf", D, "warn")],
        "allows every address",
        f'Publish: a.example. 60 IN TXT "{SPF.decode()}"',
    ),
    "SPF without an end": (
        {(D, "TXT"): (SPFS.encode(),)},
        [("dns.spf.all", D, "warn"), ("dns.spf", D, "warn")],
        "says nothing of other addresses",
        f'Publish: a.example. 60 IN TXT "{SPFS} -all"',
    ),
    "SPF of what is not there": (
        {("spf.b.example", "TXT"): (b"v=spf1 " + b" ".join(b"exists:e%d.b.example" % n for n in range(3)),)},
        [("dns.spf.lookups", D, "warn")],
        "Void lookup limit of 2 exceeded",
        "Take out of mailserver:domains:a.example:spf:include",
    ),
    "SPF that includes an error": (
        {("spf.b.example", "TXT"): (b"v=spf1 ip4:300.1.1.1 -all",)},
        [("dns.spf.lookups", D, "warn")],
        "SPF Permanent Error: Invalid IP4 address: ip4:300.1.1.1",
        "what has an error",
    ),
    "no key": (
        {(KEY_NAME, "TXT"): None},
        [("dns.dkim", KEY_NAME, "fail")],
        f"ns1.a.example (192.0.2.1) shows no TXT at {KEY_NAME}",
        'Publish: now._domainkey.a.example. 60 IN TXT "v=DKIM1; k=rsa; p=MIIB"',
    ),
    "a cut key at one server": (
        {(KEY_NAME, "TXT"): [(OURS,), (b"v=DKIM1; k=rsa; p=MI",)]},
        [("dns.dkim", KEY_NAME, "fail")],
        "ns2.a.example (192.0.2.2): the key is cut: p= has 2 of 4 characters",
        "Publish: now._domainkey.a.example.",
    ),
    "no DMARC": (
        {("_dmarc.a.example", "TXT"): None},
        [("dns.dmarc", D, "warn")],
        "shows no TXT at _dmarc.a.example",
        f'Publish: _dmarc.a.example. 60 IN TXT "{DMARC.decode()}"',
    ),
    "two DMARC": (
        {("_dmarc.a.example", "TXT"): (DMARC, b"v=DMARC1; p=none")},
        [("dns.dmarc", D, "warn")],
        "there are 2 DMARC records",
        "Publish: _dmarc.a.example.",
    ),
    "DMARC that does not count": (
        {("_dmarc.a.example", "TXT"): (b"v=DMARC1; p=refuse",)},
        [("dns.dmarc.policy", D, "warn"), ("dns.dmarc", D, "warn")],
        "the record does not count",
        "mailserver:domains:a.example:dmarc",
    ),
    "reports that nobody allowed": (
        {("a.example._report._dmarc.reports.example", "TXT"): None},
        [("dns.dmarc.reports", D, "warn")],
        "no v=DMARC1 at a.example._report._dmarc.reports.example",
        'Publish: a.example._report._dmarc.reports.example. 3600 IN TXT "v=DMARC1"',
    ),
    "reports to what is no host": (
        {("_dmarc.a.example", "TXT"): (DMARC.replace(b"reports.example", b"reports..example"),)},
        [("dns.dmarc.reports", D, "warn"), ("dns.dmarc", D, "warn")],
        "reports..example is no host that reports could be sent to",
        "Send the reports elsewhere: mailserver:domains:a.example:dmarc:rua",
    ),
    "two MTA-STS": (
        {("_mta-sts.a.example", "TXT"): (b"v=STSv1; id=1", b"v=STSv1; id=2")},
        [("dns.mta_sts", D, "warn")],
        "2 records at _mta-sts.a.example, of which senders take none (ns1.a.example, 192.0.2.1)",
        "Keep one",
    ),
    "MTA-STS without an id": (
        {("_mta-sts.a.example", "TXT"): (b"v=STSv1; id=2026-11-24",)},
        [("dns.mta_sts", D, "warn")],
        "id= of 1 to 32 letters",
        'Publish: _mta-sts.a.example. 3600 IN TXT "v=STSv1; id=',
    ),
    "MTA-STS at one server": (
        {("_mta-sts.a.example", "TXT"): [(b"v=STSv1; id=1",), None]},
        [("dns.mta_sts", D, "warn")],
        "ns1.a.example (192.0.2.1) shows v=STSv1; id=1; ns2.a.example (192.0.2.2) shows none",
        "dig @ADDRESS SOA ZONE +norec",
    ),
    "two TLS-RPT": (
        {
            ("_smtp._tls.a.example", "TXT"): (
                b"v=TLSRPTv1; rua=mailto:a@a.example",
                b"v=TLSRPTv1; rua=mailto:b@a.example",
            )
        },
        [("dns.tls_rpt", D, "warn")],
        "2 records at _smtp._tls.a.example",
        "Keep one",
    ),
    "TLS-RPT to nobody": (
        {("_smtp._tls.a.example", "TXT"): (b"v=TLSRPTv1; rua=tls@a.example",)},
        [("dns.tls_rpt", D, "warn")],
        "names no mailto: or https: address",
        'Publish: _smtp._tls.a.example. 3600 IN TXT "v=TLSRPTv1; rua=mailto:',
    ),
    "TLSA of another certificate": (
        {(TLSA_NAME, "TLSA"): (f"3 1 1 {'ab' * 32}",)},
        [("dns.tlsa", HOST, "fail")],
        "none is that of",
        "Publish: _25._tcp.mx1.a.example. 3600 IN TLSA 3 1 1 ",
    ),
    "TLSA of no use": (
        {(TLSA_NAME, "TLSA"): (f"1 1 1 {'ab' * 32}",)},
        [("dns.tlsa", HOST, "warn")],
        "none that SMTP clients go by",
        "Publish: _25._tcp.mx1.a.example. 3600 IN TLSA 3 1 1 ",
    ),
    "TLSA without DNSSEC": (
        {(D, "DS"): None},
        [("dns.tlsa", HOST, "warn")],
        "a.example has no DS record: it is not signed",
        "Sign the zone a.example",
    ),
    "CAA with a critical property that nobody knows": (
        {(D, "CAA"): ('128 isue "letsencrypt.org"',)},
        [("dns.caa", HOST, "warn")],
        '128 isue "letsencrypt.org" at a.example, ns1.a.example (192.0.2.1), cannot be read',
        'a.example. 3600 IN CAA 0 issue "',
    ),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN)
def test_one_thing_that_is_wrong_is_found_with_where_it_was_seen_and_what_to_do(survey, case):
    changes, expected, seen, remedy = case
    found, _ = survey(changes)
    assert bad(found) == set(expected)
    if expected:
        first = only([one for one in found if (one.id, one.about, one.status) == expected[0]], expected[0][0])
        assert seen in first.seen
        assert remedy in first.remedy
    assert all(one.remedy for one in found if one.status != "ok")


# What depends on which question: it alone is unknown when no server answers that.
DEPENDS = {
    (HOST, "AAAA"): {("dns.address", HOST), ("dns.reverse", "2001:db8::25")},
    (FOUR, "PTR"): {("dns.reverse", "192.0.2.25")},
    (D, "MX"): {("dns.mx", D)},
    (D, "TXT"): {("dns.spf", D), ("dns.spf.passes", D)},
    ("spf.b.example", "TXT"): set(),
    (KEY_NAME, "TXT"): {("dns.dkim", KEY_NAME)},
    ("_dmarc.a.example", "TXT"): {("dns.dmarc", D)},
    ("_dmarc.reports.example", "TXT"): {("dns.dmarc.reports", D)},
    ("a.example._report._dmarc.reports.example", "TXT"): {("dns.dmarc.reports", D)},
    ("_mta-sts.a.example", "TXT"): {("dns.mta_sts", D)},
    ("_smtp._tls.a.example", "TXT"): {("dns.tls_rpt", D)},
    (TLSA_NAME, "TLSA"): {("dns.tlsa", HOST)},
    (D, "DS"): {("dns.tlsa", HOST)},
    (HOST, "CAA"): {("dns.caa", HOST)},
}


@pytest.mark.parametrize("question", DEPENDS, ids=" ".join)
def test_what_no_server_answers_is_unknown_and_nothing_else_is(survey, question):
    found, _ = survey({question: SILENT})
    assert bad(found) == {(*one, "unknown") for one in DEPENDS[question]}
    for one in (one for one in found if one.status == "unknown"):
        assert "no answer" in one.seen
        assert one.remedy.startswith("Nothing is known to be wrong.")


def test_nothing_fails_when_no_server_answers_anything(survey):
    found, _ = survey(dict.fromkeys(RIGHT, SILENT) | {(HOST, "CAA"): SILENT})
    assert {one.status for one in found} == {"ok", "unknown"}
    assert {one.id for one in found if one.status == "ok"} <= {"dns.dkim.signs"}


def test_a_silent_server_beside_one_that_answers_makes_only_what_everybody_needs_unknown(survey):
    found, _ = survey({question: [value, SILENT] for question, value in RIGHT.items() if value is not TLSA})
    optional = {"dns.mta_sts", "dns.tls_rpt", "dns.caa", "dns.tlsa", "dns.dmarc.policy", "dns.dmarc.reports"}
    assert bad(found)
    assert {status for _, _, status in bad(found)} == {"unknown"}
    assert not optional & {id for id, _, _ in bad(found)}


# ---- what is not used, or not wanted

NOT_USED = [
    (("_mta-sts.a.example", "TXT"), "dns.mta_sts"),
    (("_smtp._tls.a.example", "TXT"), "dns.tls_rpt"),
    ((TLSA_NAME, "TLSA"), "dns.tlsa"),
    ((D, "CAA"), "dns.caa"),
]


WILDCARD = (b"v=spf1 -all",)


@pytest.mark.parametrize(
    ("question", "id", "value"),
    [(*one, None) for one in NOT_USED] + [(*one, WILDCARD) for one in NOT_USED if one[0][1] == "TXT"],
)
def test_what_nobody_has_to_have_is_right_when_it_is_not_there(survey, question, id, value):
    found, _ = survey({question: value})
    assert bad(found) == set()
    (one,) = [one for one in found if one.id == id]
    assert one.seen.startswith("not used")


def test_a_domain_that_only_sends_may_say_by_its_null_mx_that_it_takes_no_mail(survey):
    pillar = {"domains": {D: {**PILLAR["domains"][D], "receive": False}}}
    for value in (((0, ""),), None, ((10, "mail.provider.example"),)):
        found, _ = survey({(D, "MX"): value}, pillar, fetch=lambda name: STS.replace("enforce", "none"))
        assert bad(found) == set()


def test_a_null_mx_contradicts_a_domain_that_receives(survey):
    pillar = {"domains": {D: {**PILLAR["domains"][D], "mx": []}}}
    found, _ = survey({(D, "MX"): ((0, ""),)}, pillar)
    assert bad(found) == {("dns.mx", D, "warn")}
    assert "receive to false" in only(found, "dns.mx").remedy


def test_spf_and_dmarc_that_are_not_wanted_are_not_missed(survey):
    off = {"spf": {"enabled": False}, "dmarc": {"enabled": False}}
    found, _ = survey({(D, "TXT"): None, ("_dmarc.a.example", "TXT"): None}, {"domains": {D: {"ttl": 60, **off}}})
    assert bad(found) == set()
    assert not {"dns.spf", "dns.dmarc"} & {one.id for one in found}


@pytest.mark.parametrize(
    ("dmarc", "record", "hint"),
    [
        ({}, b"v=DMARC1; p=none", "mailserver:domains:a.example:dmarc:rua would ask for reports"),
        ({"rua": ["mailto:dmarc@a.example"]}, b"v=DMARC1; p=none; rua=mailto:dmarc@a.example", "reports only"),
    ],
)
def test_a_policy_of_none_is_how_everybody_begins(survey, dmarc, record, hint):
    pillar = {"domains": {D: {**PILLAR["domains"][D], "dmarc": dmarc}}}
    found, _ = survey({("_dmarc.a.example", "TXT"): (record,)}, pillar)
    assert bad(found) == set()
    (policy,) = [one for one in found if one.id == "dns.dmarc.policy"]
    assert policy.seen.startswith("p=none at ns1.a.example (192.0.2.1)")
    assert policy.seen.endswith(hint)


def test_reports_within_the_organization_need_no_permission(survey):
    name = "mail.a.example"
    rua = b"v=DMARC1; p=reject; rua=mailto:dmarc@reports.a.example"
    pillar = {
        "domains": {
            name: {"dmarc": {"p": "reject", "rua": ["mailto:dmarc@reports.a.example"]}, "spf": {"enabled": False}}
        }
    }
    right = {
        ("_dmarc.mail.a.example", "TXT"): (rua,),
        (name, "MX"): ((10, HOST),),
        (f"now._domainkey.{name}", "TXT"): (OURS,),
    }
    found, _ = survey(right, pillar)
    assert bad(found) == set()
    found, _ = survey({**right, ("_dmarc.a.example", "TXT"): None}, pillar)
    assert bad(found) == {("dns.dmarc.reports", name, "warn")}


@pytest.mark.parametrize(
    ("tags", "hosts"),
    [
        ({"rua": "mailto:a@B.example"}, ["b.example"]),
        (
            {"rua": "mailto:a@b.example!10m, mailto:c@b.example", "ruf": "mailto:d@c.example?x"},
            ["b.example", "c.example"],
        ),
        ({"rua": "https://r.example/x", "ruf": "what"}, ["r.example"]),
        ({"rua": "https://[::1"}, ["https://[::1"]),
        ({}, []),
    ],
)
def test_hosts_of_reports_are_read_from_their_uris(tags, hosts):
    assert report_hosts(tags) == hosts


@pytest.mark.parametrize("uri", ["https://[::1", "mailto:a@\\3", "mailto:a@b..example", "mailto:a@b example"])
def test_what_is_no_host_gets_no_reports_and_dns_is_not_asked_for_it(survey, uri):
    record = f"v=DMARC1; p=reject; rua={uri}".encode()
    (found,) = [one for one in survey({(f"_dmarc.{D}", "TXT"): (record,)})[0] if one.id == "dns.dmarc.reports"]
    assert found.status == "warn"
    assert "no host that reports could be sent to" in found.seen
    assert found.remedy


# ---- addresses


@pytest.mark.parametrize(
    ("address", "private"),
    [
        *((one, True) for one in ("10.0.0.1", "172.31.0.1", "192.168.1.1", "100.64.0.1", "127.0.0.1", "fd00::1")),
        *((one, False) for one in ("192.0.2.25", "198.18.0.21", "172.32.0.1", "100.128.0.1", "2001:db8::1")),
    ],
)
def test_private_addresses_are_those_that_nobody_sends_from(address, private):
    assert is_private(address) is private


def test_a_private_address_has_no_name_to_look_for(survey):
    changes = {(HOST, "A"): ("192.0.2.25", "10.0.0.5"), (D, "TXT"): (SPF.replace(b" ip6", b" ip4:10.0.0.5 ip6"),)}
    pillar = {**PILLAR, "addresses": ["192.0.2.25", "10.0.0.5", "2001:db8::25"]}
    found, world = survey(changes, pillar)
    assert bad(found) == {("dns.reverse", "10.0.0.5", "unknown")}
    assert "mailserver:addresses" in only(found, "dns.reverse").remedy
    assert not [one for asked in world.rounds for one in asked if one.name.startswith("5.0.0.10.")]


def test_an_address_of_a_domain_alone_may_have_any_name_that_is_its_own(survey):
    domain = {**PILLAR["domains"][D], "addresses": ["192.0.2.77"]}
    changes = {
        ("77.2.0.192.in-addr.arpa", "PTR"): ("relay.example",),
        ("relay.example", "A"): ("192.0.2.77",),
        (D, "TXT"): (b"v=spf1 ip4:192.0.2.77 include:spf.b.example -all",),
    }
    assert bad(survey(changes, {"domains": {D: domain}})[0]) == set()


def test_an_alias_is_no_name_for_a_mail_host(survey):
    pillar = {"domains": {D: {**PILLAR["domains"][D], "mx": [HOST, "mx2.b.example"]}}}
    changes = {(D, "MX"): ((10, HOST), (20, "mx2.b.example")), ("mx2.b.example", "A"): ("192.0.2.8",)}
    sts = f"{STS}mx: *.b.example\n"
    assert bad(survey(changes, pillar, fetch=lambda name: sts)[0]) == set()
    found, _ = survey(changes, pillar, fetch=lambda name: sts, aliases={"mx2.b.example": "host.c.example"})
    assert bad(found) == {("dns.mx.target", "mx2.b.example", "warn")}
    (alias,) = [one.seen for one in found if (one.id, one.status) == ("dns.mx.target", "warn")]
    assert "of host.c.example; " in alias
    assert "(at ns1.a.example (192.0.2.1)" in alias
    assert "alias (CNAME) of host.c.example" in only(found, "dns.mx.target").seen


# ---- SPF


@pytest.mark.parametrize(
    ("record", "end"),
    [
        ("v=spf1 a -all", "-"),
        ("v=spf1 a ~ALL", "~"),
        ("v=spf1 ?all", "?"),
        ("v=spf1 all", "+"),
        ("v=spf1 a", "?"),
        ("v=spf1 a redirect=b.example", "redirect"),
        ("v=spf1 redirect=b.example -all", "-"),
        ("v=spf1 a:all.example", "?"),
    ],
)
def test_the_end_of_a_record_is_what_holds_for_every_other_address(record, end):
    assert ending(record) == end


def chain(count):
    """An included record that costs ``count`` look-ups, all of which find something, none of them us."""
    names = [f"e{number}.b.example" for number in range(count)]
    record = " ".join(["v=spf1", *(f"a:{name}" for name in names), "-all"]).encode()
    return {("spf.b.example", "TXT"): (record,)} | {
        (name, kind): ("::9" if kind == "AAAA" else "192.0.2.9",) for name in names for kind in ("A", "AAAA")
    }


@pytest.mark.parametrize(("count", "status"), [(7, "ok"), (8, "warn"), (14, "warn")])
def test_look_ups_of_a_whole_record_are_counted_though_our_own_addresses_come_first(survey, count, status):
    found, _ = survey(chain(count))
    (one,) = [one for one in found if one.id == "dns.spf.lookups"]
    assert one.status == status
    assert one.seen.startswith(f"{count + 1} look-ups, 0 of them void, by this system's resolver")
    assert [one.status for one in found if one.id == "dns.spf.passes"] == ["ok"]


def test_an_address_that_comes_after_too_many_look_ups_does_not_pass(survey):
    record = b"v=spf1 include:spf.b.example ip4:192.0.2.25 ip6:2001:db8::25 -all"
    found, _ = survey(chain(14) | {(D, "TXT"): (record,)})
    assert bad(found) == {("dns.spf.passes", D, "fail")}
    assert "permerror for 192.0.2.25 (SPF Permanent Error: Too many DNS lookups)" in only(found, "dns.spf.passes").seen


def test_without_pyspf_only_the_evaluation_is_unknown(survey):
    def missing(timeout):
        raise MissingPackage("the Python package pyspf is not installed")

    found, _ = survey(evaluate=missing)
    assert bad(found) == {("dns.spf.passes", "SPF", "unknown")}


# ---- DKIM

STAGES = {
    "generated": KeyRow("now", "rsa", 2048, "MIIB", NOW),
    "overdue": KeyRow("now", "rsa", 2048, "MIIB", LONG_AGO),
    "published": KeyRow("now", "rsa", 2048, "MIIB", NOW, NOW),
    "signing": KEY,
    "retired": replace(KEY, retired=NOW),
    "to be revoked": replace(KEY, retired=LONG_AGO),
    "revoked": replace(KEY, retired=LONG_AGO, revoked=NOW),
}
SIGNER = KeyRow("sign", "rsa", 2048, "MIIB", NOW, NOW, NOW)


@pytest.mark.parametrize(
    ("stage", "ours", "revoked", "none"),
    [
        ("generated", "ok", "warn", "warn"),
        ("overdue", "ok", "fail", "fail"),
        ("published", "ok", "warn", "warn"),
        ("signing", "ok", "fail", "fail"),
        ("retired", "ok", "fail", "fail"),
        ("to be revoked", "warn", "ok", "ok"),
        ("revoked", "warn", "ok", "ok"),
    ],
)
def test_each_key_is_to_be_in_dns_as_its_stage_asks(survey, stage, ours, revoked, none):
    right = {("sign._domainkey.a.example", "TXT"): (OURS,)}
    keys = (STAGES[stage], SIGNER) if stage not in ("generated", "overdue", "published") else (SIGNER, STAGES[stage])
    for value, status in (((OURS,), ours), ((REVOKED,), revoked), (None, none), (SILENT, "unknown")):
        found, _ = survey({**right, (KEY_NAME, "TXT"): value}, keys=keys)
        assert bad(found) == ({("dns.dkim", KEY_NAME, status)} if status != "ok" else set())


def test_a_key_whose_time_as_revoked_is_over_has_to_be_gone(survey):
    pillar = {**PILLAR, "dkim": {"revoke_for": 0}}
    right = {("sign._domainkey.a.example", "TXT"): (OURS,)}
    keys = (STAGES["revoked"], SIGNER)
    assert bad(survey({**right, (KEY_NAME, "TXT"): None}, pillar, keys)[0]) == set()
    found, _ = survey({**right, (KEY_NAME, "TXT"): (REVOKED,)}, pillar, keys)
    assert bad(found) == {("dns.dkim", KEY_NAME, "warn")}
    assert only(found, "dns.dkim").remedy == f"Take away all TXT records at {KEY_NAME}."


def test_a_removed_key_is_not_asked_for(survey):
    gone = replace(KEY, selector="gone", public="", retired=LONG_AGO, revoked=LONG_AGO, removed=NOW)
    found, world = survey(keys=(gone, KEY))
    assert bad(found) == set()
    assert not [one for asked in world.rounds for one in asked if one.name.startswith("gone.")]


@pytest.mark.parametrize(
    ("keys", "seen"),
    [((), "no key that may sign"), ((STAGES["published"],), "now is published, and does not sign yet")],
)
def test_a_domain_of_which_no_key_signs_is_told(survey, keys, seen):
    found, _ = survey(keys=keys)
    assert bad(found) == {("dns.dkim.signs", D, "warn")}
    assert only(found, "dns.dkim.signs").seen == seen


def test_a_missing_record_of_the_first_key_is_one_finding(survey):
    found, _ = survey({(KEY_NAME, "TXT"): None}, keys=(STAGES["generated"],))
    assert bad(found) == {("dns.dkim", KEY_NAME, "warn")}


def test_a_damaged_manifest_hides_neither_other_domains_nor_other_records(survey, tmp_path, monkeypatch):
    pillar = {**PILLAR, "domain": D, "domains": {**PILLAR["domains"], "b.example": {"spf": {"enabled": False}}}}
    right = {("b.example", "MX"): ((10, HOST),), ("now._domainkey.b.example", "TXT"): (OURS,)}
    real = keystore.read_manifest

    def damaged(keys, name):
        if name == "b.example":
            (tmp_path / "keys" / name / "keys.json").write_text("{")
        return real(keys, name)

    monkeypatch.setattr(keystore, "read_manifest", damaged)
    found, _ = survey({**right, ("_dmarc.b.example", "TXT"): (b"v=DMARC1; p=none",)}, pillar)
    assert {one for one in bad(found) if one[0].startswith("dns.dkim")} == {("dns.dkim", "b.example", "unknown")}
    assert "keys.json" in only(found, "dns.dkim").seen


def test_a_clock_that_cannot_be_trusted_leaves_only_the_keys_unknown(survey, tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "clock.json").write_text("{")
    found, _ = survey()
    assert bad(found) == {("dns.dkim", HOST, "unknown")}


# ---- MTA-STS


def raising(error):
    def fetch(name):
        raise error

    return fetch


@pytest.mark.parametrize(
    ("fetch", "status", "seen"),
    [
        (lambda name: STS, "ok", "mode: enforce, mx: mx1.a.example"),
        (lambda name: STS.replace("mx1.a", "*.a"), "ok", "mx: *.a.example"),
        (lambda name: STS.replace("mx1.a.example", "*.example"), "fail", "goes to mx1.a.example"),
        (lambda name: STS.replace("mx1", "mx2"), "fail", "goes to mx1.a.example"),
        (lambda name: STS.replace("mx1", "mx2").replace("enforce", "testing"), "warn", "goes to mx1.a.example"),
        (lambda name: STS.replace("mx1", "mx2").replace("enforce", "none"), "ok", "mode: none"),
        (lambda name: "<html>", "warn", "it does not say version: STSv1"),
        (lambda name: STS.replace("86400", "1 day"), "warn", "max_age"),
        (lambda name: STS.replace("86400", "31557601"), "warn", "max_age"),
        (lambda name: STS.replace("enforce", "strict"), "warn", "mode"),
        (lambda name: STS.replace("mx: ", "mxs: "), "warn", "names no mx"),
        (raising(PolicyError("the web server answers with status 404")), "warn", "status 404"),
        (raising(Unfetched("no answer in 5 s")), "unknown", "no answer in 5 s"),
    ],
)
def test_a_policy_is_to_name_the_hosts_that_mail_goes_to(survey, fetch, status, seen):
    found, _ = survey(fetch=fetch)
    (one,) = [one for one in found if one.id == "dns.mta_sts"]
    assert (one.status, seen in one.seen, bool(one.remedy)) == (status, True, status != "ok"), one
    assert {id for id, _, _ in bad(found)} <= {"dns.mta_sts"}


def test_nothing_is_fetched_for_a_domain_without_a_record(survey):
    found, _ = survey({("_mta-sts.a.example", "TXT"): None}, fetch=raising(AssertionError("fetched")))
    assert bad(found) == set()


def test_the_first_of_several_fields_of_a_policy_counts():
    policy = mta_sts.parse("version: STSv1\r\nmode: testing\r\nmode: enforce\r\nmx: A.example\r\nmax_age: 1\r\n")
    assert policy == mta_sts.Policy("testing", 1, ("a.example",))


# ---- TLSA


def test_a_record_of_the_next_certificate_beside_the_present_one_is_right(survey, certificate):
    found, _ = survey({(TLSA_NAME, "TLSA"): (certificate.tlsa, f"3 1 1 {'cd' * 32}")})
    assert bad(found) == set()


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("usage", [2, 3])
def test_a_tlsa_record_of_every_form_is_compared_with_the_certificate(certificate, usage, selector, matching):
    (own,) = certificates.read_chain(certificate.path)
    text = check_dane.digest(own, selector, matching)
    record = check_dane.parse(f"{usage} {selector} {matching} {text[:50]} {text[50:].upper()}")
    assert record.is_usable
    assert check_dane.matches(record, [own]) is (usage == 3)
    assert check_dane.matches(record, ["unread", own] if usage == 2 else [own])


# ---- many domains


def test_a_thousand_domains_are_asked_in_two_rounds(survey):
    names = [f"d{number}.example" for number in range(1000)]
    off = {
        "spf": {"enabled": False},
        "dkim": {"enabled": False},
        "dmarc": {"p": "reject", "rua": ["mailto:a@reports.example"]},
    }
    record = b"v=DMARC1; p=reject; rua=mailto:a@reports.example"
    right = {}
    for name in names:
        right |= {
            (name, "MX"): ((10, HOST),),
            (f"_dmarc.{name}", "TXT"): (record,),
            (f"{name}._report._dmarc.reports.example", "TXT"): (b"v=DMARC1",),
        }
    found, world = survey(right, {"domain": names[0], "domains": dict.fromkeys(names, off)})
    assert bad(found) == set()
    assert [len(one) > 1000 for one in world.rounds] == [True, True]
    assert {one.about for one in found if one.id == "dns.mx"} == set(names)


def test_only_the_domains_asked_for_are_looked_at(survey):
    pillar = {**PILLAR, "domain": D, "domains": {**PILLAR["domains"], "b.example": {}}}
    found, world = survey(pillar=pillar, names=[D])
    assert bad(found) == set()
    assert not [one for asked in world.rounds for one in asked if one.name.endswith(("b.example",))]


def test_servers_that_are_not_asked_and_those_that_a_parent_does_not_name_are_told(survey, monkeypatch):
    assert "dns.servers" not in {one.id for one in survey()[0]}
    answers = World._answers
    left_out = ("ns3.a.example: ignored by mailserver:dns:ignore_servers",)
    monkeypatch.setattr(World, "_answers", lambda self, question: replace(answers(self, question), left_out=left_out))
    (one,) = [one for one in survey()[0] if one.id == "dns.servers"]
    assert (one.status, one.seen) == ("ok", f"not asked: {left_out[0]}")
    differs = ("a.example is delegated to ns1.a.example, but ns1.a.example (192.0.2.1) names ns2.a.example.",)
    told = {"left_out": left_out, "remarks": differs}
    monkeypatch.setattr(World, "_answers", lambda self, question: replace(answers(self, question), **told))
    (one,) = [one for one in survey()[0] if one.id == "dns.servers"]
    assert (one.status, one.seen) == ("warn", f"{differs[0].rstrip('.')}; {left_out[0]}")


STS_WANTED = {"mode": "enforce", "max_age": "1d"}
STS_RECORD = f"v=STSv1; id={mta_sts.policy_id(STS)}"
WANTED = {
    "mta_sts": STS_WANTED,
    "tls_rpt": {"rua": ["mailto:tls@a.example"]},
    "caa": ['0 issue "letsencrypt.org"', '128 issuewild ";"'],
}
STS_NAME, RPT_NAME = "_mta-sts.a.example", "_smtp._tls.a.example"


def wanting(**more):
    return {**PILLAR, "domains": {"a.example": {**PILLAR["domains"]["a.example"], **WANTED}}, **more}


def test_what_the_settings_want_of_tls_is_right_where_dns_shows_it(survey):
    found, _ = survey({(STS_NAME, "TXT"): (STS_RECORD.encode(),)}, wanting(tls={"tlsa": True}))
    assert bad(found) == set()
    assert {one.about for one in found if one.id == "dns.caa"} == {D, HOST}


@pytest.mark.parametrize(
    ("question", "value", "id", "seen", "remedy"),
    [
        ((STS_NAME, "TXT"), None, "dns.mta_sts", "shows no TXT at _mta-sts", f'TXT "{STS_RECORD}"'),
        ((STS_NAME, "TXT"), (b"v=STSv1; id=1",), "dns.mta_sts", "and has id=1, which is not", f'TXT "{STS_RECORD}"'),
        ((RPT_NAME, "TXT"), None, "dns.tls_rpt", "shows no TXT", 'TXT "v=TLSRPTv1; rua=mailto:tls@a.example"'),
        (
            (RPT_NAME, "TXT"),
            (b"v=TLSRPTv1; rua=mailto:x@b.example",),
            "dns.tls_rpt",
            "the TLS-RPT record lacks mailto:tls@a.example and has mailto:x@b.example",
            "or, if DNS is right, change mailserver:domains:a.example:tls_rpt",
        ),
        ((TLSA_NAME, "TLSA"), None, "dns.tlsa", "shows no TLSA", "_25._tcp.mx1.a.example. 3600 IN TLSA 3 1 1"),
        ((D, "CAA"), None, "dns.caa", "shows no CAA", 'a.example. 60 IN CAA 128 issuewild ";"'),
        ((D, "CAA"), ('0 issue "evil.example"',), "dns.caa", 'has 0 issue "evil.example"', "take every other CAA"),
    ],
)
def test_what_the_settings_want_of_tls_and_dns_does_not_show_is_found(survey, question, value, id, seen, remedy):
    right = {(STS_NAME, "TXT"): (STS_RECORD.encode(),)}
    found, _ = survey({**right, question: value}, wanting(tls={"tlsa": True}))
    assert {(one, status) for one, _, status in bad(found)} == {(id, "warn")}
    one = only(found, id)
    assert seen in one.seen
    assert remedy in one.remedy


def test_a_policy_that_is_served_otherwise_than_the_settings_want_is_found(survey):
    fetch = lambda name: STS.replace("enforce", "testing")  # noqa: E731
    found, _ = survey({(STS_NAME, "TXT"): (STS_RECORD.encode(),)}, wanting(), fetch=fetch)
    assert bad(found) == {("dns.mta_sts", D, "warn")}
    assert "the settings want mode: enforce, mx: mx1.a.example, max_age: 86400" in only(found, "dns.mta_sts").seen
    assert "salt-call mailserver.mta_sts_policy a.example" in only(found, "dns.mta_sts").remedy


def test_what_no_server_answers_of_what_the_settings_want_of_tls_is_unknown(survey):
    silent = dict.fromkeys([(STS_NAME, "TXT"), (RPT_NAME, "TXT"), (TLSA_NAME, "TLSA"), (D, "CAA")], SILENT)
    found, _ = survey(silent, wanting(tls={"tlsa": True}))
    assert {status for _, _, status in bad(found)} == {"unknown"}
