"""A real dashboard process and a real Chromium, with the dashboard's log shown when a test fails."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.app.conftest import toy_analysis, toy_home  # noqa: F401 -- fixtures
from tests.support.running_app import CHROMIUM_ARGUMENTS, LOG, chromium, free_port, running_app

if TYPE_CHECKING:
    from collections.abc import Iterator

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
        started = playwright.chromium.launch(executable_path=path, args=[*CHROMIUM_ARGUMENTS, "--js-flags=--no-opt"])
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


class Dashboard(NamedTuple):
    """A dashboard and the home it shows."""

    home: Path
    address: str

    def show(self, home: Path | None) -> None:
        """Let what was in the home go, and show a copy of what another has stored; ``None``: nothing."""
        gone = Path(tempfile.mkdtemp(dir=self.home.parent))
        for child in self.home.iterdir():
            if child.name != LOG:
                child.rename(gone / child.name)  # in one step: a page that was just closed may still be writing
        if home is not None:
            shutil.copytree(home / "artifacts", self.home / "artifacts")


@pytest.fixture(scope="session")
def only_dashboard(tmp_path_factory: pytest.TempPathFactory, warm_python: Path) -> Iterator[Dashboard]:
    """The one ``rankscope app`` of this test process, for its start and what its first page loads take seconds."""
    home = tmp_path_factory.mktemp("dashboard") / "home"
    with running_app(home, free_port(), warm_python) as address:
        yield Dashboard(home, address)


@pytest.fixture
def dashboard(only_dashboard: Dashboard, toy_home: Path) -> Iterator[Dashboard]:  # noqa: F811 -- imported above
    """The dashboard with the toy analysis and its measurements; its log is shown if the test fails."""
    log = only_dashboard.home / LOG
    before = log.stat().st_size
    only_dashboard.show(toy_home)
    yield only_dashboard
    said = log.read_bytes()[before:].decode(errors="replace")
    print(f"--- {log} ---\n{said[-5000:]}")
