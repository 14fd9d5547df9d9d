"""Run of the tests that are long by nature only a share, another one each time (a pytest plugin).

A test with the mark ``rotating(of=N)`` has many cases. With ``--share SEED`` every N-th of them is run, and SEED says
with which one to begin: N seeds in a row meet all. Without ``--share`` all cases are run. ``rotating(of=N, by=(…))``
counts the values of these parameters, so that tests of one file which share what is costly take the same ones.
"""

import zlib

import pytest


def pytest_addoption(parser):
    parser.addoption("--share", type=int, metavar="SEED", help="run this share of the rotating tests")


def pytest_configure(config):
    config.addinivalue_line("markers", "rotating(of, by): with --share=SEED, run one case in OF; each SEED has another")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    seed = config.getoption("--share")
    if seed is None:
        return
    seen, taken, left = {}, [], []
    for item in items:
        mark = item.get_closest_marker("rotating")
        (taken if not mark or _is_its_turn(item, mark, seen, seed) else left).append(item)
    config.hook.pytest_deselected(items=left)
    items[:] = taken


def _is_its_turn(item, mark, seen, seed):
    """Tell whether a case is in the share; ``seen`` counts the cases of each test, or the values of each file."""
    by, of = mark.kwargs.get("by", ()), mark.kwargs["of"]
    name = str(item.path.name) + str(by) if by else item.nodeid.partition("[")[0]
    value = tuple(item.callspec.params[one] for one in by) if by else item.nodeid
    place = seen.setdefault(name, {}).setdefault(value, len(seen[name]))
    return (place + zlib.crc32(name.encode()) + seed) % of == 0


@pytest.fixture(scope="session")
def share(request):
    """``share(of)``: for a test that goes through its cases itself, the first one and the step; all: (0, 1)."""
    seed = request.config.getoption("--share")
    return lambda of: (0, 1) if seed is None else (seed % of, of)
