"""Who is signed for: OpenDKIM's script against a real OpenDKIM, with what Postfix tells a milter of each way in."""

import subprocess
from pathlib import Path

import pytest
from jinja2 import Template

from mailhost.errors import ProbeError
from mailhost.opendkim import authors, probe
from mailhost.opendkim import milter as milters
from mailhost.opendkim.milter import Session
from mailhost.postfix import needs
from opendkim_daemon import Key

SCRIPT = Path(__file__).resolve().parents[2] / "mailserver" / "opendkim" / "files" / "authors.lua.jinja"
DOMAINS = (
    "alpha.test",
    "beta.test",
    "gamma.test",
    "sub.beta.test",
    "a.sub.beta.test",
    "xbeta.test",
    "xn--bcher-kva.test",
)
RULES = {
    "is_bound": True,
    "is_free": False,
    "by_domain": False,
    "origin": "alpha.test",
    "home": "alpha.test",
    "extension": "^([^%+]+)[%+]",
    "sieve": "",
}
DASH = {**RULES, "extension": "^([^%-]+)[%-]"}
VIRTUAL = {**RULES, "by_domain": True, "origin": "mx1.alpha.test", "home": "", "sieve": "daemon"}
SYSTEM_ROWS = [*(f"= @{one}" for one in DOMAINS), "alice info", "news *", "desk office@gamma.test", "below @.beta.test"]
VIRTUAL_ROWS = ["alice@beta.test @beta.test", "bob@gamma.test @gamma.test", "= @mx1.alpha.test"]


def script(folder, rules, rows):
    """Write the script and its table; return the script's path."""
    table = folder / "Authors"
    table.write_text("# Written by Salt.\n" + "".join(f"{row}\n" for row in sorted(rows)))
    names = {**authors.NAMES}
    path = folder / "authors.lua"
    path.write_text(
        Template(SCRIPT.read_text()).render(
            table=table,
            names=names,
            rules={name: str(value) if isinstance(value, bool) else value for name, value in rules.items()},
        )
    )
    return path


@pytest.fixture(scope="module")
def key():
    return Key()


@pytest.fixture
def signer(daemon, key):
    def started(rules, rows, **more):
        milter = daemon()
        milter.key("s", key)
        milter.tables(*((domain, "s") for domain in DOMAINS))
        path = script(milter.folder, rules, rows)
        return milter.start(SetupPolicyScript=path, MTA=needs.LOCAL, **more)

    return started


def signed(milter, header, session, sender="bounces@outside.test"):
    """Return the domains that sign a message with these header fields."""
    message = header.encode("utf-8", "surrogateescape") + b"\nTo: world@outside.test\nSubject: one\n\nOne line.\n"
    added = milters.sign(milter.socket, message, sender, ["world@outside.test"], session=session)
    values = [value for name, value in added if name == "DKIM-Signature"]
    return [probe._tags(value)["d"] for value in values]


def login(name, daemon=needs.LOGINS):
    return Session(daemon, "client.test", "198.51.100.7", {"{auth_type}": "PLAIN", "{auth_authen}": name})


