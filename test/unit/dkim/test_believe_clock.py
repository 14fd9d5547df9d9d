"""An operator says that the clock is right: whatever it was before, no retention is cut short, or lasts a year."""

import grp
import os
import pwd
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailhost import clock as trusted_clock
from mailhost import files as safe_files
from mailhost.clock import EARLIEST, Reading, utc
from mailhost.dkim import clock as dkim_clock
from mailhost.dkim import keystore, life
from mailhost.dkim import manifest as dkim_manifest
from mailhost.dkim import run as dkim_run
from mailhost.dkim.life import KeyRow, Manifest
from mailhost.dkim.run import SigningPaths
from mailhost.errors import ClockError, ManifestError
from mailhost.opendkim.tables import tables

HOUR, DAY, YEAR = 3600, 86400, 365 * 86400
START = EARLIEST + 5 * YEAR
RETENTION, SOAK = 14 * DAY, HOUR
POLICY = {"retention": RETENTION, "soak": SOAK}
OWNER = keystore.Owner(pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name)
FOR_GOOD = safe_files.replace_file


class KilledHere(BaseException):
    """The call was killed."""


class Host:
    """A host with a domain, whose clock is wrong by ``error`` seconds; it knows how long each wait really was."""

    def __init__(self, keys, error=0):
        self.keys, self.error, self.passed = keys, error, 0
        self.began = {}
        (keys / "a.example").mkdir()
        now = self.now()
        self.write(Manifest("a.example", (KeyRow("0", "rsa", 2048, "MIIB", now, now, now),)))

    @contextmanager
    def clocks(self):
        reading = Reading(START + self.passed + self.error, "boot", float(self.passed))
        with mock.patch.object(trusted_clock, "read", return_value=reading):
            yield

    def now(self):
        """The time that a run goes by."""
        with self.clocks():
            paths = SigningPaths(str(self.keys), tables(self.keys / "KeyTable", self.keys / "SigningTable"), OWNER)
            return dkim_run.begin(paths, {}, {}).now

    def believe(self, kill_at=None):
        """Believe the clock; the call is killed before its write number ``kill_at``."""
        writes = iter(range(10))

        def write(*arguments):
            if next(writes) == kill_at:
                raise KilledHere
            FOR_GOOD(*arguments)

        with self.clocks(), mock.patch.object(safe_files, "replace_file", write):
            return dkim_clock.believe_clock(self.keys)

    def manifest(self):
        return keystore.read_manifest(self.keys, "a.example")

    def write(self, manifest):
        keystore.write_manifest(self.keys, manifest)

    def step(self):
        """What runs do in turn: a key is published, or it signs and its predecessor is retired, or is revoked."""
        manifest, now = self.manifest(), self.now()
        present, waits = life.signer(manifest), life.successor(manifest)
        if waits is None:
            selector = str(len(manifest.keys))
            self.began[selector, "published"] = self.passed
            self.write(manifest.with_key(KeyRow(selector, "rsa", 2048, "MIIB", now, now)))
        elif now >= life.signs_from(waits, SOAK):
            try:
                changed = manifest.with_key(life.stamp(waits, "signing", now))
                self.write(changed.with_key(life.stamp(present, "retired", now)))
            except ClockError:
                return
            self.began[present.selector, "retired"] = self.passed

    def waits_that_are_over(self):
        """Yield how long each wait really was that is over by the stamps, and how long it had to be."""
        now = self.now()
        for key in self.manifest().keys:
            if key.stage == "retired" and not life.keeps_record(key, POLICY, now, now):
                yield self.passed - self.began[key.selector, "retired"], RETENTION
            if key.stage == "published" and now >= life.signs_from(key, SOAK):
                yield self.passed - self.began[key.selector, "published"], SOAK


@pytest.fixture
def keys(tmp_path):
    return tmp_path


def rotated(keys, error):
    """A host whose clock is wrong from the beginning, and whose first key is retired."""
    host = Host(keys, error)
    host.step()
    host.passed += HOUR
    host.step()
    assert [key.stage for key in host.manifest().keys] == ["retired", "signing"]
    return host


def test_a_trusted_time_that_is_a_year_ahead_comes_back(keys):
    host = rotated(keys, YEAR)
    host.error = 0
    assert host.now() == utc(START + YEAR + HOUR)
    assert host.believe() == host.now() == utc(START + HOUR)
    assert {key.since for key in host.manifest().keys} == {host.now()}
    host.passed += RETENTION - 1
    assert "until" in life.keeps_record(host.manifest().keys[0], POLICY, host.now(), host.now())
    host.passed += 1
    assert life.keeps_record(host.manifest().keys[0], POLICY, host.now(), host.now()) == ""


