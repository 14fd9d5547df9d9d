"""The formula's package as a house: its folders, their order from the top down, and which file imports which."""

import ast
from collections.abc import Iterator
from pathlib import Path

UTILS = Path(__file__).resolve().parents[1] / "_utils"
HOUSE = UTILS / "mailhost"
ORDER = """
page watch
central check
pillar
selftest reflector takeover
before
daemons
dkim tls
opendkim publish
postfix records receiver
dns schema
scale
arguments clock files
command
errors summary
wording shapes
"""
"""The folders, and the files that stand in none, from the top down; those in one line do not import each other."""
FLOORS = [line.split() for line in ORDER.strip().split("\n")]
FLOOR = {name: number for number, floor in enumerate(FLOORS) for name in floor}
FILES = sorted(path.relative_to(HOUSE) for path in HOUSE.rglob("*.py"))


def room(path: Path) -> str:
    """Return the folder of a file of the package, or the file itself where it stands in none."""
    return path.parts[0] if len(path.parts) > 1 else path.stem


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path: Path, utils: Path = UTILS) -> Iterator[tuple[Path, str]]:
    """Yield what a file imports from a folder ``_utils``: the other file, and the name that it takes from it."""
    for node in ast.walk(tree(path)):
        names = node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else ()
        assert not getattr(node, "level", 0), f"{path}:{node.lineno}: imports are absolute"
        for name in names:
            module = f"{node.module}.{name.name}" if isinstance(node, ast.ImportFrom) else name.name
            other = file_of(module, utils) or file_of(module.rpartition(".")[0], utils)
            if other:
                yield other, name.name


def file_of(module: str, utils: Path) -> Path | None:
    """Return the file of a module below ``utils``; ``None`` for modules from elsewhere."""
    path = utils.joinpath(*module.split("."))
    found = [one for one in (path.with_name(f"{path.name}.py"), path / "__init__.py") if one.is_file()]
    return found[0] if found else None