OWN = "alice@beta.test"
FORMS = [
    # What a login may write: a display name, a comment, a fold or a capital changes nothing.
    ("From: alice@beta.test", "beta.test"),
    ("From: Alice <alice@beta.test>", "beta.test"),
    ("FROM: <ALICE@Beta.TEST>", "beta.test"),
    ("From: alice+tag@beta.test", "beta.test"),
    ("From: =?utf-8?q?Al=C3=AFce?= <alice@beta.test>", "beta.test"),
    ("From: Alïce <alice@beta.test>", "beta.test"),
    ('From: "ceo@gamma.test" <alice@beta.test>', "beta.test"),
    ("From: =?utf-8?q?ceo=40gamma=2Etest?= <alice@beta.test>", "beta.test"),
    ("From: alice@beta.test (ceo@gamma.test)", "beta.test"),
    ("From: (ceo@gamma.test (nested)) alice@beta.test", "beta.test"),
    ("From: Alice\n\t<alice@beta.test>", "beta.test"),
    ('From: "Alice\n <ceo@gamma.test>" <alice@beta.test>', "beta.test"),
    ('From: "Alice \\" Liddell" <alice@beta.test>', "beta.test"),
    ('From: "alice"@beta.test', "beta.test"),
    ("From: Liddell, Alice <alice@beta.test>", "beta.test"),
    ("From: A. Liddell <alice@beta.test>", "beta.test"),
    ("From: alice@beta.test <alice@beta.test>", "beta.test"),
    ("From: alice@alpha.test, alice@beta.test", "alpha.test"),
    ("From: Team: alice@beta.test, alice@alpha.test;", "beta.test"),
    ("From: alice@sub.beta.test", "sub.beta.test"),
    ("From: alice@xn--bcher-kva.test", "xn--bcher-kva.test"),
    ("From: alice@beta.test\nSender: ceo@gamma.test", "beta.test"),
    ("From: alice@beta.test\nResent-From: ceo@gamma.test", "beta.test"),
    ("From: info@beta.test", "beta.test"),
    # What it may not: another's address, anywhere among the authors.
    ("From: ceo@gamma.test", ""),
    ("From: ceo@beta.test", ""),
    ("From: <CEO@GAMMA.TEST>", ""),
    ('From: "alice@beta.test" <ceo@gamma.test>', ""),
    ("From: alice@beta.test <ceo@gamma.test>", ""),
    ("From: ceo@gamma.test <alice@beta.test>", ""),
    ("From: ceo@gamma.test (alice@beta.test)", ""),
    ("From: (alice@beta.test) ceo@gamma.test", ""),
    ("From: alice@beta.test, ceo@gamma.test", ""),
    ("From: ceo@gamma.test, alice@beta.test", ""),
    ("From: alice@beta.test,\n\tceo@gamma.test", ""),
    ("From: Team: alice@beta.test, ceo@gamma.test;", ""),
    ("From: alice@beta.test; ceo@gamma.test", ""),
    ("From: undisclosed: ;", ""),
    ("From: <@alice,@beta.test:ceo@gamma.test>", ""),
    ("From: <alice@beta.test,ceo@gamma.test>", ""),
    ("From: <@gamma.test:alice@beta.test>", ""),
    ("From: alice@beta.test@gamma.test", ""),
    ('From: "alice@beta.test"@gamma.test', ""),
    ("From: <alice@beta.test> <ceo@gamma.test>", ""),
    ("From: <alice@beta.test>ceo@gamma.test", ""),
    ("From: <alice@beta.test", ""),
    ("From: <<alice@beta.test>>", ""),
    ('From: "Alice <alice@beta.test>', ""),
    ("From: (Alice <alice@beta.test>", ""),
    ("From: Alice) <alice@beta.test>", ""),
    ("From: alice\\@beta.test <ceo@gamma.test>", ""),
    ("From: ceo@gamma.test\\, <alice@beta.test>", ""),
    ("From: alice@[198.51.100.1]", ""),
    ("From: alice@beta.test.", ""),
    ("From: alice@beta..test", ""),
    ("From: alice@.beta.test", ""),
    ("From: alice@beta.test ceo@gamma.test", ""),
    ("From: alice @ beta . test", ""),
    ("From: alice@bücher.test", ""),
    ("From: alice", ""),
    ("From: =?utf-8?q?alice=40beta.test?=", ""),
    ("From: <>", ""),
    ("From:", ""),
    ("From: alice@beta.test\x01, ceo@gamma.test", ""),
    ("From: ceo@gamma.test\x00, alice@beta.test", ""),
    ("From: alice@beta.test\rFrom: ceo@gamma.test", ""),
    ("From: alice@beta.test\nFrom: alice@beta.test", ""),
    ("From: alice@beta.test\nfrom: ceo@gamma.test", ""),
    ("From: ceo@gamma.test\nFrom: alice@beta.test", ""),
    ("Sender: alice@beta.test", ""),
    ("Sender: alice@beta.test\nFrom: ceo@gamma.test", ""),
    ("Reply-To: alice@beta.test", ""),
    ("From: someone@outside.test", ""),
    ("From: alice@beta.test, someone@outside.test", ""),
    ("From: " + "(" * 5000 + ")" * 5000 + " alice@beta.test", "beta.test"),
    ("From: " + "(" * 50000 + " alice@beta.test", ""),
    ("From: " + "alice@beta.test," * 3000 + "ceo@gamma.test", ""),
    ("From: " + "x " * 30000 + "<alice@beta.test>", "beta.test"),
]


