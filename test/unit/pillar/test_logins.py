"""Which users of the host are people."""

import pytest

from mailhost.pillar.logins import first_user_id


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("", 1000),
        ("UID_MIN\t\t\t 1000\nUID_MAX 60000\n", 1000),
        ("  UID_MIN 500 # as on EL 6\n", 500),
        ("#UID_MIN 200\nSYS_UID_MIN 201\nUID_MINIMUM 1\n", 1000),
        ("UID_MIN 500\nUID_MIN 2000\n", 2000),
        ("UID_MIN 0x3e8\n", 1000),
        ("UID_MIN 01750\n", 1000),
        ("UID_MIN 0\n", 1000),
        ("UID_MIN -5\n", 1000),
        ("UID_MIN many\n", 1000),
        ("UID_MIN\n500\n", 1000),
    ],
)
def test_people_have_the_ids_that_login_defs_says(text, first):
    assert first_user_id(text) == first
