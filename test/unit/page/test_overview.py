"""What a host tells of itself for the page: all of it public, small, and read with distrust."""

import base64
import json
import lzma
import time
import tracemalloc
from datetime import datetime, timedelta, timezone

import pytest
from test_modules import NAMES, module

from example_fleet import answers
from healthy_host import DOMAINS
from mailhost.check.areas import check
from mailhost.check.findings import Finding
from mailhost.dkim import keystore
from mailhost.dkim import run as dkim_run
from mailhost.dkim.life import STAGES, KeyRow
from mailhost.errors import OverviewError
from mailhost.page import fleet as page_fleet
from mailhost.page import html as page_html
from mailhost.page.form import PACKED_FROM, is_no_mail_host, packed, read
from mailhost.page.overview import NOTHING, overview

A, B = DOMAINS
NOW = datetime.now(timezone.utc).replace(microsecond=0)
DAYS = [NOW - timedelta(days=100 - number) for number in range(6)]


def told(machine, findings=()):
    return read(overview(machine.settings, list(findings), NOW.timestamp()))


def test_a_host_tells_its_keys_stamps_and_when_the_next_stage_is_due(machine):
    machine.write_manifest(
        A, KeyRow("one", "rsa", 2048, "MIIB", *DAYS[:4]), KeyRow("two", "rsa", 2048, "MIIC", *DAYS[:3])
    )
    first, second = told(machine).domains[A]
    assert (first.selector, first.bits, first.stage) == ("one", 2048, "retired")
    assert first.due == int((DAYS[3] + timedelta(days=14)).timestamp())
    assert [second.at(stage) for stage in STAGES] == [*(int(day.timestamp()) for day in DAYS[:3]), None, None, None]
    assert second.stage == "signing"
    assert second.due > second.at("signing")


def test_a_key_that_was_given_up_before_it_was_published_keeps_its_gap(machine):
    machine.write_manifest(A, KeyRow("one", "rsa", 2048, "MIIB", DAYS[0], None, None, DAYS[1]))
    (key,) = told(machine).domains[A]
    assert (key.stage, key.at("published"), key.at("retired")) == ("retired", None, int(DAYS[1].timestamp()))


@pytest.mark.parametrize(("days", "count"), [(10, 1), (89, 1), (91, 0)])
def test_a_key_that_is_long_gone_is_not_told_of(machine, days, count):
    stamps = [NOW - timedelta(days=days)] * 6
    machine.write_manifest(A, KeyRow("one", "rsa", 2048, "", *stamps))
    assert len(told(machine).domains[A]) == count


def test_keys_that_cannot_be_read_are_said_to_be_so(machine):
    machine.write_anew(f"opendkim/keys/{A}/keys.json", "{")
    found = told(machine)
    assert found.domains[A] == ()
    assert "not a manifest" in found.unread[A]
    assert B not in found.unread


def test_a_clock_that_was_never_set_leaves_no_domain_with_keys_that_seem_to_be_known(machine):
    machine.write_anew("opendkim/keys/clock.json", "{")
    assert set(told(machine).unread) == {A, B}


def test_only_what_is_not_ok_travels_but_all_is_counted(machine, monkeypatch):
    machine.says("systemctl is-active dovecot.service", "failed\n", status=3)
    found = told(machine, check(machine.settings, DOMAINS, ("running",), machine.host.command))
    assert [(one.id, one.status) for one in found.findings] == [("running.unit", "fail")]
    assert found.counts["ok"] > 5
    assert found.status == "fail"


def test_no_private_key_travels(machine):
    text = json.dumps(overview(machine.settings, [], NOW.timestamp()))
    secret = machine.pems[A].splitlines()[5]
    assert secret in keystore.private_path(machine.settings["os"]["opendkim"]["keys"], A, "one").read_text()
    assert secret not in text
    assert "PRIVATE" not in text


def test_ten_thousand_domains_fit_through_the_event_bus():
    many = answers(10_000, hosts=("mx1",), waiting_share=10)["mx1"]
    travels = packed(many)
    assert len(json.dumps(many)) > 2 * 2**20
    assert len(json.dumps(travels)) < 2**20
    assert read(travels) == read(many)