def test_a_login_is_signed_for_where_every_author_is_its_own_and_nowhere_else(signer):
    milter = signer(RULES, SYSTEM_ROWS)
    seen = [(form, ",".join(signed(milter, form, login("alice")))) for form, _ in FORMS]
    assert [one for one, wanted in zip(seen, FORMS, strict=True) if one != wanted] == []


def handed_in(uid, number="4Q1"):
    """Return the field that Postfix puts on top of what sendmail(1) was given, as it shows it to milters."""
    return f"X-Submitted-By: {uid} as {number}\n"


def received(uid, number="4Q1"):
    """Return the field that Postfix has below that one, and hides, or shows in its stead."""
    return f"Received: by mx1.alpha.test (Postfix, from userid {uid})\n\tid {number}; Sun, 29 Nov 2026 12:00:00 +0000\n"


HANDED_IN = Session(needs.LOCAL, macros={}, number="4Q1")
STRANGER = Session("mx1.alpha.test", "evil.test", "203.0.113.9", {})
TRUSTED = Session("mx1.alpha.test", "app.alpha.test", "192.0.2.1", {})
LOOPBACK = Session("mx1.alpha.test", macros={})
FOREIGN = "Received: from evil.test (evil.test [203.0.113.9])\n\tby mx1.alpha.test (Postfix) with ESMTP id 4Q0;\n"
CEO = "From: ceo@gamma.test"
BOB, ALICE = "X-Sieve-User: bob@gamma.test\n", "X-Sieve-User: alice@beta.test\n"

