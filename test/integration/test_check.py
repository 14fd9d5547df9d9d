"""The check of the whole mail server finds nothing on booted hosts that are all right."""

import pytest

from conftest import MAIL_HOSTS


@pytest.fixture(scope="module", autouse=True)
def _all_is_published(lab):
    lab.sign()


def test_nothing_is_found_on_hosts_that_are_all_right(lab):
    found = lab.salt("mx*", "mailserver.check", "everything=True")
    for host in MAIL_HOSTS:
        told = found[host]
        assert [one for one in told["findings"] if one["status"] != "ok"] == [], host
        assert told["status"] == "ok"
        areas = {one["id"].partition(".")[0] for one in told["findings"]}
        assert areas == {"config", "running", "protocol", "tls", "dns"}
