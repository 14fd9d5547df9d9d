"""A disk that is full when a rotation writes: what signed goes on, errors name the file, the next run completes it."""

import contextlib
import itertools
import os
import shutil
from pathlib import Path

import pytest

from lifecycle_world import NAMES, at, check_keys, check_mail, settings, tmpfs
from mailhost.dkim import clock as dkim_clock
from mailhost.errors import WriteError

ALPHA, BETA = NAMES
ROTATES = 136 * 24
FIRST, SECOND = "20261124-mx1", f"{at(ROTATES):%Y%m%d}-mx1"
SIGNERS = dict.fromkeys(NAMES, (FIRST, SECOND))
FULL = "No space left on device"


@pytest.fixture
def etc(etc):
    """The folder of the keys and tables, as a small file system of its own."""
    with tmpfs(etc, size="256k", nr_inodes=100):
        yield etc


def leave_pages(folder, count):
    found = os.statvfs(folder)
    (folder / "filler").write_bytes(bytes(found.f_frsize * (found.f_bfree - count)))


def leave_inodes(folder, count):
    (folder / "filler").mkdir()
    for number in range(os.statvfs(folder).f_ffree - count):
        (folder / "filler" / str(number)).touch()


def empty(folder):
    filler = folder / "filler"
    shutil.rmtree(filler) if filler.is_dir() else filler.unlink()


def may_rotate(world, kept):
    """Bring a world to where one run does a whole rotation for both domains, and return what is on disk after one."""
    world.whole_run(0)
    world.publish()
    world.whole_run(0)
    world.keep(kept)
    world.whole_run(ROTATES)
    world.publish(ROTATES)
    world.go_back_to(kept)
    world.whole_run(ROTATES)
    assert [world.stages(name) for name in NAMES] == [[(FIRST, "retired"), (SECOND, "signing")]] * 2
    return world.everything()


def errors_of(world, **more):
    """What is told of a run that goes wrong: by its report or, where it cannot begin, by the error that ends it."""
    try:
        return world.whole_run(ROTATES, **more).errors
    except WriteError as err:
        told = str(err)
    assert f"{dkim_clock.CLOCK}: " in told
    return [told]


def check_errors(world, errors):
    """Each error says which file could not be written, and why; that of a domain names it, and no domain has two."""
    for error in errors:
        assert FULL in error
        assert str(world.etc) in error
    for name in NAMES:
        own = [error for error in errors if f"/{name}/" in error]
        assert len(own) <= 1
        assert all(error.startswith(f"{name}: ") for error in own)


def check_undamaged(world):
    """All that signed goes on, also in an OpenDKIM that starts now; each file is there as a whole, or not at all."""
    check_mail(world, SIGNERS)
    world.restart()
    check_mail(world, SIGNERS)
    check_keys(world)
    found = {path: state for path, state in world.everything().items() if not path.startswith("filler")}
    assert [path for path, (*_, text) in found.items() if text == b""] == ["keys/.lock"]
    assert not [path for path in found if path.endswith(".unfinished")]


def check_completed(world, wanted):
    assert not world.whole_run(ROTATES).errors
    assert world.everything() == wanted
    assert [world.verified(name) for name in NAMES] == [SECOND, SECOND]


@pytest.mark.parametrize("leave", [leave_pages, leave_inodes])
def test_a_disk_that_is_full_at_any_write_of_a_rotation_damages_nothing_and_the_next_run_completes_it(
    foreseen, tmp_path, leave
):
    wanted, told = may_rotate(foreseen, tmp_path / "before"), []
    for free in itertools.count():
        foreseen.go_back_to(tmp_path / "before")
        leave(foreseen.etc, free)
        errors = errors_of(foreseen)
        print(free, *errors, sep="\n    ")
        check_errors(foreseen, errors)
        check_undamaged(foreseen)
        empty(foreseen.etc)
        check_completed(foreseen, wanted)
        if not errors:
            break
        told += errors
    keys = (f"{SECOND}.private", f"{SECOND}.txt", "keys.json", "clock.json")
    for file in (*keys, f"{foreseen.etc}/KeyTable", f"{foreseen.etc}/.KeyTable.worked"):
        assert any(f"{file}: " in error for error in told), f"no error of {file}"


