"""The drawing of the package's folders is current and legible."""

import re
import subprocess
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

from house import FLOOR

TOP = Path(__file__).resolve().parents[2]
DRAWING = TOP / "docs" / "house.svg"


def boxes():
    """The boxes of the drawing, ``{folder: (left, top, right, bottom)}``."""
    groups = ElementTree.parse(DRAWING).getroot().findall("{*}g[@id]")
    found = {group.get("id"): group.find("{*}rect") for group in groups}
    numbers = {name: [float(rect.get(key)) for key in ("x", "y", "width", "height")] for name, rect in found.items()}
    return {name: (x, y, x + width, y + height) for name, (x, y, width, height) in numbers.items()}


def straights():
    """The vertical parts of all lines, ``(x, top, bottom)``; what is not vertical lies between two floors."""
    paths = ElementTree.parse(DRAWING).getroot().findall(".//{*}path[@class='line']")
    found = (re.findall(r" ([\d.]+),([\d.]+) V([\d.]+)", path.get("d")) for path in paths)
    return [tuple(map(float, numbers)) for one in found for numbers in one]


def test_the_drawing_is_made_from_the_imports_of_now():
    made = subprocess.run([TOP / "script" / "drawing"], capture_output=True, text=True, check=True).stdout
    assert DRAWING.read_text() == made, "run: script/drawing >docs/house.svg"


def test_the_drawing_has_a_box_for_each_folder():
    assert list(boxes()) == list(FLOOR)


def test_no_box_of_the_drawing_lies_on_another():
    for (one, a), (other, b) in combinations(boxes().items(), 2):
        assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1], f"{one} and {other}"


def test_no_line_of_the_drawing_passes_through_a_box():
    assert straights()
    for x, top, bottom in straights():
        crossed = [
            name
            for name, (left, up, right, down) in boxes().items()
            if left <= x <= right and top < down and up < bottom
        ]
        assert not crossed
