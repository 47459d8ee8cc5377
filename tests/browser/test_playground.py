"""Two models answer in a real browser: to the end, stopped in the middle, and for two visitors at once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import psutil
import pytest
from playwright.sync_api import expect

from tests.browser.conftest import LONG_MS
from tests.support.running_app import settled

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.browser.conftest import Dashboard

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]
LONG = "tokens=1500&temperature=0.0&prompt.0=Rivers"


def ask(page: Page, address: str, query: str) -> None:
    page.goto(f"{address}/playground?{query}")
    settled(page)
    page.get_by_role("button", name="Answer", exact=True).click()


def says(page: Page, text: str, timeout: float = LONG_MS) -> None:
    expect(page.get_by_text(re.compile(text)).first).to_be_visible(timeout=timeout)


def hosts(home: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "engine.playground.host" in words and str(home) in words:
            found.append(process)
    return found


def test_both_models_answer_and_a_reload_keeps_it(page: Page, dashboard: Dashboard) -> None:
    address = dashboard.address
    ask(page, address, "tokens=40")
    says(page, r"Done\. ")
    expect(page.get_by_role("region", name="Answer: Dense model")).not_to_be_empty()
    expect(page.get_by_role("region", name=re.compile("Answer: Compressed: Water-filling"))).not_to_be_empty()
    expect(page.get_by_test_id("stMainBlockContainer").get_by_role("button", name="Stop")).to_be_disabled()
    text = page.get_by_role("region", name="Answer: Dense model").inner_text()
    page.reload()
    settled(page)
    says(page, r"Done\. ")
    assert page.get_by_role("region", name="Answer: Dense model").inner_text() == text


def test_stop_ends_the_answer_and_another_visitor_waits_meanwhile(page: Page, dashboard: Dashboard) -> None:
    address = dashboard.address
    ask(page, address, LONG)
    says(page, "one token each in turn")
    other = page.context.new_page()
    ask(other, address, "tokens=10")
    says(other, "Waiting behind 1 other question")
    page.bring_to_front()
    page.get_by_test_id("stMainBlockContainer").get_by_role("button", name="Stop").click()
    says(page, r"Stopped\.")
    says(other, r"Done\. ")
    assert len(hosts(dashboard.home)) == 1
    other.close()


def test_a_closed_page_does_not_keep_the_models_busy(page: Page, dashboard: Dashboard) -> None:
    address = dashboard.address
    leaving = page.context.new_page()
    ask(leaving, address, "tokens=1900&temperature=0.0&prompt.0=Rivers")
    says(leaving, "one token each in turn")
    answer = re.search("answer=([0-9a-f]+)", leaving.url)
    assert answer is not None
    leaving.close()
    ask(page, address, "tokens=10")
    says(page, r"Done\. ")
    # What was left behind was ended, not finished.
    page.goto(f"{address}/playground?answer={answer.group(1)}")
    settled(page)
    says(page, r"Stopped\. Its page was closed")