def test_time_that_nobody_witnessed_ends_no_retention(keys):
    host = rotated(keys, -YEAR)
    host.error = 0
    host.believe()
    (key, _) = host.manifest().keys
    assert key.retired == host.now() == utc(START + HOUR)
    assert key.generated == utc(START - YEAR), "what is over stays as it was stamped"


def test_a_wrong_belief_and_its_correction_end_no_retention(keys):
    host = rotated(keys, 0)
    for error in (-YEAR, 0, YEAR, 0):
        host.error = error
        host.believe()
        assert list(host.waits_that_are_over()) == []
    assert host.now() == utc(START + HOUR)


def test_a_clock_that_agrees_moves_no_stamp(keys):
    host = rotated(keys, 0)
    host.passed += 3 * DAY
    before = host.manifest()
    host.believe()
    assert host.manifest() == before


@pytest.mark.parametrize("kill_at", [0, 1])
@pytest.mark.parametrize("error", [YEAR, -YEAR])
def test_a_call_that_was_cut_short_ends_no_retention_and_is_completed_by_the_next(keys, error, kill_at):
    host = rotated(keys, error)
    host.error = 0
    with pytest.raises(KilledHere):
        host.believe(kill_at)
    assert list(host.waits_that_are_over()) == []
    host.believe()
    assert host.manifest().keys[0].retired == host.now() == utc(START + HOUR)


ERRORS = st.sampled_from((0, 30 * DAY, -30 * DAY, YEAR, -YEAR, YEAR + 30 * DAY))
EVENTS = st.one_of(
    st.tuples(st.just("passes"), st.sampled_from((HOUR, DAY, 13 * DAY, 15 * DAY))),
    st.tuples(st.just("is set"), ERRORS),
    st.tuples(st.just("step"), st.none()),
    st.tuples(st.just("believe"), st.sampled_from((None, None, 0, 1, 2))),
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(ERRORS, st.lists(EVENTS, max_size=25))
def test_no_wait_is_cut_short_whatever_is_believed_and_wherever_it_is_killed(error, events):
    with tempfile.TemporaryDirectory() as folder:
        host = Host(Path(folder), error)
        for event, value in events:
            if event == "passes":
                host.passed += value
            elif event == "is set":
                host.error = value
            elif event == "step":
                host.step()
            else:
                with suppress(KilledHere):
                    host.believe(value)
            for really, at_least in host.waits_that_are_over():
                assert really >= at_least
        host.error = 0
        host.believe()
        host.passed += RETENTION
        assert not any(
            life.keeps_record(key, POLICY, host.now(), host.now())
            for key in host.manifest().keys
            if key.stage == "retired"
        ), "no stamp of a wrong time holds a record for longer than a retention"


def test_a_damaged_manifest_is_named_before_anything_is_changed(keys):
    host = rotated(keys, YEAR)
    for name in ("b.example", "c.example"):
        (keys / name).mkdir()
        (keys / name / keystore.MANIFEST).write_text("{")
    host.error = 0
    before = {path: path.read_bytes() for path in keys.rglob("*.json")}
    with pytest.raises(
        ManifestError, match=r"b\.example/keys\.json(.|\n)*c\.example/keys\.json(.|\n)*nothing was chang"
    ):
        host.believe()
    assert {path: path.read_bytes() for path in keys.rglob("*.json")} == before


def test_a_stamp_of_the_future_is_told_with_its_cure():
    key = KeyRow("one", "rsa", 2048, "MIIB", utc(START + YEAR))
    with pytest.raises(ClockError, match=r"if it is right, run: salt-call dkim\.believe_clock"):
        life.stamp(key, "published", utc(START))


def test_stamps_that_are_pulled_back_keep_their_order():
    times = [utc(START + hours * HOUR) for hours in range(6)]
    key = KeyRow("one", "rsa", 2048, "MIIB", *times)
    for hours in range(-1, 7):
        now = utc(START + hours * HOUR)
        (pulled,) = life.not_after(Manifest("a.example", (key,)), now).keys
        assert dkim_manifest.parse(dkim_manifest.emit(Manifest("a.example", (pulled,))), "a.example", "x").keys == (
            pulled,
        )
        assert [getattr(pulled, name) for name in life.STAGES] == [min(time, now) for time in times]
        assert replace(pulled, **dict(zip(life.STAGES, times, strict=True))) == key
