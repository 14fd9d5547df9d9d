"""The real parsers: Debian releases with the daemons, which are shown files and asked what they say of them."""

import contextlib
import hashlib
import io
import json
import os
import subprocess
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from kept import CACHE, RELEASES, LabError, cached, drop_outdated, minimal_system, remove

ARCHIVE = "http://archive.debian.org/debian"
"""Where a release goes that Debian no longer looks after."""

PACKAGES = (
    "postfix",
    "postfix-lmdb",
    "postfix-pcre",
    "dovecot-imapd",
    "dovecot-pop3d",
    "dovecot-lmtpd",
    "dovecot-sieve",
    "dovecot-managesieved",
    "opendkim",
    "firewalld",
)
ASK = """\
set -e
top=$1 scratch=$2
shift 2
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/host"
tar -x -C "$scratch/upper"
mount -t overlay overlay -o "lowerdir=$top,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/host"
mount --bind /proc "$scratch/host/proc"
mount --bind /dev "$scratch/host/dev"
for command; do
  status=0
  chroot "$scratch/host" sh -c "$command" </dev/null 2>&1 || status=$?
  printf '\\0%s\\0' "$status"
done
"""
"""Run in a mount namespace of its own, which takes all of it away at its end."""


@dataclass(frozen=True)
class Question:
    """Commands to run, one after the other, on a host of ``release`` that has ``files``, pairs of a path and a text."""

    release: str
    files: tuple
    commands: tuple


class Parsers:
    """Answer questions, several at once, and each of them once.

    What a parser takes without complaint is remembered for a week, by the packages of its release, the files and the
    commands. What it refuses is asked again: that may have been this machine's fault.
    """

    def __init__(self):
        self._pool = ThreadPoolExecutor(2 * os.cpu_count())
        self._tops = {release: self._pool.submit(_top, release) for release in RELEASES}
        self._answers = {}
        drop_outdated("answer-*.json")

    def ask(self, question):
        """Return the future answer: a list with the exit status and the output of each command, as a pair."""
        if question not in self._answers:
            self._answers[question] = self._pool.submit(self._answer, question)
        return self._answers[question]

    def close(self):
        self._pool.shutdown(cancel_futures=True)

    def _answer(self, question):
        top = self._tops[question.release].result()
        packages = (top / "var/lib/dpkg/status").read_text()
        key = hashlib.sha256(repr((packages, ASK, question)).encode()).hexdigest()
        remembered = CACHE / f"answer-{key}.json"
        with contextlib.suppress(FileNotFoundError):
            return [tuple(pair) for pair in json.loads(remembered.read_text())]
        answer = _run(top, question)
        if not any(status for status, _ in answer):
            fresh = remembered.with_suffix(f".{os.getpid()}")
            fresh.write_text(json.dumps(answer))
            fresh.replace(remembered)
        return answer


def _run(top, question):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for path, text in question.files:
            content = text.encode()
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), 0o644
            tar.addfile(entry, io.BytesIO(content))
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            ("unshare", "-m", "sh", "-c", ASK, "sh", top, scratch, *question.commands),
            input=archive.getvalue(),
            capture_output=True,
            check=False,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"},
        )
    *said, rest = done.stdout.decode(errors="replace").split("\0")
    if done.returncode or rest or len(said) != 2 * len(question.commands):
        raise LabError(f"the files could not be shown to the parsers of {question.release}: {done.stderr.decode()}")
    return [(int(status), text) for text, status in zip(said[::2], said[1::2], strict=True)]


def _top(release):
    """Return the file system with the parsers of a release; make it if there is none."""

    def make(target):
        words = (RELEASES[release], ",".join(PACKAGES), target)
        try:
            minimal_system(*words)
        except LabError:
            remove(target)
            minimal_system(*words, ARCHIVE)

    return cached(f"parsers-{release}", str(PACKAGES), make)
