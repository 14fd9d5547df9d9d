"""Fixtures of the functional tests."""

from lifecycle_world import etc, foreseen, milter, world
from opendkim_daemon import daemon

__all__ = ["daemon", "etc", "foreseen", "milter", "world"]
