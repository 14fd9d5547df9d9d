"""Fixtures of the functional tests."""

import contextlib

import pytest

from browser import chromium
from found_world import found
from lifecycle_world import etc, foreseen, milter, world
from mailhost.dns import roots
from opendkim_daemon import daemon
from own_network import own_network

__all__ = ["daemon", "etc", "foreseen", "found", "milter", "world"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    # Around fixtures of all scopes, too.
    with contextlib.nullcontext() if item.get_closest_marker("package_index") else own_network():
        return (yield)


@pytest.fixture(scope="session")
def browser():
    """Chromium, one for all tests: a process has one Playwright at a time."""
    with chromium() as running:
        yield running


@pytest.fixture(autouse=True)
def nobody_outside(monkeypatch):
    """No test asks the world: one that gives no root servers of its own has the resolver that it names believed."""
    monkeypatch.setattr(roots, "INTERNET", ())
