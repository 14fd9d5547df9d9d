"""The reflector's program on a host: the state copies what it imports, and removes what an earlier version left."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
SALT_CALL = Path(sys.executable).parent / "salt-call"
STATE = re.compile(r"^mailserver-reflector-modules:\n(?:  .*\n)+", re.MULTILINE)
LEFT = ("receiver/removed.py", "records/spf.py", "dns/__pycache__/message.cpython-310.pyc", "notes.txt")
"""What an earlier version had, or what came of running it."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files root's")


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """A minion, whose file server has pyc files, too; ``apply`` copies the modules and returns what Salt did."""
    home = tmp_path_factory.mktemp("reflector")
    shutil.copytree(TOP / "_utils", home / "roots/_utils", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("receiver", "dkim"):
        put(home / "roots/_utils/mailhost" / folder / "__pycache__/x.cpython-310.pyc")
    options = {"root_dir": str(home), "id": "mx1", "file_client": "local", "file_roots": {"base": [f"{home}/roots"]}}
    (home / "minion").write_text(json.dumps(options))
    text = STATE.search((TOP / "mailserver/reflector/config.sls").read_text())[0]
    (home / "roots/modules.sls").write_text(text.replace("{{ reflector.folder }}", f"{home}/program"))
    return home


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")


def apply(home):
    words = (SALT_CALL, "--local", "-c", home, "--out=json", "-l", "quiet", "state.apply", "modules")
    done = subprocess.run(words, capture_output=True, text=True, timeout=1200, check=False)
    (state,) = json.loads(done.stdout)["local"].values()
    assert state["result"], state["comment"]
    return state["changes"]


def test_the_program_runs_from_what_was_copied_and_nothing_else_stays(host):
    folder = host / "program/mailhost"
    for path in LEFT:
        put(folder / path)
    apply(host)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"reflector/main.py", "receiver/judge.py"} <= files
    assert [path for path in files if not path.endswith(".py")] == []
    assert files & set(LEFT) == set()
    assert not (folder / "records").exists()
    start = f'import sys; sys.path.insert(0, "{host}/program"); from mailhost.reflector.main import main'
    subprocess.run([sys.executable, "-I", "-B", "-c", start], check=True)
    assert apply(host) == {}
