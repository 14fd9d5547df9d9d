"""In a world in which much is broken mailserver.check comes to an end, breaks nowhere, and says what to do."""

import json
import re

import pytest
from broken_world import CASES, DEAD, RECORDS, REVERSE, SIGNED, WELL, ZONE, name_server, world
from checking import checks, statuses

from check_faults import PYTHON
from conftest import TOP

ON = "mx1"
PLACE = r"\d+\.\d+\.\d+\.\d+|resolver|https://"
"""Where something was seen: a server's address, the host's resolver, or what was fetched."""
KEYS = "/etc/opendkim/keys"
TABLES = ("/etc/opendkim/KeyTable", "/etc/opendkim/SigningTable")
TRUSTED = "/usr/local/share/ca-certificates/broken-world.crt"


@pytest.fixture(scope="module")
def eye(lab):
    """The check on mx1, in a world where `client` has a part of DNS and of the web."""
    lab.sign()
    keys = json.loads(lab.run("mx1", "cat", f"{KEYS}/alpha.test/keys.json").out)
    (key,) = [one for one in keys["keys"] if one["signing"] and not one["retired"]]
    signed = [case.domain for case in CASES if case.pillar == SIGNED]
    for domain in signed:
        lab.write("mx1", f"{KEYS}/{domain}/keys.json", json.dumps({**keys, "domain": domain}))
        row = f"{key['selector']}._domainkey.{domain}"
        lab.sh("mx1", f"echo '{row} {domain}:{key['selector']}:{KEYS}/{domain}/key' >>{TABLES[0]}")
        lab.sh("mx1", f"echo '*@{domain} {row}' >>{TABLES[1]}")
    played = world(key["selector"], key["public"])
    lab.sh("client", "\n".join(f"ip address replace {address}/24 dev host0" for address in played["servers"]))
    lab.write("client", "/run/world_program.py", (TOP / "test/integration/world_program.py").read_text())
    program = lab.start("client", PYTHON, "/run/world_program.py")
    program.stdin.write(json.dumps(played) + "\n")
    program.stdin.flush()
    lab.write("mx1", TRUSTED, json.loads(program.stdout.readline()))
    lab.run("mx1", "update-ca-certificates")
    delegations = [(zone, "NS", name_server(WELL)) for zone in (ZONE, REVERSE)] + [(name_server(WELL), "A", WELL)]
    try:
        delegate(lab, delegations, "add")
        with checks(lab, ("mx1",)) as eyes:
            yield eyes["mx1"]
    finally:
        delegate(lab, delegations, "delete")
        lab.run("mx1", "rm", "-r", *(f"{KEYS}/{domain}" for domain in signed))
        lab.run("mx1", "sed", "-i", f"/{ZONE}/d", *TABLES)
        lab.sh("mx1", f"rm -f {TRUSTED}; update-ca-certificates --fresh >/dev/null")
        program.stdin.close()
        program.wait(10)


def delegate(lab, records, what):
    """Have the lab's DNS refer to the broken part of the world, or no longer."""
    lines = "".join(f"update {what} {name} 3600 {rdtype} {value}\nsend\n" for name, rdtype, value in records)
    lab.run("ns1", "nsupdate", "-k", "/etc/bind/lab.key", "-l", stdin=lines)
    lab.run("ns2", "rndc", "refresh", "test")
    lab.run("ns2", "rndc", "refresh", "18.198.in-addr.arpa")
    lab.wait_for_secondary(("test", "18.198.in-addr.arpa"))


@pytest.mark.rotating(of=4)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_is_broken_is_told_with_its_place_and_a_remedy_and_breaks_nothing(eye, case):
    told = eye(("dns",), pillar=case.settings)
    found = statuses(told)
    for id in case.perhaps:
        assert found.pop(f"dns.{id}", {"unknown"}) == {"unknown"}, told["findings"]
    assert found == {f"dns.{id}": status for id, status in case.wanted.items()}, told["findings"]
    for one in told["findings"]:
        assert re.search(PLACE, one["seen"]), one


def test_domains_in_a_dead_part_of_the_world_leave_nothing_unknown_of_the_others(eye):
    pillar = RECORDS[0].settings
    for dead in DEAD:
        pillar["domains"] |= dead.settings["domains"]
    told = eye(("dns",), pillar={**pillar, "domain": RECORDS[0].domain})
    assert {one["about"] for one in told["findings"]} == {dead.domain for dead in DEAD}
    assert {status for of_one in statuses(told).values() for status in of_one} == {"unknown"}
