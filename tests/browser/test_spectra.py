"""Spectra in a browser: heatmap and lines on one screen, clicks on cells, and what the address remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

from tests.support.running_app import settled

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import Dashboard


def box(found: Locator) -> dict[str, float]:
    """Return where an element is drawn."""
    found.wait_for(state="visible")
    drawn = found.bounding_box()
    assert drawn is not None
    return dict(drawn)


def click_cell(page: Page, place: int) -> None:
    """Click a cell of the heatmap; its markers lie in the order of the blocks."""
    spot = box(page.locator(".st-key-spectra-map .scatterlayer .point").nth(place))
    page.mouse.click(spot["x"] + spot["width"] / 2, spot["y"] + spot["height"] / 2)
    settled(page)


def test_heatmap_and_lines_share_a_screen_and_a_click_draws_a_cells_line(page: Page, dashboard: Dashboard) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{dashboard.address}/spectra")
    settled(page)
    heatmap, lines = page.locator(".st-key-spectra-map"), page.locator(".st-key-spectra-lines")
    left, right = box(heatmap), box(lines)
    assert left["x"] + left["width"] <= right["x"]
    assert max(side["y"] + side["height"] for side in (left, right)) <= 900
    frames, drawn = heatmap.locator(".shapelayer path"), page.get_by_test_id("stMultiSelect")
    expect(frames).to_have_count(7)
    for shown in (8, 7):
        click_cell(page, 0)
        expect(frames).to_have_count(shown)
        expect(drawn.get_by_text("L0 q", exact=True)).to_have_count(shown - 7)
    page.set_viewport_size({"width": 900, "height": 900})
    assert box(lines)["y"] >= box(heatmap)["y"] + box(heatmap)["height"]


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
