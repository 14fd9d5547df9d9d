"""What is due for the keys of a domain, by what was seen: evidence in, steps out."""

import base64
import itertools
from datetime import datetime, timedelta, timezone

import pytest

from mailhost.dkim.given_up import COMPROMISED, FOREIGN, REVOKED, View
from mailhost.dkim.life import STAGES, UNSEEN, KeyRow, Manifest
from mailhost.dkim.plan import ANOTHER, EARLIER, SUCCESSOR, AtTables, InDns, OnHost, after, candidates, plan
from mailhost.dkim.records import wanted
from mailhost.dkim.steps import SIGN, Step, reported
from mailhost.dkim.waits import KeyFacts, earliest, waits
from mailhost.dns.lookup import Answers, Question, ServerAnswer, Verdict
from mailhost.errors import DkimError
from mailhost.pillar.settings import resolve

NAME = "a.example"
NOW = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DOMAIN = resolve({"domains": {NAME: {}}}, {"postfix": {"version": "3.7"}}, {"fqdn": "mx1.a.example"})["domains"][NAME]
POLICY = DOMAIN["dkim"]
OURS, EMPTY = "v=DKIM1; k=rsa; p=MIIB", "v=DKIM1; k=rsa; p="
ANOTHERS = f"v=DKIM1; k=rsa; p={base64.b64encode(bytes(32)).decode()}"
NONE, SILENT = None, "?"


def key(selector, stage, reached=30 * DAY, **more):
    """A key that reached ``stage`` so long ago, and each stage before it a day earlier than the next."""
    stages = STAGES[: STAGES.index(stage) + 1]
    times = {name: NOW - reached - DAY * number for number, name in enumerate(reversed(stages))}
    return KeyRow(selector, "rsa", 2048, "MIIB", **{**times, **more})


def answers(selector, *texts):
    """What servers answer of a key: a text, no record (``NONE``), or nothing at all (``SILENT``)."""
    seen = [_seen(f"192.0.2.{number}", text) for number, text in enumerate(texts, 1)]
    name = f"{selector}._domainkey.{NAME}"
    return Answers(Question(name, "TXT"), name, NAME, 300, tuple(seen))


def _seen(address, text):
    if text == SILENT:
        return ServerAnswer("ns", address, "unknown", detail="no answer in 5 s")
    return (
        ServerAnswer("ns", address, "absent")
        if text is NONE
        else ServerAnswer("ns", address, "answer", (text.encode(),), 60)
    )


def steps(keys, seen, now=NOW, machine=""):
    return plan(Manifest(NAME, tuple(keys), machine), POLICY, now, seen)


def kinds(found):
    return [(step.kind, step.selector) for step in found]


def dns(keys, texts, named=(), oldest=NOW, now=NOW, **more):
    """What DNS shows of keys, ``{selector: texts}``, and what it is to show of them."""
    shown = {selector: answers(selector, *found) for selector, found in texts.items()}
    wants = {one.selector: wanted(NAME, DOMAIN, one, one.selector in named, now, oldest) for one in keys}
    return InDns(shown, wants, frozenset(named), **more)


NEW, SIGNS, OLD = key("new", "generated"), key("now", "signing"), key("old", "retired")
LATELY = key("old", "retired", DAY)
GONE = key("old", "revoked", 60 * DAY)
PUT_BACK = key("old", "retired", given_up=REVOKED)

