"""The rotations of many domains are spread over the period, so that no day carries much more of them than another."""

from collections import Counter
from datetime import datetime, timezone

import pytest

from mailhost.dkim import life
from mailhost.dkim.life import KeyRow

START = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)
DAYS = 90
POLICY = {"rotate_after": DAYS * 86400}


def rotations(names, periods):
    """Return ``{day: number of rotations}``, where a successor signs as soon as its predecessor's time is over."""
    found = Counter()
    for name in names:
        signing = START
        while (signing - START).days < periods * DAYS:
            signing = life.rotates_at(name, KeyRow("s", "rsa", 2048, "MIIB", signing, signing, signing), POLICY)
            found[(signing - START).days] += 1
    return found


@pytest.mark.parametrize(("domains", "within"), [(100_000, 0.2), (10_000, 0.35)])
@pytest.mark.parametrize("shape", ["d{:05}.example", "customer-{}.test"])
def test_no_day_has_much_more_of_the_rotations_than_the_mean(shape, domains, within):
    found = rotations([shape.format(number) for number in range(domains)], 1)
    days = [found[one] for one in range(DAYS // 2 + 1, DAYS + DAYS // 2)]
    mean = domains / DAYS
    assert (1 - within) * mean <= min(days) <= max(days) <= (1 + within) * mean


def test_no_domain_rotates_before_half_of_its_period():
    assert min(rotations([f"d{number}.example" for number in range(1_000)], 1)) >= DAYS // 2
