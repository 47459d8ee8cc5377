"""What a user does from an empty home to a measured compressed model, by clicking."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import LONG_MS
from tests.support.analysed_toy import save_toy_model, write_corpus
from tests.support.running_app import scrolled_box, settled

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Page
    from transformers import PreTrainedTokenizerFast

    from tests.browser.conftest import Dashboard

pytestmark = pytest.mark.browser


def choose(page: Page, option: str) -> None:
    """Press one segment of a segmented control."""
    page.get_by_role("radio", name=option, exact=True).click()


def type_in(page: Page, label: str, text: str) -> None:
    """Fill the field whose label begins so, and commit it."""
    field = page.locator(f'input[aria-label^="{label}"]')
    field.fill(text)
    field.press("Enter")


def upload(page: Page, path: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(path)
    expect(page.get_by_text(path.name)).to_be_visible()


def go(page: Page, name: str, title: str | None = None) -> None:
    page.get_by_role("link", name=name, exact=True).first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(title or name)
    settled(page)


@pytest.mark.timeout(900)
def test_from_an_empty_home_to_a_measured_model(
    page: Page, dashboard: Dashboard, tmp_path: Path, toy_tokenizer: PreTrainedTokenizerFast
) -> None:
    model = save_toy_model(tmp_path / "toy-model", toy_tokenizer)
    text = write_corpus(tmp_path / "my text.txt")
    dashboard.show(None)

    # The first page says what to do; the way leads to Model.
    page.goto(dashboard.address)
    settled(page)
    expect(page.get_by_text("Nothing has been analysed yet")).to_be_visible()
    page.get_by_role("link", name="Analyse your own model").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Model")
    settled(page)
    expect(page.get_by_role("button", name="Analyse the demo model")).to_be_visible()

    # A folder and an uploaded text.
    page.get_by_text("Analyse your own model").click()
    choose(page, "Folder")
    type_in(page, "Path of a transformers folder", str(model))
    choose(page, "Upload")
    upload(page, text)
    type_in(page, "Sequences", "8")
    type_in(page, "Tokens in each", "64")
    expect(page.get_by_text("512 tokens will be read")).to_be_visible()
    page.get_by_role("button", name="Analyse", exact=True).click()

    # Progress is there, also after a reload, and when it is done the page says what was found.
    progress = page.get_by_text("Analyse toy-model on my-text.txt")
    expect(progress.first).to_be_visible()
    page.reload()
    settled(page)
    expect(progress.first).to_be_visible()
    expect(page.get_by_text(re.compile("Analyse toy-model on my-text.txt: done"))).to_be_visible(timeout=LONG_MS)
    expect(page.get_by_text("What can be compressed")).to_be_visible()
    expect(page.get_by_test_id("stMetricValue").filter(has_text="21")).to_be_visible()

    # A budget, another method, a held rank, and the measurement, with a reload while it runs.
    go(page, "Allocation")
    board = page.get_by_test_id("rank-board")
    expect(board).to_have_attribute("data-confirmed-revision", "0")
    page.get_by_test_id("budget").fill("0.7")
    expect(page).to_have_url(re.compile("keep=0.7"))
    expect(board).to_have_attribute("data-confirmed-revision", "1")
    settled(page)
    page.get_by_role("button", name="Compress and measure").click()
    expect(page).to_have_url(re.compile("job="))
    page.reload()
    settled(page)
    expect(board).to_have_attribute("data-kept-fraction", "0.7")
    expect(page.get_by_text("Dense perplexity")).to_be_visible(timeout=LONG_MS)
    for label in ("Predicted", "Measured", "Same top token"):
        expect(page.get_by_test_id("stMetricLabel").filter(has_text=label)).to_be_visible()

    # It is among the results, and can be taken along.
    go(page, "Results")
    expect(page.get_by_text("Predicted against measured")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as JSON").click()
    dense, run = json.loads(download.value.path().read_text())["rows"]
    assert (dense["method"], run["method"]) == ("dense", "water-filling")
    assert run["size"]["kept_fraction"] <= 0.7
    assert run["perplexities"][0]["perplexity"] > 0

    # Both jobs are listed with their logs.
    go(page, "Jobs")
    expect(page.get_by_text("done")).to_have_count(2)


@pytest.mark.timeout(900)
def test_ranks_are_held_by_typing_and_spectra_picked_by_clicking(page: Page, dashboard: Dashboard) -> None:
    address = dashboard.address
    page.goto(f"{address}/allocation")
    settled(page)
    page.get_by_role("tab", name="Heatmap & table").click()
    # The chart above is drawn last, and moves what is below it.
    expect(page.locator(".js-plotly-plot:visible .main-svg").first).to_be_attached()
    grid = page.get_by_test_id("stDataFrame").last
    box = scrolled_box(page, grid)
    # The last column of the first row: the table is drawn on a canvas, so it is clicked by place.
    grid.click(position={"x": box["width"] - 40, "y": 52})
    page.keyboard.type("5")
    expect(page.locator("#portal input")).to_have_value("5")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Release 1 held rank")).to_be_visible()
    settled(page)
    # The held rank is still there after a reload, when the budget moves and when another page was visited.
    expect(page).to_have_url(re.compile("held=[0-9a-f]{16}"))
    page.reload()
    settled(page)
    board = page.get_by_test_id("rank-board")
    expect(board).to_have_attribute("data-held", '{"model.layers.0.self_attn.q_proj":5}')
    page.get_by_test_id("budget").press("ArrowLeft")
    expect(page).to_have_url(re.compile("keep=0.799"))
    settled(page)
    expect(page.get_by_role("button", name="Release 1 held rank")).to_be_visible()
    go(page, "Spectra")
    go(page, "Allocation")
    expect(board).to_have_attribute("data-kept-fraction", "0.799")
    page.get_by_role("tab", name="Measure & export").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download this rank map").click()
    blocks = json.loads(download.value.path().read_text())["blocks"]
    (held,) = [b for b in blocks if b["projections"] == ["model.layers.0.self_attn.q_proj"]]
    assert (held["format"], held["rank"]) == ("skip", 5)
    page.get_by_role("tab", name="Heatmap & table").click()
    page.get_by_role("button", name="Release 1 held rank").click()
    expect(page.get_by_role("button", name="Release 1 held rank")).to_have_count(0)
    expect(page).not_to_have_url(re.compile("held="))

    go(page, "Spectra")
    drawn = page.get_by_test_id("stMultiSelect")
    expect(drawn.get_by_text("L1 q", exact=True)).to_be_visible()
    cell = page.locator(".js-plotly-plot").first.locator(".scatterlayer .point").first
    cell.wait_for(state="attached")
    spot = cell.bounding_box()
    assert spot is not None
    page.mouse.click(spot["x"] + spot["width"] / 2, spot["y"] + spot["height"] / 2)
    expect(drawn.get_by_text("L0 q", exact=True)).to_be_visible()
