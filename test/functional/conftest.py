"""Fixtures of the functional tests."""

import mailserver_dns_roots
from lifecycle_world import etc, foreseen, milter, world
from opendkim_daemon import daemon

__all__ = ["daemon", "etc", "foreseen", "milter", "world"]

# No test asks the world: what gives no root servers of its own has the resolver that it names believed.
mailserver_dns_roots.INTERNET = ()