# (keys, what DNS shows, selectors that the tables name, when the oldest message in the queue came, steps)
SHOWN = {
    "shown by all": ([NEW], {"new": [OURS, OURS]}, [], NOW, [("stamp published", "new")]),
    "not shown": ([NEW], {"new": [NONE]}, [], NOW, [("wait", "new")]),
    "shown by one of two": ([NEW], {"new": [OURS, NONE]}, [], NOW, [("wait", "new")]),
    "unknown": ([NEW], {"new": [SILENT]}, [], NOW, [("wait", "new")]),
    "unknown at one of two": ([NEW], {"new": [OURS, SILENT]}, [], NOW, [("wait", "new")]),
    "not asked for": ([NEW], {}, [], NOW, []),
    "a key that signs": ([SIGNS], {"now": [OURS]}, ["now"], NOW, []),
    "a key that signs, unknown": ([SIGNS], {"now": [SILENT]}, ["now"], NOW, [("wait", "now")]),
    "retention": ([LATELY, SIGNS], {"old": [OURS]}, ["now"], NOW, []),
    "retention, and DNS shows it revoked": ([LATELY], {"old": [EMPTY]}, ["now"], NOW, [("wait", "old")]),
    "retention over": ([OLD], {"old": [OURS]}, ["now"], NOW, [("wait", "old")]),
    "revoked": ([OLD], {"old": [EMPTY]}, ["now"], NOW, [("revoke", "old"), ("destroy", "old")]),
    "revoked, without a record": ([OLD], {"old": [NONE]}, ["now"], NOW, [("revoke", "old"), ("destroy", "old")]),
    "revoked, unknown": ([OLD], {"old": [EMPTY, SILENT]}, ["now"], NOW, [("wait", "old")]),
    "a queue of its time": ([OLD], {"old": [OURS]}, ["now"], OLD.retired, []),
    "a queue of its time, revoked": ([OLD], {"old": [EMPTY]}, ["now"], OLD.retired, [("wait", "old")]),
    "a queue that cannot be read": ([OLD], {"old": [OURS]}, ["now"], None, []),
    "a queue that cannot be read, revoked": ([OLD], {"old": [EMPTY]}, ["now"], None, []),
    "retired, and the tables name it": ([OLD], {"old": [OURS]}, ["old"], NOW, []),
    "removed": ([GONE], {"old": [NONE]}, ["now"], NOW, [("remove", "old")]),
    "to be removed": ([GONE], {"old": [EMPTY]}, ["now"], NOW, [("wait", "old")]),
    "to be removed, unknown": ([GONE], {"old": [SILENT]}, ["now"], NOW, [("wait", "old")]),
    "a test": ([NEW], {"new": [f"{OURS}; t=y"]}, [], NOW, [("wait", "new"), ("stamp published", "new")]),
    "unseen, and a later one signs": (
        [key("old", "retired", DAY, published=None, signing=None, given_up=UNSEEN), SIGNS],
        {"old": [NONE]},
        ["now"],
        NOW,
        [("wait", "old")],
    ),
}


@pytest.mark.parametrize(("keys", "texts", "named", "oldest", "wants"), SHOWN.values(), ids=SHOWN)
def test_dns_earns_a_key_its_stamps(keys, texts, named, oldest, wants):
    assert kinds(steps(keys, dns(keys, texts, named, oldest))) == wants


def test_a_clock_that_is_behind_stamps_nothing():
    before = NEW.generated - HOUR
    (failed,) = steps([NEW], dns([NEW], {"new": [OURS]}, now=before), before)
    assert (failed.kind, failed.key) == ("fail", None)
    assert "believe_clock" in failed.reason


def test_a_row_after_the_steps_has_their_stamps_and_one_that_waits_is_as_before():
    keys = (NEW, key("also", "generated"))
    found = steps(keys, dns(keys, {"new": [OURS], "also": [NONE]}))
    assert [one.published for one in after(Manifest(NAME, keys), found).keys] == [NOW, None]


