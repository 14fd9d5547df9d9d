"""All hosts as one: who has what, what is unknown, and what is told once although several hosts say it."""

from dataclasses import asdict, replace

import pytest

from example_fleet import DISK, DMARC, NOW, SPF, answers, example, overview, waiting
from mailhost.check.findings import Finding
from mailhost.page.fleet import STALE, domain_of, fleet, not_mined, silent, summary, unusable

A, B = "a.example", "b.example"


def cells(found):
    return {domain.name: domain.statuses for domain in found.domains}


def test_a_domain_has_on_each_host_the_worst_of_its_own_findings():
    bad = replace(SPF, about=A)
    weak = waiting(A, "mx1")
    found = fleet(
        {"mx1": overview("mx1", [A, B], [weak, bad]), "mx2": overview("mx2", [A], [weak]), "mx3": overview("mx3", [B])},
        {}, (), NOW,
    )  # fmt: skip
    assert cells(found) == {A: {"mx1": "fail", "mx2": "warn"}, B: {"mx1": "ok", "mx3": "ok"}}
    assert [domain.name for domain in found.domains] == [A, B]
    assert {host.name: host.status for host in found.hosts} == {"mx1": "fail", "mx2": "warn", "mx3": "ok"}


def test_a_fault_of_a_host_is_not_one_of_its_domains():
    found = fleet({"mx1": overview("mx1", [A], [DISK])}, {}, (), NOW)
    assert cells(found) == {A: {"mx1": "ok"}}
    assert found.status == "warn"


def test_what_several_hosts_say_in_the_same_words_is_told_once():
    both = replace(DMARC, about=A)
    found = fleet({name: overview(name, [A], [both]) for name in ("mx2", "mx1")}, {}, (), NOW)
    assert [(one.finding, one.hosts, one.domain) for one in found.seen] == [(both, ("mx1", "mx2"), A)]


@pytest.mark.parametrize(
    ("about", "domain"),
    [
        (A, A),
        (f"20261124-mx1._domainkey.{A}", A),
        (f"_dmarc.{A}", A),
        (f"_smtp._tls.{A}", A),
        (f"{B}._report._dmarc.{A}", A),
        (f"mx1.{A}", ""),
        (f"x{A}", ""),
        (f"_dmarc.sub.{A}", ""),
        ("/etc/postfix/main.cf", ""),
        ("", ""),
    ],
)
def test_a_finding_is_of_the_domain_whose_name_or_record_it_is_about(about, domain):
    assert domain_of(about, {A, B}) == domain


def test_after_an_area_that_broke_no_domain_seems_to_be_right():
    broken = Finding("dns.check", "unknown", "dns", "the area is checked", "it broke", "Report it.")
    found = fleet({"mx1": overview("mx1", [A], [broken]), "mx2": overview("mx2", [A])}, {}, (), NOW)
    assert cells(found) == {A: {"mx1": "unknown", "mx2": "ok"}}


def test_a_domain_whose_keys_cannot_be_read_is_unknown():
    data = {**overview("mx1", [A, B]), "unread": {A: "keys.json is damaged"}}
    found = fleet({"mx1": data}, {}, (), NOW)
    assert cells(found) == {A: {"mx1": "unknown"}, B: {"mx1": "ok"}}
    assert found.domains[0].unread == {"mx1": "keys.json is damaged"}


UNKNOWN = [
    ({}, {"mx2": silent("mx2", "no answer within 120 s")}, "no answer"),
    ({}, {"mx2": unusable("mx2", "it answered: error")}, "it answered"),
    ({}, {"mx2": not_mined("mx2")}, "in the mine"),
    ({"mx2": {"format": 9}}, {}, "format 9"),
    ({"mx2": "Traceback"}, {}, "no overview"),
    ({"mx2": overview("mx2", [A], age=STALE + 1)}, {}, "old"),
    ({"mx2": overview("mx2", [A], age=-3600)}, {}, "time to come"),
]


@pytest.mark.parametrize(("more", "troubles", "says"), UNKNOWN)
def test_a_host_of_which_nothing_or_nothing_new_is_known_is_unknown_with_a_remedy(more, troubles, says):
    found = fleet({"mx1": overview("mx1", [A]), **more}, troubles, (), NOW)
    assert {host.name: host.status for host in found.hosts} == {"mx1": "ok", "mx2": "unknown"}
    (one,) = found.seen
    assert one.hosts == ("mx2",)
    assert says in one.finding.seen
    assert "mx2" in one.finding.remedy or "clock" in one.finding.remedy


@pytest.mark.parametrize(("age", "old"), [(0, False), (STALE, False), (STALE + 1, True)])
def test_what_is_older_than_two_hours_is_old(age, old):
    (host,) = fleet({"mx1": overview("mx1", [A], age=age)}, {}, (), NOW).hosts
    assert host.is_stale is old


def test_a_host_that_failed_does_not_get_better_by_growing_old():
    (host,) = fleet({"mx1": overview("mx1", [A], [replace(SPF, about=A)], age=STALE + 1)}, {}, (), NOW).hosts
    assert host.status == "fail"


def test_minions_that_are_no_mail_hosts_are_named_and_no_more():
    idle = {"format": 1, "no mail host": True}
    found = fleet({"mx1": overview("mx1", [A]), "ns1": idle}, {}, ("db1",), NOW)
    assert found.others == ("db1", "ns1")
    assert [host.name for host in found.hosts] == ["mx1"]
    assert found.seen == ()


def test_the_next_rotation_of_a_domain_is_the_first_on_any_host():
    found = fleet(answers(1), {}, (), NOW)
    dues = [key.due for keys in found.domains[0].keys.values() for key in keys if key.stage == "signing"]
    assert found.domains[0].rotates_at == min(dues)


def test_the_summary_counts_what_the_page_shows():
    found = example()
    assert summary(found) == {
        "status": "fail",
        "hosts": {"mx1": "fail", "mx2": "warn", "mx3": "ok", "mx4": "unknown"},
        "domains": 6,
        "findings": {"fail": 1, "warn": 2, "unknown": 2},
        "others": ["db1", "www1"],
    }


def test_a_host_with_a_finding_of_a_domain_that_another_host_has_gets_no_cell_of_it():
    stray = replace(SPF, about=B)
    found = fleet({"mx1": overview("mx1", [A], [stray]), "mx2": overview("mx2", [B])}, {}, (), NOW)
    assert cells(found) == {A: {"mx1": "ok"}, B: {"mx2": "ok"}}
    assert asdict(found.seen[0].finding) == asdict(stray)
