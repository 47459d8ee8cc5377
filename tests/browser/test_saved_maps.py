"""A map saved under a name outlives reloads, restarts and other windows; so do ranks held by hand."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.test_journey import go
from tests.support.running_app import settled

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.browser.conftest import Dashboard

pytestmark = pytest.mark.browser
ACTIVE = "saved map"


def expect_active(page: Page, method: str) -> None:
    expect(page.get_by_test_id("rank-board")).to_have_attribute("data-method", method)


@pytest.mark.timeout(900)
def test_a_map_is_saved_found_after_a_reload_opened_and_deleted(
    page: Page, dashboard: Dashboard, tmp_path: Path
) -> None:
    address = dashboard.address
    page.goto(f"{address}/allocation?keep=0.6&method=FLRC")
    settled(page)
    page.get_by_role("tab", name="Saved maps").click()
    page.get_by_label("Save the map shown as").fill("Mine, é")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("button", name="Open map")).to_be_visible()
    settled(page)
    page.reload()
    settled(page)
    page.get_by_role("tab", name="Saved maps").click()
    page.get_by_role("button", name="Open map").click()
    expect(page.get_by_role("button", name="Close map")).to_be_visible()
    expect(page).to_have_url(re.compile("map=[0-9a-f]{16}"))
    settled(page)
    expect_active(page, ACTIVE)

    # The link brings the same back, here and in another window; other pages do not lose it.
    page.get_by_role("tab", name="Measure & export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download this rank map").click()
    document = json.loads(download.value.path().read_text())
    assert document["method"] == "flrc"
    other = page.context.new_page()
    other.goto(page.url)
    settled(other)
    expect_active(other, ACTIVE)
    other.close()
    go(page, "Spectra")
    page.reload()
    settled(page)
    go(page, "Allocation")
    page.get_by_role("tab", name="Saved maps").click()
    expect(page.get_by_role("button", name="Close map")).to_be_visible()

    # Brought in from a file it is another map; both go after a question.
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    table = tmp_path / "from a table.csv"
    download.value.save_as(table)
    page.get_by_role("button", name="Import a map").click()
    page.locator("input[type=file]").first.set_input_files(table)
    chosen = page.get_by_role("combobox", name="Saved map")
    expect(chosen).to_have_value("from a table")
    settled(page)
    page.keyboard.press("Escape")
    for name in ("from a table", "Mine, é"):
        expect(chosen).to_have_value(name)
        # The question about the map before is still being taken away.
        delete, permanently = (
            page.get_by_role("button", name=label, exact=True) for label in ("Delete", "Delete permanently")
        )
        expect(delete).to_have_count(1)
        expect(permanently).to_have_count(0)
        settled(page)
        delete.click()
        permanently.click()
        settled(page)
    expect(chosen).to_have_count(0)
    expect(page).not_to_have_url(re.compile("map="))
    expect_active(page, "water-filling")
