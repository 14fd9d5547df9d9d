"""The browser in which the page of all hosts is tested, measured and drawn: Debian's Chromium, without a window."""

import contextlib
import shutil

from playwright.sync_api import sync_playwright


@contextlib.contextmanager
def chromium():
    """Start the browser, and end it."""
    path = shutil.which("chromium")
    if path is None:
        raise FileNotFoundError("chromium is not installed: script/bootstrap functional")
    with sync_playwright() as play:
        running = play.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield running
        finally:
            running.close()
