"""A report in a real Chromium without a network, from a file, on screen and on paper."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from engine.pipeline.reading.results import results
from engine.pipeline.report import report_content
from engine.report import render_report
from tests.browser.conftest import LONG_MS
from tests.support.measured_toy import HOSTILE
from tests.support.running_app import settled

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.browser.conftest import Dashboard
    from tests.support.measured_toy import MeasuredToy

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.sweep)])
def test_a_report_opens_offline_shows_the_stores_numbers_and_prints(
    browser: Browser, measured_toy: MeasuredToy, tmp_path: Path, scheme: str
) -> None:
    content = report_content(measured_toy.store, measured_toy.analysis.id, measured_toy.maps[0])
    file = tmp_path / "report.html"
    file.write_text(render_report(content), encoding="utf-8")
    assert file.stat().st_size < 5_000_000
    context = browser.new_context(offline=True, color_scheme=scheme, viewport={"width": 900, "height": 800})
    page = context.new_page()
    asked, wrong = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda message: wrong.append(message.text))
    page.goto(file.as_uri())
    assert asked == [file.as_uri()]
    assert not wrong

    # What an article contains is text, and the title is ours.
    assert "owned" not in page.title()
    assert HOSTILE in (page.locator(".sample").first.text_content() or "")
    assert page.locator("script, img, iframe, link").count() == 0

    row = results(measured_toy.store, measured_toy.analysis.id)[1]
    tiles = page.locator(".tile")
    shown = {tiles.nth(i).locator("dt").inner_text(): tiles.nth(i).inner_text() for i in range(tiles.count())}
    assert f"{row.perplexities[0].ratio:.3f}\u00a0×" in shown["Perplexity"]
    assert "measured" in shown["Perplexity"]
    assert f"{100 * row.size.kept_fraction:.1f} %" in shown["Parameters kept"]
    assert "counted" in shown["Parameters kept"]
    n_projections = len(measured_toy.analysis.inventory.projections)
    assert page.locator("svg[role=img] rect > title").count() >= n_projections

    # Nothing is cut off on a narrow screen, and both themes can be read.
    for width in (900, 390):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    colors = page.evaluate(
        "[document.body, document.documentElement].map((e, i) => getComputedStyle(e)[i ? 'backgroundColor' : 'color'])"
    )
    brightness = [sum(int(part) for part in color[4:-1].split(",")) for color in colors]
    assert (brightness[0] > brightness[1]) == (scheme == "dark")

    paper = page.pdf(prefer_css_page_size=True)
    assert paper.startswith(b"%PDF")
    n_pages = paper.count(b"/Type /Page\n")
    assert n_pages > 0
    # No page holds the footer alone, and hatching is printed.
    page.evaluate("document.querySelector('footer').remove()")
    assert page.pdf(prefer_css_page_size=True).count(b"/Type /Page\n") == n_pages
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.documentElement).printColorAdjust") == "exact"
    context.close()


@pytest.mark.timeout(900)
def test_more_is_evaluated_from_results_and_appears_without_a_reload(
    page: Page, dashboard: Dashboard, measured_toy: MeasuredToy
) -> None:
    dashboard.show(measured_toy.home)
    page.goto(f"{dashboard.address}/results")
    settled(page)
    page.get_by_text("Evaluate more", exact=True).click()
    page.get_by_role("button", name="Evaluate this run").click()
    done = "Measure Water-filling at 80.0 % of toy-model: done"
    expect(page.get_by_text(done)).to_be_visible(timeout=LONG_MS)
    settled(page)
    # The same text in the same amount and type: the perplexity is the one that was there.
    expect(page.get_by_role("combobox", name="Quality")).not_to_have_value(re.compile("tokens"))
    with page.expect_download() as download:
        page.get_by_role("button", name="Share as a report").click()
    shared = download.value.path().read_text(encoding="utf-8")
    assert "batch 4" in shared
    assert "<script" not in shared
    with page.expect_download() as download:
        page.locator("[data-testid=stDownloadButton]", has_text="Download as CSV").get_by_role("button").click()
    assert "batch 4" in download.value.path().read_text(encoding="utf-8").splitlines()[0]