WAYS = {
    "a stranger": (RULES, STRANGER, CEO, []),
    "a stranger whose field says root": (RULES, STRANGER, handed_in(0) + CEO, []),
    "a trusted host": (RULES, TRUSTED, CEO, ["gamma.test"]),
    "a trusted host with two From fields": (RULES, TRUSTED, f"{CEO}\n{CEO}", []),
    "a login at a trusted host": (RULES, Session("ORIGINATING", "app", "192.0.2.1", login("alice").macros), CEO, []),
    "loopback that is not trusted": (RULES, LOOPBACK, CEO, []),
    "a login of the pillar": (RULES, login("news"), CEO, ["gamma.test"]),
    "one address of the pillar": (RULES, login("desk"), "From: office@gamma.test", ["gamma.test"]),
    "a name below a domain": (RULES, login("below"), "From: x@a.sub.beta.test", ["a.sub.beta.test"]),
    "the domain above it": (RULES, login("below"), "From: x@beta.test", []),
    "a name that only ends like it": (RULES, login("below"), "From: x@xbeta.test", []),
    "another one": (RULES, login("desk"), CEO, []),
    "a login with the host's own domain": (RULES, login("alice@alpha.test"), "From: alice@gamma.test", ["gamma.test"]),
    "a login with another domain": (RULES, login("alice@beta.test"), "From: alice@gamma.test", []),
    "a login in capitals": (RULES, login("ALICE"), "From: alice@gamma.test", ["gamma.test"]),
    "a login with another delimiter": (DASH, login("alice"), "From: alice-tag@gamma.test", ["gamma.test"]),
    "a login with a delimiter in it": (DASH, login("alice-ann"), "From: alice-ann@gamma.test", ["gamma.test"]),
    "a login without that delimiter": (DASH, login("alice"), "From: alice+tag@gamma.test", []),
    "a login without any delimiter": ({**RULES, "extension": ""}, login("alice"), "From: alice+tag@gamma.test", []),
    "a login that is part of another": (RULES, login("alic"), "From: alice@gamma.test", []),
    "a login that is a row": (RULES, login("alice info"), "From: info@gamma.test", []),
    "a login of several lines": (RULES, login("x\nnews"), CEO, []),
    "a login without a name": (RULES, login(""), CEO, []),
    "the rule's own sign": (RULES, login("="), "From: x@gamma.test", []),
    "a virtual account": (VIRTUAL, login("alice@beta.test"), "From: info@beta.test", ["beta.test"]),
    "a virtual account as another's domain": (VIRTUAL, login("alice@beta.test"), CEO, []),
    "a virtual account as a sub-domain": (VIRTUAL, login("alice@beta.test"), "From: alice@sub.beta.test", []),
    "free logins": ({**RULES, "is_free": True}, login("alice", "mx1.alpha.test"), CEO, ["gamma.test"]),
    "free logins under the others' name": (
        {**RULES, "is_free": True, "is_bound": False}, login("alice"), CEO, ["gamma.test"]),
    "bound logins beside free ones": ({**RULES, "is_free": True}, login("alice"), CEO, []),
    "root": (RULES, HANDED_IN, handed_in(0) + CEO, ["gamma.test"]),
    "a daemon": (RULES, HANDED_IN, handed_in(1) + CEO, ["gamma.test"]),
    "nobody": (RULES, HANDED_IN, handed_in(65534) + CEO, []),
    "an unknown user": (RULES, HANDED_IN, handed_in(54321) + CEO, []),
    "cron": (RULES, HANDED_IN, handed_in(65534) + "From: root@alpha.test (Cron Daemon)", ["alpha.test"]),
    "cron elsewhere": (RULES, HANDED_IN, handed_in(65534) + "From: root@gamma.test (Cron Daemon)", []),
    "a user of the system": (RULES, HANDED_IN, handed_in(65534) + "From: nobody@gamma.test", ["gamma.test"]),
    "root with another's message": (RULES, HANDED_IN, handed_in(0) + FOREIGN + CEO, []),
    "root's field below another's": (RULES, HANDED_IN, handed_in(65534) + handed_in(0) + CEO, []),
    "root, in the other form": (RULES, HANDED_IN, received(0) + CEO, ["gamma.test"]),
    "nobody, in the other form": (RULES, HANDED_IN, received(65534) + CEO, []),
    "nobody, in both forms": (RULES, HANDED_IN, handed_in(65534) + received(0) + CEO, []),
    "nobody, in the other form, with root's mark": (RULES, HANDED_IN, received(65534) + handed_in(0) + CEO, []),
    "root's field of another message, in the other form": (RULES, HANDED_IN, received(0, "4Q2") + CEO, []),
    "root with another's message, in the other form": (RULES, HANDED_IN, received(0) + FOREIGN + CEO, []),
    "root's field of another message": (RULES, HANDED_IN, handed_in(0, "4Q2") + CEO, []),
    "no field": (RULES, HANDED_IN, CEO, []),
    "a script's redirected message": (VIRTUAL, HANDED_IN, handed_in(1) + BOB + FOREIGN + CEO, []),
    "a script's redirected message without its way": (
        VIRTUAL, HANDED_IN, handed_in(1) + BOB + "X-Sieve-Redirected-From: b@gamma.test\n" + CEO, []),
    "a script's own message": (VIRTUAL, HANDED_IN, handed_in(1) + BOB + CEO, ["gamma.test"]),
    "a script's message as another": (VIRTUAL, HANDED_IN, handed_in(1) + ALICE + CEO, []),
    "a script's message that names another": (
        VIRTUAL, HANDED_IN, handed_in(1) + "X-Sieve-User: alice@beta.test\nX-Sieve-User: bob@gamma.test\n" + CEO, []),
    "a script's own message as root": (
        VIRTUAL, HANDED_IN, handed_in(0) + "X-Sieve-User: bob@gamma.test\nX-Sieve: P\n" + CEO, ["gamma.test"]),
    "a script's message as root and another": (
        VIRTUAL, HANDED_IN, handed_in(0) + "X-Sieve-User: alice@beta.test\nX-Sieve: P\n" + CEO, []),
    "a script's message as root, of nobody": (VIRTUAL, HANDED_IN, handed_in(0) + "X-Sieve: P\n" + CEO, []),
    "a script of another's configuration": (
        RULES, HANDED_IN, handed_in(0) + "X-Sieve-User: news\nX-Sieve: P\n" + CEO, []),
    "a user who writes as a script": (
        VIRTUAL, HANDED_IN, handed_in(65534) + BOB + CEO, []),
    "a script of nobody": (VIRTUAL, HANDED_IN, handed_in(1) + CEO, []),
    "the formula's probe": (RULES, None, "From: postmaster@gamma.test", ["gamma.test"]),
}  # fmt: skip


