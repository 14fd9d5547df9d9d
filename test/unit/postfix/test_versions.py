"""What a version of Postfix has: which of its parameters, and what the formula asks of an old one."""

import pytest

from mailhost.errors import PillarError
from mailhost.pillar.settings import resolve
from mailhost.postfix.parameters import main_cf
from mailhost.postfix.versions import PARAMETERS, has_table, knows, parsed

GRAINS = {"fqdn": "mx1.example.net"}
EVERY = ("2.10.1", "2.11.3", "3.0.0", "3.3.0", "3.4.0", "3.5.8", "3.5.25", "3.6.4", "3.7", "3.8.6", "3.10", "3.11.6")


def settings(version, pillar=None, **system):
    parameters = {"postfix": {"version": version, **system}, "tls": {"certificate": "/own/chain", "key": "/own/key"}}
    return resolve({"domains": {"a.example": {}}, **(pillar or {})}, parameters, GRAINS)


def main(version, **given):
    return settings(version, {"postfix": {"main": given}})["postfix"]["main"]


def problem(version, postfix, **system):
    with pytest.raises(PillarError) as caught:
        settings(version, {"postfix": postfix}, **system)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


KNOWN = [
    ("compatibility_level", "2.10.1", False),
    ("compatibility_level", "3.0.0", True),
    ("smtpd_relay_restrictions", "2.10.1", True),
    ("smtpd_tls_chain_files", "3.3.22", False),
    ("smtpd_tls_chain_files", "3.4.0", True),
    ("smtpd_forbid_unauth_pipelining", "3.5.19", False),
    ("smtpd_forbid_unauth_pipelining", "3.5.20", True),
    ("smtpd_forbid_unauth_pipelining", "3.6.9", False),
    ("smtpd_forbid_bare_newline", "3.5.25", True),
    ("smtpd_forbid_bare_newline", "3.6.4", False),
    ("smtpd_forbid_bare_newline", "3.7", True),
    ("smtpd_forbid_bare_newline", "3.8.3", False),
    ("smtpd_forbid_bare_newline", "3.9.0", True),
    ("dnssec_probe", "3.5.8", False),
    ("dnssec_probe", "3.5.9", True),
    ("smtp_tlsrpt_enable", "3.9.14", False),
    ("smtp_tlsrpt_enable", "3.10.0", True),
    ("smtp_tls_enforce_sts_mx_patterns", "3.10.4", False),
    ("smtp_tls_enforce_sts_mx_patterns", "3.10.5", True),
    ("tls_legacy_public_key_fingerprints", "2.10.1", True),
    ("tls_legacy_public_key_fingerprints", "3.10", True),
    ("tls_legacy_public_key_fingerprints", "3.11.0", False),
]


@pytest.mark.parametrize(("name", "version", "expected"), KNOWN)
def test_a_version_has_a_parameter_from_its_first_release_and_from_each_backport_on(name, version, expected):
    assert knows(version, name) is expected


@pytest.mark.parametrize("version", EVERY)
def test_main_cf_has_no_parameter_that_the_version_does_not_know(version):
    made = main(version)
    assert [name for name in made if not knows(version, name)] == []
    assert not set(made) - set(PARAMETERS)


@pytest.mark.parametrize("version", EVERY)
def test_what_the_formula_asks_for_would_be_allowed_in_a_pillar(version):
    made = settings(version)
    again = {name: value for name, value in made["postfix"]["main"].items() if name != "mynetworks"}
    assert main_cf(made, again)["smtpd_tls_protocols"] == again["smtpd_tls_protocols"]
    assert main(version, **{**again, "transport_maps": None})["smtpd_banner"] == "$myhostname ESMTP"


LEVELS = [("3.0.0", "2"), ("3.5.25", "2"), ("3.6.4", "3.6"), ("3.10", "3.6"), ("3.11.7", "3.11")]


@pytest.mark.parametrize(("version", "level"), LEVELS)
def test_no_default_of_an_older_version_is_in_force_of_which_postfix_would_warn(version, level):
    assert main(version)["compatibility_level"] == level


def test_the_certificate_is_named_in_the_form_of_the_version():
    assert main("3.4.0")["smtpd_tls_chain_files"] == "/own/key, /own/chain"
    old = main("2.10.1")
    assert (old["smtpd_tls_cert_file"], old["smtpd_tls_key_file"]) == ("/own/chain", "/own/key")
    assert "smtpd_tls_chain_files" not in old


@pytest.mark.parametrize(
    ("version", "closed"),
    [
        ("2.10.1", {}),
        ("3.5.8", {"smtpd_discard_ehlo_keywords": "chunking, silent-discard"}),
        ("3.5.23", {"smtpd_forbid_bare_newline": "yes", "smtpd_forbid_unauth_pipelining": "yes"}),
        ("3.5.24", {"smtpd_forbid_bare_newline": "normalize", "smtpd_forbid_unauth_pipelining": "yes"}),
        ("3.10", {"smtpd_forbid_bare_newline": "normalize", "smtpd_forbid_unauth_pipelining": "yes"}),
    ],
)
def test_smuggling_is_closed_as_far_as_the_version_can(version, closed):
    made = main(version)
    assert made["smtpd_data_restrictions"] == "reject_unauth_pipelining"
    assert {name: made[name] for name in made if "forbid" in name or "ehlo" in name} == closed


