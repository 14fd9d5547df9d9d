"""Selectors that are made are possible in DNS and in a signature, and never used twice."""

from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailhost.dkim.selectors import check, is_possible, new_selector, trouble
from mailhost.errors import SelectorError

NOW = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
LONG_DOMAIN = ".".join(["d" * 59] * 4)
LONG_HOST = "h" * 54


@pytest.mark.parametrize(
    ("template", "taken", "selector"),
    [
        ("{date}-{host}", (), "20261124-mx1"),
        ("{date}-{host}", ("20261124-mx1",), "20261124-mx1-2"),
        ("{date}-{host}", ("20261124-mx1", "20261124-mx1-2"), "20261124-mx1-3"),
        ("{date}-{host}", ("20261124-MX1",), "20261124-mx1-2"),
        ("{date}", (), "20261124"),
        ("mail", ("mail",), "mail-2"),
        ("Mail.{date}", (), "mail.20261124"),
        ("Mail.{date}", ("mail.20261124",), "mail.20261124-2"),
    ],
)
def test_a_selector_is_never_used_twice(template, taken, selector):
    assert new_selector(template, "MX1.example.net", NOW, taken) == selector


@pytest.mark.parametrize(
    ("taken", "own", "selector"),
    [
        ((), "", f"20261124-{LONG_HOST}"),
        ((f"20261124-{LONG_HOST}",), "", f"20261124-{LONG_HOST[2:]}-2"),
        ((), "a1b2", f"20261124-{LONG_HOST[5:]}-a1b2"),
    ],
)
def test_an_end_that_makes_a_label_too_long_takes_the_place_of_some_of_it(taken, own, selector):
    assert len(selector) == 63
    assert new_selector("{date}-{host}", LONG_HOST, NOW, taken, own=own) == selector


@pytest.mark.parametrize(
    ("template", "host", "domain"),
    [
        ("{date}-{host}", "h" * 55, "a.example"),
        ("{date}.", "mx1", "a.example"),
        ("{date}", "mx1", LONG_DOMAIN),
        ("a", "mx1", LONG_DOMAIN + ".ab"),
    ],
)
def test_what_no_name_in_dns_can_hold_is_an_error_that_names_the_pillar(template, host, domain):
    with pytest.raises(SelectorError, match=r"not possible: .*mailserver:dkim:selector"):
        new_selector(template, host, NOW, (), domain)


def test_a_name_that_just_fits_has_no_room_for_an_end():
    assert new_selector("ab", "mx1", NOW, (), LONG_DOMAIN) == "ab"
    with pytest.raises(SelectorError, match="more than 253 characters"):
        new_selector("ab", "mx1", NOW, ("ab",), LONG_DOMAIN)


@pytest.mark.parametrize(
    ("selector", "possible"),
    [("mail", True), ("Mail_1", True), ("a.b", True), ("a..b", False), ("", False), ("a" * 64, False), ("a b", False)],
)
def test_a_selector_that_people_made_is_taken_over_if_dns_can_hold_it(selector, possible):
    assert is_possible(selector, "a.example") is possible
    if not possible:
        with pytest.raises(SelectorError):
            check(selector, "a.example")


@given(st.text("ab-", min_size=1, max_size=70), st.integers(1, 30), st.text("ab", max_size=4))
def test_whatever_is_made_is_possible_and_new(host, count, own):
    taken = []
    for _ in range(count):
        try:
            made = new_selector("{date}-{host}", host, NOW, taken, own=own)
        except SelectorError:
            return
        assert trouble(made, "example.com") is None
        assert made not in taken
        taken.append(made)