def test_what_each_way_in_is_signed_for(signer):
    running = {}
    seen = {}
    for name, (rules, session, header, _) in WAYS.items():
        kind = str(rules)
        if kind not in running:
            running[kind] = signer(rules, VIRTUAL_ROWS if rules is VIRTUAL else SYSTEM_ROWS)
        seen[name] = signed(running[kind], header, session)
    assert {name: found for name, found in seen.items() if found != WAYS[name][3]} == {}


SENDERS = [
    (RULES, "shop@gamma.test", "From: shop@gamma.test", ["gamma.test"]),
    (RULES, "Shop@Gamma.test", "From: SHOP@gamma.test", ["gamma.test"]),
    (RULES, "shop@gamma.test", CEO, []),
    ({**RULES, "by_domain": True}, "shop@gamma.test", CEO, ["gamma.test"]),
    ({**RULES, "by_domain": True}, "shop@beta.test", CEO, []),
    ({**RULES, "by_domain": True}, "shop@sub.gamma.test", CEO, []),
    ({**RULES, "by_domain": True, "is_bound": False}, "shop@gamma.test", CEO, []),
    ({**RULES, "by_domain": True}, "", CEO, []),
]


def test_the_envelopes_sender_counts_where_postfix_binds_it_to_the_login(signer):
    for rules, sender, header, wanted in SENDERS:
        milter = signer(rules, [])
        assert signed(milter, header, login("shop"), sender) == wanted, (rules, sender, header)
        assert signed(milter, header, login("shop", "mx1.alpha.test"), sender) == []


def test_mail_of_logins_waits_while_the_table_is_away_and_all_other_mail_goes_on(signer):
    milter = signer(RULES, SYSTEM_ROWS)
    table = milter.folder / "Authors"
    text = table.read_text()
    table.unlink()
    with pytest.raises(ProbeError, match="temp-failed"):
        signed(milter, f"From: {OWN}", login("alice"))
    assert signed(milter, CEO, STRANGER) == []
    assert signed(milter, handed_in(0) + CEO, HANDED_IN) == ["gamma.test"]
    table.write_text(text)
    assert signed(milter, f"From: {OWN}", login("alice")) == ["beta.test"]


def test_a_new_table_counts_at_once(signer):
    milter = signer(RULES, [])
    assert signed(milter, f"From: {OWN}", login("alice")) == []
    (milter.folder / "Authors").write_text("# Written by Salt.\nalice @beta.test\n")
    assert signed(milter, f"From: {OWN}", login("alice")) == ["beta.test"]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 1000])
def test_each_row_of_the_table_is_found_and_none_that_is_not_there(signer, count):
    rows = [f"u{number} @beta.test" for number in range(0, 2 * count, 2)]
    milter = signer(RULES, rows)
    for number in {0, 1, 2, 3, 4, 5, count, 2 * count - 2, 2 * count - 1, 2 * count}:
        wanted = ["beta.test"] if f"u{number} @beta.test" in rows else []
        assert signed(milter, f"From: {OWN}", login(f"u{number}")) == wanted


def test_a_script_that_is_wrong_is_found_before_it_is_in_force(signer):
    milter = signer(RULES, [])
    (milter.folder / "authors.lua").write_text("if then\n")
    milter.process.kill()
    words = ["opendkim", "-n", "-x", milter.folder / "opendkim.conf"]
    assert subprocess.run(words, capture_output=True, check=False).returncode
