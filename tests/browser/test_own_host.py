"""No page asks anything of another host than the one it came from, and nothing that is not there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from app.pages import PAGES
from tests.browser.test_journey import go
from tests.support.running_app import settled
from tests.support.tiers import sweep_unless

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Dashboard

pytestmark = pytest.mark.browser

FIRST = ("Overview", "Allocation", "Results")
OTHERS = tuple(title for title, _ in PAGES.values() if title not in FIRST)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("titles", sweep_unless([FIRST, OTHERS], {FIRST}), ids=["first", "others"])
def test_every_page_asks_only_its_own_host(page: Page, dashboard: Dashboard, titles: tuple[str, ...]) -> None:
    asked: list[str] = []
    failed: list[str] = []
    page.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda connection: asked.append(connection.url))
    address = dashboard.address
    page.goto(address)
    settled(page)
    for title in titles:
        go(page, title, "RankScope" if title == "Overview" else None)
        expect(page.locator("link[rel='shortcut icon']")).to_have_attribute("href", re.compile("^data:image/svg"))
    page.goto(f"{address}/spectra")
    settled(page)
    assert failed == []
    hosts = {urlsplit(url).netloc for url in asked if urlsplit(url).scheme not in {"data", "blob"}}
    assert hosts == {urlsplit(address).netloc}, [url for url in asked if urlsplit(url).netloc not in address]
