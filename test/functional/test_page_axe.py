"""The page of all hosts as axe-core judges it (WCAG 2.2 A and AA, and what else it holds to be good): no violation."""

from dataclasses import replace

import pytest
from axe_playwright_python import sync_playwright as axe

from example_fleet import NOW, SPF, answers, example, overview
from mailhost.page.fleet import fleet
from mailhost.page.html import PART, page

HOSTS = tuple(f"mx{number}" for number in range(1, 13))
CODE = replace(SPF, seen="`postfix check`: exit status 1", remedy="Run it by hand: `postfix check`")
UNREAD = {**overview("mx1", ["a.example"], [CODE]), "unread": {"a.example": "`keys.json` is damaged"}}
PAGES = {
    "with problems": example(),
    "without problems": fleet(
        {"mx1": overview("mx1", ["a.example"]), "mx2": overview("mx2", ["a.example"])}, {}, (), NOW
    ),
    "unread keys": fleet({"mx1": UNREAD}, {}, (), NOW),
    "many hosts": fleet(answers(4, HOSTS), {}, (), NOW),
    "many domains": example(PART + 5, 5),
    "no host": fleet({}, {}, (), NOW),
}
WAYS = {
    "light": ((1280, 900), "light"),
    "dark": ((1280, 900), "dark"),
    "phone": ((360, 740), "light"),
}


def violations(shown):
    found = axe.Axe().run(shown).response["violations"]
    return [(one["id"], [node["html"] for node in one["nodes"]][:5]) for one in found]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_no_violation(browser, tmp_path, name, way):
    (width, height), scheme = WAYS[way]
    (tmp_path / "page.html").write_text(page(PAGES[name]), encoding="utf-8")
    with browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme) as context:
        shown = context.new_page()
        shown.goto((tmp_path / "page.html").as_uri())
        shown.evaluate("dispatchEvent(new Event('beforeprint'))")  # all is unfolded
        found = violations(shown)
    assert found == []


def test_axe_would_find_a_field_without_a_name_and_words_that_are_too_pale(browser, tmp_path):
    text = page(PAGES["without problems"]).replace('<label for="host">Host</label>', "")
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    with browser.new_context() as context:
        shown = context.new_page()
        shown.goto((tmp_path / "page.html").as_uri())
        shown.evaluate("document.querySelector('.verdict').style.color = '#cccccc'")
        found = {id for id, _ in violations(shown)}
    assert found == {"select-name", "color-contrast"}