def test_without_inline_tables_the_self_test_has_a_file():
    made = settings("2.10.1")["postfix"]
    assert made["main"]["transport_maps"] == "texthash:/etc/postfix/mailserver_transport"
    route = ["selftest.invalid mailserver-selftest:[127.0.0.1]:10587"]
    assert made["files"]["/etc/postfix/mailserver_transport"] == route
    assert "/etc/postfix/mailserver_transport" not in settings("3.0.0")["postfix"]["files"]


@pytest.mark.parametrize(
    ("version", "syntax"),
    [
        ("2.10.1", {"braces": False, "service_name": False, "postlogd": False}),
        ("3.0.0", {"braces": True, "service_name": False, "postlogd": False}),
        ("3.3.0", {"braces": True, "service_name": True, "postlogd": False}),
        ("3.4.0", {"braces": True, "service_name": True, "postlogd": True}),
    ],
)
def test_master_cf_has_what_the_version_reads(version, syntax):
    assert settings(version)["postfix"]["syntax"] == syntax


def test_an_option_of_an_old_master_cf_has_no_blanks():
    given = {"submission": {"options": {"smtpd_client_restrictions": ["permit_mynetworks", "reject"]}}}
    made = settings("2.10.1", {"postfix": given})["postfix"]["submission"]["options"]
    assert made["smtpd_client_restrictions"] == "permit_mynetworks,reject"
    assert [value for value in made.values() if " " in value] == []


def test_an_option_may_name_a_parameter_of_the_operators_own_in_main_cf():
    given = {"main": {"mua_rules": "permit_mynetworks, reject"}}
    given["submission"] = {"options": {"smtpd_client_restrictions": "$mua_rules"}}
    made = settings("2.10.1", {"postfix": given})["postfix"]
    assert made["main"]["mua_rules"] == "permit_mynetworks, reject"
    assert made["submission"]["options"]["smtpd_client_restrictions"] == "$mua_rules"


REFUSED = [
    (
        "3.7",
        {"main": {"smtp_tlsrpt_enable": True}},
        "main:smtp_tlsrpt_enable: Postfix 3.7 on this host has no such parameter; it is in 3.10 and later",
    ),
    (
        "3.5.8",
        {"submission": {"options": {"smtpd_forbid_bare_newline": "normalize"}}},
        "it is in 3.9 and later (also from 3.5.23, 3.6.13, 3.7.9, 3.8.4 on)",
    ),
    (
        "2.10.1",
        {"main": {"transport_maps": "inline:{a.example=discard:}"}},
        "main:transport_maps: inline: Postfix 2.10.1 on this host has no tables of this type; use hash:",
    ),
    ("3.10", {"main": {"smtpd_client_restrictions": ["reject_maps_rbl"]}}, "reject_maps_rbl is not in Postfix 3.10"),
    ("3.5.25", {"main": {"smtpd_tls_protocols": ">=TLSv1.2"}}, "this form came with Postfix 3.6, and here is 3.5.25"),
    ("3.5.25", {"main": {"compatibility_level": "3.6"}}, "Postfix 3.5.25 takes whole numbers up to 2"),
    (
        "2.10.1",
        {"submission": {"options": {"smtpd_banner": "$myhostname ESMTP"}}},
        "takes no blanks in an option of master.cf; give the value to a parameter of your own",
    ),
]


@pytest.mark.parametrize(("version", "postfix", "message"), REFUSED)
def test_what_the_hosts_version_does_not_understand_is_refused_with_the_versions_that_do(version, postfix, message):
    assert message in problem(version, postfix)


@pytest.mark.parametrize("kind", ["hash", "btree"])
def test_a_table_type_that_the_system_was_built_without_is_refused_with_the_one_to_use(kind):
    given = {"main": {"virtual_alias_maps": f"{kind}:/etc/postfix/virtual"}}
    message = problem("3.8.5", given, lacks=["hash", "btree"], database="lmdb")
    assert f"virtual_alias_maps: {kind}: Postfix 3.8.5 on this host has no tables of this type; use lmdb:" in message
    assert settings("3.8.5", {"postfix": given})


def test_null_leaves_out_even_what_the_version_never_had():
    assert "smtp_tlsrpt_enable" not in main("3.7", smtp_tlsrpt_enable=None)


def test_the_pillar_may_name_another_version_than_the_distributions():
    made = settings("3.5.25", {"postfix": {"version": "3.10.6", "main": {"smtp_tlsrpt_enable": True}}})
    assert made["postfix"]["main"]["compatibility_level"] == "3.6"
    assert made["os"]["postfix"]["version"] == made["postfix"]["version"] == "3.10.6"


def test_a_version_without_a_patch_level_is_none_to_give_since_yaml_makes_3_1_of_3_10():
    assert "mailserver:postfix:version: 3.1 is not a version" in problem("3.7", {"version": 3.10}).replace("'", "")


@pytest.mark.parametrize(("version", "numbers"), [("3.10.13", (3, 10, 13)), ("2.10.1", (2, 10, 1))])
def test_a_version_is_read_as_numbers(version, numbers):
    assert parsed(version) == numbers
    assert parsed(".".join(version.split(".")[:2])) > numbers


@pytest.mark.parametrize(
    ("kind", "version", "expected"), [("inline", "2.11.11", False), ("inline", "3.0.0", True), ("cidr", "2.10.1", True)]
)
def test_a_table_type_is_there_from_its_first_version_on(kind, version, expected):
    assert has_table(version, kind) is expected
