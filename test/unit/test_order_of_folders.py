"""The folders of the formula's package stand above one another: each imports from those below it alone."""

import ast
from pathlib import Path

import pytest

UTILS = Path(__file__).resolve().parents[2] / "_utils"
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
errors
wording
"""
"""The folders, and the files that stand in none, from the top down; those in one line do not import each other."""
FLOOR = {name: number for number, line in enumerate(ORDER.split("\n")) for name in line.split()}
FILES = sorted(path.relative_to(HOUSE) for path in HOUSE.rglob("*.py"))


def room(path):
    """The folder of a file, or the file itself where it stands in none."""
    return path.parts[0] if len(path.parts) > 1 else path.stem


def imports(path):
    """Yield what a file imports of the package: the other file, and the name that is taken from it."""
    for node in ast.walk(ast.parse((HOUSE / path).read_text())):
        names = node.names if isinstance(node, (ast.Import, ast.ImportFrom)) else ()
        assert not getattr(node, "level", 0), f"{path}:{node.lineno}: imports are absolute"
        for name in names:
            module = f"{node.module}.{name.name}" if isinstance(node, ast.ImportFrom) else name.name
            if module.partition(".")[0] == "mailhost":
                yield file_of(module) or file_of(module.rpartition(".")[0]), name.name


def file_of(module):
    path = UTILS / module.replace(".", "/")
    found = [one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()]
    return found[0].relative_to(HOUSE) if found else None


def test_every_folder_has_its_place():
    assert {room(path) for path in FILES} - {"__init__"} == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_file_imports_from_a_folder_beside_or_above_its_own(path):
    taken = [(other, name) for other, name in imports(path) if room(other) != room(path)]
    wrong = [f"{path} takes {name} from {other}" for other, name in taken if FLOOR[room(other)] <= FLOOR[room(path)]]
    assert not wrong


def test_every_folder_says_in_a_sentence_what_lives_in_it():
    for folder in {path.parent for path in FILES} - {Path()}:
        assert ast.get_docstring(ast.parse((HOUSE / folder / "__init__.py").read_text())), folder


def test_the_unit_tests_have_the_folders_of_the_package():
    here = Path(__file__).parent
    folders = {path.parent.relative_to(here) for path in here.glob("*/**/test_*.py")}
    assert folders <= {path.parent for path in FILES}
