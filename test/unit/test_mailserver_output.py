"""What `mailserver.check`, `records`, `selftest` and the runs of `dkim` are on a terminal."""

import importlib.util
from pathlib import Path

import pytest

from mailhost.check import areas
from mailhost.check.dns import answers
from mailhost.check.findings import Finding, ok
from mailhost.dkim import report as dkim_report
from mailhost.dkim import steps
from mailhost.dkim.steps import Step
from mailhost.records import record as mail_records
from mailhost.records.record import Record
from mailhost.selftest import delivery
from mailhost.selftest.delivery import DeliveryResult

PATH = Path(__file__).resolve().parents[2] / "_output" / "mailserver.py"
SPEC = importlib.util.spec_from_file_location("mailserver_output", PATH)
mailserver = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(mailserver)

KEY = Record("20261130-mx1._domainkey.a.example", 3600, "TXT", f"v=DKIM1; k=rsa; p={'MIIB' * 100}")
ALL = [
    KEY,
    Record("a.example", 3600, "TXT", 'v=spf1 include:"odd" -all'),
    Record("mx1.a.example", 3600, "A", "192.0.2.25"),
    Record("mx1.a.example", 3600, "AAAA", "2001:db8::25"),
    Record("a.example", 3600, "MX", "10 mx1.a.example"),
    Record("25.2.0.192.in-addr.arpa", 3600, "PTR", "mx1.a.example"),
    Record("mta-sts.a.example", 3600, "CNAME", "mx1.a.example."),
    Record("_25._tcp.mx1.a.example", 3600, "TLSA", "3 1 1 0123456789abcdef"),
    Record("a.example", 3600, "CAA", '0 issue "ca.example; validationmethods=dns-01"'),
]
"""A record of each type that a remedy may have."""
HOSTILE = "a\x1b[2J\rb\u202ec\x07"
LONG = "so many words that no terminal has room for them on one line of its own, " * 4
WIDTHS = pytest.mark.parametrize("width", [80, 120])


def lines(told, width=120):
    return mailserver.text("mx1", told, width).split("\n")


def are_within(shown, width, whole=()):
    """Tell whether all lines but those that stay whole fit the terminal."""
    return all(len(line) <= width or line.strip() in whole for line in shown)


# ---- mailserver.check


FINDINGS = [
    ok("dns.mx", "a.example", "MX 10 mx1.a.example"),
    Finding("dns.dmarc", "warn", "a.example", "a policy", f"none. {LONG}", "Publish one."),
    Finding("dns.dkim", "fail", KEY.name, "DNS shows it", LONG, answers.publish([KEY], f"or {LONG}", "a.example")),
    Finding("tls.smtp", "unknown", "mx1.a.example:25", "TLS 1.2", "no answer", "Check again."),
]


def check(findings, everything=False, width=120):
    return lines(areas.summary(findings, everything), width)


@WIDTHS
def test_a_check_is_its_counts_and_a_block_for_each_finding_with_the_worst_first(width):
    head, *shown = check(FINDINGS, width=width)
    assert head == "mx1: 1 fail, 1 warn, 1 unknown, 1 ok"
    assert [line for line in shown if not line.startswith(" ")] == [
        f"FAIL  dns.dkim  {KEY.name}",
        "WARN  dns.dmarc  a.example",
        "UNKNOWN  tls.smtp  mx1.a.example:25",
    ]
    assert {line[:12].strip() for line in shown if line.startswith("    ")} == {"wanted", "seen", "do", ""}
    assert are_within(shown, width, [mail_records.zone_line(KEY)])


@WIDTHS
@pytest.mark.parametrize("record", ALL, ids=lambda one: one.rdtype)
def test_a_record_to_publish_is_whole_on_a_line_of_its_own_to_be_copied(record, width):
    remedy = answers.publish([KEY, record, KEY], f"or ask. {LONG}", "a.example")
    shown = check([Finding("dns.x", "fail", "a.example", "it", "none", remedy)], width=width)
    copied = [mail_records.zone_line(one) for one in (KEY, record, KEY)]
    assert [line.strip() for line in shown if " IN " in line] == copied
    assert are_within(shown, width, copied)
    assert "(in a form that adds the zone a.example by itself" in " ".join(" ".join(shown).split())


