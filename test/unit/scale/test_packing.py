"""Packed settings of domains are the same after they are unpacked, and as short as their kinds are few."""

import json

import pytest
from salt.utils.secret import hide

from mailhost.scale.packing import packed, unpacked

DOMAINS = {
    "a.example": {"dkim": {"bits": 2048, "soak": None}, "mx": ["mx1"]},
    "b.example": {"dkim": {"bits": 2048, "soak": None}, "mx": ["mx2"]},
    "c.example": {"dkim": {"bits": 4096, "soak": 5}, "mx": []},
}


def test_domains_are_what_they_were():
    assert unpacked(packed(DOMAINS)) == DOMAINS
    assert list(unpacked(packed(DOMAINS))) == list(DOMAINS)


def test_only_the_sections_asked_for_are_kept():
    assert unpacked(packed(DOMAINS, ["dkim"])) == {name: {"dkim": one["dkim"]} for name, one in DOMAINS.items()}


@pytest.mark.parametrize("given", [{}, DOMAINS])
def test_what_was_not_packed_is_taken_as_it_is(given):
    assert unpacked(given) == given
    assert unpacked(json.dumps(given)) == given


def test_true_and_one_are_different_settings():
    given = {"a.example": {"strict": True}, "b.example": {"strict": 1}}
    assert [type(one["strict"]) for one in unpacked(packed(given)).values()] == [bool, int]


def test_a_thousand_domains_of_one_kind_take_little_more_than_their_names():
    names = {f"d{number}.example": DOMAINS["a.example"] for number in range(1000)}
    assert len(packed(names)) < 30 * len(names)


def test_pillars_that_show_asterisks_are_told_apart_by_what_they_hold():
    given = hide({"a.example": {"rua": ["mailto:a@a.example"]}, "b.example": {"rua": ["mailto:b@b.example"]}})
    assert repr(given["a.example"]) == repr(given["b.example"])
    assert unpacked(packed(given)) == given
