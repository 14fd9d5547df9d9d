"""The trusted time: it grows by what was witnessed, and a clock that is wrong moves it by some days at most, in all."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailhost import clock as trusted_clock
from mailhost.clock import CREDIT, EARLIEST, TOLERANCE, Clock, Reading, advance, believe
from mailhost.dkim import clock as dkim_clock
from mailhost.errors import ClockError

DAY, YEAR = 86400, 365 * 86400
START = 1_795_542_000.0
FIRST = advance(None, Reading(START, "one", 1000.0))


@pytest.mark.parametrize(
    ("reading", "passed"),
    [
        (Reading(START + 3600, "one", 4600.0), 3600),
        (Reading(START + YEAR, "one", 4600.0), 3600),
        (Reading(START - YEAR, "one", 4600.0), 3600),
        (Reading(START + 3 * DAY, "two", 50.0), 3 * DAY),
        (Reading(START + 4 * DAY, "two", 50.0), 50),
        (Reading(START + YEAR, "two", 50.0), 50),
        (Reading(START - YEAR, "two", 50.0), 50),
        (Reading(START + 3610, "one", 4600.0), 3610),
        (Reading(START - 10, "one", 1000.0), 0),
    ],
)
def test_a_jump_of_the_clock_is_not_believed(reading, passed):
    assert advance(FIRST, reading).trusted - FIRST.trusted == passed


def test_a_container_that_boots_on_a_machine_that_is_up_for_a_year_has_witnessed_its_own_seconds_alone():
    again = advance(FIRST, Reading(START + 600, "two", YEAR + 600.0, running=60.0))
    assert (again.trusted, again.is_believed) == (START + 600, True)
    later = advance(again, Reading(START + 4200, "two", YEAR + 4200.0, running=3660.0))
    assert (later.trusted, later.is_believed) == (START + 4200, True)


def test_a_jump_is_told_and_ends_when_the_clock_is_set_right():
    jumped = advance(FIRST, Reading(START + YEAR, "one", 4600.0))
    assert not jumped.is_believed
    back = advance(jumped, Reading(START + 7200, "one", 8200.0))
    assert back.is_believed
    assert back.trusted == START + 7200


def test_an_operator_may_say_that_the_clock_is_right():
    jumped = advance(FIRST, Reading(START + YEAR, "one", 4600.0))
    assert believe(jumped).trusted == START + YEAR
    ahead = advance(advance(None, Reading(START + YEAR, "one", 1000.0)), Reading(START, "one", 1000.0))
    assert not ahead.is_believed
    assert believe(ahead).trusted == START
    assert believe(ahead).is_believed


def test_a_clock_that_was_never_set_is_refused():
    with pytest.raises(ClockError, match="never set"):
        advance(None, Reading(EARLIEST - 1, "one", 5.0))
    with pytest.raises(ClockError, match="never set"):
        believe(advance(FIRST, Reading(EARLIEST - 1, "one", 4600.0)))


class Host:
    """A host whose real time, reboots and clock a test has in hand; its runs go by the trusted time."""

    def __init__(self):
        self.real, self.boots, self.booted = START, 0, START - 1000
        self.witnessed = self.agreed_wrongly = 0.0
        self.clock = FIRST
        self.last = START

    @property
    def uptime(self):
        return self.real - self.booted

    def off(self, seconds):
        """The host is off for so long, and boots."""
        self.real += seconds
        self.boots, self.booted = self.boots + 1, self.real

    def run(self, error=0.0, later=0.0):
        """A run, some seconds later, with a clock that is wrong by ``error`` seconds."""
        self.real += later
        boot = f"boot {self.boots}" if self.boots else FIRST.boot
        before = self.clock
        self.clock = advance(before, Reading(self.real + error, boot, self.uptime))
        passed = self.uptime - before.uptime if boot == before.boot else self.uptime
        self.witnessed += passed
        if self.clock.is_believed and error > 0:
            self.agreed_wrongly += passed
        assert self.clock.trusted >= before.trusted
        assert self.clock.trusted >= FIRST.trusted + self.witnessed - 1

    @property
    def ahead(self):
        return self.clock.trusted - self.real


ERRORS = st.one_of(st.just(0.0), st.floats(-10 * DAY, 10 * DAY), st.floats(-2 * YEAR, 2 * YEAR))
LATER = st.one_of(st.just(0.0), st.floats(0, 7200), st.floats(0, 10 * DAY))
STEPS = st.lists(st.tuples(st.one_of(st.none(), LATER), LATER, ERRORS), max_size=30)


@settings(max_examples=400, deadline=None)
@given(STEPS)
def test_whatever_the_clock_says_the_trusted_time_is_ahead_by_no_more_than_the_credit_and_what_proved_it(steps):
    host = Host()
    for off, later, error in steps:
        if off is not None:
            host.off(off)
        host.run(error, later)
        assert host.ahead <= CREDIT + host.agreed_wrongly + 1


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.floats(0, CREDIT / 8), st.lists(ERRORS, max_size=3)), max_size=8))
def test_a_clock_that_is_wrong_after_boots_and_set_right_then_does_no_harm_for_good(boots):
    """Each boot's first runs have a wrong clock, which is right a day later: neither is time gained nor lost by it."""
    host = Host()
    for off, errors in boots:
        host.off(off)
        for error in errors:
            host.run(error, 600)
            assert host.ahead <= CREDIT + host.agreed_wrongly + 1
        for _ in range(24):
            host.run(0, 1800)
    for _ in range(24 * 5):
        host.run(0, 3600)
    assert abs(host.ahead) <= TOLERANCE
    assert host.clock.is_believed


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 8 * 3600), st.floats(3600, 7200)), min_size=30, max_size=60))
def test_a_host_that_reboots_each_day_with_a_right_clock_keeps_up(days):
    host = Host()
    for off, lost in days:
        # The last run before it goes down is some time ago, and so is the first one after the boot.
        for _ in range(15):
            host.run(0, 3600)
        host.off(lost + off)
        host.run(0, 60)
        assert abs(host.ahead) <= 1
        assert host.clock.is_believed


