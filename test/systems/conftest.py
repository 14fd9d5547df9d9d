"""Fixtures of the tests of systems: what each line of Salt renders for each of them, and the parsers; and the table."""

from collections import defaultdict

import pytest

import worlds
from worlds import LINES, SYSTEMS

VERDICTS = defaultdict(list)
"""Of each system and line of Salt, the tests that failed."""


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """What ``render.py`` found, by the name of a system and the line of Salt."""
    return worlds.rendered(tmp_path_factory.mktemp("systems"))


@pytest.fixture(scope="session")
def parsers():
    return worlds.parsers()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    report = (yield).get_result()
    values = getattr(item, "callspec", None) and item.callspec.params
    if values and "system" in values and (report.when == "call" or report.failed):
        lines = [values["line"]] if "line" in values else SYSTEMS[values["system"]].lines
        for line in lines:
            VERDICTS[values["system"], line].append(item.originalname if report.failed else None)


def pytest_terminal_summary(terminalreporter):
    """Print each system and line of Salt: how many tests passed, or which failed."""
    if not VERDICTS:
        return
    terminalreporter.write_sep("=", "systems x lines of Salt")
    rows = [(about.title, *(_cell(name, line) for line in LINES)) for name, about in SYSTEMS.items()]
    for row in (("system", *(f"Salt {version}" for version in LINES.values())), *rows):
        terminalreporter.write_line("".join(cell.ljust(20) for cell in row).rstrip())
    terminalreporter.write_line("-: Salt 3006 is the last one for that system")


def _cell(system, line):
    if line not in SYSTEMS[system].lines:
        return "-"
    found = VERDICTS.get((system, line))
    if not found:
        return "not run"
    failed = [name for name in found if name]
    return f"{len(failed)} of {len(found)} failed" if failed else f"ok ({len(found)})"
