"""The small demo ends well without any privilege, with real daemons or without, and leaves nothing behind."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

TOP = Path(__file__).resolve().parents[2]
SMALL = [sys.executable, "-B", TOP / "test/demo/small.py"]
UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
"""Root without any capability, as in a container that was given none."""

STORY = r"""
\[1/8, \d+ s\] A pillar
\[2/8, \d+ s\] Salt renders the formula
/etc/postfix/main\.cf
\[3/8, \d+ s\] The first highstate
alpha\.test: the key \d{8}-mx1 was generated\.
the record of the key \d{8}-mx1 is not in DNS, so mail is not signed with it yet
Seen: ns\.test \(127\.0\.0\.1\) shows no TXT at \d{8}-mx1\._domainkey\.alpha\.test
A message from alice@alpha\.test leaves the host unsigned\.
\[4/8, \d+ s\] Publishing
alpha\.test\. 3600 IN TXT "v=spf1 ip4:192\.0\.2\.25 -all"
\[5/8, \d+ s\] The next highstate
alpha\.test: the key \d{8}-mx1 is published: every authoritative server shows it so\.
alpha\.test: mail is now signed with \d{8}-mx1\.
5 of 5 as wanted in DNS
\[6/8, \d+ s\] A message from alice@alpha\.test
DKIM-Signature: v=1; a=rsa-sha256;
dkim=pass header\.d=alpha\.test
dmarc=pass
dkim=fail header\.d=alpha\.test
\[7/8, \d+ s\] A rotation
alpha\.test: the key \d{8}-mx1-2 was generated\.
Mail is still signed with \d{8}-mx1\.
\[8/8, \d+ s\] Its record is published
alpha\.test: mail is now signed with \d{8}-mx1-2\.
dkim=pass header\.d=alpha\.test
local: 2 keys of 1 domain
alpha\.test +\d{8}-mx1-2 +signing +\S+ \S+ +yes
alpha\.test +\d{8}-mx1 +retired +\S+ \S+ +no
Done in \d+ seconds; the temporary folder is gone\.
"""


def shape(output):
    """The lines of the demo's story, with marks in place of what each run has of its own: numbers, keys."""
    story = output[output.index("[1/8") : output.index("Done in")]
    return re.sub(r"\d+", "0", re.sub(r"[A-Za-z0-9+/=]{12,}", "X", story)).splitlines()


def processes_of(folder):
    """The command lines of all processes that name a folder."""
    lines = [" ".join(one.info["cmdline"] or ()) for one in psutil.process_iter(["cmdline"])]
    return [line for line in lines if str(folder) in line]


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ((), (r"OpenDKIM     2\.", r"name server  BIND 9\.")),
        (("--without=opendkim", "--without=named"), ("OpenDKIM     not here", "name server  BIND is not here")),
    ],
    ids=["real daemons", "nothing installed"],
)
def test_the_small_demo_tells_the_whole_story_without_privileges_and_leaves_nothing(tmp_path, options, parts):
    command = [*UNPRIVILEGED, *SMALL, *options]
    done = subprocess.run(
        command, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr
    assert re.search(".*".join([*parts, *STORY.strip().splitlines()]), done.stdout, re.DOTALL), done.stdout
    if not options:
        page = (TOP / "docs/demo.md").read_text()
        assert shape(page) == shape(done.stdout), "docs/demo.md shows what an earlier demo printed; put this there"
    assert max(map(len, done.stdout.splitlines())) <= 120
    assert not list(tmp_path.iterdir())
    assert not processes_of(tmp_path)


def test_a_small_demo_that_is_ended_leaves_nothing(tmp_path):
    demo = subprocess.Popen(SMALL, env={**os.environ, "TMPDIR": str(tmp_path)}, stdout=subprocess.PIPE, text=True)
    while not (line := demo.stdout.readline()).startswith("[4/8"):
        assert line, "the demo ended before its fourth part"
    assert processes_of(tmp_path)
    demo.terminate()
    demo.stdout.read()
    assert demo.wait(600) != 0
    assert not list(tmp_path.iterdir())
    assert not processes_of(tmp_path)


@pytest.fixture
def checkout(tmp_path):
    """A checkout that has script/demo, and in place of what it runs programs that tell how they were called."""
    for path in ("script/bootstrap", ".venv/bin/python", "test/lab/lab"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f'#!/bin/sh\necho "called: {path} $*"\n[ {path} != test/lab/lab ]\n')
        (tmp_path / path).chmod(0o755)
    shutil.copy(TOP / "script/demo", tmp_path / "script/demo")
    return tmp_path


def run(checkout, *words):
    done = subprocess.run(
        [*words[:-1], checkout / "script/demo", *words[-1].split()], capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_where_namespaces_cannot_be_made_the_small_demo_runs_and_says_why(checkout):
    shutil.copytree(TOP / "test/lab", checkout / "test/lab", dirs_exist_ok=True)
    said = run(checkout, *UNPRIVILEGED, "")
    assert "The full demo cannot run here:\n  - namespaces cannot be made (unshare --net): unshare: " in said
    assert "called: script/bootstrap demo\ncalled: .venv/bin/python -B test/demo/small.py\n" in said


def test_either_demo_can_be_asked_for(checkout):
    assert "called: .venv/bin/python -B test/demo/small.py --without named\n" in run(checkout, "small --without named")
    assert "called: test/lab/lab up\n" in run(checkout, *UNPRIVILEGED, "full")
    assert "script/demo [full | small]" in run(checkout, "large")
