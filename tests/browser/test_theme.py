"""The theme is chosen in the menu and holds on every page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.support.running_app import settled

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Dashboard

pytestmark = pytest.mark.browser


def test_a_theme_is_chosen_for_all_pages(page: Page, dashboard: Dashboard) -> None:
    page.goto(f"{dashboard.address}/jobs")
    settled(page)
    app = page.get_by_test_id("stApp")
    expect(app).to_have_css("color-scheme", "light")
    page.get_by_test_id("stMainMenuButton").click()
    page.get_by_role("menuitemradio", name="Dark").click()
    expect(app).to_have_css("color-scheme", "dark")
    page.goto(f"{dashboard.address}/model")
    settled(page)
    expect(app).to_have_css("color-scheme", "dark")
