"""Fixtures of the functional tests."""

from opendkim_daemon import daemon

__all__ = ["daemon"]
