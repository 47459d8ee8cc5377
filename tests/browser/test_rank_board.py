"""The rank board under a real pointer: everything moves with it, and Python agrees when it is released."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from tests.support.running_app import scrolled_box, settled

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Dashboard

pytestmark = pytest.mark.browser


@pytest.mark.timeout(600)
def test_a_budget_and_a_bar_are_dragged(page: Page, dashboard: Dashboard) -> None:
    page.goto(f"{dashboard.address}/allocation")
    settled(page)
    board = page.get_by_test_id("rank-board")
    expect(board).to_have_attribute("data-confirmed-revision", "0")
    expect(board).to_have_attribute("data-differing", "")

    # Before the pointer is released every card has followed it, and Python has not been asked.
    budget, cards = page.get_by_test_id("budget"), page.get_by_test_id("method-card")
    before = [card.get_attribute("data-params") for card in cards.all()]
    box = scrolled_box(page, budget)
    page.mouse.move(box["x"] + box["width"] * 0.77, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2, steps=8)
    expect(board).to_have_attribute("data-kept-fraction", re.compile(r"0\.5[3-6]"))
    kept = float(board.get_attribute("data-kept-fraction") or 0)
    for card, params in zip(cards.all(), before, strict=True):
        if params:
            assert card.get_attribute("data-params") != params
            assert float(card.get_attribute("data-kept-fraction") or 1) <= kept
            assert float(card.get_attribute("data-predicted-perplexity") or 0) > 1
    assert board.get_attribute("data-confirmed-revision") == "0"
    page.mouse.up()
    expect(board).to_have_attribute("data-confirmed-revision", "1")
    expect(board).to_have_attribute("data-differing", "")
    expect(page).to_have_url(re.compile(f"keep={kept}"))

    # A bar of the third layer's first kind is lowered, then given back.
    box = scrolled_box(page, page.get_by_test_id("rank-map"))
    x, y = box["x"] + box["width"] * 0.9, box["y"] + 15
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 22, steps=4)
    page.mouse.up()
    expect(board).to_have_attribute("data-confirmed-revision", "2")
    expect(board).to_have_attribute("data-differing", "")
    held = json.loads(board.get_attribute("data-held") or "{}")
    assert list(held) == ["model.layers.2.self_attn.q_proj"]
    page.get_by_test_id("undo").click()
    expect(board).to_have_attribute("data-held", "{}")
    expect(board).to_have_attribute("data-confirmed-revision", "3")
    page.get_by_test_id("redo").click()
    expect(board).to_have_attribute("data-held", json.dumps(held, separators=(",", ":")))
    expect(board).to_have_attribute("data-confirmed-revision", "4")
    settled(page)
    page.get_by_role("tab", name="Heatmap & table").click()
    page.get_by_role("button", name="Release 1 held rank").click()
    expect(board).to_have_attribute("data-held", "{}")


@pytest.mark.timeout(600)
def test_budget_cards_and_bars_share_a_screen_and_the_budget_stays_beside_the_table(
    page: Page, dashboard: Dashboard
) -> None:
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(f"{dashboard.address}/allocation")
    settled(page)
    expect(page.get_by_test_id("rank-board")).to_have_attribute("data-confirmed-revision", "0")
    page.wait_for_function("document.querySelector('[data-testid=rank-map]').getBoundingClientRect().bottom < 800")
    expect(page.get_by_role("tab", name="Measure & export")).to_be_in_viewport()
    page.get_by_role("tab", name="Heatmap & table").click()
    page.get_by_test_id("stDataFrame").last.scroll_into_view_if_needed()
    for part in (page.get_by_test_id("budget"), page.get_by_test_id("method-card").first):
        expect(part).to_be_in_viewport(ratio=1)


@pytest.mark.timeout(600)
def test_the_board_by_keyboard(page: Page, dashboard: Dashboard) -> None:
    page.goto(f"{dashboard.address}/allocation?keep=0.6&method=flrc")
    settled(page)
    board = page.get_by_test_id("rank-board")
    expect(board).to_have_attribute("data-confirmed-revision", "0")
    expect(board).to_have_attribute("data-method", "flrc")
    page.get_by_test_id("budget").press("ArrowRight")
    expect(page.get_by_test_id("budget")).to_have_attribute("aria-valuetext", re.compile("^60.1 % kept"))
    ranks = page.get_by_test_id("rank-map")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "d"):
        ranks.press(key)
    expect(board).to_have_attribute("data-held", '{"model.layers.1.self_attn.k_proj":32}')
    expect(page.get_by_test_id("cell-status")).to_have_text(re.compile("Layer 1, k: dense, held"))
    for key in ("-", "Control+z", "l"):
        ranks.press(key)
    expect(board).to_have_attribute("data-held", "{}")
    expect(board).to_have_attribute("data-differing", "")
    page.locator('[data-testid=method-card][data-method="svd-llm"]').press("Enter")
    expect(page).to_have_url(re.compile("method=svd-llm"))


@pytest.mark.timeout(600)
def test_python_confirms_a_target_and_edits_of_board_and_table_without_rebalancing(
    page: Page, dashboard: Dashboard
) -> None:
    page.goto(f"{dashboard.address}/allocation?keep=0.7&method=skipcat")
    settled(page)
    board = page.get_by_test_id("rank-board")
    expect(board).to_have_attribute("data-confirmed-revision", "0")

    # A target perplexity, in the URL and given up again by a kept fraction.
    page.get_by_test_id("budget-perplexity").fill("1.01")
    page.keyboard.press("Enter")
    expect(board).to_have_attribute("data-confirmed-revision", "1")
    expect(board).to_have_attribute("data-differing", "")
    target = board.get_attribute("data-target")
    expect(page).to_have_url(re.compile(f"ppl={target}"))
    page.reload()
    settled(page)
    expect(board).to_have_attribute("data-target", str(target))
    expect(board).to_have_attribute("data-differing", "")
    page.get_by_role("button", name="70 %", exact=True).click()
    expect(page).not_to_have_url(re.compile("ppl="))

    # Without rebalancing a shared block is lowered on the board, then one of its members' ranks typed into the table.
    page.get_by_test_id("rebalance").uncheck()
    ranks = page.get_by_test_id("rank-map")
    for key in ("ArrowRight", "ArrowDown", "-"):
        ranks.press(key)
    expect(board).to_have_attribute("data-held", re.compile(r'^{"model.layers.0.self_attn.q_proj":\d+}$'))
    held = json.loads(board.get_attribute("data-held") or "{}")
    page.get_by_role("tab", name="Heatmap & table").click()
    expect(page.get_by_role("button", name="Release 1 held rank")).to_be_visible()
    expect(board).to_have_attribute("data-differing", "")
    grid = page.get_by_test_id("stDataFrame").filter(has=page.locator("canvas")).last
    (rank,) = held.values()
    expect(grid.locator("[role=gridcell]", has_text=re.compile(f"^{rank}$")).first).to_be_attached()
    box = scrolled_box(page, grid)
    grid.click(position={"x": box["width"] - 40, "y": 52 + 35})
    page.keyboard.type("5")
    expect(page.locator("#portal input")).to_have_value("5")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Release 2 held ranks")).to_be_visible()
    expected = {**held, "model.layers.0.self_attn.k_proj": 5}
    expect(board).to_have_attribute("data-held", json.dumps(dict(sorted(expected.items())), separators=(",", ":")))
    expect(board).to_have_attribute("data-differing", "")
    page.get_by_test_id("rebalance").check()
    expect(board).to_have_attribute("data-confirmed-revision", re.compile("^[4-9]$"))
    expect(board).to_have_attribute("data-differing", "")
    assert json.loads(board.get_attribute("data-held") or "{}") == expected
