"""The pillar: what is read from it, and what is said of a bad one."""

import re
import subprocess
import types
import typing
from datetime import date
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from salt.utils.secret import hide

from mailhost import shapes
from mailhost.errors import PillarError
from mailhost.pillar.keys import SCHEMA
from mailhost.pillar.settings import resolve
from mailhost.records.addresses import outward_addresses
from mailhost.schema import Names, Section

TOP = Path(__file__).resolve().parents[3]
GRAINS = {"fqdn": "mx1.example.net", "ipv4": ["127.0.0.1", "192.0.2.25"], "ipv6": ["::1", "fe80::1", "2001:db8::25"]}
SYSTEM = {"postfix": {"version": "3.7", "chroot": True}}


def settings(pillar, grains=GRAINS, system=SYSTEM):
    return resolve(pillar, system, grains)


def problems(pillar, grains=GRAINS):
    with pytest.raises(PillarError) as caught:
        settings(pillar, grains)
    return caught.value.problems


def signed_by(dkim=None, **others):
    """A pillar of a.example and b.example, by their first letters: which domain signs for them."""
    domains = {f"{name}.example": {"dkim": {"sign_as": other}} for name, other in others.items()}
    return {"domain": "a.example", "domains": {"b.example": {"dkim": dkim or {}}, **domains}}


