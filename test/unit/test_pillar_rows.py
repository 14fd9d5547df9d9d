"""Pillars that people write, as far as no host is needed: what main.cf becomes of each, and why others are refused."""

import copy

import pytest

from healthy_host import parameters
from mailserver_errors import PillarError
from mailserver_pillar import resolve
from pillar_table import COMMON, REFUSED, WORKS, merged

GRAINS = {"fqdn": "mx1.a.example", "ipv4": ["127.0.0.1", "192.0.2.25"], "ipv6": ["::1"]}
RELEASES = ("Debian-12", "Debian-13")


def settings(pillar, release="Debian-12"):
    return resolve(copy.deepcopy(pillar), parameters("Debian", release), GRAINS)


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("row", WORKS, ids=[row.name for row in WORKS])
def test_a_pillar_that_works_is_taken_and_makes_what_it_says(row, release):
    made = settings(row.whole, release)["postfix"]["main"]
    assert {name: made[name] for name in row.makes} == row.makes


@pytest.mark.parametrize("group", COMMON)
def test_the_pillars_of_a_group_are_taken_together(group):
    assert settings(merged(COMMON[group], *(row.pillar for row in WORKS if row.group == group)))


@pytest.mark.parametrize(("pillar", "said"), REFUSED)
def test_a_pillar_that_cannot_work_is_refused_with_the_reason(pillar, said):
    with pytest.raises(PillarError) as caught:
        settings(pillar)
    assert any(said in one for one in caught.value.problems), caught.value.problems
    assert all(one.startswith("mailserver:") and one.isprintable() for one in caught.value.problems)


def test_the_table_is_long_and_each_row_that_works_is_seen_to():
    assert len(WORKS) + len(REFUSED) >= 60
    assert [row.name for row in WORKS if not row.seen] == []
