"""How fast the page of all hosts is made, opens, scrolls and finds: script/bench page."""

import os
import statistics
import tempfile
import time
from pathlib import Path

from browser import chromium
from example_fleet import NOW, answers
from mailhost.page.fleet import fleet
from mailhost.page.html import page

SIZES = ((1_000, 1.0), (10_000, 2.0))
"""Domains of a page, and the seconds in which it is to open."""
RUNS = 5
FRAME = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
OPENED = "performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"


def timed(shown, script):
    """Return the seconds until what a script changed is on the screen."""
    began = time.monotonic()
    shown.evaluate(script)
    shown.evaluate(FRAME)
    return time.monotonic() - began


def opened(browser, url):
    """Return the seconds that a page takes to open, a screenful further, to its end, and until a domain is found."""
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        shown = context.new_page()
        shown.goto(url)
        seconds = [shown.evaluate(OPENED)]
        steps = [timed(shown, "scrollBy(0, innerHeight)") for _ in range(20)]
        seconds += [max(steps), timed(shown, "scrollTo(0, document.body.scrollHeight)")]
        began = time.monotonic()
        shown.fill("#search", "d00777")
        shown.locator("#found:not(:empty)").wait_for()
        return [*seconds, time.monotonic() - began]


def main():
    load = os.getloadavg()[0]
    print(f"load of the machine: {load:.1f} on {os.cpu_count()} cores; three hosts; medians of {RUNS}, in seconds")
    print(f"{'domains':>8}{'MB':>7}{'made':>8}{'opens':>8}{'screen':>8}{'end':>8}{'found':>8}")
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for domains, limit in SIZES:
            told = answers(domains, waiting_share=50)
            began = time.monotonic()
            text = page(fleet(told, {}, (), NOW))
            made = time.monotonic() - began
            path = Path(folder) / "page.html"
            path.write_text(text, encoding="utf-8")
            runs = [opened(browser, path.as_uri()) for _ in range(RUNS)]
            medians = [statistics.median(run[number] for run in runs) for number in range(len(runs[0]))]
            verdict = f"{'ok' if medians[0] < limit else 'short'} (wanted: open in under {limit:g})"
            figures = "".join(f"{one:8.2f}" for one in (made, *medians))
            print(f"{domains:8}{len(text.encode()) / 1e6:7.1f}{figures}  {verdict}")


if __name__ == "__main__":
    main()
