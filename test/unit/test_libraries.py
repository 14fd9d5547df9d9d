"""What hosts install, what the tests run with, and what the libraries' own tests were run on are one and the same."""

import re
from pathlib import Path

import yaml
from packaging.requirements import Requirement

TOP = Path(__file__).resolve().parents[2]


def listed(section):
    """The requirements of a section of pyproject.toml, by name."""
    text = re.search(rf"^{section} = \[\n(.*?)^\]", (TOP / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)[1]
    found = [Requirement(one) for one in re.findall(r'"([^"]+)"', text)]
    return {one.name: one.specifier for one in found}


def of_hosts():
    parameters = yaml.safe_load((TOP / "mailserver/parameters/defaults.yaml").read_text())
    packages = parameters["python"]["packages"] + parameters["reflector"]["python_packages"]
    return {one.name: one.specifier for one in map(Requirement, packages)}


def pinned():
    text = (TOP / "test/functional/library_suites.txt").read_text()
    return dict(re.findall(r"^(\w+)==(\S+) ", text, re.MULTILINE))


def test_hosts_get_what_the_modules_are_written_for():
    of_dkimpy = {"pynacl"}
    given = {name: specifier for name, specifier in of_hosts().items() if name not in of_dkimpy}
    assert given.items() <= listed("dependencies").items()


def test_the_versions_whose_own_tests_pass_are_those_that_are_tested_with_and_that_hosts_may_get():
    for name, version in pinned().items():
        assert str(listed("test")[name]) == f"=={version}"
        assert version in listed("dependencies")[name]
    assert {"pyspf", "dkimpy", "publicsuffixlist"} <= pinned().keys() & of_hosts().keys()