BAD = [
    ({"domans": {}}, "mailserver:domans: unknown key; did you mean 'domains'?"),
    ({"xyzzy": 1}, "mailserver:xyzzy: unknown key; valid here: accounts, addresses"),
    ({"domains": {"a.example": {"spff": {}}}}, "mailserver:domains:a.example:spff: unknown key; did you mean 'spf'?"),
    ({"domains": ["a.example"]}, "mailserver:domains: ['a.example'] is a list, but a mapping"),
    ({"domains": {"a.example": 5}}, "mailserver:domains:a.example: 5 is a number, but a mapping is wanted"),
    ({"domains": {"-a.example": {}}}, "the label '-a' is not 1 to 63 letters"),
    ({"domains": {"a_b.example": {}}}, "the label 'a_b' is not 1 to 63 letters"),
    ({"domains": {"a..example": {}}}, "the label '' is not 1 to 63 letters"),
    ({"domains": {f"{'a' * 64}.example": {}}}, "is not 1 to 63 letters"),
    ({"domains": {"example": {}}}, "'example' is not a domain name (example.com): it has a single label"),
    ({"domains": {"192.0.2.1": {}}}, "it looks like an IP address"),
    ({"domains": {5: {}}}, "mailserver:domains:5: 5 is a number, but a domain name"),
    ({"domains": {"a.example": {}, "A.Example.": {}}}, "A.Example.: listed twice: 'a.example' is the same name"),
    ({"domains": {"ü.example": {}, "xn--tda.example": {}}}, "listed twice: 'ü.example' is the same name"),
    ({"addresses": ["192.0.2.256"]}, "mailserver:addresses:0: '192.0.2.256' is not an IPv4 or IPv6 address"),
    ({"addresses": []}, "mailserver:addresses: the list has 0 entries, at least 1 are wanted"),
    ({"addresses": "192.0.2.1"}, "mailserver:addresses: '192.0.2.1' is text, but a list of an IPv4 or IPv6 address"),
    ({"postfix": {"main": {"message_size_limit": "big"}}}, "main:message_size_limit: 'big' is not a number of bytes"),
    ({"postfix": {"main": {"message_size_limit": "5 XiB"}}}, "'5 XiB' is not a number of bytes"),
    ({"postfix": {"main": {"mesage_size_limit": 5}}}, "no such parameter; did you mean 'message_size_limit'?"),
    ({"postfix": {"main": {"milter_default_action": "acept"}}}, "'acept' is not one of accept, reject, tempfail"),
    ({"postfix": {"main": {"smtpd_tls_security_level": "strong"}}}, "'strong' is not one of none, may, encrypt"),
    ({"postfix": {"main": {"mynetworks": "10.0.0.1/8"}}}, "10.0.0.1/8 has host bits set"),
    ({"postfix": {"main": {"smtpd_tls_auth_only": "maybe"}}}, "'maybe' is not one of yes, no"),
    (
        {"postfix": {"submission": {"options": {"smtpd_bogus": 1}}}},
        "submission:options:smtpd_bogus: Postfix has no such",
    ),
    ({"postfix": {"main": {"myorigin": "a\nb = c"}}}, "mailserver:postfix:main:myorigin"),
    ({"domains": {"a.example": {}}, "dkim": {"retention": "6d"}}, "retention: 518400 s is less than 7 days"),
    ({"dkim": {"bits": 2047}}, "mailserver:dkim:bits: 2047 is not one of 1024, 2048, 3072, 4096"),
    ({"dkim": {"selector": "{data}"}, "domains": {"a.example": {}}}, "'{data}' is not a selector template"),
    (signed_by(a="a.example"), "domains:a.example:dkim:sign_as: a domain signs its own mail without this"),
    (signed_by(a="c.example"), "domains:a.example:dkim:sign_as: c.example is not among mailserver:domains; did you"),
    (signed_by(a="b.example", b="a.example"), "b.example has no key either: its own sign_as is a.example"),
    (signed_by({"enabled": False}, a="b.example"), "sign_as: b.example has no key: its dkim:enabled is false"),
    (signed_by(a="no domain"), "mailserver:domains:a.example:dkim:sign_as: 'no domain' is not a domain name"),
    ({"dkim": {"sign_as": "a.example"}}, "mailserver:dkim:sign_as: unknown key"),
    ({"dkim": {"subdomains": "some"}}, "mailserver:dkim:subdomains: 'some' is text, but true or false is wanted"),
    ({"opendkim": {"takeover": {"drop": "all"}}}, "mailserver:opendkim:takeover:drop: 'all' is"),
    (
        {"dkim": {"selector": "{date}."}, "domains": {"a.example": {}}},
        "'20261124.' is not possible: it has an empty label",
    ),
    ({"dkim": {"selector": ".{date}"}, "domains": {"a.example": {}}}, "it has an empty label"),
    ({"dkim": {"selector": "{date}-"}, "domains": {"a.example": {}}}, "not letters, digits and inner hyphens"),
    ({"dkim": {"selector": "-{date}"}, "domains": {"a.example": {}}}, "not letters, digits and inner hyphens"),
    ({"dkim": {"selector": "{date}_a"}, "domains": {"a.example": {}}}, "not letters, digits and inner hyphens"),
    ({"dkim": {"selector": "a..b"}, "domains": {"a.example": {}}}, "it has an empty label"),
    ({"dkim": {"selector": "x" * 64}, "domains": {"a.example": {}}}, "has 64 characters, 63 are allowed"),
    (
        {"hostname": f"{'h' * 55}.a.example", "domains": {"a.example": {}}},
        "has 64 characters, 63 are allowed (RFC 1035 section 2.3.4); give another, or mailserver:domains:a.example",
    ),
    ({"domains": {".".join(["d" * 59] * 4 + ["e"]): {}}}, "253 are allowed (RFC 1035 section 2.3.4)"),
    ({"dkim": {"publish_deadline": "3 days"}}, "'3 days' is not a time in seconds or with a unit"),
    ({"dkim": {"enabled": "yes please"}}, "'yes please' is text, but true or false is wanted"),
    ({"dns": {"in_flight": 0}}, "mailserver:dns:in_flight: 0 is out of range"),
    ({"dns": {"publish": "rfc2163"}}, "mailserver:dns:publish: 'rfc2163' is not one of manual, rfc2136, central; did"),
    ({"dns": {"publish": "rfc2136"}}, "mailserver:dns:rfc2136:server: not given, but mailserver:dns:publish is rfc"),
    (
        {"dns": {"publish_records": True}},
        "publish_records: true, but mailserver:dns:publish is manual; say how: rfc2136",
    ),
    ({"dns": {"rfc2136": {"server": "192.0.2.256"}}}, "mailserver:dns:rfc2136:server: '192.0.2.256' is not"),
    ({"dns": {"rfc2136": {"port": 0}}}, "mailserver:dns:rfc2136:port: 0 is out of range"),
    ({"dns": {"rfc2136": {"key_file": "rfc2136.key"}}}, "mailserver:dns:rfc2136:key_file: 'rfc2136.key' is not an abs"),
    ({"dns": {"rfc2136": {"timeout": 0}}}, "mailserver:dns:rfc2136:timeout: 0 is too short"),
    ({"watch": {"mail": ["ops"]}}, "mailserver:watch:mail:0: 'ops' is not a mail address (user@example.com)"),
    (
        {"watch": {"mail": "ops@a.example"}},
        "mailserver:watch:mail: 'ops@a.example' is text, but a list of a mail address",
    ),
    ({"watch": {"every": 1}}, "mailserver:watch:every: 1 is too short: at least 10 seconds are wanted"),
    ({"watch": {"prometheus": "/var/lib/textfiles"}}, "is not true or false or an absolute path (/….prom)"),
    ({"domains": {"a.example": {"dmarc": {"p": "rejct"}}}}, "did you mean 'reject'?"),
    (
        {"domains": {"a.example": {"dmarc": {"rua": ["dmarc@a.example"]}}}},
        "is not a report URI (mailto:dmarc@example.com)",
    ),
    ({"domains": {"a.example": {"spf": {"all": "+all"}}}}, "'+all' is not one of -all, ~all, ?all"),
    ({"domains": {"a.example": {"spf": {"record": "spf1 -all"}}}}, "is not an SPF record"),
    ({"domains": {"a.example": {}, "b.example": {}}}, "mailserver:domain: not given, and mailserver:domains lists 2"),
    ({"tls": {"key": "/k.pem"}}, "mailserver:tls:certificate: not given, but mailserver:tls:key is"),
    ({"tls": {"key": "k.pem", "certificate": "/c.pem"}}, "'k.pem' is not an absolute path"),
    ({"accounts": {"users": {"alice": {"password": "secret"}}}}, "users:alice:password"),
    ({"accounts": {"users": {"Al Ice": {}}}}, "'Al Ice' is not a user name"),
    ({"sasl": {"type": "dovecot"}, "dovecot": {"enabled": False}}, "mailserver:dovecot:enabled is false"),
    ({"firewalld": {"ports": [587]}}, "mailserver:firewalld:ports:0: '587' is not a port (587/tcp)"),
    ({"opendkim": {"socket": "local:/run/x"}}, "is not an OpenDKIM socket"),
    ({"reflector": {"address": "check"}}, "reflector:address: 'check' is not a mail address"),
    ({"reflector": {"address": "check+x@a.example"}}, "reflector:address: 'check+x@a.example' is not a mail address"),
    (
        {"reflector": {"address": "check@a.example"}},
        "a.example is not among mailserver:domains with receive: true; there",
    ),
    (
        {"reflector": {"address": "check@a.exampel"}, "domains": {"a.example": {}}},
        "reflector:address: a.exampel is not among mailserver:domains with receive: true; did you mean 'a.example'?",
    ),
    (
        {"reflector": {"address": "check@a.example"}, "domains": {"a.example": {"receive": False}}},
        "a.example is not among mailserver:domains with receive: true",
    ),
    (
        {"reflector": {"address": "postmaster@a.example"}, "domains": {"a.example": {}}},
        "mailserver:accounts:aliases has postmaster, too",
    ),
    (
        {"reflector": {"address": "Al@a.example"}, "domains": {"a.example": {}}, "accounts": {"users": {"al": {}}}},
        "mailserver:accounts:users has al, too",
    ),
    ({"reflector": {"language": "jp"}}, "reflector:language: 'jp' is not one of en, ja; valid here: en, ja"),
    ({"reflector": {"rate": 0}}, "reflector:rate: 0 is out of range"),
    (
        {"domains": {"a.example": {"mta_sts": {"mode": "enforced"}}}},
        "mta_sts:mode: 'enforced' is not one of enforce, t",
    ),
    ({"domains": {"a.example": {"mta_sts": {"mode": "testing", "max_age": "53w"}}}}, "max_age: 32054400 s is too long"),
    (
        {"domains": {"a.example": {"mta_sts": {"mode": "enforce"}, "mx": []}}},
        "mailserver:domains:a.example:mx names no",
    ),
    (
        {"domains": {"a.example": {"tls_rpt": {"rua": ["tls@a.example"]}}}},
        "tls_rpt:rua:0: 'tls@a.example' is not a rep",
    ),
    ({"domains": {"a.example": {"caa": ["letsencrypt.org"]}}}, "caa:0: 'letsencrypt.org' is not a CAA record (0 issue"),
    ({"domains": {"a.example": {"caa": ['0 isue "ca.example"']}}}, "its property is one of issue, issuewild"),
    (
        {"domains": {"a.example": {"mta_sts": {"mode": "none"}}}, "mta_sts": {"serve": "nginx"}},
        "mailserver:mta_sts:certificate: not given, nor is mailserver:tls:certificate, but nginx is to serve",
    ),
    ({"mta_sts": {"certificate": "/c/{host}.pem"}}, "'/c/{host}.pem' is not a path for nginx: only {domain} is filled"),
    ({"mta_sts": {"key": "/k;load_module"}}, "no quotation mark, backslash, semicolon or dollar sign can be in it"),
    ({"mta_sts": {"listen": ["all"]}}, "mailserver:mta_sts:listen:0: 'all' is not an address and port ([::]:443)"),
    (
        {
            "domains": {"a.example": {"mta_sts": {"mode": "testing"}, "mx": [f"mx{n}.a.example" for n in range(300)]}},
            "mta_sts": {"serve": "nginx", "certificate": "/c", "key": "/k"},
        },
        "mta_sts: the policy names so many hosts that nginx could not serve it",
    ),
    ([], "mailserver: [] is a list, but a mapping is wanted"),
    ("text", "mailserver: 'text' is text, but a mapping is wanted"),
]


