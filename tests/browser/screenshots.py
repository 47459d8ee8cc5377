"""Photograph every page: ``RANKSCOPE_HOME=... python -m tests.browser.screenshots OUT [PAGE ...]``.

A PAGE is a path with or without a query, such as ``spectra`` or ``"overview?analysis=ef1f85b1&keep=0.7"``.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

from tests.support.running_app import CHROMIUM_ARGUMENTS, chromium, free_port, running_app, settled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.sync_api import Browser

PAGES = ("overview", "model", "spectra", "sensitivity", "allocation", "jobs", "results", "playground")
SIZES = ((1440, 900), (900, 900))
THEMES = ("light", "dark")
_ANSWER_MS = 180_000


def photograph(browser: Browser, address: str, out: Path, pages: Sequence[str]) -> None:
    """Write one picture of the whole page per page, size and theme."""
    for theme in THEMES:
        for width, height in SIZES:
            context = browser.new_context(
                viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce"
            )
            page = context.new_page()
            for name in pages:
                path, _, query = name.partition("?")
                page.goto(f"{address}/{'' if path == 'overview' else path}?{query}")
                settled(page)
                if path == "playground":
                    page.get_by_role("button", name="Answer", exact=True).click()
                    page.get_by_text("Done. ").first.wait_for(timeout=_ANSWER_MS)
                page.wait_for_timeout(1500)
                # Streamlit scrolls an inner container, so the window is made as tall as its content.
                tall = page.evaluate("document.querySelector('[data-testid=stMainBlockContainer]').scrollHeight")
                page.set_viewport_size({"width": width, "height": min(max(height, int(tall) + 40), 6000)})
                page.wait_for_timeout(1200)
                page.screenshot(path=out / f"{path}-{width}-{theme}.png")
                page.set_viewport_size({"width": width, "height": height})
            context.close()


def main(out: Path, pages: Sequence[str]) -> None:
    """Start the dashboard on the configured home and photograph it."""
    out.mkdir(parents=True, exist_ok=True)
    with (
        running_app(Path(os.environ["RANKSCOPE_HOME"]), free_port()) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS)
        photograph(browser, address, out, pages or PAGES)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
