"""The package that Salt's package manager builds from FORMULA holds the formula, and installs where Salt looks."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def spm(tmp_path_factory):
    """A call of spm whose every folder lies in a temporary one."""
    home = tmp_path_factory.mktemp("spm")
    (home / "spm").write_text(
        f"root_dir: {home}\nspm_logfile: {home}/log\n"
        f"spm_cache_dir: {home}/cache\nspm_build_dir: {home}/built\nspm_db: {home}/cache/packages.db\n"
        f"formula_path: {home}/formulas\npillar_path: {home}/pillar\nreactor_path: {home}/reactor\n"
    )
    (home / "minion").write_text(f"root_dir: {home}\nfile_client: local\n")

    def call(*words):
        command = [Path(sys.executable).parent / "spm", "-c", home, "-y", *words]
        done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    call.home = home
    call("build", ".")
    return call


@pytest.fixture(scope="module")
def package(spm):
    (built,) = (spm.home / "built").glob("mailserver-*.spm")
    return built


def test_package_holds_the_formula_and_nothing_of_its_tests(package):
    with tarfile.open(package) as tar:
        names = set(tar.getnames())
    assert {
        "mailserver/FORMULA",
        "mailserver/pillar.example",
        "mailserver/mailserver/init.sls",
        "mailserver/_output/dkim_keys.py",
        "mailserver/_output/mailserver.py",
        "mailserver/_runners/mailserver.py",
        "mailserver/_utils/mailhost/pillar/keys.py",
    } <= names
    assert not [name for name in names if name.startswith(("mailserver/test", "mailserver/.venv", "mailserver/.git"))]


def test_package_tells_what_it_is(spm, package):
    said = spm("local", "info", str(package))
    assert "Name: mailserver\n" in said
    assert "Supported OS families: RedHat, Debian\n" in said


def test_installed_package_lies_where_a_file_root_needs_it(spm, package):
    spm("local", "install", str(package))
    modules = ("_modules/mailserver.py", "_runners/mailserver.py", "_utils/mailhost/pillar/keys.py")
    for path in ("mailserver/init.sls", *modules):
        assert (spm.home / "formulas" / path).is_file()
    assert (spm.home / "pillar" / "mailserver.sls.orig").is_file()