# (keys, what DNS shows, selectors that the tables name, other evidence, steps)
LOST = {
    "revoked by others": ([SIGNS], {"now": [EMPTY]}, ["now"], {}, [("lose", "now"), ("replace", "")]),
    "revoked by others, and does not sign": (
        [SIGNS],
        {"now": [EMPTY]},
        [],
        {},
        [("lose", "now"), ("retire", "now"), ("replace", "")],
    ),
    "a wildcard with an empty p=": ([NEW], {"new": [EMPTY]}, [], {}, []),
    "gone, and signs": ([SIGNS], {"now": [NONE]}, ["now"], {"is_signed": True}, []),
    "comes back, and is gone": ([SIGNS], {"now": [NONE]}, [], {}, []),
    "comes back, is gone, and another signs": (
        [SIGNS],
        {"now": [NONE]},
        ["other"],
        {"is_signed": True},
        [("lose", "now"), ("retire", "now"), ("replace", "")],
    ),
    "comes back, unknown, and another signs": ([SIGNS], {"now": [SILENT]}, ["other"], {"is_signed": True}, []),
    "comes back, and is another's": (
        [SIGNS],
        {"now": [ANOTHERS]},
        [],
        {},
        [("lose", "now"), ("retire", "now"), ("replace", "")],
    ),
    "retired, its file and its record gone": (
        [LATELY, SIGNS],
        {"old": [NONE]},
        ["now"],
        {"missing": frozenset(["old"])},
        [("lose", "old")],
    ),
    "retired, its record gone": ([LATELY, SIGNS], {"old": [NONE]}, ["now"], {}, []),
    "retired, and this host may have had it revoked": ([OLD, SIGNS], {"old": [EMPTY]}, ["now"], {}, []),
    "lost, while the clock is behind its stamps": (
        [key("now", "signing", -HOUR)],
        {"now": [EMPTY]},
        [],
        {},
        [("lose", "now"), ("replace", "")],
    ),
    "given up before": ([PUT_BACK, SIGNS], {"old": [EMPTY]}, ["now"], {}, []),
}


@pytest.mark.parametrize(("keys", "texts", "named", "more", "wants"), LOST.values(), ids=LOST)
def test_dns_shows_a_key_to_be_lost(keys, texts, named, more, wants):
    shown = {selector: answers(selector, *found) for selector, found in texts.items()}
    assert kinds(steps(keys, InDns(shown, None, frozenset(named), **more))) == wants


WAITS = key("new", "published", DAY)
SOAKS = key("new", "published", timedelta(seconds=60))
KNOWN = View(named=frozenset(["now"]))

# (keys, what the host shows, steps)
MADE = {
    "no key": ([], OnHost(), [("generate", "")]),
    "a key that waits": ([NEW], OnHost(), []),
    "a key that signs": ([SIGNS], OnHost(KNOWN), []),
    "only keys that are retired": ([OLD], OnHost(), [("generate", "")]),
    "the tables name a key that is here": ([], OnHost(adopts="2021"), [("adopt", "2021")]),
    "the tables name another that is here": ([SIGNS], OnHost(adopts="2021"), [("adopt", "2021")]),
    "its time is over": ([key("now", "signing", 200 * DAY)], OnHost(KNOWN), [("generate", "")]),
    "its time is over, and one waits": ([key("now", "signing", 200 * DAY), WAITS], OnHost(KNOWN), []),
    "asked for": ([SIGNS], OnHost(KNOWN, asked=SUCCESSOR), [("generate", "")]),
    "asked for, and one waits": ([SIGNS, WAITS], OnHost(KNOWN, asked=SUCCESSOR), []),
    "asked for, and what waits is what signs": (
        [NEW],
        OnHost(View(named=frozenset(["new"])), asked=SUCCESSOR),
        [("generate", "")],
    ),
    "another asked for, and one waits": ([SIGNS, WAITS], OnHost(KNOWN, asked=ANOTHER), [("generate", "")]),
    "the earlier one asked for": ([OLD], OnHost(asked=EARLIER), []),
    "compromised": (
        [SIGNS],
        OnHost(View(named=frozenset(["now"]), compromised=frozenset(["now"]))),
        [("give up", "now"), ("generate", "")],
    ),
    "compromised, and does not sign": (
        [SIGNS],
        OnHost(View(compromised=frozenset(["now"]))),
        [("give up", "now"), ("retire", "now"), ("generate", "")],
    ),
    "compromised, and one waits": (
        [SIGNS, WAITS],
        OnHost(View(named=frozenset(["now"]), compromised=frozenset(["now"]))),
        [("give up", "now")],
    ),
    "overtaken": ([key("old", "published", 60 * DAY), SIGNS], OnHost(KNOWN), [("give up", "old"), ("retire", "old")]),
    "overtaken, and the tables name it": (
        [key("old", "published", 60 * DAY), SIGNS],
        OnHost(View(named=frozenset(["old"]))),
        [],
    ),
    "no name for DNS": (
        [key("a..b", "generated")],
        OnHost(),
        [("give up", "a..b"), ("close", "a..b"), ("generate", "")],
    ),
}


