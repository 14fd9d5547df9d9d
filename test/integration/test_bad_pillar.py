"""A pillar that asks for something impossible stops the run before the host is touched."""

import pytest

from conftest import DOMAIN, pillar

BEGINS = "configured"

BAD = """mailserver:
  domians: {{}}
  domains:
    {domain}: {{}}
    {upper}.: {{}}
    not_a_domain: {{}}
  domain: {domain}
  addresses: [198.18.0.256]
  postfix:
    main:
      message_size_limit: plenty
      smtpd_tls_secrity_level: may
      smtpd_banner: "mx\\nsmtpd_relay_restrictions = permit"
    submission: {{enabled: perhaps}}
  dovecot: {{protocols: [imap, pop4]}}
  opendkim: {{socket: 'inet:25@127.0.0.1'}}
  firewalld: {{ports: [99999/tcp]}}
"""

# The place of each mistake, and what has to be said about it.
SAID = (
    ("mailserver:domians", "did you mean 'domains'?"),
    ("mailserver:domains:ALPHA.TEST.", "listed twice"),
    ("mailserver:domains:not_a_domain", "'not_a_domain' is not a domain name"),
    ("mailserver:addresses:0", "'198.18.0.256' is not an IPv4 or IPv6 address"),
    ("mailserver:postfix:main:message_size_limit", "'plenty' is not a number of bytes"),
    ("mailserver:postfix:main:smtpd_tls_secrity_level", "did you mean 'smtpd_tls_security_level'?"),
    ("mailserver:postfix:submission:enabled", "'perhaps' is text, but true or false"),
    ("mailserver:dovecot:protocols:1", "'pop4'"),
    ("mailserver:postfix:main:smtpd_banner", "has a line break in it"),
    ("mailserver:opendkim:socket", "port 25 is that of SMTP"),
    ("mailserver:firewalld:ports:0", "'99999/tcp' is out of range"),
)


@pytest.fixture(scope="module")
def refused(lab):
    """What a highstate with the bad pillar returned and did to each host."""
    lab.apply("default")
    lab.forget_pillar()
    before = {host: (lab.snapshot(host), lab.services(host)) for host in DOMAIN}
    for host in DOMAIN:
        lab.set_pillar(BAD.format(domain="alpha.test", upper="ALPHA.TEST"), [host])
    results = lab.highstate()
    after = {host: (lab.snapshot(host), lab.services(host)) for host in DOMAIN}
    lab.set_pillar(pillar("default"))
    return before, results, after


@pytest.mark.parametrize(("place", "what"), SAID, ids=[place for place, _ in SAID])
def test_one_message_names_each_mistake(refused, host, place, what):
    _, results, _ = refused
    said = results[host].returned
    assert isinstance(said, list), said
    (line,) = (line for line in "\n".join(said).splitlines() if f" {place}: " in line)
    assert what in line


def test_it_is_one_message(refused, host):
    _, results, _ = refused
    assert len(results[host].returned) == 1
    assert f"the pillar has {len(SAID)} problems; nothing was changed on this host" in results[host].returned[0]


def test_the_host_is_not_touched(refused, host):
    before, _, after = refused
    assert before[host][0] ^ after[host][0] == set()
    assert before[host][1] == after[host][1]
