"""What changed between runs: told once to each channel, in time, and never because a server did not answer."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailhost.check.findings import Finding
from mailhost.errors import WatchError
from mailhost.watch.changes import LONG, LONG_RUNS, LONGEST, MOST_ABOUT, advance, changes, delivered, grouped, kept
from mailhost.watch.memory import GONE, Memory, emit, parse

HOUR = 3600
LOCAL, DNS = "running.unit", "dns.spf.published"
LETTERS = {"o": "ok", "u": "unknown", "w": "warn", "f": "fail", ".": None}
SHORT = {"ok": "o", "unknown": "u", "warn": "w", "fail": "f", GONE: "-"}


def finding(status, id=LOCAL, about="dovecot.service", seen="inactive"):
    return Finding(id, status, about, "active", seen, "" if status == "ok" else "systemctl restart dovecot")


class Watched:
    """Runs of a watch, one an hour; it remembers what it would from its file."""

    def __init__(self, channels=("mail",)):
        self.rows, self.now, self.channels = None, 1_700_000_000, channels

    def run(self, *findings, later=HOUR, reaches=("mail", "event")):
        """Return what each channel was told: ``{channel: [change]}``."""
        self.rows = advance(self.rows, findings, self.now)
        told = {}
        for channel in self.channels:
            told[channel] = changes(self.rows, channel)
            if channel in reaches:
                self.rows = delivered(self.rows, channel)
        self.rows = parse(emit(Memory(kept(self.rows, self.channels))), "there").rows
        self.now += later
        return told


def told(letters, id=LOCAL):
    """What a run after the other tells of one thing: ``>`` and the new status, ``-`` for gone, or a blank."""
    watched, said = Watched(), ""
    for letter in letters:
        status = LETTERS[letter]
        found = watched.run(*([finding(status, id)] if status else []))["mail"]
        said += SHORT[found[0].status] if found else " "
    return said


A_DAY = 24
SEQUENCES = [
    ("first run, all is well", LOCAL, "ooo", "   "),
    ("first run, something is not", LOCAL, "fff", "f  "),
    ("a failure, and its end", LOCAL, "offoo", " f o "),
    ("a warning that becomes a failure, and back", LOCAL, "owfwo", " wfwo"),
    ("unknown for a while changes nothing", LOCAL, "ouuo", "    "),
    ("nor does it hide or repeat a failure", LOCAL, "fuufuf", "f     "),
    ("mended while nobody could see it", LOCAL, "fuuo", "f  o"),
    ("failed while nobody could see it", LOCAL, "ouuf", "   f"),
    ("unknown for a day is told once", LOCAL, "o" + "u" * (A_DAY + 3), " " * (A_DAY + 1) + "u  "),
    ("and its end is", LOCAL, "o" + "u" * (A_DAY + 1) + "oo", " " * (A_DAY + 1) + "uo "),
    ("an hour of sight begins the day anew", LOCAL, "o" + "u" * (A_DAY - 1) + "o" + "u" * A_DAY, " " * 49),
    ("what failed and cannot be seen for a day", LOCAL, "f" + "u" * A_DAY + "uf", "f" + " " * A_DAY + "uf"),
    ("unknown from the first", LOCAL, "uuo", "   "),
    ("a domain that goes from the pillar", LOCAL, "ff....", "f   - "),
    ("what was right goes without a word", LOCAL, "oo....", "      "),
    ("a port that is shut for two runs", LOCAL, "w..w", "w   "),
    ("gone, and back", LOCAL, "f...f", "f  -f"),
    ("a warning about DNS is seen twice first", DNS, "owwo", "  wo"),
    ("a secondary that lags behind is not told", DNS, "owoowo", "      "),
    ("unknown in between does not begin anew", DNS, "owuw", "   w"),
    ("a failure in DNS is told at once", DNS, "ofo", " fo"),
    ("a failure that becomes a warning", DNS, "fwo", "fwo"),
    ("a warning in DNS in the first run", DNS, "wwo", "w o"),
    ("a domain that is new, and not published yet", DNS, "..wwo", "   wo"),
]


@pytest.mark.parametrize(("letters", "id", "said"), [(row[2], row[1], row[3]) for row in SEQUENCES],
                         ids=[row[0] for row in SEQUENCES])  # fmt: skip
def test_what_a_row_of_runs_tells(letters, id, said):
    assert told(letters, id) == said


KNOWN = st.text("owf", min_size=1, max_size=12)
ANY = st.text("owfu.", min_size=1, max_size=30)


@settings(deadline=None)
@given(ANY, st.sampled_from((LOCAL, DNS)))
def test_nothing_is_told_twice_without_a_change_between(letters, id):
    calm = {"-": "o"}
    state = "o"
    for said in told(letters, id).replace(" ", ""):
        assert calm.get(said, said) != state
        state = calm.get(said, said)


@settings(deadline=None)
@given(ANY, st.sampled_from("owfu."), st.sampled_from((LOCAL, DNS)))
def test_what_lasts_is_told(letters, lasting, id):
    said = told(letters + lasting * (A_DAY + LONG_RUNS), id).replace(" ", "")
    assert {"-": "o"}.get(said[-1:] or "o", said[-1:] or "o") == {".": "o"}.get(lasting, lasting)


@settings(deadline=None)
@given(KNOWN, st.data())
def test_a_server_that_does_not_answer_for_a_while_changes_nothing_of_what_is_told(letters, data):
    bursts = [data.draw(st.sampled_from(("", "u", "uu"))) for _ in letters]
    seen_through = "".join(letter + burst for letter, burst in zip(letters, bursts, strict=True))
    assert told(seen_through).replace(" ", "") == told(letters).replace(" ", "")


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("owf"), st.booleans()), min_size=1, max_size=12))
def test_what_did_not_reach_a_channel_is_told_it_later_if_it_still_holds(runs):
    watched, known = Watched(("mail", "event")), {"mail": "ok", "event": "ok"}
    for letter, arrives in [*runs, (runs[-1][0], True)]:
        status = LETTERS[letter]
        reaches = ("mail", "event") if arrives else ("mail",)
        for channel, found in watched.run(finding(status), reaches=reaches).items():
            assert [(one.was, one.status) for one in found] == (
                [] if known[channel] == status else [(known[channel], status)]
            )
            known[channel] = status if channel in reaches else known[channel]
    assert set(known.values()) == {LETTERS[runs[-1][0]]}


def test_a_channel_that_is_new_is_told_all_that_is_not_right():
    watched = Watched(("event",))
    watched.run(finding("fail"))
    watched.channels = ("event", "mail")
    assert [one.status for one in watched.run(finding("fail"))["mail"]] == ["fail"]


def test_a_few_runs_in_a_row_by_hand_are_not_a_long_time():
    watched = Watched()
    watched.run(finding("ok"))
    for _ in range(LONG_RUNS + 3):
        assert not watched.run(finding("unknown"), later=60)["mail"]


def test_two_runs_a_week_are_not_enough_to_say_that_something_is_unknown_for_long():
    watched = Watched()
    watched.run(finding("ok"))
    told = [bool(watched.run(finding("unknown"), later=4 * LONG)["mail"]) for _ in range(LONG_RUNS)]
    assert told == [False] * (LONG_RUNS - 1) + [True]


def test_an_area_that_broke_changes_nothing_of_what_it_would_have_looked_at():
    watched, broken = Watched(), finding("unknown", "running.check", "running")
    watched.run(finding("fail"))
    for _ in range(5):
        assert not watched.run(broken)["mail"]
    assert not watched.run(finding("fail"))["mail"]
    assert [one.status for one in watched.run(finding("ok"))["mail"]] == ["ok"]


def test_an_area_that_is_broken_for_a_day_is_told_once_and_so_is_its_end():
    watched, broken = Watched(), finding("unknown", "dns.check", "dns")
    watched.run()
    said = [one.status for _ in range(A_DAY + 5) for one in watched.run(broken)["mail"]]
    assert said == ["unknown"]
    assert [(one.id, one.status) for one in watched.run()["mail"]] == [("dns.check", "ok")]


def test_what_is_right_together_with_others_is_mended():
    watched, others = Watched(), finding("ok", about="5 units")
    watched.run(finding("fail"), others)
    assert not watched.run(others, finding("unknown", about="systemctl"))["mail"]
    (one,) = watched.run(finding("ok", about="6 units"))["mail"]
    assert (one.about, one.was, one.status) == ("dovecot.service", "fail", "ok")


def test_a_domain_is_not_mended_because_others_are_right():
    watched = Watched()
    watched.run(finding("fail", DNS, "a.example"), finding("ok", DNS, "b.example"))
    told = [watched.run(finding("ok", DNS, "b.example"))["mail"] for _ in range(LONG_RUNS)]
    assert [[one.status for one in of_run] for of_run in told] == [[], [], [GONE]]


def test_a_certificate_is_the_same_when_one_of_its_ports_is_shut():
    watched, id = Watched(), "tls.certificate.expiry"
    assert watched.run(finding("warn", id, "mx1.example port 25, 587, 993"))["mail"]
    for ports in ("25, 587", "25", "25, 587, 993"):
        assert not watched.run(finding("warn", id, f"mx1.example port {ports}"))["mail"]


def test_of_several_findings_about_the_same_thing_the_worst_counts():
    watched = Watched()
    (one,) = watched.run(finding("warn", seen="slow"), finding("fail", seen="dead"), finding("ok"))["mail"]
    assert (one.status, one.last["seen"]) == ("fail", "dead")


def test_only_what_is_not_right_is_remembered():
    watched = Watched()
    watched.run(*(finding("ok", DNS, f"d{number}.example") for number in range(10000)))
    assert watched.rows == {}
    watched.run(finding("fail"))
    watched.run(finding("ok"))
    assert watched.rows == {}


def test_many_alike_changes_are_told_as_one():
    names = [f"d{number:03}.example" for number in range(300)]
    watched = Watched()
    watched.run()
    found = watched.run(*(finding("fail", DNS, name, "x" * 9999) for name in names), finding("warn"))["mail"]
    first, second = grouped(found)
    assert (first["change"], first["id"], first["was"], first["status"], first["count"]) == (
        "worse", DNS, "ok", "fail", 300,
    )  # fmt: skip
    assert first["about"] == names[:MOST_ABOUT]
    assert len(first["seen"]) <= LONGEST
    assert (second["id"], second["status"], second["count"]) == (LOCAL, "warn", 1)


def test_changes_are_told_the_worst_first_and_what_is_mended_last():
    watched = Watched()
    before = {"a.x": "warn", "b.x": "ok", "c.x": "fail", "d.x": "fail", "e.x": "ok"}
    after = {"a.x": "fail", "b.x": "warn", "c.x": "ok", "d.x": "warn", "e.x": "fail"}
    watched.run(*(finding(status, id) for id, status in before.items()))
    found = grouped(watched.run(*(finding(status, id) for id, status in after.items()))["mail"])
    assert [(one["change"], one["id"]) for one in found] == [
        ("worse", "a.x"), ("worse", "e.x"), ("worse", "b.x"), ("better", "d.x"), ("mended", "c.x"),
    ]  # fmt: skip


WHOLE = emit(Memory(kept(advance(None, [finding("fail")], 7), ("mail",)), "/there.prom"))


def test_a_memory_is_read_as_it_was_written():
    memory = parse(WHOLE, "there")
    assert memory.textfile == "/there.prom"
    assert emit(memory) == WHOLE


DAMAGED = {
    "cut short": WHOLE[: len(WHOLE) // 2],
    "empty": "",
    "a list": "[]",
    "no row": WHOLE.replace('"last"', '"lost"'),
    "no status": WHOLE.replace('"fail"', '"fial"'),
    "no number": WHOLE.replace('"blind": 0', '"blind": "0"'),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_memory_is_said_to_be_so(text):
    with pytest.raises(WatchError, match="there: damaged"):
        parse(text, "there")


def test_a_memory_of_another_version_is_said_to_be_so():
    with pytest.raises(WatchError, match="another version of the formula wrote it"):
        parse(WHOLE.replace('"format": 1', '"format": 2'), "there")
