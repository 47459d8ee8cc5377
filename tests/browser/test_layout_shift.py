"""Pages that are opened by their address do not jump while they load."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.pages import WATCH_SHIFTS, shift_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Dashboard

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


def test_no_page_jumps_while_it_loads(page: Page, dashboard: Dashboard) -> None:
    page.add_init_script(WATCH_SHIFTS)
    paths = ("", "spectra", "sensitivity", "allocation", "results")
    shifts = {path: shift_of(page, f"{dashboard.address}/{path}") for path in paths}
    assert {path: shift for path, shift in shifts.items() if shift > 0.05} == {}
