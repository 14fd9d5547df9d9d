"""The gate: a new key is made and emitted at once, and signs when DNS shows it everywhere, not a run earlier."""

import re

import pytest
from messages import sent_and_judged

from conftest import DOMAIN, MAIL_HOSTS

BEGINS = "configured"
ON = "both"

SECONDARY = "198.18.0.12"
UNSIGNED = {"signatures": [], "dkimpy": False, "mail_dkim": "none"}


@pytest.fixture(scope="module", autouse=True)
def _default_pillar(lab):
    lab.apply("default")


@pytest.fixture(scope="module")
def first(lab):
    """What a highstate says while the keys are not in DNS."""
    return lab.highstate()


@pytest.fixture(scope="module")
def ours(lab):
    """Name and text of each host's key record."""
    found = lab.salt(MAIL_HOSTS, "dkim.records", "format=data")
    return {host: (found[host][0]["name"], found[host][0]["value"]) for host in MAIL_HOSTS}


def stages(lab):
    """Stage of each host's only key, and whether OpenDKIM signs with it."""
    found = lab.salt(MAIL_HOSTS, "dkim.status")
    rows = {host: row for host in MAIL_HOSTS for row in found[host][DOMAIN[host]].values()}
    return {host: (row["stage"], row["signs"]) for host, row in rows.items()}


def strings(text):
    return " ".join(f'"{text[start : start + 250]}"' for start in range(0, len(text), 250))


def show(lab, texts, wait=True):
    """Have DNS show these texts (a list for each name), in the notation of zone files, and no others."""
    lines = [f"update delete {name}. TXT" for name in texts]
    lines += [f"update add {name}. 5 TXT {text}" for name, several in texts.items() for text in several]
    update = "".join(f"{line}\nsend\n" for line in lines)
    if wait:
        lab.update_dns(update)
    else:
        lab.run("ns1", "nsupdate", "-k", "/etc/bind/lab.key", "-l", stdin=update)


def gate(lab):
    """What ``dkim.published`` and ``dkim.signing`` tell of a look at DNS; all else must have gone well."""
    found = {}
    for host, states in lab.salt(MAIL_HOSTS, "state.apply", "mailserver.opendkim").items():
        found[host] = {tag.rpartition("_|-")[2]: state for tag, state in states.items() if tag.startswith("dkim_|-")}
        for tag, state in states.items():
            assert state["result"] is not False or tag.startswith("dkim_|-"), state
    return found


def freeze(lab):
    """Have the secondary answer nobody, as if its line were cut."""
    lab.run("ns2", "systemctl", "kill", "--signal=STOP", "named")


def thaw(lab):
    lab.run("ns2", "systemctl", "kill", "--signal=CONT", "named")
    lab.wait_for_secondary()


def test_a_new_domain_is_generated_and_emitted_but_not_signed(lab, host, first, ours):
    result, (name, text) = first[host].must_succeed(), ours[host]
    assert re.fullmatch(rf"\d{{8}}-{host}\._domainkey\.{re.escape(DOMAIN[host])}", name)
    published = result.state("dkim.published")
    (warning,) = published["warnings"]
    assert "is not in DNS, so mail is not signed with it yet" in warning
    assert "NXDOMAIN" in published["comment"]
    assert text not in str(published), "a record is told once, by the summary"
    told = result.said("mailserver.summary")
    (line,) = re.findall(rf"^ *({re.escape(name)}\. 60 IN TXT .*)$", told, re.MULTILINE)
    assert "".join(re.findall(r'"([^"]*)"', line)) == text
    assert f"    {text}\n" in told
    assert max(result.states.values(), key=lambda one: one["__run_num__"])["__id__"] == "mailserver-summary"
    assert not result.state("dkim.signing")["changes"]
    assert sent_and_judged(lab, host, f"alice@{DOMAIN[host]}") == UNSIGNED


def test_nothing_signs_before_dns_shows_it(lab):
    assert stages(lab) == dict.fromkeys(MAIL_HOSTS, ("generated", False))


