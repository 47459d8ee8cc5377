"""The pages on the real demo model: 30 layers, 210 projections."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from cache import DirectoryStore
from engine.pipeline.reading.analyses import analysis_headings
from tests.support.running_app import free_port, running_app, settled

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.demo, pytest.mark.long, pytest.mark.timeout(3600)]


@pytest.fixture(scope="session")
def demo_analysis_home(demo_home: Path) -> Path:
    """The tests' shared home with any analysis of the demo; a small one is made if there is none."""
    headings = analysis_headings(DirectoryStore(demo_home / "artifacts"))
    if not any("SmolLM2" in h.about["model"] for h in headings):
        command = [str(Path(sys.executable).with_name("rankscope")), "analyse", "demo", "--n-sequences", "4"]
        environment = {**os.environ, "RANKSCOPE_HOME": str(demo_home)}
        subprocess.run(command, env=environment, check=True, timeout=3000)
    return demo_home


def test_every_page_of_the_demo(page: Page, demo_analysis_home: Path) -> None:
    headings = analysis_headings(DirectoryStore(demo_analysis_home / "artifacts"))
    analysis = next(h.id[:12] for h in headings if "SmolLM2" in h.about["model"])
    told = {
        "": "With Water-filling",
        "model": "What can be compressed",
        "spectra": "Blocks drawn",
        "sensitivity": "FLRC importance",
        "allocation": "Ranks, projection by projection",
        "results": "Every rank map that was compressed",
        "playground": "No question asked yet",
    }
    with running_app(demo_analysis_home, free_port()) as address:
        for path, text in told.items():
            page.goto(f"{address}/{path}?analysis={analysis}")
            settled(page)
            expect(page.get_by_text(text).first).to_be_visible()
            expect(page.get_by_test_id("stException")).to_have_count(0)
            expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)
        page.goto(f"{address}/model?analysis={analysis}")
        settled(page)
        expect(page.get_by_test_id("stMetricValue").filter(has_text=re.compile("^210$"))).to_be_visible()
