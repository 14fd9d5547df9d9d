"""Small states under salt-call: mailserver.command runs a command once; python_fits names what Salt's Python lacks."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
SALT_CALL = Path(sys.executable).parent / "salt-call"
SLS = """
one:
  mailserver.command:
    - name: {name}
    - done: test -e {home}/made || test -e {home}/other
"""


@pytest.fixture(scope="module")
def minion(tmp_path_factory):
    """The folder of a minion that has the formula's modules."""
    home = tmp_path_factory.mktemp("command")
    roots = home / "roots"
    for name in ("_modules", "_states", "_utils"):
        shutil.copytree(TOP / name, roots / name, ignore=shutil.ignore_patterns("__pycache__"))
    options = {"root_dir": str(home), "id": "mx1", "file_client": "local", "file_roots": {"base": [str(roots)]}}
    (home / "minion").write_text(json.dumps(options))
    call(home, "saltutil.sync_all")
    return home


def call(home, *words):
    done = subprocess.run(
        [SALT_CALL, "--local", "-c", home, "--out=json", "-l", "quiet", *words],
        capture_output=True, text=True, timeout=1200, check=False, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    return json.loads(done.stdout)["local"]


@pytest.fixture
def apply(minion):
    """Apply a state with a command of the shell, and return what the state returned; nothing has been made yet."""
    (minion / "made").unlink(missing_ok=True)

    def apply(name, **options):
        (minion / "roots" / "one.sls").write_text(SLS.format(name=name, home=minion))
        (state,) = call(minion, "state.apply", "one", *(f"{key}={value}" for key, value in options.items())).values()
        return state

    return apply


def test_a_command_is_run_only_while_there_is_something_to_do(minion, apply):
    name = f"echo made it && touch {minion}/made"
    first, second = apply(name), apply(name)
    assert (first["result"], first["changes"]) == (True, {"ran": name, "stdout": "made it"})
    assert (second["result"], second["changes"]) == (True, {})


def test_a_dry_run_says_what_would_be_run_and_runs_nothing(minion, apply):
    name = f"touch {minion}/made"
    foreseen = apply(name, test=True)
    assert (foreseen["result"], foreseen["changes"]) == (None, {})
    assert name in foreseen["comment"]
    assert not (minion / "made").exists()
    apply(name)
    assert apply(name, test=True)["result"] is True


def test_a_command_that_fails_is_red_with_its_own_words(apply):
    state = apply("'echo some; echo no such thing >&2; exit 3'")
    assert (state["result"], state["changes"]) == (False, {})
    assert all(words in state["comment"] for words in ("(3)", "some", "no such thing"))


@pytest.mark.parametrize(
    ("needed", "said"),
    [
        ("dnspython", ""),
        ("cryptography>=38", ""),
        ("cryptography>=9999", r"cryptography is \d+\S* \(>=9999 is needed\)"),
        ("no-such-package>=2", r"no-such-package is not installed \(>=2 is needed\)"),
    ],
)
@pytest.mark.parametrize("test", [True, False])
def test_python_packages_that_are_too_old_for_the_formula_are_named(minion, needed, said, test):
    sls = f"one: {{mailserver.python_fits: [packages: [dkimpy, '{needed}']]}}\n"
    (minion / "roots" / "one.sls").write_text(sls)
    (state,) = call(minion, "state.apply", "one", f"test={test}").values()
    assert (state["result"], state["changes"]) == (not said, {})
    assert re.search(said, state["comment"])
    assert "dkimpy" not in state["comment"]