def test_a_small_overview_travels_as_people_can_read_it():
    small = answers(6)["mx1"]
    assert len(json.dumps(small)) < PACKED_FROM
    assert packed(small) is small


def test_the_call_looks_at_all_domains_of_the_host_and_goes_by_its_clock(machine, monkeypatch):
    looked_at = []
    monkeypatch.setattr("mailhost.check.areas.check", lambda settings, names: looked_at.append(names) or [])
    mailserver = module("mailserver")
    mailserver._own_pillar = lambda: {"domains": {name: {} for name in DOMAINS}}
    mailserver.settings = lambda pillar: machine.settings
    before = int(time.time())
    found = read(mailserver.overview())
    assert looked_at == [[*DOMAINS]]
    assert before <= found.time <= time.time()
    assert found.hostname == "mx1.a.example"
    assert [key.selector for key in found.domains[A]] == ["one"]


@pytest.mark.parametrize("pillar", [{}, {"dns": {"rfc2136": {}}}])
def test_a_minion_that_has_neither_domains_nor_the_states_says_that_it_is_no_mail_host(monkeypatch, tmp_path, pillar):
    mailserver = module("mailserver")
    mailserver._own_pillar = lambda: pillar
    monkeypatch.setattr(dkim_run, "APPLIED", str(tmp_path / "none"))
    assert mailserver.overview() == NOTHING
    assert is_no_mail_host(NOTHING)
    assert not is_no_mail_host(answers(1)["mx1"])


def damaged(**values):
    return {**answers(1)["mx1"], **values}


BOMB = base64.b64encode(lzma.compress(b" " * 1000)).decode()
DAMAGED = [
    (None, "no overview"),
    ("Traceback (most recent call last)", "no overview"),
    ({}, "no overview"),
    (damaged(format=2), "format 2"),
    (damaged(time="now"), "no whole number"),
    (damaged(time=-1), "out of range"),
    (damaged(time=10**15), "out of range"),
    (damaged(status="fine"), "none of"),
    (damaged(counts={}), "damaged"),
    (damaged(counts={"ok": True, "unknown": 0, "warn": 0, "fail": 0}), "no whole number"),
    (damaged(findings=[{"id": "x"}]), "damaged"),
    (damaged(findings=[["x"]]), "damaged"),
    (damaged(domains=[]), "damaged"),
    (damaged(domains={"a.example": [["one", 2048]]}), "damaged"),
    (damaged(domains={"a.example": [["one", 2048, None]]}), "stamps"),
    (damaged(domains={"a.example": [["one", 2048, None, None, 5]]}), "stamps"),
    (damaged(domains={"a.example": [["one", 2048, None, 1, 2, 3, 4, 5, 6, 7]]}), "stamps"),
    (damaged(domains={"a.example": [["one", 2048, None, "<b>"]]}), "no whole number"),
    (damaged(domains={5: []}), "not text"),
    (damaged(unread={"a.example": 5}), "not text"),
    ({"format": 1, "packed": "VALUE_TRIMMED"}, "damaged"),
    ({"format": 1, "packed": base64.b64encode(b"no archive").decode()}, "damaged"),
    ({"format": 1, "packed": BOMB[:-8]}, "damaged"),
    ({"format": 1, "packed": base64.b64encode(lzma.compress(b"[]")).decode()}, "damaged"),
]


@pytest.mark.parametrize(("answer", "says"), DAMAGED)
def test_what_is_damaged_or_made_up_is_refused_with_what_is_wrong(answer, says):
    with pytest.raises(OverviewError, match=says):
        read(answer)


def folded(text):
    return {"format": 1, "packed": base64.b64encode(lzma.compress(text, preset=0)).decode()}


NEST = []
for _ in range(990):
    NEST = [NEST]