@contextlib.contextmanager
def own_disk(world, kept):
    """Have the folder of beta.test as a small file system of its own, with what was kept of it."""
    folder = Path(world.paths.keys) / BETA
    with tmpfs(folder, size="64k"):
        shutil.copytree(kept / "keys" / BETA, folder, dirs_exist_ok=True)
        yield folder


def test_a_domain_that_cannot_be_written_keeps_no_other_from_its_rotation(foreseen, tmp_path):
    wanted, told = may_rotate(foreseen, tmp_path / "before"), []
    for free in itertools.count():
        foreseen.go_back_to(tmp_path / "before")
        with own_disk(foreseen, tmp_path / "before") as disk:
            leave_pages(disk, free)
            report = foreseen.whole_run(ROTATES)
            check_errors(foreseen, report.errors)
            assert all(error.startswith(f"{BETA}: ") for error in report.errors)
            assert (BETA in report.changes) == (not report.errors), "what could not be written was not done"
            assert foreseen.verified(ALPHA) == SECOND
            assert foreseen.stages(ALPHA) == [(FIRST, "retired"), (SECOND, "signing")]
            check_undamaged(foreseen)
            empty(disk)
            check_completed(foreseen, wanted)
        if not report.errors:
            break
        told += report.errors
    for file in (f"{SECOND}.private", f"{SECOND}.txt", "keys.json"):
        assert any(f"/{BETA}/{file}: " in error for error in told), f"no error of {file}"


def fills_up(world, disk):
    """A reload of OpenDKIM in the course of which a disk fills up."""

    def reload():
        leave_pages(disk, 0)
        world.milter.reload()

    return reload


def test_tables_that_cannot_be_finished_are_told_and_finished_by_the_next_run(foreseen, tmp_path):
    wanted = may_rotate(foreseen, tmp_path / "before")
    foreseen.go_back_to(tmp_path / "before")
    (error,) = errors_of(foreseen, reload=fills_up(foreseen, foreseen.etc))
    assert error.startswith(f"{foreseen.etc}/KeyTable: could not be written: {FULL}")
    assert "the change is active" in error
    assert [foreseen.verified(name) for name in NAMES] == [SECOND, SECOND]
    check_undamaged(foreseen)
    empty(foreseen.etc)
    check_completed(foreseen, wanted)


def test_a_stamp_that_cannot_be_written_is_told_and_made_by_the_next_run(foreseen, tmp_path):
    wanted = may_rotate(foreseen, tmp_path / "before")
    foreseen.go_back_to(tmp_path / "before")
    with own_disk(foreseen, tmp_path / "before") as disk:
        (error,) = errors_of(foreseen, reload=fills_up(foreseen, disk))
        assert error.startswith(f"{BETA}: {SECOND} signs, but this could not be recorded: {disk}/keys.json: ")
        assert FULL in error
        assert foreseen.stages(ALPHA) == [(FIRST, "retired"), (SECOND, "signing")]
        assert foreseen.stages(BETA) == [(FIRST, "signing"), (SECOND, "published")]
        check_undamaged(foreseen)
        empty(disk)
        check_completed(foreseen, wanted)


def test_a_private_key_that_cannot_be_destroyed_is_an_error_in_each_run_and_of_its_domain_alone(foreseen, tmp_path):
    may_rotate(foreseen, tmp_path / "before")
    foreseen.settings = settings()
    path, revoked = Path(foreseen.paths.keys) / BETA / f"{FIRST}.private", ROTATES + 15 * 24
    foreseen.publish(revoked)
    path.unlink()
    path.mkdir()
    first, second = foreseen.whole_run(revoked).errors, foreseen.whole_run(revoked).errors
    assert "not a regular file" in first[0]
    assert len(first) == 2, "before it is to be destroyed, it is to be there"
    assert len(second) == 1
    for error in (*first, *second):
        assert error.startswith(f"{BETA}: ")
        assert str(path) in error
    assert [foreseen.stages(name)[0] for name in NAMES] == [(FIRST, "revoked")] * 2
    assert not (Path(foreseen.paths.keys) / ALPHA / f"{FIRST}.private").exists()
    path.rmdir()
    assert not foreseen.whole_run(revoked).errors
