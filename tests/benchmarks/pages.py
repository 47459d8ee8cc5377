"""Seconds until a page shows its content in a real Chromium, with the analyses of RANKSCOPE_HOME.

Run: RANKSCOPE_HOME=... python -m tests.benchmarks.pages
"First paint" is a fresh server and a fresh browser; "page change" a click in the navigation, warm. Layout shift is the
sum of the shifts that no input caused, of a page that is opened by its address.
"""

from __future__ import annotations

import statistics
import sys
import time

from playwright.sync_api import Page, sync_playwright

from engine.settings import home
from tests.support.running_app import CHROMIUM_ARGUMENTS, chromium, free_port, running_app, settled

PAGES = ("Model", "Spectra", "Sensitivity", "Allocation", "Jobs", "Results", "Playground")
ROUNDS = 4
WATCH_SHIFTS = """
  globalThis.shifts = 0;
  new PerformanceObserver((list) => {
    for (const shift of list.getEntries()) if (!shift.hadRecentInput) globalThis.shifts += shift.value;
  }).observe({ type: "layout-shift", buffered: true });
"""


def change_to(page: Page, name: str) -> float:
    begun = time.perf_counter()
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_role("heading", name=name, level=1).wait_for()
    settled(page)
    return time.perf_counter() - begun


def shift_of(page: Page, address: str) -> float:
    page.goto(address)
    page.get_by_role("heading", level=1).first.wait_for()
    settled(page)
    shift: float = page.evaluate("shifts")
    return shift


def main() -> None:
    with running_app(home().root, free_port()) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS)
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        begun = time.perf_counter()
        page.goto(address)
        page.get_by_role("heading", level=1).first.wait_for()
        first = time.perf_counter() - begun
        settled(page)
        whole = time.perf_counter() - begun
        for name in PAGES:
            change_to(page, name)
        seconds = {name: [] for name in PAGES}
        for _ in range(ROUNDS):
            for name in PAGES:
                seconds[name].append(change_to(page, name))
        page.add_init_script(WATCH_SHIFTS)
        shifts = {name: max(shift_of(page, f"{address}/{name.lower()}") for _ in range(ROUNDS)) for name in PAGES}
        browser.close()
    sys.stdout.write("| page | median s | max s | layout shift, max |\n|---|---|---|---|\n")
    sys.stdout.write(f"| first paint | {first:.2f} | – | – |\n| first page complete | {whole:.2f} | – | – |\n")
    for name, values in seconds.items():
        cells = f"{statistics.median(values):.2f} | {max(values):.2f} | {shifts[name]:.3f}"
        sys.stdout.write(f"| change to {name} | {cells} |\n")


if __name__ == "__main__":
    main()
