"""Fixtures of the functional tests."""

from lifecycle_world import etc, milter, world
from opendkim_daemon import daemon

__all__ = ["daemon", "etc", "milter", "world"]
