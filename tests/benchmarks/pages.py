"""Seconds until a page shows its content in a real Chromium, with the analyses of RANKSCOPE_HOME.

Run: RANKSCOPE_HOME=... python -m tests.benchmarks.pages
"First paint" is a fresh server and a fresh browser; "page change" a click in the navigation, warm. Layout shift is the
sum of the shifts that no input caused, of a page that is opened by its address in windows of three widths. "Received"
is what a browser that has nothing yet gets over the network when it opens the page. "First measured point" is the time
from the oldest analysis in the home to the first map that was measured after it: the wait of a first visit where
``make app`` began it.
"""

from __future__ import annotations

import statistics
import sys
import time
from datetime import datetime
from typing import NamedTuple

from playwright.sync_api import Browser, Page, sync_playwright

from engine.settings import home
from tests.support.running_app import CHROMIUM_ARGUMENTS, chromium, free_port, running_app, settled

PAGES = ("Model", "Spectra", "Sensitivity", "Allocation", "Jobs", "Results", "Playground")
ROUNDS = 4
WIDTHS = (1440, 1280, 900)
QUIET_MS = 300
WATCH_SHIFTS = """
  globalThis.shifts = [];
  const named = (node) => (node?.nodeType === Node.TEXT_NODE ? node.parentElement : node)?.className ?? "gone";
  new PerformanceObserver((list) => {
    for (const { hadRecentInput, value, startTime, sources } of list.getEntries()) {
      if (!hadRecentInput) shifts.push([value, startTime, sources.map(({ node }) => String(named(node)))]);
    }
  }).observe({ type: "layout-shift", buffered: true });
"""
AT_REST = f"""(since) => {{
  const isWaiting = document.querySelector("[data-testid=stSkeleton], [data-ready=false]") !== null;
  return !isWaiting && performance.now() - Math.max(since, ...shifts.map(([, at]) => at)) > {QUIET_MS};
}}"""


class Shift(NamedTuple):
    """One jump of a page: its score, and the classes of what moved."""

    value: float
    moved: tuple[str, ...]


def change_to(page: Page, name: str) -> float:
    begun = time.perf_counter()
    page.get_by_role("link", name=name, exact=True).click()
    page.get_by_role("heading", name=name, level=1).wait_for()
    settled(page)
    return time.perf_counter() - begun


def shifts_of(page: Page, address: str) -> list[Shift]:
    """Open a page that watches its shifts; return them once nothing is loaded or has moved for a while."""
    page.goto(address)
    page.get_by_role("heading", level=1).first.wait_for()
    settled(page)
    page.wait_for_function(AT_REST, arg=page.evaluate("performance.now()"))
    return [Shift(value, tuple(moved)) for value, _, moved in page.evaluate("shifts")]


def shift_of(browser: Browser, address: str) -> float:
    """Return the largest sum of shifts of one load, of two in a new window of every width."""
    sums = []
    for width in WIDTHS:
        context = browser.new_context(viewport={"width": width, "height": 900})
        page = context.new_page()
        page.add_init_script(WATCH_SHIFTS)
        sums += [sum(shift.value for shift in shifts_of(page, address)) for _ in range(2)]
        context.close()
    return max(sums)


def received(browser: Browser, address: str) -> float:
    """Return the megabytes of an uncached visit, headers and messages of the page's connection included."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    sizes: list[float] = []
    network = context.new_cdp_session(page)
    network.send("Network.enable")
    network.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    network.on(
        "Network.webSocketFrameReceived", lambda event: sizes.append(len(event["response"]["payloadData"]) * 0.75)
    )
    page.goto(address)
    page.get_by_role("heading", level=1).first.wait_for()
    settled(page)
    page.wait_for_load_state("networkidle")
    context.close()
    return sum(sizes) / 1e6


def first_point_s() -> float | None:
    """Return the seconds between the oldest analysis and the first map measured after it; ``None``: none was."""
    store = home().store

    def made(stage: str) -> list[datetime]:
        return sorted(datetime.fromisoformat(store.read(key).manifest.created) for key in store.keys(stage))

    analyses = made("analysis")
    later = [moment for moment in made("evaluation") if analyses and moment > analyses[0]]
    return (later[0] - analyses[0]).total_seconds() if later else None


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
        shifts = {name: shift_of(browser, f"{address}/{name.lower()}") for name in ("", *PAGES)}
        megabytes = {name: received(browser, f"{address}/{name.lower()}") for name in ("", *PAGES)}
        browser.close()
    sys.stdout.write("| page | median s | max s | layout shift, max | received, MB |\n|---|---|---|---|---|\n")
    sys.stdout.write(f"| first paint | {first:.2f} | – | – | – |\n")
    sys.stdout.write(f"| first page complete | {whole:.2f} | – | {shifts['']:.3f} | {megabytes['']:.1f} |\n")
    for name, values in seconds.items():
        cells = f"{statistics.median(values):.2f} | {max(values):.2f} | {shifts[name]:.3f} | {megabytes[name]:.1f}"
        sys.stdout.write(f"| change to {name} | {cells} |\n")
    if (waited := first_point_s()) is not None:
        sys.stdout.write(f"\nFirst measured point: {waited:.0f} s after the analysis.\n")


if __name__ == "__main__":
    main()