@pytest.mark.parametrize(("keys", "seen", "wants"), MADE.values(), ids=MADE)
def test_what_the_host_shows_makes_a_key(keys, seen, wants):
    assert kinds(steps(keys, seen)) == wants


def test_the_keys_of_another_machine_are_given_up_and_marked_as_this_ones():
    view = View("this", frozenset(["now"]))
    found = steps([SIGNS], OnHost(view), machine="that")
    assert kinds(found) == [("give up", "now"), ("mark", ""), ("generate", "")]
    changed = after(Manifest(NAME, (SIGNS,), "that"), found, "this")
    assert (changed.machine, changed.keys[0].given_up) == ("this", FOREIGN)
    assert kinds(plan(changed, POLICY, NOW, OnHost(view))) == [("generate", "")]


BY_NOW = {"signer": "now", "is_own": True, "can_sign": True}
FIRST = key("new", "published", timedelta(0))
BACK = key("old", "retired", DAY)

# (keys, who signs by the tables, what DNS shows, steps)
SIGNED = {
    "a first key": ([FIRST], {}, {"new": [OURS]}, [("sign", "new")]),
    "a first key, no longer shown": ([FIRST], {}, {"new": [NONE]}, [("wait to sign", "new")]),
    "a first key, unknown": ([FIRST], {}, {"new": [SILENT]}, [("wait to sign", "new")]),
    "a first key, unknown at one of two": ([FIRST], {}, {"new": [OURS, SILENT]}, [("wait to sign", "new")]),
    "not stamped as published": ([NEW], {}, {}, []),
    "a successor": ([SIGNS, WAITS], BY_NOW, {"new": [OURS]}, [("sign", "new"), ("retire", "now")]),
    "a successor that soaks": ([SIGNS, SOAKS], BY_NOW, {"new": [OURS]}, [("wait to sign", "new")]),
    "a successor of a key that is compromised": (
        [key("now", "signing", given_up=COMPROMISED), SOAKS],
        BY_NOW,
        {"new": [OURS]},
        [("sign", "new"), ("retire", "now")],
    ),
    "a successor of a key whose file is gone": (
        [SIGNS, SOAKS],
        {**BY_NOW, "can_sign": False},
        {"new": [OURS]},
        [("sign", "new"), ("retire", "now")],
    ),
    "a key that signs": ([SIGNS], BY_NOW, {}, []),
    "a key that comes back": ([SIGNS], {}, {"now": [OURS]}, [("sign", "now")]),
    "a key that comes back, not shown": ([SIGNS], {}, {"now": [NONE]}, [("wait to sign", "now")]),
    "a key that comes back, unknown": ([SIGNS], {}, {"now": [SILENT]}, [("wait to sign", "now")]),
    "a key that comes back, given up": ([key("now", "signing", given_up=REVOKED)], {}, {}, []),
    "a rollback": (
        [BACK, SIGNS],
        {**BY_NOW, "goes_back": True},
        {"old": [OURS]},
        [("sign", "old"), ("retire", "now")],
    ),
    "a rollback with a successor that waits": (
        [BACK, SIGNS, WAITS],
        {**BY_NOW, "goes_back": True},
        {"old": [OURS]},
        [("sign", "old"), ("retire", "now"), ("retire", "new")],
    ),
    "a rollback within the soak": (
        [key("old", "retired", timedelta(0), published=NOW, signing=NOW), SIGNS],
        {**BY_NOW, "goes_back": True},
        {"old": [OURS]},
        [("sign", "old"), ("retire", "now")],
    ),
    "a rollback, not shown": ([BACK, SIGNS], {**BY_NOW, "goes_back": True}, {"old": [NONE]}, [("fail", "old")]),
    "a rollback, unknown": ([BACK, SIGNS], {**BY_NOW, "goes_back": True}, {"old": [SILENT]}, [("fail", "old")]),
    "adopted and seen, before another takes over": (
        [key("now", "published"), WAITS],
        BY_NOW,
        {"new": [OURS]},
        [("witness", "now"), ("sign", "new"), ("retire", "now")],
    ),
    "adopted and unseen, when another takes over": (
        [key("now", "generated"), WAITS],
        BY_NOW,
        {"new": [OURS]},
        [("sign", "new"), ("retire", "now")],
    ),
}


