"""Every finding of mailserver.check is shown to find, on the lab's hosts or, where none can have its fault, without."""

from test_docs import TOP, ids_on_paper

from check_faults_config import CONFIG_FAULTS
from check_faults_dns import DNS_FAULTS
from check_faults_running import RUNNING_FAULTS
from check_faults_wire import WIRE_FAULTS

FAULTS = [*CONFIG_FAULTS, *RUNNING_FAULTS, *WIRE_FAULTS, *DNS_FAULTS]
NEVER_BROKEN = {
    "AREA.check": (
        "a fault of the formula itself; whatever is known to bring one about is mended",
        "check/test_areas.py::test_an_area_that_breaks_is_unknown_and_hides_no_other",
    ),
    "config.postfix.table": (
        "the hosts of that lab have no tables; test_domains.py, which gives one to a host, breaks it",
        "check/config/test_check_config.py::test_a_table_is_compared_with_the_pillar",
    ),
    "dns.servers": (
        "the lab's zones and their parent agree; test_dns_delegation.py has those that do not",
        "check/dns/test_check_dns.py::test_servers_that_are_not_asked_and_those_that_a_parent_does_not_name_are_told",
    ),
}
"""Findings that no fault of a host can turn: why not, and the unit test that shows them."""


def test_every_finding_has_a_fault_that_turns_it():
    assert {id for fault in FAULTS for id in fault.findings} == ids_on_paper() - NEVER_BROKEN.keys()


def test_what_has_no_fault_is_shown_by_a_test_that_is_there():
    for _, test in NEVER_BROKEN.values():
        file, _, name = test.partition("::")
        assert f"\ndef {name}(" in (TOP / "test/unit" / file).read_text()


def test_no_two_faults_have_the_same_name():
    names = [(fault.area, fault.name) for fault in FAULTS]
    assert len(set(names)) == len(names)
