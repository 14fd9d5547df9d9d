"""The folders of the formula's package stand above one another: each imports from those below it alone."""

import ast
from pathlib import Path

import pytest

from house import FILES, FLOOR, HOUSE, imports, room, tree


def test_every_folder_has_its_place():
    assert {room(path) for path in FILES} - {"__init__"} == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_file_imports_from_a_folder_beside_or_above_its_own(path):
    found = [(other.relative_to(HOUSE), name) for other, name in imports(HOUSE / path)]
    taken = [(other, name) for other, name in found if room(other) != room(path)]
    wrong = [f"{path} takes {name} from {other}" for other, name in taken if FLOOR[room(other)] <= FLOOR[room(path)]]
    assert not wrong


def test_every_folder_says_in_a_sentence_what_lives_in_it():
    for folder in {path.parent for path in FILES} - {Path()}:
        assert ast.get_docstring(tree(HOUSE / folder / "__init__.py")), folder


def test_the_unit_tests_have_the_folders_of_the_package():
    here = Path(__file__).parent
    folders = {path.parent.relative_to(here) for path in here.glob("*/**/test_*.py")}
    assert folders <= {path.parent for path in FILES}