WRONG = [
    ("a different key", lambda text, other: [strings(other)], "it holds a different key"),
    ("two records", lambda text, other: [strings(text), strings(other)], "there are 2 TXT records at this name"),
    ("a cut TXT", lambda text, other: [f'"{text[:255]}"'], "the key is cut: p= has 237 of 392 characters"),
    (
        "a backslash pasted from a zone file",
        lambda text, other: [strings(text.replace(";", r"\;")).replace("\\", "\\\\")],
        r"the value has backslashes in it (`\;`)",
    ),
]


@pytest.mark.parametrize(("what", "texts", "said"), WRONG, ids=[one[0] for one in WRONG])
def test_a_wrong_record_is_named_for_what_it_is_and_at_which_server(lab, ours, what, texts, said):
    others = dict(zip(MAIL_HOSTS, reversed(MAIL_HOSTS), strict=True))
    show(lab, {name: texts(text, ours[others[host]][1]) for host, (name, text) in ours.items()})
    for states in gate(lab).values():
        told = states["published"]["comment"]
        assert said in told
        for place in ("ns1.lab.test (198.18.0.11)", f"ns2.lab.test ({SECONDARY})", "ns2.lab.test (198.18.0.13)"):
            assert place in told
        assert states["published"]["result"] is True
        assert not states["published"]["changes"]
        assert not states["signing"]["changes"]


def test_a_secondary_that_does_not_answer_holds_the_key_back_and_is_named(lab, ours):
    freeze(lab)
    try:
        show(lab, {name: [strings(text)] for name, text in ours.values()}, wait=False)
        for states in gate(lab).values():
            told = states["published"]["comment"]
            assert "cannot be confirmed" in told
            assert SECONDARY in told
            assert not states["signing"]["changes"]
    finally:
        thaw(lab)


def test_when_dns_shows_the_key_the_next_highstate_signs_and_says_so(lab, ours):
    show(lab, {name: [strings(text)] for name, text in ours.values()})
    predicted = lab.highstate(test=True)
    assert stages(lab) == dict.fromkeys(MAIL_HOSTS, ("generated", False))
    for host, result in lab.highstate().items():
        selector = ours[host][0].partition(".")[0]
        assert predicted[host].state("dkim.published")["result"] is None
        result.must_succeed()
        assert f"the key {selector} is published" in result.said("dkim.published")
        assert f"{DOMAIN[host]}: mail is now signed with {selector}." in result.said("dkim.signing")
        assert sent_and_judged(lab, host, f"alice@{DOMAIN[host]}") == {
            "signatures": [{"domain": DOMAIN[host], "selector": selector}],
            "dkimpy": True,
            "mail_dkim": "pass",
        }
    assert stages(lab) == dict.fromkeys(MAIL_HOSTS, ("signing", True))


def test_dns_in_trouble_takes_no_signature_away(lab):
    freeze(lab)
    try:
        for states in gate(lab).values():
            assert states["published"]["result"] is True
            assert SECONDARY in states["published"]["comment"]
            assert not states["signing"]["changes"]
    finally:
        thaw(lab)
    for host in MAIL_HOSTS:
        assert sent_and_judged(lab, host, f"alice@{DOMAIN[host]}")["mail_dkim"] == "pass"


def test_the_private_key_is_nowhere_but_in_its_file(lab, host, ours):
    places = "/var/cache/salt /var/log/salt /etc/opendkim /etc/salt"
    found = lab.sh(host, f"grep -rlE '^-----BEGIN (RSA )?PRIVATE' {places} || true").split()
    selector = ours[host][0].partition(".")[0]
    assert f"/etc/opendkim/keys/{DOMAIN[host]}/{selector}.private" in found
    own = re.compile(r"/etc/opendkim/keys/[^/]+/[^/]+\.private|.*/minion\.pem")
    assert [path for path in found if not own.fullmatch(path)] == []
    assert not lab.sh("master", "grep -rl 'BEGIN RSA PRIVATE KEY' /var/cache/salt/master/jobs || true").split()
