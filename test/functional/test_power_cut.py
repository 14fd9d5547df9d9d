"""A run that is killed before any one of its steps: mail stays signed, and the next run ends as if nothing had been."""

import io
import itertools
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from lifecycle_world import NAMES, Child, at, check_keys, check_mail, settings, tmpfs
from mailhost.opendkim import tables as opendkim_tables
from opendkim_daemon import Key

ALPHA, BETA = NAMES
DAYS = 24
ROTATES = 136 * DAYS
HAND_MADE, FIRST, SECOND = "20210808", "20261124-mx1", f"{at(ROTATES):%Y%m%d}-mx1"
READING = ("os.listdir", "os.scandir", "glob.glob", "pathlib.Path.glob", "pathlib.Path.rglob")
OF_DESCRIPTORS = ("os.chmod", "os.chown", "os.truncate", "os.fsync", "write")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@pytest.fixture
def etc(etc):
    """The folder of the keys and tables, in memory: some thousand times fsync would take long on a disk."""
    with tmpfs(etc):
        yield etc


def step_of(world, event, arguments):
    """Return in words what an audit event does to the host; ``None``: nothing."""
    if event == "os.kill":
        return "reload" if arguments[0] == world.milter.process.pid else None
    if event == "socket.connect":
        return "probe" if f"local:{arguments[1]}" == world.milter.socket else None
    paths = [path for path in _paths(event, arguments) if path.startswith(str(world.etc))]
    if not paths or _changes_nothing(event, arguments, paths[0]):
        return None
    return " ".join([event, *(os.path.relpath(path, world.etc) for path in paths)])


def _paths(event, arguments):
    if event in OF_DESCRIPTORS and isinstance(arguments[0], int):
        arguments = (_path_of(arguments[0]),)
    if event == "os.rename":
        arguments = _absolute(arguments[0], arguments[2]), _absolute(arguments[1], arguments[3])
    if event in ("os.remove", "os.mkdir", "os.rmdir"):
        arguments = (_absolute(arguments[0], arguments[-1]),)
    return [os.fsdecode(one) for one in arguments if isinstance(one, (str, bytes, os.PathLike))]


def _path_of(descriptor):
    return os.readlink(f"/proc/self/fd/{descriptor}")


def _absolute(path, folder):
    """Return a path that was given relative to a folder's descriptor, as Python audits it (-1: there is none)."""
    return os.path.join(_path_of(folder), os.fsdecode(path)) if folder >= 0 else path


def _changes_nothing(event, arguments, path):
    if event == "open":
        return not arguments[2] & WRITES
    return event in READING or os.path.exists(path) == {"os.mkdir": True, "os.remove": False}.get(event)


def die_before(number, world, told):
    """Have this process killed before its step ``number``; it writes the steps before that one to ``told``."""
    passed, fsync, open_file = itertools.count(), os.fsync, os.open

    def watch(event, arguments):
        step = step_of(world, event, arguments)
        if step is None:
            return
        if next(passed) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(told, f"{step}\n".encode())

    def audited_fsync(descriptor):
        sys.audit("os.fsync", descriptor)
        fsync(descriptor)

    def audited_open(path, flags, mode=0o777, *, dir_fd=None):
        if dir_fd is not None:
            sys.audit("open", _absolute(path, dir_fd), "", flags)
        return open_file(path, flags, mode, dir_fd=dir_fd)

    def audit_writes(_frame, event, called):
        if event == "c_call" and called.__name__ == "write" and isinstance(called.__self__, io.IOBase):
            sys.audit("write", called.__self__.name)

    # Python itself audits neither of the two, and of a file in an open folder not where it is.
    os.fsync, os.open = audited_fsync, audited_open
    sys.setprofile(audit_writes)
    sys.addaudithook(watch)


def run_in_child(world, number, hours, **more):
    """Do a whole run in a process that is killed before its step ``number``; return its steps, and if it was killed."""

    def run(told):
        die_before(number, world, told)
        assert not world.whole_run(hours, **more).errors

    told, code = Child(run).end()
    assert code in (0, -signal.SIGKILL), told
    return told.splitlines(), code != 0


def cut_everywhere(world, signers, hours, kept, **more):
    """Cut a run before its first step, its second, and so on; return the steps of the one that was not cut.

    :param signers: ``{domain: (selector that signs before, selector that signs after)}``.
    """
    if not kept.exists():
        world.keep(kept)
    run_in_child(world, None, hours, **more)
    wanted = world.everything()
    assert {name: world.verified(name) for name in signers} == {name: after for name, (_, after) in signers.items()}
    seen = []
    for number in itertools.count():
        world.go_back_to(kept)
        steps, killed = run_in_child(world, number, hours, **more)
        print(f"{number}: after", *steps[-1:])
        check_mail(world, signers)
        left = what_is_left(world)
        if killed and left in seen:
            continue
        seen.append(left)
        world.restart()
        check_mail(world, signers)
        check_keys(world)
        assert not world.whole_run(hours, **more).errors
        assert world.everything() == wanted
        assert {name: world.verified(name) for name in signers} == {name: after for name, (_, after) in signers.items()}
        if not killed:
            check_order(steps)
            return steps


def what_is_left(world):
    """All that is on disk, unfinished files by the names that they were to get; fsync, say, changes nothing of it."""
    return {re.sub(r"[^.]+\.unfinished$", "unfinished", path): state for path, state in world.everything().items()}


