"""Fixtures of the tests of systems: what each line of Salt renders for each of them, and the parsers; and the table."""

import contextlib
from collections import defaultdict

import pytest

from parsers import Parsers
from worlds import LINES, SYSTEMS, Rendered

VERDICTS = defaultdict(list)
"""Of each system and line of Salt, the tests that failed."""


def pytest_configure(config):
    config.addinivalue_line("markers", "asks(question): what the parsers are asked, by the test's own parameters")


@pytest.fixture(scope="session")
def rendered(request):
    values = [item.callspec.params for item in request.session.items if hasattr(item, "callspec")]
    found = Rendered({(one["system"], one.get("line", "3006")) for one in values if "system" in one})
    yield found
    found.close()


@pytest.fixture(scope="session")
def parsers():
    made = Parsers()
    yield made
    made.close()


@pytest.fixture(scope="session")
def asked_ahead(request, rendered, parsers):
    """Ask the parsers all that the tests of this run will ask them, so that all cores work on it."""
    for item in request.session.items:
        with contextlib.suppress(Exception):  # the test itself will show it
            _ask(item, rendered, parsers)


@pytest.fixture
def said(request, asked_ahead, rendered, parsers):
    """The exit status and the output of each command that the test's marker asks for; None if it asks for none."""
    answer = _ask(request.node, rendered, parsers)
    return answer and answer.result()


def _ask(item, rendered, parsers):
    marker = item.get_closest_marker("asks")
    question = marker and marker.kwargs["question"](rendered, **item.callspec.params)
    return question and parsers.ask(question)


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
