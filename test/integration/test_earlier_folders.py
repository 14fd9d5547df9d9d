"""Hosts whose key folders are OpenDKIM's, as earlier versions had them: root gets them, and no mail suffers."""

import pytest
from streaming import DOMAINS, LIFE, PUBLISHES, give_credential, mail_all_the_time, sign

from conftest import MAIL_HOSTS

KEYS = "/etc/opendkim/keys"
EARLIER = (
    f"for folder in {KEYS}/*/; do chown opendkim:opendkim $folder && chmod 0700 $folder; done; "
    f"chmod 0644 {KEYS}/.lock /etc/mailserver/dkim.json"
)
"""What makes a host's files as those of earlier versions are."""


@pytest.fixture(scope="module", autouse=True)
def _hosts_sign(lab):
    give_credential(lab)
    sign(lab, PUBLISHES + LIFE % ("14d", "30d"))


def owners(lab, host):
    """Return whose what is, and its mode, ``{path below the keys: "user:group mode"}``."""
    lines = lab.sh(host, f"cd {KEYS} && find . -printf '%P %u:%g %m\\n'").splitlines()
    return {path: whose for path, _, whose in (line.partition(" ") for line in lines)}


def test_a_highstate_moves_the_folders_of_an_earlier_version_under_a_stream_of_mail(lab):
    for host in MAIL_HOSTS:
        lab.sh(host, EARLIER)
    with mail_all_the_time(lab) as mail:
        predicted = lab.highstate(test=True)
        for result in lab.highstate().values():
            result.must_succeed()
    assert sum(mail.sent.values()) > 0
    for host in MAIL_HOSTS:
        found = owners(lab, host)
        assert found[""] == "root:opendkim 750"
        for name in DOMAINS[host]:
            assert found[name] == "root:opendkim 750"
            assert found[f"{name}/keys.json"] == "root:root 644"
            assert f"{KEYS}/{name}" in str(predicted[host].states)
        assert {whose for path, whose in found.items() if path.endswith(".private")} == {"opendkim:opendkim 600"}
        assert lab.sh(host, f"stat -c '%U %a' {KEYS}/.lock /etc/mailserver/dkim.json") == "root 600\nroot 600\n"


@pytest.mark.parametrize("put", ["ln -s /etc/shadow", "mkfifo"])
def test_what_opendkims_user_puts_into_its_old_folder_gets_it_nothing(lab, put):
    """As OpenDKIM's user, where it could still write: in place of the list of keys."""
    host, (name, other) = next(iter(DOMAINS.items()))
    shadow = lab.sh(host, "stat -c '%U %G %a %i' /etc/shadow; sha256sum /etc/shadow")
    lab.sh(host, EARLIER)
    place = f"{KEYS}/{name}/keys.json"
    lab.sh(host, f"cp -a {place} /root/kept && runuser -u opendkim -- sh -c 'rm -f {place} && {put} {place}'")
    try:
        report = lab.salt(host, "dkim.advance")[host]
        assert report["errors"]
        assert all(place in error for error in report["errors"]), report
        found = owners(lab, host)
        assert found[other] == "root:opendkim 750"
        assert found[name] == "opendkim:opendkim 700"
        assert lab.sh(host, "stat -c '%U %G %a %i' /etc/shadow; sha256sum /etc/shadow") == shadow
    finally:
        lab.sh(host, f"rm -f {place} && cp -a /root/kept {place}")
    assert not lab.salt(host, "dkim.advance")[host]["errors"]
    assert owners(lab, host)[name] == "root:opendkim 750"
    assert lab.run(host, "runuser", "-u", "opendkim", "--", "ln", "-s", "/x", f"{KEYS}/{name}/x", check=False).status