def at_tables(keys, known, texts):
    return AtTables(**known, answers={selector: answers(selector, *found) for selector, found in texts.items()})


@pytest.mark.parametrize(("keys", "known", "texts", "wants"), SIGNED.values(), ids=SIGNED)
def test_a_key_signs_when_dns_shows_it(keys, known, texts, wants):
    seen = at_tables(keys, known, texts)
    assert {one.selector for one in candidates(Manifest(NAME, tuple(keys)), seen)} == texts.keys()
    assert kinds(steps(keys, seen)) == wants


def test_a_key_that_signed_unseen_is_noted_as_such_when_another_signs():
    keys = (key("now", "generated"), WAITS)
    changed = after(Manifest(NAME, keys), steps(keys, at_tables(keys, BY_NOW, {"new": [OURS]})))
    assert [(one.stage, one.given_up) for one in changed.keys] == [("retired", UNSEEN), ("signing", "")]


def test_a_key_that_was_seen_keeps_its_retention_when_another_signs():
    keys = (key("now", "published"), WAITS)
    changed = after(Manifest(NAME, keys), steps(keys, at_tables(keys, BY_NOW, {"new": [OURS]})))
    assert (changed.keys[0].signing, changed.keys[0].retired, changed.keys[0].given_up) == (NOW, NOW, "")


def test_a_key_whose_retirement_lies_before_its_stamps_signs_and_the_run_fails():
    keys = (SIGNS, key("between", "generated", -HOUR), WAITS)
    found = steps(keys, at_tables(keys, BY_NOW, {"new": [OURS]}))
    assert kinds(found) == [("sign", "new"), ("fail", "new")]
    assert "could not be recorded" in found[1].reason


ROWS = [
    key(selector, stage, given_up=given_up)
    for selector in ("new", "now")
    for stage in STAGES[:4]
    for given_up in ("", FOREIGN, COMPROMISED)
]
TEXTS = [[], [NONE], [SILENT], [EMPTY], [ANOTHERS], [OURS, NONE], [OURS, SILENT], [OURS, EMPTY]]


@pytest.mark.parametrize("texts", TEXTS, ids=str)
def test_nothing_signs_that_dns_does_not_show_whatever_else_is_known(texts):
    keys = [(one,) for one in ROWS] + [pair for pair in itertools.product(ROWS, ROWS) if pair[0].selector == "new"]
    keys = [found for found in keys if len({one.selector for one in found}) == len(found)]
    for found, signer, flags in itertools.product(keys, ("", "now"), itertools.product((False, True), repeat=3)):
        shown = {one.selector: answers(one.selector, *texts) for one in found}
        seen = AtTables(signer, *flags, shown)
        assert SIGN not in {step.kind for step in plan(Manifest(NAME, found), POLICY, NOW, seen)}


