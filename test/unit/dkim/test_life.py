"""The life of a key: what may follow what, what the manifest says, and who signs."""

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost.dkim import life
from mailhost.dkim.life import LIFE, STAGES, KeyRow, Manifest, signer, stamp, successor
from mailhost.dkim.manifest import emit, parse
from mailhost.errors import ClockError, ManifestError

START = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
WHERE = "/keys/a.example/keys.json"


def at(hours):
    return START + timedelta(hours=hours)


def key(selector="one", stages=1, first=0, **columns):
    """A key that has reached the first ``stages`` stages, one an hour from ``first`` on."""
    times = {name: at(first + number) for number, name in enumerate(STAGES[:stages])}
    return KeyRow(selector, "rsa", 2048, "MIIB", **{**times, **columns})


def manifest(*keys):
    return Manifest("a.example", keys)


def test_a_manifest_reads_back_as_it_was_written():
    written = manifest(key("one", 6), key("two", 4), key("three", 3), key("four", 1))
    assert parse(emit(written), "a.example", WHERE) == written


@given(st.lists(st.integers(1, 6), max_size=5))
def test_every_manifest_reads_back(stages):
    written = manifest(*(key(f"s{number}", count, number) for number, count in enumerate(stages)))
    assert parse(emit(written), "a.example", WHERE) == written


def test_a_given_up_key_may_be_retired_without_having_signed():
    for stages in (1, 2):
        given_up = stamp(key(stages=stages), "retired", at(9))
        assert parse(emit(manifest(given_up)), "a.example", WHERE).keys == (given_up,)


def rows(*keys):
    return json.loads(emit(manifest(*keys)))


def broken(change):
    data = rows(key("one", 3), key("two", 2))
    change(data)
    return json.dumps(data)


BROKEN = [
    (lambda data: data.update(format=2), "format 2 is not known here"),
    (lambda data: data.update(domain="b.example"), "it is the manifest of 'b.example', not of 'a.example'"),
    (lambda data: data.pop("keys"), "this is not a manifest"),
    (lambda data: data.update(keys={}), "keys is not a list"),
    (lambda data: data["keys"][1].update(published=None, signing="2026-11-25T00:00:00Z"), "row 2, signing: it cannot"),
    (
        lambda data: data["keys"][0].update(published="2026-11-24T17:00:00Z"),
        "row 1, published: it lies before generated",
    ),
    (lambda data: data["keys"][0].update(generated="yesterday"), "row 1, generated: 'yesterday' is not a time"),
    (lambda data: data["keys"][0].update(generated=None), "row 1, published: it cannot follow nothing"),
    (lambda data: data["keys"][1].update(generated=None, published=None), "row 2, generated: missing"),
    (lambda data: data["keys"][1].update(removed="2026-11-25T00:00:00Z"), "row 2, removed: it cannot follow published"),
    (lambda data: data["keys"][1].update(selector="one"), "row 2, selector: one is there twice"),
    (lambda data: data["keys"][1].update(selector="../one"), "row 2, selector: '../one' is not a selector"),
    (lambda data: data["keys"][1].update(public="%"), "row 2, public: not base64"),
    (lambda data: data["keys"][1].update(bits="many"), "row 2, bits: 'many' is not a number"),
    (lambda data: data["keys"][1].update(colour="red"), "row 2, colour: not a column"),
    (lambda data: data["keys"][1].pop("retired"), "row 2, retired: missing"),
    (lambda data: data["keys"].append(5), "row 3: not a mapping"),
]


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_a_damaged_manifest_is_named_by_file_row_and_column(change, message):
    with pytest.raises(ManifestError) as caught:
        parse(broken(change), "a.example", WHERE)
    assert str(caught.value).startswith(WHERE)
    assert message in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', emit(manifest(key()))[:-20]])
def test_a_manifest_that_was_cut_is_never_taken_for_an_empty_one(text):
    with pytest.raises(ManifestError):
        parse(text, "a.example", WHERE)