@pytest.mark.parametrize(("pillar", "message"), BAD)
def test_a_bad_pillar_is_named_by_place_and_remedy(pillar, message):
    found = problems(pillar)
    assert any(message in problem for problem in found), found


def test_one_message_lists_all_that_is_wrong():
    found = problems({"domans": {}, "addresses": ["x"], "postfix": {"main": {"message_size_limit": "big"}}, "dkim": 7})
    assert len(found) == 4
    assert str(PillarError(found)).count("\n  - ") == 4
    assert "nothing was changed on this host" in str(PillarError(found))


def test_a_rejected_password_is_not_repeated():
    assert "secret" not in "".join(problems({"accounts": {"users": {"alice": {"password": "secret"}}}}))


def test_a_host_without_a_full_name_must_be_given_one():
    assert "mailserver:hostname: not given" in problems({"domains": {"a.example": {}}}, {"fqdn": "localhost"})[0]


def test_the_defaults_are_the_safe_ones():
    read = settings({"domains": {"a.example": None}})
    main, submission = read["postfix"]["main"], read["postfix"]["submission"]["options"]
    assert main["milter_default_action"] == "tempfail"
    assert main["smtpd_tls_auth_only"] == "yes"
    assert main["smtpd_sasl_auth_enable"] == "no"
    assert main["internal_mail_filter_classes"] == "bounce"
    assert submission["smtpd_tls_security_level"] == "encrypt"
    assert submission["smtpd_sender_restrictions"] == "reject_sender_login_mismatch"
    assert submission["smtpd_relay_restrictions"] == "permit_sasl_authenticated,reject"
    assert read["dovecot"]["allow_cleartext_auth"] is False


