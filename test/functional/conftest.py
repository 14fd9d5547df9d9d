"""Fixtures of the functional tests."""

import pytest

import mailserver_dns_roots
from lifecycle_world import etc, foreseen, milter, world
from opendkim_daemon import daemon

__all__ = ["daemon", "etc", "foreseen", "milter", "world"]


@pytest.fixture(autouse=True)
def nobody_outside(monkeypatch):
    """No test asks the world: one that gives no root servers of its own has the resolver that it names believed."""
    monkeypatch.setattr(mailserver_dns_roots, "INTERNET", ())
