"""Draw docs/page.png, the page of an example fleet, anew: script/picture."""

import tempfile
from pathlib import Path

from browser import chromium
from example_fleet import NOW, SPF, overview
from mailhost.page.fleet import fleet
from mailhost.page.html import page

TOP = Path(__file__).resolve().parent.parent
WIDTH = 960
DOMAINS = ("example.com", "example.net", "example.org", "library.example", "school.example")
HOSTS = {"mx1": overview("mx1", DOMAINS, [SPF], 512), "mx2": overview("mx2", DOMAINS[::2], looked_at=338)}


def main():
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        path = Path(folder) / "page.html"
        path.write_text(page(fleet(HOSTS, {}, (), NOW)), encoding="utf-8")
        shown = browser.new_page(viewport={"width": WIDTH, "height": 600})
        shown.goto(path.as_uri())
        shown.screenshot(path=TOP / "docs" / "page.png", full_page=True)


if __name__ == "__main__":
    main()