def test_a_clock_that_was_behind_and_is_right_after_a_reboot_puts_nothing_ahead():
    host = Host()
    host.run(-3 * DAY, 3600)
    assert abs(host.ahead) <= 1
    host.off(300)
    host.run(0, 60)
    assert abs(host.ahead) <= 1


@pytest.mark.parametrize("step", [2 * DAY, 2.9 * DAY, 6.7 * DAY])
def test_a_bad_clock_at_each_of_three_boots_adds_up_to_no_more_than_the_credit(step):
    host = Host()
    for number in (1, 2, 3):
        host.off(300)
        host.run(number * step, 60)
    assert host.ahead <= CREDIT


def test_credit_that_was_wrong_is_taken_back_while_the_time_stands_still_and_goes_back_never():
    host = Host()
    host.off(300)
    host.run(2 * DAY, 60)
    assert host.ahead == pytest.approx(2 * DAY, abs=400)
    for hour in range(1, 49):
        host.run(0, 3600)
        assert host.ahead == pytest.approx(max(2 * DAY - hour * 3600, 0), abs=400)
    assert host.clock.is_believed


def test_a_clock_without_a_battery_that_is_set_right_some_minutes_after_the_boot_is_followed():
    host = Host()
    host.off(2 * DAY)
    host.run(-2 * DAY, 60)
    host.run(0, 600)
    assert abs(host.ahead) <= 1


def test_a_jump_that_was_witnessed_to_be_none_is_not_believed_however_small():
    host = Host()
    host.run(2 * DAY, 3600)
    assert abs(host.ahead) <= 1


@pytest.mark.parametrize("error", [-YEAR, YEAR, -10 * DAY])
def test_a_clock_that_no_credit_explains_moves_nothing(error):
    host = Host()
    host.off(2 * DAY)
    host.run(0, 60)
    for _ in range(48):
        host.run(error, 3600)
        assert abs(host.ahead) <= 1


def test_a_clock_of_an_earlier_version_is_read_and_what_it_gained_is_taken_back():
    text = json.dumps({"trusted": START + 2 * DAY, "wall": START, "boot": "one", "uptime": 1000.0})
    clock = trusted_clock.parse(text, "clock.json")
    for hour in range(1, 49):
        clock = advance(clock, Reading(START + hour * 3600, "one", 1000.0 + hour * 3600))
    assert clock.trusted == START + 2 * DAY
    assert clock.is_believed


def test_a_clock_reads_back_as_it_was_written():
    assert trusted_clock.parse(trusted_clock.emit(FIRST), "clock.json") == FIRST


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        '{"trusted": 1}',
        "null",
        '{"trusted":NaN,"wall":1,"boot":"a","uptime":1}',
        '{"trusted":"x","wall":1,"boot":"a","uptime":1}',
    ],
)
def test_a_damaged_clock_is_named(text):
    with pytest.raises(ClockError, match=r"clock\.json: damaged"):
        trusted_clock.parse(text, "clock.json")


def test_a_clock_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / dkim_clock.CLOCK).write_bytes(b"\xff\xfe")
    with pytest.raises(ClockError, match=r"clock\.json: cannot be read"):
        dkim_clock.believe_clock(tmp_path)


def test_the_hosts_clocks_can_be_read():
    reading = trusted_clock.read()
    assert reading.wall > EARLIEST
    assert reading.boot
    assert Clock(reading.wall, reading.wall, reading.boot, reading.uptime).is_believed


def test_the_first_process_has_run_for_no_longer_than_the_machine():
    reading = trusted_clock.read()
    assert 0 < reading.running <= reading.uptime


@pytest.mark.parametrize("text", ["", "1 (init) S 0", "1 (in) it) S " + "0 " * 18 + "soon"])
def test_where_process_1_cannot_be_seen_it_began_just_now(text, tmp_path, monkeypatch):
    monkeypatch.setattr(trusted_clock, "FIRST_PROCESS", tmp_path / "stat")
    assert trusted_clock.read().running == 0
    (tmp_path / "stat").write_text(text)
    assert trusted_clock.read().running == 0
