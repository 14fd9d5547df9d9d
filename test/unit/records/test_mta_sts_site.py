"""The site of nginx that serves policies of MTA-STS: for each domain a server, with the policy of its record."""

import re

import jinja2
import pytest

from healthy_host import TOP
from mailhost.pillar.settings import resolve
from mailhost.records import mta_sts

GRAINS = {"fqdn": "mx1.a.example", "ipv4": ["192.0.2.25"], "ipv6": []}
FILES = "/certificates/{domain}"
PILLAR = {
    "domain": "a.example",
    "domains": {
        "a.example": {"mta_sts": {"mode": "enforce", "max_age": "2w"}, "mx": ["mx2.a.example", "mx1.a.example"]},
        "b.example": {"mta_sts": {"mode": "none"}, "mx": []},
        "c.example": {},
    },
    "mta_sts": {"serve": "nginx", "certificate": f"{FILES}.pem", "key": f"{FILES}.key"},
}


@pytest.fixture
def settings():
    return resolve(PILLAR, {"postfix": {"version": "3.7"}}, GRAINS)


@pytest.fixture
def site(settings):
    """The servers of the site, by name."""
    template = jinja2.Template((TOP / "mailserver/mta_sts/files/mta-sts.conf.jinja").read_text())
    served = {name: domain for name, domain in settings["domains"].items() if domain["mta_sts"]["mode"]}
    policies = {name: {**domain["mta_sts"], "mx": domain["mx"]} for name, domain in served.items()}
    text = template.render(policies=policies, served=settings["mta_sts"])
    return {re.search(r"server_name (\S+);", part)[1]: part for part in text.split("\nserver {")[1:]}


def test_each_domain_with_a_policy_has_a_server_of_its_own(site):
    assert list(site) == ["mta-sts.a.example", "mta-sts.b.example"]
    assert 'ssl_certificate "/certificates/a.example.pem";' in site["mta-sts.a.example"]
    assert 'ssl_certificate_key "/certificates/b.example.key";' in site["mta-sts.b.example"]
    assert site["mta-sts.a.example"].count("listen ") == 2


@pytest.mark.parametrize("name", ["a.example", "b.example"])
def test_what_is_served_is_the_policy_that_the_record_is_of(site, settings, name):
    served = re.search(r'return 200 "([^"]*)";', site[f"mta-sts.{name}"])[1]
    assert "\n" not in served, "nginx would serve the line break"
    assert served.replace(r"\n", "\n") == mta_sts.policy_text(settings["domains"][name])
