"""Fixtures of the functional tests."""

from found_world import found
from lifecycle_world import etc, foreseen, milter, world
from opendkim_daemon import daemon

__all__ = ["daemon", "etc", "foreseen", "found", "milter", "world"]