def test_what_only_looks_like_a_record_is_not_one_to_copy():
    text = f"{LONG}. a.example says: stranger.example. 60 IN A 192.0.2.66. {LONG}"
    shown = check([Finding("dns.x", "fail", "a.example", text, text, text)], width=80)
    assert not [line for line in shown if line.strip().startswith("stranger.example.")]
    assert are_within(shown, 80)


def test_what_is_as_wanted_is_a_line_and_only_if_asked_for():
    assert check([ok("dns.mx", "a.example", "MX")]) == ["mx1: 1 ok"]
    assert check([ok("dns.mx", "a.example", "MX")], everything=True) == ["mx1: 1 ok", "OK  dns.mx  a.example"]
    assert check([]) == ["mx1: nothing to check"]


# ---- runs of dkim


TODO = "\n".join(mail_records.to_publish([KEY], "a.example"))
STEPS = [
    Step(steps.GENERATE, "a.example", "20261130-mx1", new="generated"),
    Step(steps.PUBLISH, "a.example", "20261001-mx1", "DNS shows it", old="generated", new="published"),
    Step(steps.WAIT, "a.example", "20261130-mx1", f"it is not in DNS. {LONG}\n  Seen: {LONG}", todo=TODO),
    Step(steps.FAIL, "b.example", "20261130-mx1", "DNS does not show it."),
    Step(steps.STOP, "b.example", old="20261130-mx1"),
]


def returned(report):
    """What `dkim.advance` returns (`_modules/dkim.py`)."""
    brief = dkim_report.brief
    waiting, errors = (brief(report.whole(one)) for one in (report.waiting, report.errors))
    return {"changes": report.changes, "notes": brief(report.notes), "waiting": waiting, "errors": errors}


@WIDTHS
def test_a_run_is_its_errors_what_waits_its_changes_and_its_notes(width):
    shown = lines(returned(dkim_report.report_of(STEPS, is_dry=False)), width)
    titles = [number for number, line in enumerate(shown) if line.startswith("  ") and line[2] != " "]
    assert [shown[number] for number in titles] == ["  Errors:", "  Waits:", "  Changes:", "  Notes:"]
    assert shown[titles[0] + 1 : titles[1]] == ["    b.example: DNS does not show it."]
    assert shown[titles[2] + 1 : titles[3]] == [
        "    a.example: 20261130-mx1 generated",
        "    a.example: 20261001-mx1 generated → published",
        "    b.example: signer 20261130-mx1 → none",
    ]
    copied = [mail_records.zone_line(KEY), KEY.value]
    assert [line.strip() for line in shown if "MIIB" in line] == copied
    assert "      To publish, as a line of the zone:" in shown
    assert are_within(shown, width, copied)


def test_a_signer_that_changes_is_told_by_both_selectors():
    told = {"changes": {"a.example": {"old": "one", "new": "two"}}, "notes": [], "waiting": [], "errors": []}
    assert lines(told) == ["mx1:", "  Changes:", "    a.example: signer one → two"]
    told["changes"] = {"a.example": {"old": None, "new": "two"}}
    assert lines(told)[-1] == "    a.example: signer none → two"


def test_a_run_with_nothing_to_do_is_one_sentence():
    assert lines(returned(dkim_report.Report())) == ["mx1: nothing to do, and nothing that waits"]


# ---- mailserver.records


@WIDTHS
def test_records_are_a_table_with_each_value_whole_on_its_line(width):
    head, columns, *rows = lines(mail_records.as_data(ALL), width)
    assert head == "mx1: 9 records"
    assert columns.split() == ["name", "ttl", "type", "value"]
    found = [tuple(row.split(maxsplit=3)) for row in rows]
    assert found == [(one.name, "3600", one.rdtype, one.value) for one in ALL]
    assert len({row.index(one.value) for row, one in zip(rows, ALL, strict=True)}) == 1
    assert lines([]) == ["mx1: no records"]


# ---- mailserver.selftest