def test_defaults_come_from_the_host():
    read = settings({"domains": {"A.example.": {}}})
    assert read["hostname"] == "mx1.example.net"
    assert read["domain"] == "a.example"
    assert read["addresses"] == ["192.0.2.25", "2001:db8::25"]
    assert read["domains"]["a.example"]["mx"] == ["mx1.example.net"]
    assert read["domains"]["a.example"]["spf"]["addresses"] == ["192.0.2.25", "2001:db8::25"]
    assert read["firewalld"]["services"] == ["smtp", "smtps", "imap", "imaps", "pop3", "pop3s"]
    assert read["firewalld"]["ports"] == ["587/tcp"]


def test_a_domain_differs_from_the_rest_where_it_says_so():
    read = settings({"domain": "a.example", "domains": {"a.example": {"dkim": {"bits": 4096}}, "b.example": {}}})
    assert read["domains"]["a.example"]["dkim"]["bits"] == 4096
    assert read["domains"]["b.example"]["dkim"]["bits"] == 2048
    assert read["domains"]["a.example"]["dkim"]["publish_deadline"] == 72 * 3600


@pytest.mark.parametrize(
    ("given_value", "text"),
    [("10MiB", "10485760"), (10485760, "10485760"), ("1 GB", "1000000000"), ("5KiB", "5120")],
)
def test_a_size_may_have_a_unit(given_value, text):
    main = settings({"domains": {"a.example": {}}, "postfix": {"main": {"message_size_limit": given_value}}})
    assert main["postfix"]["main"]["message_size_limit"] == text