HOSTILE = [
    (folded(b" " * 40 * 2**20), "more than 33554432 bytes"),
    (folded(b"[" * 10**5 + b"]" * 10**5), "nested too deep"),
    (folded(b"[" + b"[]," * 10**6 + b"[]]"), "more than 2000000 values"),
    (folded(b"9" * 10**5), "damaged"),
    (folded(b"NaN"), "damaged"),
    (folded(b"\xff\xfe"), "damaged"),
    ({"format": 1, "packed": 7}, "damaged"),
    ({"format": 1, "packed": [NEST]}, "damaged"),
    ({"format": NEST}, "has the format"),
    ([NEST], "no overview"),
    ("\x1b[2J\rall is right", r"no overview of a mail host: \\x1b\[2J\\rall is right"),
    (damaged(domains={f"{number}.example": [] for number in range(50_001)}), "50001 domains, at most 50000"),
    (damaged(findings=[{}] * 100_001), "100001 findings, at most 100000"),
    (damaged(domains={"a.example": [["s", 2048, None, 1]] * 200_001}), "200001 keys, at most 200000"),
    (damaged(domains={"a.example": 5}), "damaged"),
    (damaged(domains={"a.example": "rows"}), "damaged"),
    (damaged(domains={"a.example": [[NEST, 1, None, 1]]}), "is not text"),
    (damaged(findings=[{"x" * 10**6: "y"}]), "damaged"),
    (damaged(findings=NEST), "damaged"),
    (damaged(findings=[dict.fromkeys(map(str, range(10**5)), "x")]), "other parts"),
    (damaged(time=10**400), "out of range"),
    (damaged(time=1.5), "no whole number"),
    (damaged(status=["ok"]), "none of"),
]


@pytest.mark.parametrize(("answer", "says"), HOSTILE, ids=[says for _, says in HOSTILE])
def test_a_hostile_overview_costs_little_and_is_refused_in_a_few_words(answer, says):
    tracemalloc.start()
    try:
        with pytest.raises(OverviewError, match=says) as refused:
            read(answer)
        assert tracemalloc.get_traced_memory()[1] < 120 * 2**20
    finally:
        tracemalloc.stop()
    assert len(str(refused.value)) < 600
    assert str(refused.value).isprintable()


SCREEN = "all\x1b[2J is\r right\x9b1m\u202etxt\u200b\x08\x00\u2066\u2028<b>\nnext"


def test_nothing_that_a_host_says_moves_a_cursor_or_turns_letters_round():
    finding = vars(Finding(SCREEN, "fail", SCREEN, SCREEN, SCREEN, SCREEN))
    data = damaged(hostname=SCREEN, findings=[finding], unread={"a.example": SCREEN, SCREEN: SCREEN})
    data["domains"] = {**data["domains"], SCREEN: [[SCREEN, 2048, None, 1]]}
    found = read(data)
    texts = [found.hostname, *found.domains, *found.unread, *found.unread.values(), *vars(found.findings[0]).values()]
    whole = page_html.page(page_fleet.fleet({"mx1\x1b\u202e": data, "mx2": SCREEN}, {}, ["mx3\r"], 10**9))
    for text in (*texts, whole.replace(page_html.SCRIPT, "")):
        assert all(part.isprintable() for part in text.split("\n"))
    assert "all\\x1b[2J is\\r right\\x9b1m\\u202etxt\\u200b\\x08\\x00\\u2066\\u2028<b>" in found.findings[0].seen
    assert "<b>" not in whole


@pytest.mark.parametrize("text", ["x" * 10**6, "x" * 70 + "\n" + "y" * 10**6, "x\n" * 10**6])
def test_a_text_without_an_end_is_cut_and_that_is_seen(text):
    found = read(damaged(unread={"a.example": text})).unread["a.example"]
    assert len(found) == 4000
    assert found.endswith("…")


def test_an_overview_that_unfolds_to_more_than_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr("mailhost.page.form.LARGEST", 999)
    with pytest.raises(OverviewError, match="more than 999 bytes"):
        read({"format": 1, "packed": BOMB})


def test_text_that_no_file_would_take_is_mended():
    data = damaged(unread={"a.example": "half a pair: \ud83d"})
    assert read(json.loads(json.dumps(data))).unread == {"a.example": "half a pair: \\ud83d"}


def test_a_finding_travels_with_all_its_words():
    one = Finding("dns.spf", "fail", NAMES[0], "one", "two", "Do this.")
    data = answers(1)["mx1"]
    data["findings"] = [{**vars(one)}]
    assert read(json.loads(json.dumps(data))).findings == (one,)
