"""A run that is killed before any one of its steps: mail stays signed, and the next run ends as if nothing had been."""

import io
import itertools
import os
import re
import signal
import sys
import traceback
from pathlib import Path

import pytest

import mailserver_dkim
import mailserver_keystore
import mailserver_opendkim
from lifecycle_world import NAMES, at, settings, tmpfs
from mailserver_opendkim import Signer
from opendkim_daemon import Key

ALPHA, BETA = NAMES
DAYS = 24
ROTATES = 136 * DAYS
HAND_MADE, FIRST, SECOND = "20210808", "20261124-mx1", f"{at(ROTATES):%Y%m%d}-mx1"
READING = ("os.listdir", "os.scandir", "glob.glob", "pathlib.Path.glob", "pathlib.Path.rglob", "tempfile.mkstemp")
OF_DESCRIPTORS = ("os.chmod", "os.chown", "os.truncate", "os.fsync", "write")
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


@pytest.fixture
def etc(etc):
    """The folder of the keys and tables, in memory: some thousand times fsync would take long on a disk."""
    with tmpfs(etc):
        yield etc


@pytest.fixture
def world(world, monkeypatch):
    """A world in which a key is known before it is made, so that DNS can show it to the very run that makes it."""
    world.settings = settings(soak=0, bits=1024, rotate_after="90d")
    world.milter.socket = f"local:{world.milter.folder}/socket"
    world.restart()
    (pem,) = mailserver_keystore.generate([1024])
    monkeypatch.setattr(mailserver_keystore, "generate", lambda wanted: [pem] * len(wanted))
    return world


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
        arguments = (os.readlink(f"/proc/self/fd/{arguments[0]}"),)
    return [os.fsdecode(one) for one in arguments if isinstance(one, (str, bytes, os.PathLike))]


def _changes_nothing(event, arguments, path):
    if event == "open":
        return not arguments[2] & WRITES
    return event in READING or os.path.exists(path) == {"os.mkdir": True, "os.remove": False}.get(event)


def die_before(number, world, told):
    """Have this process killed before its step ``number``; it writes the steps before that one to ``told``."""
    passed, fsync = itertools.count(), os.fsync

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

    def audit_writes(_frame, event, called):
        if event == "c_call" and called.__name__ == "write" and isinstance(called.__self__, io.IOBase):
            sys.audit("write", called.__self__.name)

    # Python itself audits neither of the two.
    os.fsync = audited_fsync
    sys.setprofile(audit_writes)
    sys.addaudithook(watch)


def run_in_child(world, number, hours, **more):
    """Do a whole run in a process that is killed before its step ``number``; return its steps, and if it was killed."""
    reading, told = os.pipe()
    child = os.fork()
    if not child:
        try:
            die_before(number, world, told)
            errors = world.whole_run(hours, **more).errors
            os.write(told, "\n".join(errors).encode())
            os._exit(len(errors))
        except BaseException:
            os.write(told, traceback.format_exc().encode())
        finally:
            os._exit(99)
    os.close(told)
    with os.fdopen(reading) as file:
        steps = file.read().splitlines()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL), "\n".join(steps)
    return steps, code != 0


def cut_everywhere(world, signers, hours, kept, **more):
    """Cut a run before its first step, its second, and so on; return the steps of the one that was not cut.

    :param signers: ``{domain: (selector that signs before, selector that signs after)}``.
    """
    if not kept.exists():
        world.keep(kept)
    run_in_child(world, None, hours, **more)
    wanted = world.everything()
    assert {name: world.verified(name) for name in signers} == {name: after for name, (_, after) in signers.items()}
    for number in itertools.count():
        world.go_back_to(kept)
        steps, killed = run_in_child(world, number, hours, **more)
        print(f"{number}: after", *steps[-1:])
        check_mail(world, signers)
        world.restart()
        check_mail(world, signers)
        check_keys(world)
        assert not world.whole_run(hours, **more).errors
        assert world.everything() == wanted
        assert {name: world.verified(name) for name in signers} == {name: after for name, (_, after) in signers.items()}
        if not killed:
            check_order(steps)
            return steps


