"""The check of the whole mail server finds nothing on booted hosts that are all right."""

import json

import pytest

from conftest import ADDRESS, MAIL_HOSTS


@pytest.fixture(scope="module", autouse=True)
def _all_is_published(lab):
    lab.sign()


def test_nothing_is_found_on_hosts_that_are_all_right(lab):
    found = lab.salt(MAIL_HOSTS, "mailserver.check", "everything=True")
    for host in MAIL_HOSTS:
        told = found[host]
        assert [one for one in told["findings"] if one["status"] != "ok"] == [], host
        assert told["status"] == "ok"
        areas = {one["id"].partition(".")[0] for one in told["findings"]}
        assert areas == {"config", "running", "protocol", "tls", "dns"}


def test_addresses_that_nobody_outside_sees_are_wanted_nowhere(lab, host):
    """Those of containers, of a private network, and of a family that Postfix does not use."""
    more = ("172.17.0.1/16", "10.98.7.6/32", "100.64.0.9/32")
    lab.sh(host, "; ".join(f"ip address add {one} dev host0" for one in more))
    try:
        assert _called(lab, host, "grains.get", "ipv4") != [ADDRESS[host], "127.0.0.1"]
        assert _called(lab, host, "mailserver.settings")["addresses"] == [ADDRESS[host]]
        assert _called(lab, host, "mailserver.check", "area=dns")["findings"] == []
        assert "172.17" not in str(_called(lab, host, "mailserver.records", "format=zone"))
    finally:
        lab.sh(host, "; ".join(f"ip address del {one} dev host0" for one in more))


def _called(lab, host, function, *words):
    done = lab.run(host, "salt-call", "--out=json", function, *words)
    return json.loads(done.out)["local"]