@pytest.mark.parametrize("reached", range(1, len(STAGES) + 1))
@pytest.mark.parametrize("to", STAGES)
def test_a_stage_begins_only_after_one_that_it_may_follow(reached, to):
    before = key(stages=reached)
    allowed = STAGES[reached - 1] in LIFE[STAGES.index(to)].follows
    if allowed:
        assert stamp(before, to, at(10)).stage == to
    else:
        with pytest.raises(ManifestError, match=f"{to} cannot follow {before.stage}"):
            stamp(before, to, at(10))


def test_a_clock_that_jumped_back_stamps_nothing():
    with pytest.raises(ClockError, match="set the clock right"):
        stamp(key(stages=1), "published", at(-24 * 365))


def test_the_stage_is_the_last_stamp():
    assert [key(stages=number).stage for number in range(1, 7)] == list(STAGES)
    assert key(stages=3).since == at(2)


def test_who_signs_is_computed_from_the_rows():
    assert signer(manifest()) is None
    assert signer(manifest(key("one", 2))) is None
    assert signer(manifest(key("one", 4), key("two", 3, 5), key("three", 2, 9))).selector == "two"


def test_of_equal_stamps_the_later_key_signs_and_the_later_signer_is_the_predecessor():
    assert signer(manifest(key("one", 3), key("two", 3))).selector == "two"
    assert life.predecessor(manifest(key("one", 4), key("two", 4), key("three", 3))).selector == "two"
    went_back = manifest(key("one", 3, signing=at(5), retired=at(9)), key("two", 3, retired=at(9)), key("three", 3, 9))
    assert life.predecessor(went_back).selector == "one"


def test_the_newest_waiting_key_is_the_successor():
    assert successor(manifest(key("one", 3))) is None
    assert successor(manifest(key("one", 3), key("two", 2, 5), key("three", 1, 9))).selector == "three"


def test_a_key_that_was_overtaken_never_takes_over():
    overtaken = manifest(key("one", 3), key("two", 2, 5), key("three", 3, 9))
    assert life.waiting(overtaken) == []
    assert successor(overtaken) is None


@pytest.mark.parametrize(("stages", "needed"), [(1, False), (2, False), (3, False), (4, True), (5, True), (6, True)])
def test_a_domain_needs_a_key_when_none_signs_or_may_sign(stages, needed):
    assert life.needs_key(manifest(key(stages=stages))) is needed


def test_a_revoked_key_is_not_to_be_in_dns_with_its_public_half():
    kept = life.live(manifest(*(key(str(number), number) for number in range(1, 7))))
    assert [one.selector for one in kept] == ["1", "2", "3", "4"]


POLICY = {"soak": None, "ttl": 3600, "strict": False, "publish_deadline": 72 * 3600}


@pytest.mark.parametrize(
    ("keys", "policy", "negative_ttl", "seconds"),
    [
        ((key("one", 2),), POLICY, 900, 0),
        ((key("one", 3), key("two", 2, 9)), POLICY, 900, 3600),
        ((key("one", 3), key("two", 2, 9)), POLICY, 7200, 7200),
        ((key("one", 3), key("two", 2, 9)), POLICY, None, 3600),
        ((key("one", 2),), {**POLICY, "soak": 60}, 900, 60),
        ((key("one", 3), key("two", 2, 9)), {**POLICY, "soak": 0}, 900, 0),
        ((key("one", 3), key("two", 2, 9)), {**POLICY, "ttl": 2**31 - 1}, 900, 7 * 86400),
    ],
)
def test_a_successor_soaks_as_long_as_any_cache_may_deny_it(keys, policy, negative_ttl, seconds):
    assert life.soak(manifest(*keys), policy, negative_ttl) == seconds


def test_waiting_becomes_a_failure_at_the_deadline_or_at_once_when_strict():
    assert life.deadline(key(), POLICY) == at(72)
    assert life.deadline(key(), {**POLICY, "strict": True}) == at(0)


def test_a_row_is_replaced_by_its_selector():
    before = manifest(key("one", 1), key("two", 1))
    after = before.with_key(replace(key("one", 2)))
    assert [(one.selector, one.stage) for one in after.keys] == [("one", "published"), ("two", "generated")]