def check_order(steps):
    """A file's text is on the disk before its name is, and its name, or that it is gone, before the next step."""
    for before, step, after in zip(steps, steps[1:], [*steps[2:], ""], strict=False):
        what, *paths = step.split()
        if what == "os.rename":
            assert before == f"os.fsync {paths[0]}", f"{step}: it may be empty after a power cut"
        if what == "os.rename" or (what == "os.remove" and step.endswith(".private")):
            assert after == f"os.fsync {os.path.dirname(paths[-1]) or '.'}", f"{step}: a power cut may undo it later"


def check_mail(world, signers):
    """Each domain's mail is signed by one of its two signers, which verifies and was not said to be retired."""
    for name, possible in signers.items():
        selector = world.verified(name)
        assert selector in possible
        assert selector is None or not world.manifest(name).key(selector).retired


def check_keys(world):
    """Each key that is not revoked has its file, and no file that holds a private key can be read by others."""
    keys = Path(world.place.keys)
    for name in mailserver_keystore.domains_on_disk(keys):
        for key in mailserver_dkim.live(mailserver_keystore.read_manifest(keys, name)):
            mailserver_keystore.check_private(keys, name, key)
    secrets = [state for state in world.everything().values() if state[3] and b"PRIVATE KEY" in state[3]]
    assert {mode for mode, *_ in secrets} <= {"-rw-------"}


def hand_made(world, name):
    """Have OpenDKIM sign for a domain as the hand-written procedure has it, with a key that nothing here made."""
    folder = Path(world.place.keys) / name
    folder.mkdir(parents=True)
    path = folder / f"{HAND_MADE}.private"
    path.touch(0o600)
    path.write_bytes(Key().pem)
    tables, signers = world.place.tables, {name: Signer(HAND_MADE, str(path))}
    for table, text in mailserver_opendkim._texts(tables, signers, signers).items():
        table.write_text(text)
    world.restart()


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


def test_a_power_cut_anywhere_in_a_rotation_leaves_mail_signed_and_the_next_run_completes_it(world, tmp_path):
    may_rotate(world, tmp_path / "before")
    steps = cut_everywhere(world, {ALPHA: (FIRST, SECOND), BETA: (HAND_MADE, FIRST)}, ROTATES, tmp_path / "before")
    done = "\n".join(steps)
    for what in (f"keys/{ALPHA}/{SECOND}.private", f"keys/{ALPHA}/keys.json", "KeyTable", ".KeyTable.worked", "reload"):
        assert re.search(f"{re.escape(what)}$", done, re.MULTILINE), f"{what} was never written, so never cut"
    assert world.manifest(BETA).key(HAND_MADE).signing, "it signed, so its record stays for the retention"


def test_a_power_cut_anywhere_while_a_private_key_is_destroyed_leaves_none_of_a_revoked_key(world, tmp_path):
    rotated(world, tmp_path / "rotates")
    revoked = ROTATES + 15 * DAYS
    world.publish(revoked)
    steps = cut_everywhere(world, {ALPHA: (SECOND, SECOND), BETA: (FIRST, FIRST)}, revoked, tmp_path / "before")
    assert f"os.remove keys/{ALPHA}/{FIRST}.private" in steps
    assert [world.stages(name)[0] for name in NAMES] == [(FIRST, "revoked"), (HAND_MADE, "revoked")]


def test_a_power_cut_anywhere_while_keys_are_removed_loses_no_row(world, tmp_path):
    rotated(world, tmp_path / "rotates")
    revoked, removed = ROTATES + 15 * DAYS, ROTATES + 46 * DAYS
    world.publish(revoked)
    world.whole_run(revoked)
    world.publish(removed)
    cut_everywhere(world, {ALPHA: (SECOND, SECOND), BETA: (FIRST, FIRST)}, removed, tmp_path / "before")
    assert [world.stages(name)[0] for name in NAMES] == [(FIRST, "removed"), (HAND_MADE, "removed")]


def test_a_power_cut_anywhere_while_one_domain_goes_and_another_gets_its_first_key_leaves_nothing_behind(
    world, tmp_path
):
    alpha, beta = ({name: world.domains[name]} for name in NAMES)
    world.whole_run(0, alpha)
    world.publish()
    world.whole_run(0, alpha)
    before = world.keep(tmp_path / "first")
    world.whole_run(1, beta)
    world.publish(1)
    world.go_back_to(before)
    cut_everywhere(world, {ALPHA: (FIRST, None), BETA: (None, FIRST)}, 1, tmp_path / "before", domains=beta)
