"""What a run says of a key that DNS does not show as it must is true: whether mail is signed with it at that moment."""

from datetime import datetime, timedelta, timezone

import pytest

from mailhost.dkim import keystore
from mailhost.dkim.given_up import FOREIGN, LOST, REVOKED, TAKEN
from mailhost.dkim.life import STAGES, UNSEEN, KeyRow, Manifest
from mailhost.dkim.messages import tell
from mailhost.dkim.records import wanted_of
from mailhost.dkim.report import report_of
from mailhost.dkim.run import Run, SigningPaths
from mailhost.dkim.status import status
from mailhost.dns.lookup import Verdict
from mailhost.opendkim.tables import Signer, key_rows, key_table_text, signing_table_text, tables
from mailhost.pillar.settings import resolve

NAME = "a.example"
NOW = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
SIGNED, NOT_SIGNED = "mail is signed with one", "mail is signed with other"
NONE_SIGNS = "mail is not signed"
PUBLISH, LEAVE = "To publish, as a line of the zone", "Do not publish its record"
WHO = {"it": "one", "another": "other", "nobody": None}

# (stamps, given up, who signs by the tables, DNS, kind, what is said, what is not)
CASES = [
    (1, "", "nobody", "absent", "waiting", ["mail is not signed with it yet", PUBLISH], []),
    (1, "", "another", "absent", "waiting", ["mail is not signed with it yet", PUBLISH], []),
    (1, "", "it", "absent", "waiting", ["but mail is signed with it", PUBLISH], ["not signed with it yet"]),
    (2, "", "another", "different", "waiting", ["mail is not signed with it yet", PUBLISH], []),
    (2, "", "it", "unknown", "waiting", ["but mail is signed with it"], ["not signed with it yet"]),
    (3, "", "it", "absent", "errors", [SIGNED, "recipients cannot verify it", PUBLISH], []),
    (3, "", "it", "unknown", "waiting", ["nothing was changed. Mail is signed with one."], [PUBLISH]),
    (3, "", "nobody", "absent", "errors", ["does not sign", "It signed before", NONE_SIGNS, PUBLISH], [SIGNED]),
    (3, "", "another", "absent", "errors", ["does not sign", NOT_SIGNED], [SIGNED]),
    (3, "", "nobody", "unknown", "waiting", ["nothing was changed", NONE_SIGNS], [SIGNED]),
    (3, REVOKED, "it", "different", "errors", [SIGNED, "an empty p=", LEAVE], [PUBLISH]),
    (3, LOST, "it", "absent", "errors", [SIGNED, LEAVE], [PUBLISH]),
    (3, FOREIGN, "it", "absent", "errors", [SIGNED, "another machine", LEAVE], [PUBLISH]),
    (3, FOREIGN, "it", "unknown", "waiting", [SIGNED, "another machine", LEAVE], [PUBLISH]),
    (3, FOREIGN, "nobody", "absent", "waiting", ["does not sign", "another machine"], [SIGNED, PUBLISH]),
    (4, "", "another", "absent", "errors", ["still on its way was signed with one", PUBLISH], ["mail is signed"]),
    (4, "", "it", "absent", "errors", [SIGNED, PUBLISH], []),
    (4, UNSEEN, "another", "absent", "waiting", ["still on its way was signed", "a hand-made configuration"], []),
    (4, REVOKED, "another", "different", "waiting", ["must be changed, because it is due to be revoked"], ["p=MIIB"]),
    (4, TAKEN, "another", "unknown", None, [], []),
    (4, FOREIGN, "another", "unknown", None, [], []),
]


@pytest.fixture
def host(tmp_path):
    """Make a run on a host with one key, of which the tables name one or another."""

    def made(stamps, given_up, who):
        times = [NOW - timedelta(hours=4 - number) for number in range(stamps)]
        key = KeyRow("one", "rsa", 2048, "MIIB", **dict(zip(STAGES, times, strict=False)), given_up=given_up)
        (tmp_path / NAME).mkdir()
        keystore.write_manifest(tmp_path, Manifest(NAME, (key,)))
        paths = tables(tmp_path / "KeyTable", tmp_path / "SigningTable")
        signs = {NAME: Signer(WHO[who], f"{tmp_path}/{NAME}/{WHO[who]}.private")} if WHO[who] else {}
        paths.key_table.write_text(key_table_text(key_rows(signs)))
        names = {NAME: f"{WHO[who]}._domainkey.{NAME}"} if signs else {}
        paths.signing_table.write_text(signing_table_text(names, "*@{}"))
        paths.domains_table.write_text(signing_table_text(names, "{}"))
        found = resolve({"domains": {NAME: {}}}, {"postfix": {"version": "3.7"}}, {"fqdn": "mx1.a.example"})
        return Run(SigningPaths(str(tmp_path), paths, None), found["domains"], found["dns"], NOW), key

    return made


@pytest.mark.parametrize(("stamps", "given_up", "who", "value", "kind", "said", "unsaid"), CASES)
def test_a_message_says_what_the_key_does_at_that_moment(host, stamps, given_up, who, value, kind, said, unsaid):
    run, key = host(stamps, given_up, who)
    step = tell(run, NAME, key, wanted_of(run, NAME, key, NOW), Verdict(value, ("ns said so",)))
    report = report_of([step] if step else [], is_dry=False)
    texts = {"waiting": report.whole(report.waiting), "errors": report.whole(report.errors)}
    assert not [one for one in (*report.waiting, *report.errors) if PUBLISH in one]
    told = [text for one in texts.values() for text in one]
    assert [len(one) for name, one in texts.items() if name == kind] == ([1] if kind else [])
    assert len(told) == bool(kind)
    for text in told:
        assert text.startswith(f"{NAME}: ")
        assert [one for one in said if one not in text] == []
        assert [one for one in unsaid if one in text] == []


@pytest.mark.parametrize(
    ("stamps", "given_up", "who", "waits", "attention"),
    [
        (1, "", "nobody", "DNS must show its record", True),
        (1, "", "it", "mail is signed with it already", True),
        (2, "", "nobody", "it soaks until", False),
        (3, "", "it", "a successor is made on", False),
        (3, "", "nobody", "it signed before, and no longer does", True),
        (3, REVOKED, "it", "a new key takes over once DNS shows it", True),
        (3, FOREIGN, "it", "a new key takes over once DNS shows it", True),
        (3, FOREIGN, "nobody", "it signs if DNS shows its record", True),
        (4, "", "it", "mail is signed with it: another key must sign first", False),
        (4, FOREIGN, "another", "dkim.revoke a.example one", True),
    ],
)
def test_status_says_what_the_key_does_at_that_moment(host, stamps, given_up, who, waits, attention):
    run, _ = host(stamps, given_up, who)
    row = status(run, lambda run: run.now)[NAME]["one"]
    assert waits in row["waits"]
    assert row["signs"] is (who == "it")
    assert row["attention"] is attention
    assert ("given_up" in row) == bool(given_up)