def check_order(steps):
    """A file's text is on the disk before its name is, and its name, or that it is gone, before the next step."""
    for before, step, after in zip(steps, steps[1:], [*steps[2:], ""], strict=False):
        what, *paths = step.split()
        if what == "os.rename":
            assert before == f"os.fsync {paths[0]}", f"{step}: it may be empty after a power cut"
        if what == "os.rename" or (what == "os.remove" and step.endswith(".private")):
            assert after == f"os.fsync {os.path.dirname(paths[-1]) or '.'}", f"{step}: a power cut may undo it later"


def hand_made(world, name):
    """Have OpenDKIM sign for a domain with a key and tables that were made by hand; return the text of its record."""
    folder = Path(world.paths.keys) / name
    folder.mkdir(parents=True)
    path = folder / f"{HAND_MADE}.private"
    path.touch(0o600)
    key = Key()
    path.write_bytes(key.pem)
    world.paths.tables.key_table.write_text(f"mine {name}:{HAND_MADE}:{path}\n")
    world.paths.tables.signing_table.write_text(f"*@{name} mine\n")
    world.paths.tables.domains_table.unlink()
    opendkim_tables.ensure_tables(world.paths.tables)
    world.restart()
    return key.record


def may_rotate(world, kept):
    """Bring a world to where one run does a whole rotation for both domains; keep it so.

    The key of alpha.test has served its time, and DNS shows the successor that the run will make. That of beta.test was
    made by hand and signs, although nothing here has seen it in DNS yet, where its successor is as well.
    """
    hand_made(world, BETA)
    world.whole_run(0)
    world.publish(beta="")
    world.whole_run(0)
    world.whole_run(0, also=[BETA], force=True)
    assert [world.stages(name) for name in NAMES] == [
        [(FIRST, "signing")],
        [(HAND_MADE, "generated"), (FIRST, "generated")],
    ]
    world.keep(kept)
    world.whole_run(ROTATES)
    world.publish(ROTATES)
    world.go_back_to(kept)


def rotated(world, kept):
    """Bring a world to where both domains have a retired key."""
    may_rotate(world, kept)
    world.whole_run(ROTATES)
    assert [world.stages(name) for name in NAMES] == [
        [(FIRST, "retired"), (SECOND, "signing")],
        [(HAND_MADE, "retired"), (FIRST, "signing")],
    ]
    world.settings = settings(bits=1024)


def test_a_power_cut_anywhere_in_a_rotation_leaves_mail_signed_and_the_next_run_completes_it(foreseen, tmp_path):
    may_rotate(foreseen, tmp_path / "before")
    steps = cut_everywhere(foreseen, {ALPHA: (FIRST, SECOND), BETA: (HAND_MADE, FIRST)}, ROTATES, tmp_path / "before")
    done = "\n".join(steps)
    for what in (f"keys/{ALPHA}/{SECOND}.private", f"keys/{ALPHA}/keys.json", "KeyTable", ".KeyTable.worked", "reload"):
        assert re.search(f"{re.escape(what)}$", done, re.MULTILINE), f"{what} was never written, so never cut"
    assert foreseen.manifest(BETA).key(HAND_MADE).signing, "it signed, so its record stays for the retention"


def test_a_power_cut_anywhere_while_a_private_key_is_destroyed_leaves_none_of_a_revoked_key(foreseen, tmp_path):
    rotated(foreseen, tmp_path / "rotates")
    revoked = ROTATES + 15 * DAYS
    foreseen.publish(revoked)
    steps = cut_everywhere(foreseen, {ALPHA: (SECOND, SECOND), BETA: (FIRST, FIRST)}, revoked, tmp_path / "before")
    assert f"os.remove keys/{ALPHA}/{FIRST}.private" in steps
    assert [foreseen.stages(name)[0] for name in NAMES] == [(FIRST, "revoked"), (HAND_MADE, "revoked")]


def test_a_power_cut_anywhere_while_keys_are_removed_loses_no_row(foreseen, tmp_path):
    rotated(foreseen, tmp_path / "rotates")
    revoked, removed = ROTATES + 15 * DAYS, ROTATES + 46 * DAYS
    foreseen.publish(revoked)
    foreseen.whole_run(revoked)
    foreseen.publish(removed)
    cut_everywhere(foreseen, {ALPHA: (SECOND, SECOND), BETA: (FIRST, FIRST)}, removed, tmp_path / "before")
    assert [foreseen.stages(name)[0] for name in NAMES] == [(FIRST, "removed"), (HAND_MADE, "removed")]


def test_a_power_cut_anywhere_while_a_hand_made_domain_goes_and_another_gets_its_first_key_leaves_nothing_behind(
    foreseen, tmp_path
):
    record = hand_made(foreseen, ALPHA)
    before, beta = foreseen.keep(tmp_path / "first"), {BETA: foreseen.domains[BETA]}
    foreseen.whole_run(0, beta)
    foreseen.publish(alpha=f'{HAND_MADE}._domainkey TXT "{record[:250]}" "{record[250:]}"')
    foreseen.go_back_to(before)
    cut_everywhere(foreseen, {ALPHA: (HAND_MADE, None), BETA: (None, FIRST)}, 0, tmp_path / "before", domains=beta)
