"""The trusted time: it grows by what was witnessed, and a clock that jumps moves it by a day at most."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import mailserver_clock
import mailserver_run
from mailserver_clock import CREDIT, EARLIEST, TOLERANCE, Clock, Reading, advance, believe
from mailserver_errors import ClockError

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
        (Reading(START + YEAR, "two", 50.0), CREDIT),
        (Reading(START - YEAR, "two", 50.0), 0),
        (Reading(START + 3610, "one", 4600.0), 3610),
        (Reading(START - 10, "one", 1000.0), 0),
    ],
)
def test_a_jump_of_the_clock_is_not_believed(reading, passed):
    assert advance(FIRST, reading).trusted - FIRST.trusted == passed


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


@given(
    st.lists(
        st.tuples(st.floats(-5 * YEAR, 5 * YEAR), st.sampled_from("abc"), st.floats(0, 30 * DAY)),
        max_size=20,
    )
)
def test_the_trusted_time_never_goes_back_and_gains_no_year_in_a_run(readings):
    clock = FIRST
    for offset, boot, uptime in readings:
        after = advance(clock, Reading(START + offset, boot, uptime))
        assert after.trusted >= clock.trusted
        longest = 30 * DAY if boot == clock.boot else 7 * DAY
        assert after.trusted - clock.trusted <= longest + TOLERANCE
        clock = after


def test_a_clock_reads_back_as_it_was_written():
    assert mailserver_clock.parse(mailserver_clock.emit(FIRST), "clock.json") == FIRST


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"trusted": 1}', "null", '{"trusted":"x","wall":1,"boot":"a","uptime":1}']
)
def test_a_damaged_clock_is_named(text):
    with pytest.raises(ClockError, match=r"clock\.json: damaged"):
        mailserver_clock.parse(text, "clock.json")


def test_a_clock_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / mailserver_run.CLOCK).write_bytes(b"\xff\xfe")
    with pytest.raises(ClockError, match=r"clock\.json: cannot be read"):
        mailserver_run.believe_clock(tmp_path)


def test_the_hosts_clocks_can_be_read():
    reading = mailserver_clock.read()
    assert reading.wall > EARLIEST
    assert reading.boot
    assert Clock(reading.wall, reading.wall, reading.boot, reading.uptime).is_believed
