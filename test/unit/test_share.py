"""The rotating share of tests that are long by nature: some runs in a row meet every case."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

TESTS = """
import pytest

@pytest.mark.rotating(of=3)
@pytest.mark.parametrize("case", range(7))
def test_cases(case): pass

@pytest.mark.rotating(of=2, by=("port",))
@pytest.mark.parametrize("host", "ab")
@pytest.mark.parametrize("port", (25, 110, 143, 587))
def test_port(host, port): pass

@pytest.mark.rotating(of=2, by=("port",))
@pytest.mark.parametrize("port", (25, 110, 143, 587))
def test_the_same_port(port): pass

def test_always(share):
    assert share(5) == EXPECTED
"""


@pytest.fixture
def selected(tmp_path):
    """A function that runs the tests above with a seed, or without one, and returns the ids of those that passed."""

    def run(seed):
        expected = "(0, 1)" if seed is None else f"({seed % 5}, 5)"
        (tmp_path / "test_shared.py").write_text(TESTS.replace("EXPECTED", expected))
        words = ["-q", "-rA", "-p", "share", "-p", "no:cacheprovider", *([] if seed is None else [f"--share={seed}"])]
        plugins = str(Path(__file__).resolve().parents[1])
        environment = {**os.environ, "PYTHONPATH": plugins, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        command = [sys.executable, "-m", "pytest", "-c", os.devnull, f"--rootdir={tmp_path}", *words, tmp_path]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return re.findall(r"^PASSED \S*::(\S+)", done.stdout, re.MULTILINE)

    return run


def test_some_shares_in_a_row_meet_every_case_once(selected):
    everything = selected(None)
    assert len(everything) == 7 + 8 + 4 + 1
    of_three = Counter(name for seed in (4, 5, 6) for name in selected(seed))
    assert {name for name in everything if name.startswith("test_cases")} <= set(of_three)
    assert {number for name, number in of_three.items() if name.startswith("test_cases")} == {1}
    of_two = Counter(name for seed in (7, 8) for name in selected(seed))
    assert {number for name, number in of_two.items() if "port" in name} == {1}
    assert of_two["test_always"] == 2
    assert set(everything) == set(of_three) | set(of_two)


def test_tests_of_one_file_take_the_same_values(selected):
    share = selected(1)
    assert {name[-4:-1].strip("-[") for name in share if name.startswith("test_the_same_port")} == {
        name.partition("[")[2].partition("-")[0] for name in share if name.startswith("test_port")
    }
