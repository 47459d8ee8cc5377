"""Pages that are opened by their address do not jump while they load, rows that break into two included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.pages import WATCH_SHIFTS, shifts_of
from tests.support.tiers import sweep_unless

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Dashboard

PATHS = ("", "spectra", "sensitivity", "allocation", "results")


@pytest.mark.parametrize("path", sweep_unless(PATHS, {"", "allocation"}))
def test_no_page_jumps_while_it_loads(page: Page, dashboard: Dashboard, path: str) -> None:
    page.add_init_script(WATCH_SHIFTS)
    shifts = shifts_of(page, f"{dashboard.address}/{path}")
    assert sum(shift.value for shift in shifts) <= 0.05, shifts
