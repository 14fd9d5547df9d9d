"""The fleet page in a browser: seconds until it is open and its end is on the screen."""

import statistics
import tempfile
from pathlib import Path

from browser import chromium
from example_fleet import NOW, answers
from mailhost.page.fleet import fleet
from mailhost.page.html import page
from page_speed import opened
from scale_measure import Measured, Row, sizes

RUNS = 3


def rows(domains):
    """Return the row of the page, and its curve."""
    curve = {}
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for size in sizes(domains):
            path = Path(folder) / "page.html"
            path.write_text(page(fleet(answers(size, waiting_share=50), {}, (), NOW)), encoding="utf-8")
            runs = [opened(browser, path.as_uri()) for _ in range(RUNS)]
            curve[size] = statistics.median(run[0] + run[2] for run in runs)
    what = f"the fleet page of {domains:,} domains opens, and scrolls to its end"
    return Measured((Row(what, "headless Chromium", curve[max(curve)], 2, "s"),), {"fleet page": curve})
