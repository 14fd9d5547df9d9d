"""A mail host's logic, in a folder for each noun; in memory are the modules that are on disk.

After an upgrade, a running minion would mix old ones with new.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

_loaded = {}
_SIDE_BY_SIDE = "mailserver_"
"""How the formula's modules began before this package held them."""


def drop_outdated():
    """Forget the formula's modules if one of their files changed since this was last called: imports load them anew.

    What Salt loads (``_modules``, ``_states``) calls it before it imports any of them. Salt loads these anew when they
    are synced, but not what they import: a minion keeps that for as long as it runs.
    """
    _drop(_SIDE_BY_SIDE)
    on_disk = {str(path): _version(path) for path in Path(__file__).parent.glob("**/*.py")}
    if _loaded and _loaded != on_disk:
        _drop(f"{__name__}.")
        importlib.invalidate_caches()
    _loaded.clear()
    _loaded.update(on_disk)


def _drop(prefix):
    """Forget modules, and the attributes of this package that would still lead to them."""
    for name in [name for name in sys.modules if name.startswith(prefix)]:
        del sys.modules[name]
    package = vars(sys.modules[__name__])
    for name, value in list(package.items()):
        if isinstance(value, ModuleType) and value.__name__.startswith(prefix):
            del package[name]


def _version(path):
    found = path.stat()
    return found.st_mtime_ns, found.st_size