def test_main_cf_takes_any_parameter_of_postfix_and_null_leaves_one_out():
    given_values = {
        "maximal_queue_lifetime": "3d",
        "smtpd_banner": None,
        "mua_rules": "reject",
        "smtpd_helo_restrictions": "$mua_rules",
    }
    main = settings({"domains": {"a.example": {}}, "postfix": {"main": given_values}})["postfix"]["main"]
    assert main["maximal_queue_lifetime"] == "3d"
    assert "smtpd_banner" not in main
    assert main["mua_rules"] == "reject"


def test_a_transport_map_of_the_operator_stands_before_the_self_test():
    main = settings({"domains": {"a.example": {}}, "postfix": {"main": {"transport_maps": ["lmdb:/etc/postfix/t"]}}})
    assert main["postfix"]["main"]["transport_maps"].startswith("lmdb:/etc/postfix/t, inline:{ {selftest.invalid = ")


def test_an_alias_has_one_target_or_several():
    aliases = {"postmaster": "alice", "abuse": ["alice", "bob@a.example"]}
    assert settings({"domains": {"a.example": {}}, "accounts": {"aliases": aliases}})["accounts"]["aliases"] == aliases


def test_domains_of_which_the_pillar_says_the_same_have_their_settings_in_common():
    own = {"ttl": 60, "spf": {"include": ["spf.example.net"]}}
    pillar = {"domain": "a.example", "domains": {"a.example": own, "b.example": dict(own), "c.example": {"ttl": 61}}}
    domains = settings(pillar)["domains"]
    assert domains["a.example"] is domains["b.example"]
    assert (
        {**domains["a.example"], "ttl": 61}
        != domains["c.example"]
        == settings({"domains": {"c.example": {"ttl": 61}}})["domains"]["c.example"]
    )


def test_domains_of_a_pillar_that_shows_asterisks_have_settings_of_their_own():
    own = {f"{name}.example": {"tls_rpt": {"rua": [f"mailto:tls@{name}.example"]}} for name in ("a", "b")}
    domains = settings({"domain": "a.example", "domains": hide(own)})["domains"]
    assert [one["tls_rpt"]["rua"] for one in domains.values()] == [["mailto:tls@a.example"], ["mailto:tls@b.example"]]


def test_what_is_no_plain_data_in_several_domains_is_told_of_each():
    names = ("a.example", "b.example")
    found = problems({"domain": names[0], "domains": hide({name: {"ttl": date(2026, 1, 1)} for name in names})})
    assert [one.split(": ")[0] for one in found] == [f"mailserver:domains:{name}:ttl" for name in names]


@pytest.mark.parametrize(
    ("own", "place"),
    [
        ({"ttl": -1}, "ttl"),
        ({"dkim": {"selector": "{day}"}}, "dkim:selector"),
        ({"mta_sts": {"mode": "enforce"}, "mx": []}, "mta_sts:mode"),
    ],
)
def test_what_is_wrong_with_each_of_several_domains_is_told_of_each(own, place):
    names = ("a.example", "b.example")
    found = problems({"domain": names[0], "domains": {name: dict(own) for name in names}})
    assert [one.split(": ")[0] for one in found] == [f"mailserver:domains:{name}:{place}" for name in names]


def test_logins_of_which_the_pillar_says_the_same_have_their_settings_each():
    users = settings({"domains": {"a.example": {}}, "accounts": {"users": {"a": {}, "b": {}}}})["accounts"]["users"]
    assert users["a"] is not users["b"]


def test_a_domain_that_this_host_receives_no_mail_for_wants_no_mx_here():
    assert settings({"domains": {"a.example": {"receive": False}}})["domains"]["a.example"]["mx"] == []


def test_what_an_old_postfix_does_not_know_is_left_out():
    main = settings({"domains": {"a.example": {}}}, system={"postfix": {"version": "3.5.8", "chroot": False}})[
        "postfix"
    ]["main"]
    assert main["compatibility_level"] == "2"
    assert main["smtpd_tls_protocols"] == "!SSLv2, !SSLv3, !TLSv1, !TLSv1.1"
    assert "smtpd_forbid_bare_newline" not in main


def test_the_self_signed_certificate_is_where_the_parameters_say_and_nowhere_else():
    system = {**SYSTEM, "tls": {"certificate": "/own/certificate", "key": "/own/key"}}
    main = settings({"domains": {"a.example": {}}}, system=system)["postfix"]["main"]
    assert main["smtpd_tls_chain_files"] == "/own/key, /own/certificate"
    given = {"domains": {"a.example": {}}, "tls": {"certificate": "/its/certificate", "key": "/its/key"}}
    assert settings(given, system=system)["postfix"]["main"]["smtpd_tls_chain_files"] == "/its/key, /its/certificate"
    files = [*TOP.glob("_*/**/*.py"), *(path for path in TOP.glob("mailserver/**/*") if path.is_file())]
    named = [path.name for path in files if "/etc/ssl/mailserver" in path.read_text()]
    assert named == ["defaults.yaml"]


