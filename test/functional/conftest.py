"""Fixtures of the functional tests."""

import pytest

from lifecycle_world import etc, foreseen, milter, world
from opendkim_daemon import daemon
from own_network import own_network

__all__ = ["daemon", "etc", "foreseen", "milter", "world"]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    # Around fixtures of all scopes, too.
    with own_network():
        return (yield)
