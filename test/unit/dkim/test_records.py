"""What DNS is to show of a key, and what answers mean: most of all when the mail queue cannot be read."""

from datetime import datetime, timedelta, timezone

import pytest

from mailhost.dkim import keystore
from mailhost.dkim.life import KeyRow
from mailhost.dkim.records import judge_wanted, wanted_of
from mailhost.dkim.run import Run, SigningPaths
from mailhost.dns.lookup import Answers, Question, ServerAnswer
from mailhost.opendkim import tables as opendkim_tables

NOW = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
LONG_AGO, LATELY = NOW - timedelta(days=20), NOW - timedelta(days=10)
OURS, REVOKED, OTHER = "v=DKIM1; k=rsa; p=MIIB", "v=DKIM1; k=rsa; p=", "v=DKIM1; k=rsa; p=MIIC"
NAME, DOMAIN = "a._domainkey.a.example", {"dkim": {"ttl": 60, "retention": 14 * 86400, "revoke_for": 86400}}


def retired(when):
    return KeyRow("a", "rsa", 2048, "MIIB", LONG_AGO, LONG_AGO, LONG_AGO, when)


def verdict_on(tmp_path, key, oldest, *texts):
    """What it means that each of several servers answers with a text, or with none (``None``), or not (``"?"``)."""
    tables = opendkim_tables.tables(tmp_path / "KeyTable", tmp_path / "SigningTable")
    paths = SigningPaths(str(tmp_path), tables, keystore.Owner("root", "root"))
    wanted = wanted_of(Run(paths, {"a.example": DOMAIN}, {}, NOW), "a.example", key, oldest)
    seen = [_seen(f"192.0.2.{number}", text) for number, text in enumerate(texts, 1)]
    return wanted, judge_wanted(key, wanted, Answers(Question(NAME, "TXT"), NAME, "a.example", 60, tuple(seen))).value


def _seen(address, text):
    if text == "?":
        return ServerAnswer("ns", address, "unknown", detail="no answer in 5 s")
    return (
        ServerAnswer("ns", address, "absent")
        if text is None
        else ServerAnswer("ns", address, "answer", (text.encode(),), 60)
    )


RETENTION_OVER = [
    ((OURS, OURS), "published"),
    ((OURS, REVOKED), "published"),
    ((REVOKED, REVOKED), "published"),
    ((REVOKED, None), "published"),
    ((OURS, "?"), "unknown"),
    ((None, "?"), "unknown"),
    ((OTHER, REVOKED), "different"),
]


@pytest.mark.parametrize(("texts", "value"), RETENTION_OVER)
def test_a_revocation_that_began_is_no_failure_where_the_queue_cannot_be_read_any_more(tmp_path, texts, value):
    wanted, found = verdict_on(tmp_path, retired(LONG_AGO), None, *texts)
    assert (wanted.text, wanted.why) == (OURS, "")
    assert found == value


@pytest.mark.parametrize(("when", "oldest"), [(LATELY, None), (LATELY, NOW), (LONG_AGO, LONG_AGO)])
def test_a_record_that_must_stay_is_missed_where_it_is_revoked(tmp_path, when, oldest):
    assert verdict_on(tmp_path, retired(when), oldest, OURS, REVOKED)[1] == "different"
    assert verdict_on(tmp_path, retired(when), oldest, OURS, None)[1] == "absent"


def test_a_record_whose_time_is_over_is_to_be_revoked(tmp_path):
    wanted, found = verdict_on(tmp_path, retired(LONG_AGO), NOW, OURS, REVOKED)
    assert (wanted.text, wanted.why, found) == (REVOKED, "it is due to be revoked", "different")
