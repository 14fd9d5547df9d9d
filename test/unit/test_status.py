"""What dkim.status says of keys that nothing becomes of any more."""

from datetime import datetime, timezone

import pytest

import mailserver_keystore
from mailserver_dkim import Key, Manifest
from mailserver_opendkim import tables
from mailserver_pillar import resolve
from mailserver_run import Place, Run
from mailserver_status import status

NAME = "a.example"
NOW = datetime(2026, 11, 24, 18, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("domains", "comes_next"),
    [
        ({NAME: {}}, "retired, when a successor signs"),
        ({NAME: {"dkim": {"enabled": False}}}, "nothing: DKIM is turned off for the domain (dkim:enabled: false)"),
        ({"b.example": {}}, "nothing: the domain is not in the pillar"),
    ],
)
def test_a_domain_without_dkim_is_not_said_to_be_out_of_the_pillar(tmp_path, domains, comes_next):
    (tmp_path / NAME).mkdir()
    key = Key("one", "rsa", 2048, "MIIB", NOW, NOW, NOW)
    mailserver_keystore.write_manifest(tmp_path, Manifest(NAME, (key,)))
    place = Place(str(tmp_path), tables(tmp_path / "KeyTable", tmp_path / "SigningTable"), None)
    host = resolve({"domains": domains}, {"postfix": {"version": "3.7"}}, {"fqdn": "mx1.a.example"})
    assert status(Run(place, host["domains"], host["dns"], NOW))[NAME]["one"]["next"] == comes_next