REFLECTOR = {"domains": {"a.example": {}}, "reflector": {"address": "Check@A.example"}}


@pytest.mark.parametrize(
    ("given", "recipients"),
    [
        (None, "proxy:unix:passwd.byname $alias_maps, inline:{ {check@a.example = x} }"),
        (["lmdb:/etc/postfix/r", "$alias_maps"], "lmdb:/etc/postfix/r, $alias_maps, inline:{ {check@a.example = x} }"),
        ("", ""),
    ],
)
def test_one_key_has_postfix_take_mail_for_the_reflector_at_its_address_alone(given, recipients):
    main = {} if given is None else {"local_recipient_maps": given}
    found = settings({**REFLECTOR, "postfix": {"main": main}})["postfix"]["main"]
    assert found["transport_maps"].endswith(", {check@a.example = mailserver-reflector:} }")
    assert found["local_recipient_maps"] == recipients


def test_without_that_key_there_is_nothing_of_the_reflector():
    found = settings({"domains": {"a.example": {}}})
    assert found["reflector"]["address"] is None
    assert "local_recipient_maps" not in found["postfix"]["main"]
    assert "reflector" not in found["postfix"]["main"]["transport_maps"]


def test_the_reflector_brings_the_packages_that_it_needs():
    system = yaml.safe_load((TOP / "mailserver/parameters/defaults.yaml").read_text())
    system["postfix"]["version"] = "3.7"
    usual = settings({"domains": {"a.example": {}}}, system=system)["os"]["python"]["packages"]
    more = settings(REFLECTOR, system=system)["os"]["python"]["packages"]
    assert [re.match(r"\w+", one)[0] for one in more if one not in usual] == ["publicsuffixlist", "pynacl"]
    assert system["python"]["packages"] == usual


def test_only_addresses_that_others_can_see_are_taken():
    assert outward_addresses(GRAINS) == ["192.0.2.25", "2001:db8::25"]


def test_the_example_is_a_good_pillar_and_shows_every_section():
    example = yaml.safe_load((TOP / "pillar.example").read_text())["mailserver"]
    settings(example)
    assert set(SCHEMA.keys) - set(example) == {"hostname", "addresses", "tls"}
    assert all(f"# {name}:" in (TOP / "pillar.example").read_text() for name in ("hostname", "addresses", "tls"))


def test_the_example_shows_the_defaults():
    example = yaml.safe_load((TOP / "pillar.example").read_text())["mailserver"]
    shown = {name: value for name, value in example.items() if name not in ("domain", "domains")}
    bare = {"domain": "example.com", "domains": {"example.com": {}, "example.org": {}}}
    assert settings({**bare, **shown}) == settings(bare)


def test_the_pillar_reference_is_what_the_schema_says():
    made = subprocess.run([TOP / "script" / "reference"], capture_output=True, text=True, check=True).stdout
    assert (TOP / "docs" / "pillar.md").read_text() == made, "run: script/reference > docs/pillar.md"


def test_the_types_of_settings_are_what_the_schema_says():
    made = subprocess.run([TOP / "script" / "reference", "shapes"], capture_output=True, text=True, check=True).stdout
    written = (TOP / "_utils" / "mailhost" / "shapes.py").read_text()
    assert written == made, "run: script/reference shapes > _utils/mailhost/shapes.py"


def _misfits(value, kind, place):
    """Yield each place where a value is not of a type of :mod:`mailhost.shapes`."""
    origin = typing.get_origin(kind)
    if typing.is_typeddict(kind) and isinstance(value, dict):
        hints = typing.get_type_hints(kind)
        yield from (f"{place}:{name}" for name in hints.keys() ^ value.keys())
        for name in hints.keys() & value.keys():
            yield from _misfits(value[name], hints[name], f"{place}:{name}")
    elif origin is dict and isinstance(value, dict):
        for name, inner in value.items():
            yield from _misfits(inner, typing.get_args(kind)[1], f"{place}:{name}")
    elif origin is list and isinstance(value, list):
        yield from (one for inner in value for one in _misfits(inner, typing.get_args(kind)[0], place))
    elif origin in (typing.Union, types.UnionType):
        if all(list(_misfits(value, one, place)) for one in typing.get_args(kind)):
            yield f"{place}: {value!r}"
    elif origin is typing.Literal:
        if value not in typing.get_args(kind):
            yield f"{place}: {value!r}"
    elif kind is not typing.Any and type(value) is not kind:
        yield f"{place}: {value!r}"


