"""What dkim.status says of a key: what comes next, when at the earliest, and when nothing becomes of it any more."""

from datetime import datetime, timedelta, timezone

import pytest

from mailhost.dkim import keystore
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.dkim.run import Run, SigningPaths
from mailhost.dkim.status import status
from mailhost.opendkim.tables import tables
from mailhost.pillar.settings import resolve

NAME = "a.example"
NOW = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)


HOURS = [NOW + timedelta(hours=hours) for hours in range(5)]
EARLIEST = [
    (1, "2026-11-24T18:00:00Z"),
    (2, "2026-11-24T20:00:00Z"),
    (3, "2027-01-08T20:00:00Z"),
    (4, "2026-12-08T21:00:00Z"),
    (5, "2026-12-24T22:00:00Z"),
]


@pytest.mark.parametrize(("stamps", "moment"), EARLIEST)
def test_status_says_when_the_next_stage_may_be_at_the_earliest(tmp_path, stamps, moment):
    found = rows(tmp_path, {NAME: {"dkim": {"soak": "1h"}}}, KeyRow("one", "rsa", 2048, "MIIB", *HOURS[:stamps]))
    if stamps == 3:  # the domain's own moment, half a period to one and a half after it began to sign
        assert moment <= found["one"]["earliest"] <= "2027-04-08T20:00:00Z"
    else:
        assert found["one"]["earliest"] == moment


@pytest.mark.parametrize(
    ("domains", "comes_next"),
    [
        ({NAME: {}}, "retired, when a successor signs"),
        ({NAME: {"dkim": {"enabled": False}}}, "nothing: DKIM is turned off for the domain (dkim:enabled: false)"),
        ({"b.example": {}}, "nothing: the domain is not in the pillar"),
    ],
)
def test_a_domain_without_dkim_is_not_said_to_be_out_of_the_pillar(tmp_path, domains, comes_next):
    found = rows(tmp_path, domains, KeyRow("one", "rsa", 2048, "MIIB", NOW, NOW, NOW))
    assert found["one"]["next"] == comes_next


def rows(tmp_path, domains, key):
    (tmp_path / NAME).mkdir()
    keystore.write_manifest(tmp_path, Manifest(NAME, (key,)))
    paths = SigningPaths(str(tmp_path), tables(tmp_path / "KeyTable", tmp_path / "SigningTable"), None)
    host = resolve({"domains": domains}, {"postfix": {"version": "3.7"}}, {"fqdn": "mx1.a.example"})
    return status(Run(paths, host["domains"], host["dns"], NOW))[NAME]
