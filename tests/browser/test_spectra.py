"""Spectra in a browser: heatmap and lines on one screen, clicks on cells, and what the address remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.support.running_app import settled

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Dashboard


PLACES = """() => {
  const [map, lines] = ["map", "lines"].map(
    (part) => document.querySelector(`.st-key-spectra-${part}`).getBoundingClientRect(),
  );
  return"""
"""Begins a condition on where heatmap and lines are; a chart takes a moment to fit its column."""


def click_cell(page: Page, place: int) -> None:
    """Click a cell of the heatmap; its markers lie in the order of the blocks."""
    spot = page.locator(".st-key-spectra-map .scatterlayer .point").nth(place).bounding_box()
    assert spot is not None
    page.mouse.click(spot["x"] + spot["width"] / 2, spot["y"] + spot["height"] / 2)
    settled(page)


def test_heatmap_and_lines_share_a_screen_and_a_click_draws_a_cells_line(page: Page, dashboard: Dashboard) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{dashboard.address}/spectra")
    settled(page)
    heatmap = page.locator(".st-key-spectra-map")
    page.wait_for_function(f"{PLACES} map.right <= lines.left && Math.max(map.bottom, lines.bottom) <= 900; }}")
    frames, drawn = heatmap.locator(".shapelayer path"), page.get_by_test_id("stMultiSelect")
    expect(frames).to_have_count(7)
    for shown in (8, 7):
        click_cell(page, 0)
        expect(frames).to_have_count(shown)
        expect(drawn.get_by_text("L0 q", exact=True)).to_have_count(shown - 7)
    page.set_viewport_size({"width": 900, "height": 900})
    page.wait_for_function(f"{PLACES} lines.top >= map.bottom; }}")


def test_the_address_keeps_what_was_chosen_over_a_reload_and_another_page(page: Page, dashboard: Dashboard) -> None:
    page.goto(f"{dashboard.address}/spectra?lines=Energy+lost&blocks=L0+q")
    settled(page)
    page.get_by_role("radio", name="Stable rank", exact=True).click()
    settled(page)
    page.reload()
    expect_choices(page)
    page.get_by_role("link", name="Sensitivity", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sensitivity")
    settled(page)
    page.get_by_role("link", name="Spectra", exact=True).click()
    expect_choices(page)


def expect_choices(page: Page) -> None:
    """Wait for Spectra with what was chosen in the test."""
    expect(page.get_by_role("heading", level=1)).to_have_text("Spectra")
    for choice in ("Stable rank", "Energy lost"):
        expect(page.get_by_role("radio", name=choice, exact=True)).to_be_checked()
    expect(page.locator(".st-key-spectra-map .shapelayer path")).to_have_count(1)
