"""What happens around an open page: reloads, other tabs, the back button, deletions and a server that restarts."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from cache.processes import this_process
from engine.jobs import JobQueue
from engine.jobs.progress import ProgressReporter
from engine.jobs.record import JobRecord
from tests.browser.test_journey import go
from tests.support.running_app import free_port, running_app, settled

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page

    from engine.analysis.value import Analysis
    from engine.jobs import Job
    from tests.browser.conftest import Dashboard

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def budget(page: Page) -> str:
    """Return what the Overview's slider shows."""
    page.wait_for_selector("[data-testid=overview][data-ready=true]")
    return f"{float(page.get_by_test_id('overview-budget').input_value()):.0%}"


def open_at(page: Page, address: str) -> None:
    page.goto(address)
    settled(page)


def queued_by_nobody(home: Path, monkeypatch: pytest.MonkeyPatch, title: str) -> Job:
    """Queue a job that no worker takes."""
    monkeypatch.setattr("engine.jobs.queue.start_detached", lambda *_: None)
    return JobQueue(home).submit("analyse", {}, title=title)


def test_a_reload_and_a_second_tab_show_the_same_running_job_without_jumps(
    page: Page, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = queued_by_nobody(dashboard.home, monkeypatch, "A long one")
    record = JobRecord(dashboard.home)
    assert record.claim(job.id, this_process()) == 1
    address = dashboard.address
    with ProgressReporter(record.folder(job.id).progress) as report:
        report("calibration", 0.25, "reading")
        open_at(page, f"{address}/jobs")
        expect(page.get_by_text("25 % · reading")).to_be_visible()
        card = page.locator(f".st-key-job-{job.id}")
        before = card.bounding_box()
        report("factorization", 0.5, "a much longer message than the one before, " * 5)
        expect(page.get_by_text("50 % · a much longer")).to_be_visible()
        assert card.bounding_box() == before
        page.reload()
        settled(page)
        expect(page.get_by_text("50 % · a much longer")).to_be_visible()
        # The line in the corner covers neither of the buttons beside it.
        page.get_by_role("link", name="1 job").wait_for()
        line, buttons = (page.locator(f".st-key-{key}").bounding_box() for key in ("jobs-indicator", "glossary"))
        assert line is not None
        assert buttons is not None
        assert line["x"] + line["width"] <= buttons["x"]

        # Another tab shows it too, and both follow its end by themselves.
        other = page.context.new_page()
        open_at(other, f"{address}/model")
        expect(other.get_by_text("50 % · a much longer")).to_be_visible()
    record.cancel(job.id, 1e12)
    record.close(job.id, 1, job.status)
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    expect(other.get_by_text(re.compile("was cancelled"))).to_be_visible()


def test_tabs_keep_their_own_budget_and_back_returns_to_it(
    page: Page, dashboard: Dashboard, toy_analysis: Analysis
) -> None:
    address = dashboard.address
    other = page.context.new_page()
    open_at(page, f"{address}/?keep=0.6")
    open_at(other, f"{address}/?keep=0.9")
    for tab, shown in ((page, "60%"), (other, "90%")):
        tab.reload()
        settled(tab)
        assert budget(tab) == shown
    go(page, "Spectra")
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("RankScope")
    settled(page)
    assert budget(page) == "60%"
    assert "keep=0.6" in page.url
    page.go_forward()
    expect(page.get_by_role("heading", level=1)).to_have_text("Spectra")
    settled(page)
    assert toy_analysis.id[:12] in page.url


def test_an_analysis_deleted_under_an_open_page_is_one_sentence_and_a_way_on(page: Page, dashboard: Dashboard) -> None:
    address = dashboard.address
    open_at(page, address)
    shutil.rmtree(dashboard.home / "artifacts" / "analysis")
    assert budget(page) == "80%"
    page.get_by_role("slider").first.press("ArrowLeft")
    expect(page.get_by_text("is no longer here")).to_be_visible()
    settled(page)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_role("button", name="Analyse the demo model")).to_be_visible()


def test_a_server_that_restarts_brings_the_page_back_as_it_was(
    page: Page, tmp_path: Path, toy_home: Path, toy_analysis: Analysis
) -> None:
    home = tmp_path / "home"
    shutil.copytree(toy_home / "artifacts", home / "artifacts")
    port = free_port()
    with running_app(home, port) as address:
        open_at(page, f"{address}/")
        slider = page.get_by_role("slider", name=re.compile("Budget"))
        assert budget(page) == "80%"
        for _ in range(5):
            slider.press("ArrowLeft")
        expect(page).to_have_url(re.compile("keep=0.75"))
        settled(page)
    expect(page.locator("[data-test-connection-state='CONNECTED']")).to_have_count(0)
    with running_app(home, port):
        page.locator("[data-test-connection-state='CONNECTED']").wait_for(timeout=120_000)
        settled(page)
        assert budget(page) == "75%"
        assert toy_analysis.id[:12] in page.url
        slider.press("ArrowLeft")
        expect(page).to_have_url(re.compile("keep=0.74"))
        settled(page)
        expect(page.get_by_test_id("stException")).to_have_count(0)
        expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)
