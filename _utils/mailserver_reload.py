"""The formula's modules in memory are those on disk: after an upgrade, a running minion would mix old ones with new."""

import importlib
import sys
from pathlib import Path

_loaded = {}


def drop_outdated():
    """Forget the formula's modules if one of their files changed since this was last called: imports load them anew.

    What Salt loads (``_modules``, ``_states``) calls it before it imports any of them. Salt loads these anew when they
    are synced, but not what they import: a minion keeps that for as long as it runs.
    """
    on_disk = {str(path): _version(path) for path in Path(__file__).parent.glob("mailserver_*.py")}
    if _loaded and _loaded != on_disk:
        for name in [name for name in sys.modules if name.startswith("mailserver_") and name != __name__]:
            del sys.modules[name]
        importlib.invalidate_caches()
    _loaded.clear()
    _loaded.update(on_disk)


def _version(path):
    found = path.stat()
    return found.st_mtime_ns, found.st_size
