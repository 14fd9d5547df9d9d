"""Central publishing: mine, event, reactor and orchestration bring key records to the host with the DNS credential."""

import json

import pytest
from streaming import (
    DOMAINS,
    KEY_FILE,
    LIFE,
    advance,
    advance_until_gone,
    advance_until_others_sign,
    bring_master_back,
    give_credential,
    mail_all_the_time,
    rotate,
    sign,
    signers,
)

from conftest import MAIL_HOSTS

ON = "both"
CENTRAL = """  dns:
    timeout: 2s
    lifetime: 10s
    publish: central
    central: {publisher: ns1}
"""
PUBLISHER = f"mailserver: {{dns: {{rfc2136: {{server: 127.0.0.1, key_file: {KEY_FILE}}}}}}}\n"


@pytest.fixture(scope="module", autouse=True)
def _ns1_publishes(lab):
    for host in MAIL_HOSTS:
        lab.sh(host, f"rm -f {KEY_FILE}")
    give_credential(lab, ["ns1"])
    lab.set_pillar(PUBLISHER, hosts=["ns1"])
    applied = lab.salt("ns1", "state.apply", "mailserver.publisher", "sync_mods=all")["ns1"]
    assert all(state["result"] for state in applied.values()), applied
    sign(lab, CENTRAL + LIFE % ("14d", "30d"))


def orchestrate(lab, host):
    """Run the orchestration by hand; what the publisher told, and whether all went well."""
    pillar = json.dumps({"mailserver_publish": host})
    words = ("state.orchestrate", "mailserver.publisher.orchestrate", f"pillar={pillar}")
    done = lab.run("master", "salt-run", "--out=json", *words, check=False)
    (state,) = next(iter(json.loads(done.out)["data"].values())).values()
    return state["changes"]["ret"]["ns1"], state["result"]


def shown(lab, name):
    return lab.run("client", "dig", "+short", "@198.18.0.11", name, "TXT").out


def test_keys_rotate_under_a_stream_of_mail_without_a_credential_on_the_mail_hosts(lab):
    with mail_all_the_time(lab) as stream:
        rotate(lab)
    for domains in DOMAINS.values():
        assert [len(stream.selectors(domain)) for domain in domains] == [2, 2]


def test_retired_keys_are_revoked_and_removed_centrally(lab):
    lab.apply("rotation", CENTRAL + LIFE % ("1s", "1s"))
    present = signers(lab)
    advance_until_gone(lab)
    assert signers(lab) == present
    lab.apply("rotation", CENTRAL + LIFE % ("14d", "30d"))


def test_a_host_gets_no_record_of_another_hosts_domain_published(lab):
    stolen = {"name": "x._domainkey.beta.test", "ttl": 60, "wanted": "v=DKIM1; k=rsa; p=AAAA", "expected": []}
    wish = f"data={json.dumps([stolen])}"
    lab.run("mx1", "salt-call", "mine.send", "mailserver_dkim", "mine_function=test.outputter", wish)
    told, went_well = orchestrate(lab, "mx1")
    assert not went_well
    assert told["sent"] == []
    assert "'beta.test' is not among the domains of the host that asks" in told["refused"][0]
    assert not shown(lab, stolen["name"])


def test_a_hosts_records_in_the_mine_are_for_the_publisher_alone(lab):
    advance(lab)
    read = {host: lab.salt(host, "mine.get", "mx1", "mailserver_dkim")[host] for host in ("ns1", "mx2")}
    assert read == {"ns1": {"mx1": []}, "mx2": {}}


def test_a_refused_update_is_told_to_who_asks_and_the_key_goes_on_waiting(lab):
    before = signers(lab)
    lab.sh("ns1", f'sed -i \'s/key "mx"/key "nobody"/\' {KEY_FILE}')
    try:
        lab.salt("mx1", "dkim.rotate")
        told, went_well = orchestrate(lab, "mx1")
        assert not went_well
        assert "BADKEY: it knows no key nobody" in told["refused"][0]
        report = advance(lab)["mx1"]
        assert any("is not in DNS" in text for text in report["waiting"])
        assert "The master was asked to publish 2 records" in "\n".join(report["notes"])
        assert signers(lab) == before
    finally:
        give_credential(lab, ["ns1"])
    told, went_well = orchestrate(lab, "mx1")
    assert went_well
    assert told["sent"] or told["already"], "the event of that run may have been quicker"
    mine = [place for place in before if place[0] == "mx1"]
    lab.until(
        lambda: advance(lab) and all(signers(lab)[place] != before[place] for place in mine),
        "the successors do not sign",
        60,
    )


def test_with_the_master_gone_what_signs_goes_on_and_what_waits_is_published_when_it_is_back(lab):
    before = signers(lab)
    lab.run("master", "systemctl", "stop", "salt-master")
    try:
        with mail_all_the_time(lab):
            for host in MAIL_HOSTS:
                done = lab.run(host, "salt-call", "--local", "--out=json", "dkim.rotate")
                report = json.loads(done.out)["local"]
                assert not report["errors"]
                assert any("is not in DNS" in text for text in report["waiting"])
    finally:
        bring_master_back(lab)
    advance_until_others_sign(lab, before)
