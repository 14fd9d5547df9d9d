"""The recording of the demo that README.md shows lasts 90 seconds at most, shows all of a run, and has no script."""

import re
import runpy
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

TOP = Path(__file__).resolve().parents[2]
SHOWN = TOP / "docs" / "demo.svg"


def script():
    return SimpleNamespace(**runpy.run_path(str(TOP / "script" / "recording")))


def output(parts, lines, seconds):
    """What a demo of so many parts prints, each of so many lines and seconds."""
    told = [f"[{part}/{parts}, {part * seconds} s] A part\n" + "    a line\n" * lines for part in range(1, parts + 1)]
    return "The small demo: <keys> & records\n\n" + "\n".join(told)


@pytest.mark.parametrize(("lines", "seconds"), [(0, 0), (3, 1), (3, 500), (200, 2)])
def test_a_recording_takes_90_seconds_at_most(lines, seconds):
    pauses = script().pauses(output(8, lines, seconds).split("\n"))
    assert sum(pauses) <= 90.001
    assert min(pauses) >= 0


def test_a_long_pause_is_shortened_and_a_short_one_is_kept():
    module = script()
    pauses = module.pauses(["[1/3, 0 s] a", "[2/3, 1 s] b", "[3/3, 300 s] c"])
    assert [pause - module.READING for pause in pauses] == pytest.approx([0, 1, module.PAUSE])


def lines(picture):
    return [text.text for text in picture.iterfind(".//{*}g[@id='lines']/{*}text")]


def test_a_recording_has_every_line_and_ends_with_the_last_one():
    module = script()
    told = output(2, 3, 1).strip("\n").split("\n")
    drawn = module.recording("\n".join(told), date(2026, 11, 30))
    picture = ElementTree.fromstring(drawn)
    assert lines(picture) == [line for line in told if line]
    assert "script/demo small: " in picture.findtext("{*}title")
    assert f"100.00% {{ transform: translateY({-module.LINE * len(told)}px) }}" in drawn


def test_what_the_readme_shows_is_a_whole_run_and_no_script():
    text = SHOWN.read_text()
    picture = ElementTree.fromstring(text)
    parts = [re.match(r"\[(\d+)/(\d+), ", line) for line in lines(picture)]
    assert [part.groups() for part in parts if part] == [(str(number), "8") for number in range(1, 9)]
    assert lines(picture)[-1].startswith("Done in ")
    assert not {"script", "foreignObject", "image"} & {element.tag.rpartition("}")[2] for element in picture.iter()}
    assert not re.findall(r"https?:(?!//www\.w3\.org/2000/svg)|url\(|@import", text)
    assert len(text.encode()) <= 150_000
    assert "prefers-reduced-motion" in text


def test_the_pages_say_which_demo_the_recording_shows_and_when():
    title = ElementTree.parse(SHOWN).getroot().findtext("{*}title")
    kind, day = re.search(r"script/demo (\w+): .* recorded on (\S+)$", title).groups()
    for page in ("README.md", "docs/demo.md"):
        assert re.search(rf"`script/demo {kind}`[^\n]* {day}", (TOP / page).read_text()), page