JUDGED = {
    "domain": "a.example", "result": True, "overall": "All is right.", "spf": [], "dkim": [],
    "dmarc": {"result": "pass", "domain": "a.example", "policy": "none", "reason": ""},
    "report": f"Self-test of mail from x@a.example\n\n[Overall]\nAll is right.\n\n[SPF]\nResult: {LONG}\n",
}  # fmt: skip
ROWS = [
    DeliveryResult("user", "mailprobe@a.example", "arrived", "local"),
    DeliveryResult("alias", "mailprobealias@a.example", "unknown", words="it waits"),
    DeliveryResult("nobody", "x@a.example", "wrong", words=f"250 Ok\n{LONG}"),
]


@WIDTHS
def test_a_selftest_is_its_report_and_then_each_delivery_with_failures_first(width):
    shown = lines(delivery.reported(JUDGED, ROWS), width)
    assert shown[:2] == ["mx1:", "  Self-test of mail from x@a.example"]
    assert "  [SPF]" in shown
    assert shown.count("  [Delivery]") == 1
    told = [line for line in shown[shown.index("  [Delivery]") + 1 :] if line[2] != " "]
    assert told[0].startswith("! nobody x@a.example: wrong (250 Ok so many words")
    assert told[1:] == [
        "! alias mailprobealias@a.example: unknown (it waits)",
        "  user mailprobe@a.example: arrived by local",
    ]
    assert are_within(shown, width)


def test_a_selftest_without_messages_to_this_host_is_its_report():
    shown = lines(delivery.reported(JUDGED, []))
    assert shown[-1].startswith(("  Result: ", "    "))
    assert "  [Delivery]" not in shown


# ---- anything else


@pytest.fixture
def nested(monkeypatch):
    monkeypatch.setattr(mailserver, "__opts__", {"color": False, "extension_modules": ""}, raising=False)


@pytest.mark.parametrize(
    "told",
    [
        "ERROR: no highstate has put settings in force",
        {"changes": "what?", "notes": [], "waiting": [], "errors": []},
        {"status": "fail", "counts": {"fail": "many"}, "findings": []},
        {"status": "fail", "counts": {}, "findings": [{"id": "dns.mx"}]},
        {"overall": "All is right.", "delivery": "?"},
        {"a.example TXT": ["one", "two"]},
        [{"name": "a.example"}],
        {},
        None,
        True,
    ],
)
def test_anything_else_is_shown_by_salts_own_outputter(told, nested):
    shown = mailserver.output({"mx1": told})
    assert shown.startswith("mx1:")
    assert all(word in shown for word in str(told).split("'")[1::2])


def test_lines_of_a_zone_file_are_printed_as_they_are(nested):
    zone = mail_records.zone(ALL)
    assert mailserver.output({"mx1": zone}) == "\n".join(["mx1:", *(f"    {line}" for line in zone.splitlines())])


def test_each_minion_is_shown_below_the_one_before(nested):
    shown = mailserver.output({"mx1": [], "mx2": areas.summary([]), "mx3": "ERROR"}).split("\n")
    assert shown == ["mx1: no records", "mx2: nothing to check", "mx3:", "    ERROR"]


@pytest.mark.parametrize(
    "told",
    [
        f"ERROR: {HOSTILE}",
        {HOSTILE: [HOSTILE]},
        [{"name": HOSTILE, "ttl": HOSTILE, "type": HOSTILE, "value": HOSTILE}],
        {"changes": {HOSTILE: {HOSTILE: {"old": HOSTILE, "new": HOSTILE}, "old": HOSTILE, "new": HOSTILE}},
         "notes": [HOSTILE], "waiting": [f"{HOSTILE}\n      {HOSTILE}"], "errors": [HOSTILE]},
        {"status": "fail", "counts": {"fail": 1}, "findings": [
            {**dict.fromkeys(("id", "about", "wanted", "seen"), HOSTILE), "status": "fail",
             "remedy": f'Publish: a.example. 60 IN TXT "{HOSTILE}" ({HOSTILE})'}]},
        {"overall": HOSTILE, "report": f"{HOSTILE}\n[Delivery]\n", "delivery": [
            dict.fromkeys(("kind", "address", "result", "agent", "words"), HOSTILE)]},
    ],
)  # fmt: skip
def test_nothing_steers_the_terminal(told, nested):
    shown = mailserver.text("mx1", told, 80)
    assert all(line.isprintable() for line in shown.split("\n"))
    assert "?[2J" in shown
