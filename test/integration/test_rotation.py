"""Keys rotate under a stream of mail, published by the hosts themselves: no message arrives that cannot be verified."""

import pytest
from streaming import (
    DOMAINS,
    LIFE,
    PUBLISHES,
    advance,
    advance_until_gone,
    give_credential,
    mail_all_the_time,
    rotate,
    sign,
    signers,
)

from conftest import DOMAIN, MAIL_HOSTS

LONG = PUBLISHES + LIFE % ("14d", "30d")


@pytest.fixture(scope="module", autouse=True)
def _hosts_publish(lab):
    give_credential(lab)
    sign(lab, LONG)
    for host in MAIL_HOSTS:
        lab.publish(host)


def test_no_message_of_a_stream_is_lost_unsigned_or_unverifiable_while_keys_rotate(lab):
    used = [signers(lab)]
    with mail_all_the_time(lab) as stream:
        for _ in range(2):
            rotate(lab)
            used.append(signers(lab))
    for place in used[0]:
        selectors = stream.selectors(place[1])
        assert selectors <= {signer[place] for signer in used}
        assert used[-1][place] in selectors
        assert len(selectors) >= 2, "no rotation took place while mail was sent"


def test_what_was_retired_is_revoked_and_removed_and_its_private_keys_are_gone(lab):
    lab.apply("rotation", PUBLISHES + LIFE % ("1s", "1s"))
    present = signers(lab)
    advance_until_gone(lab)
    assert signers(lab) == present
    for (host, domain), selector in present.items():
        private = lab.sh(host, f"cd /etc/opendkim/keys/{domain} && ls *.private").split()
        assert private == [f"{selector}.private"]
        name = f"{selector}._domainkey.{domain}"
        assert "v=DKIM1" in lab.run("client", "dig", "+short", "@198.18.0.12", name, "TXT").out
    for host in MAIL_HOSTS:
        assert lab.salt(host, "mailserver.selftest", DOMAIN[host])[host]["result"] is True


def test_a_hosts_credential_changes_no_other_record(lab):
    update = "server 198.18.0.11\nzone alpha.test\nupdate add www.alpha.test. 5 TXT x\nsend\n"
    refused = lab.run("ns1", "nsupdate", "-k", "/etc/bind/mx.key", stdin=update, check=False)
    assert "REFUSED" in refused.err + refused.out


def test_the_predecessor_comes_back_on_request(lab):
    lab.apply("rotation", LONG)
    before = signers(lab)
    rotate(lab)
    for host, domains in DOMAINS.items():
        for domain in domains:
            report = lab.salt(host, "dkim.rollback", domain)[host]
            assert not report["errors"], report
    assert signers(lab) == before
    for host in MAIL_HOSTS:
        assert lab.salt(host, "mailserver.selftest", DOMAIN[host])[host]["result"] is True


def test_an_old_or_empty_pillar_in_a_minions_memory_takes_no_signature_away(lab):
    lab.apply("rotation", LONG)
    before = signers(lab)
    top = lab.sh("master", "cat /srv/pillar/top.sls")
    lab.write("master", "/srv/pillar/top.sls", "base: {}\n")
    try:
        lab.salt(MAIL_HOSTS, "saltutil.refresh_pillar", "wait=True")
        for report in advance(lab).values():
            assert not report["changes"], report
        for host, result in lab.highstate().items():
            assert f"the pillar of {host} has no key `mailserver`, so nothing was changed" in str(result.returned)
        assert signers(lab) == before
    finally:
        lab.write("master", "/srv/pillar/top.sls", top)
        lab.salt(MAIL_HOSTS, "saltutil.refresh_pillar", "wait=True")
