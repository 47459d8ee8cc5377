"""What hands do on the rank board, on an empty page: selecting, editing, comparing, by pointer and by keyboard."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from app.components.rank_board.data import BoardState
from app.costed_maps import SAVED, CostedMap
from engine.analysis.curves import group_curves
from engine.methods.allocate import allocate_rank_map
from engine.methods.cost import cost_of
from engine.methods.presets import PRESETS
from engine.types import Budget, Format, Metric
from tests.browser.conftest import PATIENCE_MS
from tests.support.bare_board import made_up_analysis, open_board
from tests.support.tiers import sweep_unless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Locator, Page

    from engine.analysis.value import Analysis

    Open = Callable[..., Locator]

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]

N_LAYERS = 5


@pytest.fixture
def opened(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Open]:
    """Open the board of a made-up model of five layers; errors in the page fail the test.

    The parameter, if there is one, is how many pixels of the screen a pixel of the page has.
    """
    scale = getattr(request, "param", 1)
    viewport = {"width": 1200, "height": 1100}
    context = browser.new_context(viewport=viewport, device_scale_factor=scale, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page = context.new_page()
    errors: list[Any] = []
    page.on("pageerror", lambda error: errors.append(error))  # noqa: PLW0108 -- playwright marks it

    def show(
        n_layers: int = N_LAYERS, *, is_open: bool = False, mlps: bool = False, query: str = "", **state: Any
    ) -> Locator:
        analysis = made_up_analysis(n_layers, 64, mlps=mlps)
        open_board(page, analysis, BoardState(**state), half_of(analysis) if is_open else None, query)
        return page.get_by_test_id("rank-board")

    yield show
    assert not errors
    context.close()


def half_of(analysis: Analysis) -> CostedMap:
    """Return a saved map that keeps half of the model."""
    budget = Budget.of_kept_fraction(0.5, analysis.inventory.compressible_params)
    curves = {Metric.INPUT: group_curves(analysis, Metric.INPUT)}
    rank_map = allocate_rank_map(analysis, curves, "svd-llm", budget)
    return CostedMap(SAVED, rank_map, cost_of(analysis, rank_map))


def selected(board: Locator) -> set[str]:
    return set((board.get_attribute("data-selected") or "").split())


def held(board: Locator) -> dict[str, int]:
    found: dict[str, int] = json.loads(board.get_attribute("data-held") or "{}")
    return found


def expect_selected(board: Locator, layers: str, kinds: str) -> None:
    names = [f"layers.{layer}.{kind}" for layer in layers for kind in kinds.split()]
    expect(board).to_have_attribute("data-selected", re.compile(rf"^\S+( \S+){{{len(names) - 1}}}$"))
    assert selected(board) == set(names)


def kept_by(board: Locator, method: str) -> int:
    return int(board.page.locator(f'.rb-card[data-method="{method}"]').get_attribute("data-params") or 0)


def spot(page: Page, layer: int, row: float) -> tuple[float, float]:
    """Return where the bar of a layer stands; rows are counted from 0, 7.2 is the axis."""
    box = page.get_by_test_id("rank-map").bounding_box()
    assert box is not None
    return box["x"] + box["width"] * (layer + 0.5) / N_LAYERS, box["y"] + 50 * row + 25


def test_selecting_with_the_pointer(opened: Open) -> None:
    board = opened()
    page = board.page
    page.mouse.click(*spot(page, 1, 1))
    expect_selected(board, "1", "k")
    page.keyboard.down("Shift")
    page.mouse.click(*spot(page, 3, 2))
    page.keyboard.up("Shift")
    expect_selected(board, "123", "k v")
    expect(page.get_by_test_id("selected")).to_have_text("6 projections: k, v; layers 1 to 3")
    page.keyboard.down("Control")
    page.mouse.click(*spot(page, 1, 1))
    page.keyboard.up("Control")
    expect(board).not_to_have_attribute("data-selected", re.compile(r"layers\.1\.k"))
    # On the axis of layers, and from the names of the rows.
    page.mouse.move(*spot(page, 0, 6.7))
    page.mouse.down()
    page.mouse.move(*spot(page, 1, 6.7), steps=3)
    page.mouse.up()
    expect_selected(board, "01", "q k v o gate up down")
    page.get_by_role("button", name="Select o in every layer").click()
    expect_selected(board, "01234", "o")
    page.get_by_role("button", name="Select down in every layer").click(modifiers=["Control"])
    expect_selected(board, "01234", "o down")


def test_the_selection_is_in_the_address(opened: Open) -> None:
    board = opened(query="keep=0.8&select=0.8-9.q.9999")
    page, names = board.page, [f"layers.{layer}.{kind}" for layer in (0, 1) for kind in "qkv"]
    expect(board).to_have_attribute("data-selected", " ".join(names[0:1] + names[4:]))
    page.get_by_role("button", name="Select q in every layer").click()
    page.keyboard.down("Control")
    page.mouse.click(*spot(page, 0, 1))
    page.keyboard.up("Control")
    expect(page).to_have_url("http://board.test/?keep=0.8&select=0-1.7.14.21.28")
    # What Python writes into the address knows nothing of it.
    page.evaluate("history.replaceState(null, '', '?keep=0.7')")
    page.get_by_test_id("budget").press("ArrowLeft")
    expect(page).to_have_url("http://board.test/?keep=0.7&select=0-1.7.14.21.28")
    page.reload()
    expect(board).to_have_attribute("data-selected", re.compile(r"^layers\.0\.q layers\.0\.k layers\.1\.q"))
    page.get_by_test_id("rank-map").press("Escape")
    expect(page).to_have_url("http://board.test/?keep=0.7")


def test_selecting_and_changing_by_keyboard(opened: Open) -> None:
    board = opened(method="svd-llm", keep=0.6)
    ranks = board.page.get_by_test_id("rank-map")
    for key in ("ArrowRight", "ArrowDown", "Shift+ArrowDown", "Shift+ArrowRight"):
        ranks.press(key)
    expect_selected(board, "01", "k v")
    expect(ranks).to_have_attribute("aria-valuetext", re.compile("^Layer 1, v: rank .* of 16.*, 4 selected$"))
    before = kept_by(board, "svd-llm")
    ranks.press("d")
    expect(board).to_have_attribute("data-held", re.compile("16.*16.*16.*16"))
    expect(board.page.get_by_test_id("said")).to_have_text(
        re.compile("^4 projections changed, 4 are held; [0-9.]+ % kept, predicted perplexity")
    )
    assert kept_by(board, "svd-llm") <= int(board.get_attribute("data-budget") or 0)
    ranks.press("-")
    expect(board).to_have_attribute("data-held", re.compile("15.*15.*15.*15"))
    ranks.press("l")
    expect(board).to_have_attribute("data-held", "{}")
    assert kept_by(board, "svd-llm") == before
    for key, layers, kinds in (("k", "01234", "v"), ("c", "1", "q k v o gate up down")):
        ranks.press(key)
        expect_selected(board, layers, kinds)
    ranks.press("a")
    expect(board.page.get_by_test_id("selected")).to_have_text(re.compile("^35 projections"))
    ranks.press("Escape")
    expect(board).to_have_attribute("data-selected", "")
    ranks.press("Control+z")
    expect(board).to_have_attribute("data-held", re.compile("15.*15.*15.*15"))


def test_many_at_once_as_a_fraction_of_their_full_rank(opened: Open) -> None:
    board = opened(method="flrc")
    page = board.page
    page.get_by_role("button", name="Select k in every layer").click()
    page.get_by_role("button", name="Select o in every layer").click(modifiers=["Control"])
    page.get_by_test_id("cell-share").fill("25")
    page.keyboard.press("Enter")
    expect(board).to_have_attribute("data-held", re.compile("16"))
    assert held(board) == {f"layers.{n}.{kind}": full // 4 for n in range(5) for kind, full in (("k", 16), ("o", 64))}
    assert page.evaluate("reports.length") == 0 or page.evaluate("reports.at(-1).held['layers.0.o']") == 16
    page.get_by_test_id("release").click()
    expect(board).to_have_attribute("data-held", "{}")


@pytest.mark.parametrize("method", sweep_unless(["water-filling", "skipcat", "bolaco"], {"water-filling"}))
def test_without_rebalancing_nothing_else_changes(opened: Open, method: str) -> None:
    board = opened(method=method, keep=0.6)
    page = board.page
    ranks = page.get_by_test_id("rank-map")
    before = {name: kept_by(board, name) for name in (method, "svd-llm")}
    page.get_by_test_id("rebalance").uncheck()
    expect(board).to_have_attribute("data-rebalance", "off")
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowDown"):
        ranks.press(key)
    expect(board).to_have_attribute("data-selected", "layers.0.o")
    rank = int(page.get_by_test_id("cell-rank").input_value())
    wanted = rank - 3 if rank > 40 else rank + 3
    page.get_by_test_id("cell-rank").fill(str(wanted))
    page.keyboard.press("Enter")
    expect(board).to_have_attribute("data-held", f'{{"layers.0.o":{wanted}}}')
    # SVD-LLM stores o of 64 x 64 as 128 parameters a rank, wherever it was.
    was = (before["svd-llm"], kept_by(board, "svd-llm"))
    assert (was[1] - was[0]) % 128 == 0
    assert was[1] != was[0]
    expect(page.get_by_test_id("balance")).to_have_text(
        re.compile("parameters .* (over the budget|of the budget are left)")
    )
    # The budget is only a mark now; rebalancing brings the map back to it, around what is held.
    page.get_by_test_id("budget").press("ArrowLeft")
    expect(page.get_by_test_id("budget")).to_have_attribute("aria-valuetext", re.compile("^59.9"))
    assert kept_by(board, "svd-llm") == was[1]
    page.get_by_test_id("undo").click()
    page.get_by_test_id("undo").click()
    expect(board).to_have_attribute("data-held", "{}")
    assert kept_by(board, method) == before[method]


def test_a_shared_block_moves_as_one(opened: Open) -> None:
    board = opened(method="skipcat", keep=0.6)
    page = board.page
    ranks = page.get_by_test_id("rank-map")
    ranks.press("ArrowRight")
    expect(page.get_by_test_id("cell-status")).to_have_text(
        re.compile("one block with k and v .holding it takes them apart")
    )
    page.get_by_test_id("rebalance").uncheck()
    before = kept_by(board, "skipcat")
    ranks.press("ArrowDown")
    rank = int(page.get_by_test_id("cell-rank").input_value())
    ranks.press("+")
    expect(board).to_have_attribute("data-held", f'{{"layers.0.q":{rank + 1}}}')
    # q, k and v read 64 features and put out 96: a rank costs 160 less the 2 r + 1 that skipping saves.
    assert kept_by(board, "skipcat") - before == 160 - (2 * rank + 1)
    expect(page.get_by_test_id("cell-status")).to_have_text(re.compile("they change together.*, held"))


def narrowed(opened: Open, **state: Any) -> tuple[Locator, int, int]:
    """Open a board on which MLPs may be narrowed; return it and layers with an MLP at a width and at ranks."""
    analysis = made_up_analysis(N_LAYERS, 64, mlps=True)
    curves = {Metric.LOSS: group_curves(analysis, Metric.LOSS)}
    budget = Budget.of_kept_fraction(0.5, analysis.inventory.compressible_params)
    found = allocate_rank_map(analysis, curves, "water-filling", budget)
    narrow = {analysis.projections[b.members[0]].layer for b in found.blocks if b.format is Format.WIDTH}
    return opened(mlps=True, keep=0.5, **state), min(narrow), min(set(range(N_LAYERS)) - narrow)


def drag(page: Page, layer: int, row: float, to_height: float) -> None:
    """Drag the bar of a projection to a height, from 0 at its bottom to 1 at its top."""
    x, y = spot(page, layer, row)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 42 * (0.5 - to_height) + 5, steps=2)
    page.mouse.move(x, y + 42 * (0.5 - to_height), steps=2)
    page.mouse.up()


def mlp_in(layer: int) -> str:
    return "+".join(f"layers.{layer}.{kind}" for kind in ("gate", "up", "down"))


GATE, UP, DOWN = 4, 5, 6


def test_the_bars_of_an_mlp_at_a_width_move_together(opened: Open) -> None:
    board, layer, other = narrowed(opened)
    page = board.page
    tip = page.get_by_test_id("cell-status")
    name = mlp_in(layer)
    drag(page, layer, UP, 0.5)
    expect(board).to_have_attribute("data-held", f'{{"{name}":96}}')
    for row, kind in ((GATE, "gate"), (UP, "up"), (DOWN, "down")):
        page.mouse.move(*spot(page, layer, row))
        expect(tip).to_have_text(
            re.compile(rf"^Layer {layer}, {kind}: width, kept 96 of 192 neurons, held.*move together", re.DOTALL)
        )
    expect(page.get_by_test_id("said")).to_have_text(re.compile(f"layer {layer}, the MLP is held at 96 of 192 neurons"))
    page.get_by_label("Neurons").fill("50")
    page.get_by_label("Neurons").press("Enter")
    expect(board).to_have_attribute("data-held", f'{{"{name}":50}}')
    page.get_by_test_id("undo").click()
    expect(board).to_have_attribute("data-held", f'{{"{name}":96}}')
    # As wide as it can be it is dense, and still one.
    page.mouse.dblclick(*spot(page, layer, GATE))
    expect(board).to_have_attribute("data-held", f'{{"{name}":192}}')
    expect(tip).to_have_text(re.compile("gate: dense, held"))
    drag(page, layer, DOWN, 0.25)
    expect(board).to_have_attribute("data-held", f'{{"{name}":48}}')
    page.get_by_test_id("hold").click()
    expect(board).to_have_attribute("data-held", "{}")
    # At ranks a projection is held by itself.
    drag(page, other, DOWN, 0.25)
    expect(board).to_have_attribute("data-held", f'{{"layers.{other}.down":16}}')
    expect(tip).not_to_have_text(re.compile("width"))


def test_a_width_is_held_without_rebalancing_too(opened: Open) -> None:
    board, layer, _ = narrowed(opened)
    page = board.page
    page.get_by_test_id("rebalance").uncheck()
    before = kept_by(board, "water-filling")
    drag(page, layer, UP, 0.5)
    name = mlp_in(layer)
    expect(board).to_have_attribute("data-held", f'{{"{name}":96}}')
    page.get_by_test_id("less").click()
    expect(board).to_have_attribute("data-held", f'{{"{name}":95}}')
    page.get_by_test_id("more").click()
    expect(board).to_have_attribute("data-held", f'{{"{name}":96}}')
    # A neuron is 64 parameters in each of three matrices.
    at_96 = kept_by(board, "water-filling")
    assert (at_96 - before) % (3 * 64) == 0
    page.get_by_test_id("more").click()
    expect(board).to_have_attribute("data-held", f'{{"{name}":97}}')
    assert kept_by(board, "water-filling") == at_96 + 3 * 64
    # The measure of this method knows no widths.
    expect(page.locator('.rb-card[data-method="svd-llm"]')).to_contain_text("this metric has none")
    page.get_by_test_id("hold").click()
    expect(board).to_have_attribute("data-held", "{}")
    assert kept_by(board, "water-filling") == before


def test_a_width_differs_from_ranks(opened: Open) -> None:
    board, *_ = narrowed(opened, compare="svd-llm")
    expect(board.page.get_by_test_id("difference")).to_have_text(re.compile(r"with a higher rank or width \(\+\)"))
    board.page.locator('.rb-card[data-method="svd-llm"]').click()
    board.page.get_by_test_id("compare").select_option("water-filling")
    expect(board.page.get_by_test_id("difference")).to_have_text(re.compile("^Against Water-filling at this budget"))


def test_the_method_of_widths_says_why_it_has_no_map(opened: Open) -> None:
    for mlps, reason in (
        (False, "no widths; analyse the model again"),
        (True, "cannot make the model as small as that"),
    ):
        card = opened(mlps=mlps, keep=0.15, method="width").page.locator('.rb-card[data-method="width"]')
        expect(card).to_contain_text(reason)


def test_a_perplexity_as_the_budget(opened: Open) -> None:
    board = opened()
    page = board.page
    cards = page.get_by_test_id("method-card")
    page.get_by_test_id("budget-perplexity").fill("1.2")
    expect(board).to_have_attribute("data-target", "24.6")
    figures = [
        (
            float(card.get_attribute("data-predicted-perplexity") or 0),
            float(card.get_attribute("data-kept-fraction") or 0),
        )
        for card in cards.all()
    ]
    assert all(20.5 <= perplexity <= 24.6 for perplexity, _ in figures if perplexity)
    assert len({kept for _, kept in figures}) >= 4
    active = list(PRESETS).index("water-filling")
    assert float(board.get_attribute("data-kept-fraction") or 0) == figures[active][1]
    page.get_by_test_id("budget-perplexity").press("ArrowUp")
    expect(board).to_have_attribute("data-target", "24.805")
    page.get_by_test_id("budget-perplexity").fill("0.5")
    expect(board).to_have_attribute("data-target", "20.5")
    expect(page.get_by_test_id("budget-notice")).to_have_text(
        "The smallest possible is 1 ×: as good as the dense model."
    )
    page.get_by_test_id("budget").press("ArrowLeft")
    expect(board).to_have_attribute("data-target", "")
    page.get_by_role("button", name="1.25 ×").click()
    expect(board).to_have_attribute("data-target", re.compile("25.6"))


def test_a_speed_as_the_budget_is_answered_by_python(opened: Open) -> None:
    board = opened(keep=0.8)
    page = board.page
    field, cards = page.get_by_test_id("budget-speed"), page.get_by_test_id("method-card")
    seconds = float(field.get_attribute("data-seconds") or 0)
    assert float(field.input_value()) == pytest.approx(1 / seconds, rel=1e-3)
    page.get_by_test_id("speed-unit").select_option("ms")
    expect(field).to_have_value(str(float(f"{1e3 * seconds:.4g}")))
    batch, context = page.get_by_test_id("speed-batch"), page.get_by_test_id("speed-context")
    batch.fill("5000")
    context.fill("99999999")
    expect(batch).to_have_value("4096")
    batch.fill("4")
    expect(context).to_have_value("10000000")
    context.fill("4096")
    field.fill("0.5")
    field.press("Enter")
    expect(board).to_have_attribute("data-time", "0.5")
    expect(cards.first).to_contain_text("The map is being chosen.")
    page.wait_for_function("globalThis.reports.length")
    state = page.evaluate("globalThis.reports.at(-1)")
    device = page.get_by_test_id("speed-device").input_value()
    assert state["time"] == {"ms": 0.5, "device": device, "dtype": "float16", "batch": 4, "context": 4096}
    assert state["target"] is None
    plan = {"blocks": [], "params": page.evaluate("globalThis.sent.compressible"), "nats": 0}
    answered = {"svd-llm": {"plan": plan}, "width": {"reason": "Too fast."}}
    page.evaluate("(answer) => globalThis.send(answer)", {"state": state, "answered": answered})
    expect(cards.first).to_contain_text("the dense model itself")
    expect(page.locator('.rb-card[data-method="width"]')).to_contain_text("Too fast.")
    expect(page.get_by_test_id("budget-notice")).to_contain_text("at most 0.5 ms per token")
    page.get_by_role("button", name="60 %").click()
    expect(board).to_have_attribute("data-time", "")
    expect(page.locator('.rb-card[data-method="width"]')).not_to_contain_text("Too fast.")


def test_megabytes_are_what_the_map_has_and_what_is_corrected_is_said(opened: Open) -> None:
    board = opened(keep=0.8)
    page = board.page
    field, notice = page.get_by_test_id("budget-mb"), page.get_by_test_id("budget-notice")
    size = board.page.locator(".rb-card[aria-checked=true]").inner_text()
    assert f"{float(field.input_value()):.3f} MB" in size
    field.fill("2.2")
    field.press("Enter")
    expect(notice).to_have_text(re.compile(r"^No method's map is larger than 2.200 MB; this one has 2\.(1|2)"))
    for field_of, typed, said, shown in (
        ("budget-mb", "0.5", "The smallest possible is 2.", "2."),
        ("budget-mb", "50", "The largest possible is 2.", "2."),
        ("budget-percent", "5", "The smallest possible is 10.0 %.", "10.0"),
        ("budget-percent", "120", "The largest possible is 100.0 %: the dense model.", "100.0"),
    ):
        page.get_by_test_id(field_of).fill(typed)
        page.get_by_test_id(field_of).press("Enter")
        expect(notice).to_have_text(re.compile(f"^{re.escape(said)}"))
        expect(page.get_by_test_id(field_of)).to_have_value(re.compile(f"^{re.escape(shown)}"))
    page.get_by_test_id("budget").press("ArrowLeft")
    expect(notice).to_have_text("")


def test_an_opened_map_changes_by_hand_and_by_no_budget(opened: Open) -> None:
    board = opened(keep=0.6, method=SAVED, is_open=True)
    page = board.page
    expect(board).to_have_attribute("data-method", "saved map")
    expect(page.get_by_test_id("rebalance")).to_be_disabled()
    expect(page.get_by_test_id("rebalance")).not_to_be_checked()
    expect(page.get_by_test_id("balance")).to_have_text(re.compile("opened map"))
    before = kept_by(board, "saved map")
    ranks = page.get_by_test_id("rank-map")
    ranks.press("ArrowRight")
    expect(page.get_by_test_id("cell-rank")).to_have_value(re.compile("[0-9]"))
    rank = int(page.get_by_test_id("cell-rank").input_value())
    ranks.press("-")
    expect(board).to_have_attribute("data-held", f'{{"layers.0.q":{rank - 1}}}')
    assert before - kept_by(board, "saved map") == 64 + 64
    expect(page.get_by_test_id("cell-status")).to_have_text(re.compile(f"rank {rank - 1} of 64, low-rank, held"))
    page.get_by_test_id("budget").press("ArrowLeft")
    expect(page.get_by_test_id("budget")).to_have_attribute("aria-valuetext", re.compile("^59.9"))
    assert before - kept_by(board, "saved map") == 64 + 64


def test_the_cards_are_one_stop_and_the_arrow_keys_choose(opened: Open) -> None:
    board = opened()
    page = board.page
    cards = page.get_by_test_id("method-card")
    expect(page.locator("[data-testid=method-card][tabindex='0']")).to_have_count(1)
    cards.last.press("ArrowRight")
    expect(board).to_have_attribute("data-method", "svd-llm")
    expect(cards.nth(0)).to_be_focused()
    expect(cards.nth(0)).to_have_attribute("tabindex", "0")
    cards.nth(0).press("ArrowLeft")
    expect(board).to_have_attribute("data-method", list(PRESETS)[-1])


def test_the_largest_and_the_smallest_budget_read_as_numbers(opened: Open) -> None:
    board = opened(keep=1.0, method="svd-llm")
    page = board.page
    card = page.locator(".rb-card[aria-checked=true]")
    expect(card).to_have_text(re.compile("1.000 × dense *the dense model itself.*100.0 % kept"))
    page.get_by_test_id("budget").press("Home")
    expect(board).to_have_attribute("data-kept-fraction", "0.1")
    for text in page.get_by_test_id("method-card").all_inner_texts():
        assert not re.search("NaN|Infinity|undefined|e[+]", text)
        assert re.search(r"likely > 1000 ×|likely [0-9.]+ to (> )?[0-9.]+ ×|–", text), text


def test_what_is_known_of_a_bar_stands_beside_it(opened: Open) -> None:
    board = opened(method="svd-llm", keep=0.6)
    page = board.page
    tip = page.get_by_test_id("cell-status")
    expect(tip).not_to_be_visible()
    for layer in (1, 4):
        x, y = spot(page, layer, 3)
        page.mouse.move(x, y)
        expect(tip).to_be_visible()
        expect(tip).to_have_text(re.compile(f"^Layer {layer}, o: rank"))
        box = tip.bounding_box()
        assert box is not None
        assert min(abs(box["x"] - x), abs(box["x"] + box["width"] - x)) < 260
        assert abs(box["y"] - y) < 40
    page.mouse.move(5, 5)
    expect(tip).not_to_be_visible()
    page.get_by_test_id("rank-map").press("ArrowRight")
    expect(tip).to_be_visible()


def test_keys_and_zoom(opened: Open) -> None:
    board = opened(n_layers=30)
    page = board.page
    keys = page.get_by_text("Keyboard, on the bars")
    expect(keys).not_to_be_visible()
    page.get_by_test_id("rank-map").press("?")
    expect(keys).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_test_id("keys").click()
    expect(keys).to_be_visible()
    page.keyboard.press("Escape")
    expect(keys).not_to_be_visible()
    ranks = page.get_by_test_id("rank-map")
    narrow = ranks.evaluate("element => element.scrollWidth")
    page.get_by_test_id("zoom").click()
    expect(page.get_by_test_id("zoom")).to_have_attribute("aria-pressed", "true")
    assert ranks.evaluate("element => element.scrollWidth") > narrow


def test_the_difference_to_another_map(opened: Open) -> None:
    board = opened()
    page = board.page
    line = page.get_by_test_id("difference")
    expect(line).to_be_hidden()
    page.get_by_test_id("compare").select_option("svd-llm")
    expect(line).to_have_text(re.compile("^Against SVD-LLM at this budget: 35 of 35 projections differ, .*parameters"))
    page.get_by_test_id("compare").select_option("water-filling")
    expect(line).to_have_text("No other map to compare with.")


@pytest.mark.parametrize("opened", sweep_unless([1, 1.25], {1.25}), indirect=True)
def test_a_map_drawn_change_by_change_looks_as_one_drawn_at_once(opened: Open) -> None:
    board = opened(n_layers=31, mlps=True)
    page = board.page
    canvas = page.locator(".rb-canvas")
    page.get_by_test_id("compare").select_option("svd-llm")
    box = canvas.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"]
    page.mouse.move(x, y + 75)
    page.mouse.down()
    page.mouse.move(x, y + 60, steps=5)
    page.mouse.move(x, y + 85, steps=5)
    page.mouse.up()
    ranks = page.get_by_test_id("rank-map")
    for key in ("Shift+ArrowLeft", "Shift+ArrowDown", "l", "ArrowLeft", "ArrowLeft"):
        ranks.press(key)
    page.mouse.move(x - 100, y + 175, steps=4)
    drawn = "canvas => new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(canvas.toDataURL()))))"
    by_changes = canvas.evaluate(drawn)
    # With other colours everything is drawn again.
    for colour in ("#123456", ""):
        page.evaluate("colour => document.body.style.setProperty('--st-text-color', colour)", colour)
        page.evaluate("send({})")
        assert (canvas.evaluate(drawn) == by_changes) == (colour == "")


def test_eighty_layers_scroll_instead_of_shrinking(opened: Open) -> None:
    board = opened(n_layers=80)
    board.page.set_viewport_size({"width": 900, "height": 900})
    ranks = board.page.get_by_test_id("rank-map")
    width, shown = ranks.evaluate("element => [element.scrollWidth, element.clientWidth]")
    assert width >= 80 * 12 > shown
    assert board.page.evaluate("document.documentElement.scrollWidth") <= 900
    ranks.press("ArrowRight")
    for _ in range(3):
        ranks.press("Shift+ArrowRight")
    ranks.press("a")
    expect(board.page.get_by_test_id("selected")).to_have_text(re.compile("^560 projections.*layers 0 to 79"))


def test_before_anything_is_measured_bolaco_answers_by_a_predicted_search_and_moves_with_the_budget(
    opened: Open,
) -> None:
    board = opened(method="bolaco", keep=0.6)
    page = board.page
    card = page.locator("[data-testid=method-card][data-method=bolaco]")
    expect(card).to_have_attribute("data-search", "measured")
    expect(card).to_contain_text("searched")
    page.evaluate("send({ evaluated: [] })")
    expect(card).to_have_attribute("data-search", "predicted")
    expect(card).to_contain_text("predicted search")
    before = kept_by(board, "bolaco")
    for _ in range(100):
        page.get_by_test_id("budget").press("ArrowLeft")
    expect(page.get_by_test_id("budget")).to_have_attribute("aria-valuetext", re.compile("^50"))
    after = kept_by(board, "bolaco")
    assert 0.4 * before < after < before
