"""The libraries that judge mail pass their own tests, as they are installed here, in the versions that are pinned."""

import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytestmark = pytest.mark.package_index

HERE, TOP = Path(__file__).parent, Path(__file__).resolve().parents[2]
PINNED = re.findall(r"^(\w+)==(\S+) --hash=sha256:(\w+)$", (HERE / "library_suites.txt").read_text(), re.MULTILINE)
VERSIONS = {name: version for name, version, _ in PINNED}
KEPT = TOP / "build/library-suites"
SUITES = {
    "pyspf": {"testspf": 1, "spf": 10, "test.yml": 16, "rfc4408-tests.yml": 140, "rfc7208-tests.yml": 203},
    "dkimpy": {"dkim.tests": 114},
    "publicsuffixlist": {"publicsuffixlist.test": 45},
}
"""How many tests of each part there are at least: a suite that is not found must not be taken for one that passed."""


def fetched(name, version):
    archive = KEPT / f"{name}-{version}.tar.gz"
    if not archive.exists():
        words = ("download", "-q", "--no-deps", f"--no-binary={name}", f"{name}=={version}", "-d", KEPT)
        subprocess.run([sys.executable, "-m", "pip", *words], check=True, timeout=1800)
    return archive


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """The unpacked sources of the pinned versions, as PyPI has them; fetched once."""
    folder = tmp_path_factory.mktemp("sources")
    with ThreadPoolExecutor() as threads:
        archives = list(threads.map(fetched, VERSIONS, VERSIONS.values()))
    for archive, (_, _, digest) in zip(archives, PINNED, strict=True):
        assert hashlib.sha256(archive.read_bytes()).hexdigest() == digest, f"{archive} is not what was tested before"
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    return {name: folder / f"{name}-{version}" for name, version, _ in PINNED}


@pytest.fixture(scope="module", params=SUITES)
def ran(request, sources):
    """What came of a library's own tests: ``ids``, ``bad`` (id to what was said), ``skipped``, and the file tested."""
    program = HERE / "library_suite_program.py"
    words = [sys.executable, program, request.param, sources[request.param]]
    done = subprocess.run(words, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stderr
    return {"library": request.param, **json.loads(done.stdout)}


def test_the_installed_library_passes_its_own_tests(ran):
    assert ran["bad"] == {}
    assert ran["skipped"] == []
    assert ran["ran"] == len(ran["ids"])


def test_all_parts_of_the_suite_were_run(ran):
    for part, least in SUITES[ran["library"]].items():
        # pyspf's cases are called "NAME in FILE", the others by their modules.
        found = [id for id in ran["ids"] if id.endswith(f" in {part}") or id.startswith(f"{part}.")]
        assert len(found) >= least, part


def test_what_was_tested_is_what_is_installed(ran):
    files = importlib.metadata.files(ran["library"])
    assert Path(ran["tested"]) in [Path(one.locate()) for one in files]
    assert importlib.metadata.version(ran["library"]) == VERSIONS[ran["library"]]
