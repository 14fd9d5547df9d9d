"""The logic of a mail host, with a folder for each topic. It also makes sure that loaded modules match those on disk.

After an upgrade, a running minion would otherwise mix old modules with new ones.
"""

import importlib
import sys
from pathlib import Path
from types import ModuleType

_loaded: dict[str, tuple[int, int]] = {}
_SIDE_BY_SIDE = "mailserver_"
"""The prefix of the formula's modules before they were in this package."""


def drop_outdated() -> None:
    """Drop the formula's loaded modules if a file changed since the last call, so that imports load them again.

    Files that Salt loads (``_modules``, ``_states``) call this before they import any of them. Salt reloads those files
    when they are synced, but not what they import: a minion keeps that as long as it runs.
    """
    _drop(_SIDE_BY_SIDE)
    on_disk = {str(path): _version(path) for path in Path(__file__).parent.glob("**/*.py")}
    if _loaded and _loaded != on_disk:
        _drop(f"{__name__}.")
        importlib.invalidate_caches()
    _loaded.clear()
    _loaded.update(on_disk)


def _drop(prefix: str) -> None:
    """Drop modules, and the attributes of this package that would still lead to them."""
    for name in [name for name in sys.modules if name.startswith(prefix)]:
        del sys.modules[name]
    package = vars(sys.modules[__name__])
    for name, value in list(package.items()):
        if isinstance(value, ModuleType) and value.__name__.startswith(prefix):
            del package[name]


def _version(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size
