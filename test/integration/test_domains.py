"""A domain is added, changed and removed by a pillar edit and a highstate from the master."""

import uuid

import pytest
from messages import WORLD, arrived, judge, sent_and_judged

from conftest import PILLARS

ON = "mx1"
HOST, DOMAIN = "mx1", "delta.test"
MANY = [f"d{number}.many.test" for number in range(101)]
TABLE = "/etc/postfix/mailserver_domains"
REFUSED = 24
"""swaks's exit status: the recipient was refused."""


@pytest.fixture(scope="module", autouse=True)
def _own_pillar(lab):
    lab.sign()
    lab.forget_pillar()


def set_domains(lab, extra):
    """Give mx1 the default pillar, with ``extra`` (lines of YAML) added to its domains."""
    text = (PILLARS / "default.sls").read_text()
    with_domain = text.replace("mailserver:\n", "mailserver:\n  domain: alpha.test\n")
    lab.set_pillar(with_domain.replace("  domains:\n", f"  domains:\n{extra}"), [HOST])


def highstate(lab):
    return lab.highstate([HOST])[HOST].must_succeed()


def publish(lab, domain=DOMAIN):
    lab.update_dns(lab.salt(HOST, "mailserver.records", domain, "format=nsupdate")[HOST])


def selector(lab):
    (found,) = lab.salt(HOST, "dkim.status", DOMAIN)[HOST][DOMAIN]
    return found


def test_a_domain_is_added(lab):
    set_domains(lab, f"    {DOMAIN}: {{ttl: 60}}\n")
    result = highstate(lab)
    assert f"{DOMAIN}: the key {selector(lab)} was generated." in result.said("dkim.managed")
    assert f"_domainkey.{DOMAIN}. 60 IN TXT" in result.said("mailserver.summary")
    assert f'{DOMAIN}. 60 IN TXT "v=spf1 ip4:198.18.0.21 -all"' in result.said("mailserver.summary")
    publish(lab)
    result = highstate(lab)
    assert f"{DOMAIN}: mail is now signed with {selector(lab)}." in result.said("dkim.signing")
    assert DOMAIN not in "\n".join(result.state("mailserver.records_published").get("warnings", []))
    seen = sent_and_judged(lab, HOST, f"alice@{DOMAIN}")
    assert seen["mail_dkim"] == "pass"
    assert seen["dkimpy"] is True
    assert seen["signatures"] == [{"domain": DOMAIN, "selector": selector(lab)}]


def test_mail_for_the_added_domain_is_delivered(lab):
    token, _ = lab.submit(HOST, sender=f"alice@{DOMAIN}", to=f"bob@{DOMAIN}")
    assert token in lab.delivered(HOST, "bob", token)


def test_its_spf_and_dmarc_are_changed(lab):
    set_domains(lab, f"    {DOMAIN}: {{ttl: 60, spf: {{all: '~all'}}, dmarc: {{p: quarantine}}}}\n")
    said = highstate(lab).said("mailserver.summary")
    assert f'{DOMAIN}. 60 IN TXT "v=spf1 ip4:198.18.0.21 ~all"' in said
    assert f'_dmarc.{DOMAIN}. 60 IN TXT "v=DMARC1; p=quarantine"' in said
    publish(lab)
    result = highstate(lab)
    assert not result.changed
    assert DOMAIN not in "\n".join(result.state("mailserver.records_published").get("warnings", []))
    shown = lab.run("client", "dig", "+short", "@198.18.0.12", DOMAIN, "TXT").out.split("\n")
    assert [one for one in shown if "spf1" in one] == ['"v=spf1 ip4:198.18.0.21 ~all"']


def test_it_is_removed_and_its_keys_stay(lab):
    kept = f"/etc/opendkim/keys/{DOMAIN}"
    before = lab.sh(HOST, f"cd {kept} && sha256sum *")
    set_domains(lab, "")
    result = highstate(lab)
    assert f"{DOMAIN}: mail is no longer signed; its keys stay on the host." in result.said("dkim.signing")
    assert lab.sh(HOST, f"cd {kept} && sha256sum *") == before
    assert lab.salt(HOST, "dkim.status", DOMAIN)[HOST][DOMAIN]
    name = "removed-domain@client.lab.test"
    text = f"From: alice@{DOMAIN}\nTo: {WORLD}\nMessage-ID: <{name}>\n\nOne line.\n"
    lab.run(HOST, "sendmail", "-i", "-f", f"alice@{DOMAIN}", WORLD, stdin=text)
    assert judge(lab, arrived(lab, name))["signatures"] == []
    assert sent_and_judged(lab, HOST, "alice@alpha.test")["mail_dkim"] == "pass"


def test_it_comes_back_with_the_key_that_it_had(lab):
    had = selector(lab)
    set_domains(lab, f"    {DOMAIN}: {{ttl: 60}}\n")
    assert f"{DOMAIN}: mail is now signed with {had}." in highstate(lab).said("dkim.signing")


def set_many(lab, names):
    set_domains(lab, "".join(f"    {name}: {{dkim: {{enabled: false}}}}\n" for name in names))


def send(lab, domain):
    """Send a message to a user at a domain from outside; its token, and swaks's exit status."""
    token = uuid.uuid4().hex
    words = ("--from", "world@outside.test", "--to", f"bob@{domain}", "--body", token)
    return token, lab.swaks(HOST, *words, check=False).status


def tables(lab):
    """Return what the check finds of Postfix's tables."""
    findings = lab.salt(HOST, "mailserver.check", "area=config", "everything=True")[HOST]["findings"]
    return [(one["about"], one["status"], one["seen"]) for one in findings if one["id"] == "config.postfix.table"]


def test_more_than_100_domains_are_a_table_that_postfix_reads_anew_when_they_change(lab):
    set_many(lab, MANY)
    highstate(lab)
    assert f"texthash:{TABLE}" in lab.sh(HOST, "postconf -h mydestination")
    assert not highstate(lab).changed
    token, _ = send(lab, MANY[-1])
    assert token in lab.delivered(HOST, "bob", token)
    token, _ = lab.submit(HOST, sender=f"alice+tag@{MANY[-1]}", to=f"bob@{MANY[0]}")
    assert token in lab.delivered(HOST, "bob", token)
    added = "added.many.test"
    refused = lab.submit(HOST, sender=f"alice@{added}", check=False)[1]
    assert "553 5.7.1" in refused.out
    assert send(lab, added)[1] == REFUSED
    set_many(lab, [*MANY[1:], added])
    assert "mailserver-postfix-main" not in highstate(lab).changed
    token, _ = send(lab, added)
    assert token in lab.delivered(HOST, "bob", token)
    assert send(lab, MANY[0])[1] == REFUSED


def test_a_row_that_somebody_added_to_the_table_is_found(lab):
    # The other one has milters see who handed in local mail.
    assert [(about, status) for about, status, _ in tables(lab)] == [("2 tables", "ok")]
    lab.sh(HOST, f"echo 'by-hand.example x' >>{TABLE}")
    assert (TABLE, "warn", "it has by-hand.example x besides") in tables(lab)
    assert f"mailserver-postfix-{TABLE}" in highstate(lab).changed
    assert tables(lab)[0][1] == "ok"


def test_with_few_domains_main_cf_lists_them_again(lab):
    set_domains(lab, "")
    highstate(lab)
    assert "texthash" not in lab.sh(HOST, "postconf -h mydestination")
    token, _ = send(lab, "alpha.test")
    assert token in lab.delivered(HOST, "bob", token)