@pytest.mark.parametrize("value", ["absent", "different", "unknown"])
def test_there_is_no_step_to_sign_without_the_verdict_that_dns_shows_the_key(value):
    with pytest.raises(DkimError, match="DNS does not show it"):
        Step(SIGN, NAME, "new", verdict=Verdict(value))
    with pytest.raises(DkimError, match="DNS does not show it"):
        Step(SIGN, NAME, "new")


@pytest.mark.parametrize("stage", STAGES[:5])
def test_no_answer_changes_no_row(stage):
    one = key("new", stage, 200 * DAY)
    manifest = Manifest(NAME, (one,))
    seen = dns([one], {"new": [SILENT]})
    assert after(manifest, plan(manifest, POLICY, NOW, seen)) == manifest
    lost = InDns(seen.answers)
    assert after(manifest, plan(manifest, POLICY, NOW, lost)) == manifest


def test_a_dry_run_reports_what_a_run_does_in_other_words():
    (step,) = steps([NEW], dns([NEW], {"new": [OURS]}))
    shown = "every authoritative server shows it so."
    assert reported(step, True) == ("notes", f"{NAME}: the key new would be stamped as published: {shown}")
    assert reported(step, False) == ("notes", f"{NAME}: the key new is published: {shown}")


def signs(keys, now):
    return steps(keys, at_tables(keys, BY_NOW, {"new": [OURS]}), now)


def makes(keys, now):
    return steps(keys, OnHost(KNOWN), now)


def shows(text):
    """What is due once DNS shows a text of the old key, or none."""
    return lambda keys, now: steps(keys, dns(keys, {"old": [text]}, ["now"], now, now), now)


# (keys, of which the last waits, what a run then does)
TIMED = {
    "soak": ([SIGNS, SOAKS], signs, ("sign", "new")),
    "time to rotate": ([SIGNS], makes, ("generate", "")),
    "retention": ([SIGNS, LATELY], shows(EMPTY), ("revoke", "old")),
    "retention of a key that signed unseen": (
        [SIGNS, key("old", "retired", DAY, published=None, signing=None, given_up=UNSEEN)],
        shows(EMPTY),
        ("revoke", "old"),
    ),
    "a revoked record": ([SIGNS, key("old", "revoked", DAY)], shows(NONE), ("remove", "old")),
}


@pytest.mark.parametrize(("keys", "due", "step"), TIMED.values(), ids=TIMED)
def test_a_run_takes_the_next_step_at_the_moment_that_status_names(keys, due, step):
    known = KeyFacts(KNOWN.named, AtTables(**BY_NOW), NOW)
    moment = earliest(Manifest(NAME, tuple(keys)), keys[-1], POLICY, known)
    assert moment > NOW
    assert step not in kinds(due(keys, moment - timedelta(seconds=1)))
    assert step in kinds(due(keys, moment))


@pytest.mark.parametrize("given_up", ["", REVOKED, COMPROMISED])
def test_a_retired_key_without_retention_is_due_at_once(given_up):
    one = key("old", "retired", DAY, given_up=given_up, **({} if given_up else {"signing": None}))
    assert earliest(Manifest(NAME, (one,)), one, POLICY, KeyFacts()) == one.retired
    assert kinds(steps([one], dns([one], {"old": [EMPTY]}))) == [("revoke", "old"), ("destroy", "old")]


@pytest.mark.parametrize("stage", STAGES[:5])
def test_every_key_that_is_not_removed_waits_for_something_that_status_names(stage):
    one = key("now", stage, DAY)
    assert waits(Manifest(NAME, (one,)), one, POLICY, NOW, KeyFacts(oldest_queued=NOW)).reason
    assert waits(Manifest(NAME, (GONE,)), key("now", "removed"), POLICY, NOW, KeyFacts()) is None
