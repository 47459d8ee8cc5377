"""Milliseconds of the rank board in a real Chromium: ``RANKSCOPE_HOME=... python -m tests.benchmarks.board``.

A drag is a hundred pointer events, one per frame, and is repeated. "Work" is what the page computes and draws in that
frame, "event to frame" lasts from the pointer event until the frame is handed to the compositor, waiting included;
"best" takes of every place of the drag the fastest repetition, because the rest is other processes. "Confirmed" lasts
from the release of the pointer until Python's own answer has arrived in the page, on the newest analysis of
RANKSCOPE_HOME; without one this part is left out.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np
from playwright.sync_api import sync_playwright

from app.components.rank_board.data import BoardState
from engine.settings import home
from tests.support.bare_board import made_up_analysis, open_board
from tests.support.running_app import CHROMIUM_ARGUMENTS, chromium, free_port, running_app, settled

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

N_EVENTS, ROUNDS, N_RELEASES = 100, 5, 20
GOALS = {224: 16, 560: 16}
GOAL_CONFIRMED = 300
WIDTH = 576

WATCH = """
  globalThis.frames = [];
  const channel = new MessageChannel();
  let waiting = [];
  channel.port1.onmessage = () => {
    for (const at of waiting) globalThis.frames.push([globalThis.worked, performance.now() - at]);
    waiting = [];
  };
  const ask = globalThis.requestAnimationFrame.bind(globalThis);
  globalThis.requestAnimationFrame = (draw) => ask((now) => {
    const begun = performance.now();
    draw(now);
    globalThis.worked += performance.now() - begun;
  });
  addEventListener("pointermove", () => {
    globalThis.worked = 0;
    waiting.push(performance.now());
    ask(() => channel.port2.postMessage(0));
  }, true);
"""


def drag(page: Page, selector: str, places: list[tuple[float, float]]) -> np.ndarray:
    """Drag through ``places`` (fractions of the element); return (n, 2) ms: work, and event to frame."""
    element = page.locator(selector)
    element.scroll_into_view_if_needed()
    box = element.bounding_box()
    assert box is not None
    points = [(box["x"] + box["width"] * x, box["y"] + box["height"] * y) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    page.evaluate("frames.length = 0")
    for point in points[1:]:
        page.mouse.move(*point)
        page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    page.wait_for_function(f"frames.length >= {N_EVENTS}")
    page.mouse.up()
    page.wait_for_timeout(300)
    return np.array(page.evaluate("frames"))[:N_EVENTS]


def drag_frames(browser: Browser, n_layers: int) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.add_init_script(WATCH)
    open_board(page, made_up_analysis(n_layers, WIDTH, mlps=True), BoardState())
    n_blocks = 7 * n_layers
    wave = np.abs(np.linspace(-1, 1, N_EVENTS + 1))
    budget = [(0.3 + 0.5 * float(x), 0.5) for x in wave]
    bar = [(0.5, 0.02 + 0.09 * float(y)) for y in wave]
    for what, selector, places in (("budget", ".rb-keep", budget), ("one bar", ".rb-canvas", bar)):
        rounds = np.stack([drag(page, selector, places) for _ in range(ROUNDS)])
        cells = [
            f"{np.percentile(of[..., k], q):.1f}"
            for k in (0, 1)
            for of in (rounds, rounds.min(axis=0))
            for q in (50, 95)
        ]
        print(f"| {n_blocks} | {what} | {' | '.join(cells)} | {GOALS[n_blocks]} |", flush=True)
    page.close()


def confirmations(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.goto(f"{address}/allocation")
    settled(page)
    board = page.locator("[data-testid=rank-board][data-confirmed-revision]")
    board.wait_for()
    page.wait_for_timeout(3000)
    for what, selector, y in (("budget", ".rb-keep", 0.5), ("one bar", ".rb-canvas", 0.06)):
        times = []
        for index in range(N_RELEASES):
            element = page.locator(selector)
            element.scroll_into_view_if_needed()
            box = element.bounding_box()
            assert box is not None
            x = 0.3 + 0.02 * index
            page.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y)
            page.mouse.down()
            lower = y + 0.015 + 0.002 * index
            page.mouse.move(box["x"] + box["width"] * (x + 0.005), box["y"] + box["height"] * lower, steps=3)
            page.evaluate(
                """() => {
                  const board = document.querySelector("[data-testid=rank-board]");
                  const before = board.dataset.confirmedRevision;
                  globalThis.confirmed = new Promise((done) => addEventListener("pointerup", () => {
                    const released = performance.now();
                    new MutationObserver((_, observer) => {
                      if (board.dataset.confirmedRevision === before) return;
                      observer.disconnect();
                      done(performance.now() - released);
                    }).observe(board, { attributeFilter: ["data-confirmed-revision"] });
                  }, { once: true, capture: true }));
                }"""
            )
            page.mouse.up()
            times.append(page.evaluate("confirmed"))
            settled(page)
            page.wait_for_timeout(300)
        p50, p95 = np.percentile(times, [50, 95])
        print(f"| {what} | {len(times)} | {p50:.0f} | {p95:.0f} | {min(times):.0f} | {GOAL_CONFIRMED} |", flush=True)
    page.close()


def main() -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=CHROMIUM_ARGUMENTS)
        heads = [
            f"{what}, {of}: {q}" for what in ("work", "to frame") for of in ("all", "best") for q in ("p50", "p95")
        ]
        print(f"| projections | dragged | {' | '.join(heads)} | goal |\n|{'---|' * 11}")
        for n_blocks in GOALS:
            drag_frames(browser, n_blocks // 7)
        if home().store.keys("analysis"):
            print(f"\n| released | times | confirmed: p50 | p95 | best | goal ms |\n|{'---|' * 6}")
            with running_app(home().root, free_port()) as address:
                confirmations(browser, address)
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
