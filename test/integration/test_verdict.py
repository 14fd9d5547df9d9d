"""The verdict: a message goes through the host and back, and independent code judges it against live DNS."""

import pytest

from conftest import ADDRESS, DOMAIN


@pytest.fixture(scope="module", autouse=True)
def _published(lab):
    lab.apply("default")
    for host, domain in DOMAIN.items():
        lab.update_dns(lab.salt(host, "mailserver.records", domain, "format=nsupdate")[host])
    lab.highstate()


def selftest(lab, host):
    return lab.salt(host, "mailserver.selftest", DOMAIN[host])[host]


def test_a_domain_that_is_set_up_passes_with_a_report_like_the_reflectors(lab, host):
    found = selftest(lab, host)
    assert found["result"] is True, found
    assert [(one["address"], one["result"]) for one in found["spf"]] == [(ADDRESS[host], "pass")]
    (signature,) = found["dkim"]
    assert (signature["domain"], signature["result"]) == (DOMAIN[host], "pass")
    assert (found["dmarc"]["result"], found["dmarc"]["domain"], found["dmarc"]["policy"]) == (
        "pass",
        DOMAIN[host],
        "none",
    )
    for part in ("[SPF]", "[DKIM]", "[DMARC]", ADDRESS[host], DOMAIN[host]):
        assert part in found["report"]


def test_it_is_readable_on_the_terminal(lab, host):
    shown = lab.run("master", "salt", host, "mailserver.selftest", DOMAIN[host]).out
    assert "[SPF]\n" in shown
    assert "\\n" not in shown


def test_a_wrong_spf_record_is_seen_by_the_verdict(lab, host):
    domain = DOMAIN[host]
    lab.update_dns(f'update delete {domain}. TXT\nupdate add {domain}. 1 TXT "v=spf1 ip4:198.18.0.99 -all"\nsend\n')
    lab.run("ns1", "systemctl", "restart", "lab-resolver")
    try:
        found = selftest(lab, host)
        assert found["spf"][0]["result"] == "fail"
        assert found["result"] is False
        assert found["dmarc"]["result"] == "pass", "DKIM passes and is aligned, so DMARC passes (RFC 9989)"
    finally:
        lab.update_dns(lab.salt(host, "mailserver.records", domain, "format=nsupdate")[host])
        lab.run("ns1", "systemctl", "restart", "lab-resolver")


def test_a_host_whose_mail_waits_says_so_in_postfixs_words_and_leaves_nothing_behind(lab, host):
    lab.run(host, "systemctl", "stop", "opendkim")
    try:
        found = lab.salt(host, "mailserver.selftest", DOMAIN[host])[host]
        assert isinstance(found, str), found
        assert "milter" in found.lower() or "4.7.1" in found or "Service unavailable" in found, found
    finally:
        lab.run(host, "systemctl", "start", "opendkim")
    assert lab.run(host, "postqueue", "-j").out == ""


def test_an_unknown_domain_is_an_error_with_the_nearest_name(lab, host):
    found = lab.salt(host, "mailserver.selftest", DOMAIN[host].replace("a.", "."))[host]
    assert DOMAIN[host] in found