VIRTUAL = {"type": "virtual", "virtual": {"users": {"alice@example.com": {"password": "$6$abc$def"}}}}


@pytest.mark.parametrize("more", [{}, {"accounts": VIRTUAL, "sasl": {}}], ids=["system users", "virtual accounts"])
def test_settings_are_of_the_types_that_the_checker_knows(more):
    example = yaml.safe_load((TOP / "pillar.example").read_text())["mailserver"]
    pillar = {**example, "firewalld": {"enabled": True}, **more}
    probe = {"user": "mailprobe", "alias": "mailprobealias", "folder": "/var/lib/probe", "home": "/var/lib/probe/home"}
    assert not list(_misfits(settings(pillar, system={**SYSTEM, "probe": probe}), shapes.Settings, "mailserver"))


def test_a_setting_of_another_type_is_found():
    found = settings({"domain": "example.com", "domains": {"example.com": {}}})
    found["postfix"]["message_size"] = "50 MB"
    del found["sasl"]["path"]
    assert sorted(_misfits(found, shapes.Settings, "")) == [":postfix:message_size: '50 MB'", ":sasl:path"]


def _sections(section):
    yield section
    for key in section.keys.values():
        inner = key.kind.of if isinstance(key.kind, Names) else key.kind
        if isinstance(inner, Section):
            yield from _sections(inner)


def test_every_key_is_described():
    assert all(key.doc.endswith(".") for section in _sections(SCHEMA) for key in section.keys.values())


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["a.example", "192.0.2.1", "yes"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8) | st.sampled_from(sorted(SCHEMA.keys)), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(sorted(SCHEMA.keys)), JSON, max_size=4) | JSON)
def test_no_pillar_is_a_traceback(pillar):
    try:
        settings(pillar)
    except PillarError as err:
        named = all(problem.startswith("mailserver") for problem in err.problems)
        assert named and err.problems  # noqa: PT017, PT018


def test_what_spf_includes_may_be_the_name_of_a_record_alone():
    spf = {"include": ["_spf.Newsletter.example."]}
    assert settings({"domains": {"a.example": {"spf": spf}}})["domains"]["a.example"]["spf"]["include"] == [
        "_spf.newsletter.example"
    ]
    assert (
        "underscores or inner hyphens" in problems({"domains": {"a.example": {"spf": {"include": ["-a.example"]}}}})[0]
    )


@pytest.mark.parametrize(
    ("given", "path"), [(True, "/there/mailserver.prom"), ("/a/b.prom", "/a/b.prom"), (False, False)]
)
def test_the_textfile_for_prometheus_is_where_debian_has_it_unless_a_path_is_given(given, path):
    system = {**SYSTEM, "watch": {"textfile": "/there/mailserver.prom"}}
    assert settings({"watch": {"prometheus": given}}, system=system)["watch"]["prometheus"] == path


def test_a_host_that_serves_policies_takes_its_own_certificate_and_opens_https():
    served = {"domains": {"a.example": {"mta_sts": {"mode": "testing"}}}, "tls": {"certificate": "/c", "key": "/k"}}
    host = settings({**served, "mta_sts": {"serve": "nginx"}})
    assert (host["mta_sts"]["certificate"], host["mta_sts"]["key"]) == ("/c", "/k")
    assert host["domains"]["a.example"]["mta_sts"]["addresses"] == host["addresses"]
    assert "https" in host["firewalld"]["services"]
    elsewhere = settings(served)
    assert elsewhere["domains"]["a.example"]["mta_sts"]["addresses"] == []
    assert "https" not in elsewhere["firewalld"]["services"]


def test_a_domain_that_another_one_signs_for_has_no_key_of_its_own():
    pillar = {"domain": "a.example", "domains": {"a.example": {"dkim": {"sign_as": "b.example"}}, "b.example": {}}}
    domains = settings(pillar)["domains"]
    assert [domains[name]["dkim"]["enabled"] for name in ("a.example", "b.example")] == [False, True]
