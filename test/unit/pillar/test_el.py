"""EL alone: SELinux's labels, and the repositories of others."""

import pytest

from mailhost.pillar.settings import resolve

ENFORCING = {"enabled": True, "enforced": "Enforcing"}
EL = {
    "postfix": {"version": "3.5.25"},
    "selinux": {"packages": ["policycoreutils-python-utils"], "milter_ports": [8890, 8891, 8893]},
    "repositories": {"epel": "epel-release"},
}
DEBIAN = {"postfix": {"version": "3.7"}}


def settings(system, grain=ENFORCING, **pillar):
    grains = {"fqdn": "mx1.example.net", **({"selinux": grain} if grain else {})}
    return resolve({"domains": {"a.example": {}}, **pillar}, system, grains)


@pytest.mark.parametrize(
    ("socket", "labelled"),
    [("inet:8891@127.0.0.1", []), ("inet:8892@127.0.0.1", [8892]), ("inet:8893@localhost", [])],
)
def test_a_milters_port_is_labelled_where_the_policy_does_not_know_it(socket, labelled):
    assert settings(EL, opendkim={"socket": socket})["selinux"]["milter_ports"] == labelled


def test_no_port_is_labelled_for_a_milter_that_does_not_run():
    given = {"socket": "inet:8892@127.0.0.1", "enabled": False}
    assert settings(EL, opendkim=given)["selinux"]["milter_ports"] == []


@pytest.mark.parametrize(
    ("system", "grain", "pillar", "expected"),
    [
        (EL, ENFORCING, {}, True),
        (EL, {"enabled": False, "enforced": "Disabled"}, {}, False),
        (EL, None, {}, False),
        (EL, ENFORCING, {"selinux": {"enabled": False}}, False),
        (EL, None, {"selinux": {"enabled": True}}, True),
        (DEBIAN, ENFORCING, {}, False),
        (DEBIAN, ENFORCING, {"selinux": {"enabled": True}}, False),
    ],
)
def test_selinux_is_looked_after_where_it_is_enabled_and_the_pillar_agrees(system, grain, pillar, expected):
    assert settings(system, grain, **pillar)["selinux"]["enabled"] is expected


@pytest.mark.parametrize(
    ("system", "pillar", "expected"),
    [(EL, {}, True), (EL, {"repositories": {"install": False}}, False), (DEBIAN, {}, False)],
)
def test_repositories_are_installed_where_the_system_has_any_and_the_pillar_agrees(system, pillar, expected):
    assert settings(system, **pillar)["repositories"]["install"] is expected
