"""Pages that are opened by their address do not jump while they load, rows that break into two included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.benchmarks.pages import WATCH_SHIFTS, shifts_of

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Dashboard

PATHS = ("", "spectra", "sensitivity", "allocation", "results")


def test_no_page_jumps_while_it_loads(page: Page, dashboard: Dashboard) -> None:
    page.add_init_script(WATCH_SHIFTS)
    shifts = {path: shifts_of(page, f"{dashboard.address}/{path}") for path in PATHS}
    assert {path: found for path, found in shifts.items() if sum(shift.value for shift in found) > 0.05} == {}
