"""A real dashboard process and a real Chromium, with the dashboard's log shown when a test fails."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.app.conftest import toy_analysis, toy_home  # noqa: F401 -- fixtures
from tests.support.running_app import CHROMIUM_ARGUMENTS, chromium, free_port, running_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from playwright.sync_api import Browser, Page

PATIENCE_MS = 60_000
"""A page on a busy two-core machine."""

LONG_MS = 300_000
"""A job on a busy two-core machine."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium; without one the tests are skipped, but fail where CI is set."""
    path = chromium()
    if path is None:
        reason = "NO CHROMIUM FOUND: the browser tests did not run. Install chromium with the system's packages."
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """A fresh window with a patience that suits a busy machine; what it showed last stays in ``last.png``."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    opened = context.new_page()
    yield opened
    opened.screenshot(path=tmp_path / "last.png")
    context.close()


@pytest.fixture
def dashboard(request: pytest.FixtureRequest) -> Iterator[Callable[[Path], str]]:
    """Start ``rankscope app`` on a home and return its address; its log is shown if the test fails."""
    running: list[tuple[Path, AbstractContextManager[str]]] = []

    def start(home: Path) -> str:
        app = running_app(home, free_port())
        running.append((home, app))
        return app.__enter__()

    yield start
    for home, app in running:
        app.__exit__(None, None, None)
        log = (home / "app.log").read_text(errors="replace")
        request.node.add_report_section("call", "dashboard's log", log[-5000:])
        print(f"--- {home / 'app.log'} ---\n{log[-5000:]}")


@pytest.fixture
def analysed_copy(tmp_path: Path, toy_home: Path) -> Path:  # noqa: F811 -- the fixture imported above
    """A home with the toy analysis and its measurements."""
    shutil.copytree(toy_home / "artifacts", tmp_path / "home" / "artifacts")
    return tmp_path / "home"
