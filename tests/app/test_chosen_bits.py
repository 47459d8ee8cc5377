"""Bits chosen per block on the board: Python chooses them for a size in bytes, or says why it cannot."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from cache import Key
from engine.methods.editing import edited_map
from engine.operations import PredictRounding
from engine.pipeline.opened import open_analysis
from engine.pipeline.reading.analyses import load_analysis
from engine.pipeline.reading.rounding import is_outdated
from engine.pipeline.report import report_content
from engine.pipeline.rounding_pilot import weigh_kinds
from engine.precision import model_bytes
from engine.progress import ignore_progress
from engine.rank_map.document import RankMap
from engine.rank_map.named import NamedMaps
from engine.report._headline import headline
from engine.settings import Home
from engine.types import BlockRank, Format, Metric
from tests.app.conftest import sent_to_browser
from tests.app.test_views import button, in_tab, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from engine.analysis.value import Analysis

    Open = Callable[..., AppTest]


@pytest.fixture
def rounding_home(analysed_home: Path, toy_analysis: Analysis) -> Path:
    """The analysed home with predictions of rounding."""
    PredictRounding(analysis=toy_analysis.id).run(Home(analysed_home), ignore_progress)
    return analysed_home


def test_predicting_what_rounding_does_only_goes_on(analysed_home: Path, toy_analysis: Analysis) -> None:
    fractions: list[float] = []

    def told(_stage: str, fraction: float | None, _message: str) -> None:
        fractions.extend([] if fraction is None else [fraction])

    PredictRounding(analysis=toy_analysis.id).run(Home(analysed_home), told)
    assert all(after >= before - 1e-9 for before, after in pairwise(fractions))
    assert fractions[-1] == pytest.approx(1)


def test_water_filling_has_bits_of_its_own_within_the_size(
    open_page: Open, rounding_home: Path, toy_analysis: Analysis
) -> None:
    page = open_page("allocation", keep="0.35", dtype="chosen")
    assert not page.exception
    assert not [b for b in page.button if b.label == "Predict what rounding does"]
    sent = sent_to_browser(page, "answered")
    plan = sent["answered"]["water-filling"]["plan"]
    blocks = [BlockRank(tuple(b["members"]), Format(b["format"]), b["rank"], b["bits"]) for b in plan["blocks"]]
    inventory = toy_analysis.inventory
    others = inventory.total_params - inventory.compressible_params
    assert model_bytes("float16", blocks, inventory) <= 2 * others + 0.7 * inventory.compressible_params
    rounded = [block for block in plan["blocks"] if block["bits"] < 16]
    assert rounded
    assert all(block["rounding"] > 0 for block in rounded)
    assert sent["confirmed"]["water-filling"]["nats"] == plan["nats"]
    page = in_tab(page, "Heatmap & table")
    assert "Blocks: " in shown(page)


def test_without_predictions_of_rounding_the_board_says_so_and_offers_them(
    open_page: Open, analysed_home: Path, no_worker: None
) -> None:
    page = open_page("allocation", dtype="chosen")
    assert "not predicted yet" in sent_to_browser(page, "answered")["answered"]["water-filling"]["reason"]
    assert button(page, "Predict what rounding does")
    page = open_page("allocation")
    assert sent_to_browser(page, "answered")["answered"] == {}


def test_predictions_of_an_earlier_version_are_asked_for_again_in_a_sentence(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis, no_worker: None
) -> None:
    store = Home(analysed_home).store
    with store.writing(Key("rounding", "0" * 64), {"analysis": toy_analysis.id, "model": "toy"}) as into:
        (into / "rounding.safetensors").write_bytes(b"")
    assert is_outdated(store, toy_analysis.id)
    assert not is_outdated(store, "another")
    page = open_page("allocation", dtype="chosen")
    assert "What an earlier version predicted is not used any more" in shown(page)
    PredictRounding(analysis=toy_analysis.id).run(Home(analysed_home), ignore_progress)
    assert not is_outdated(store, toy_analysis.id)
    assert "earlier version" not in shown(open_page("allocation", dtype="chosen"))


def test_an_open_map_with_bits_says_that_rounding_is_left_out_until_it_is_predicted(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis, no_worker: None
) -> None:
    home, about = Home(analysed_home), toy_analysis.about
    blocks = tuple(BlockRank((name,), Format.DENSE, None, 4) for name in toy_analysis.projections)
    named = (about["model"], about["model_fingerprint"], toy_analysis.id)
    rank_map = RankMap(*named, "rounded", Metric.LOSS, None, blocks)
    saved = NamedMaps(home.maps, about["model_fingerprint"]).save("Rounded", rank_map)
    page = open_page("allocation", map=saved.id, method="saved map")
    assert "leaves out what rounding them harms" in shown(page)
    assert button(page, "Predict what rounding does")
    assert "comes on top" in headline(report_content(home.store, toy_analysis.id, rank_map))
    PredictRounding(analysis=toy_analysis.id).run(home, ignore_progress)
    assert "leaves out" not in shown(open_page("allocation", map=saved.id, method="saved map"))
    assert "comes on top" not in headline(report_content(home.store, toy_analysis.id, rank_map))


def test_a_perplexity_is_no_size_that_bits_are_chosen_for(open_page: Open, rounding_home: Path) -> None:
    page = open_page("allocation", dtype="chosen", ppl="500")
    assert "clear the perplexity" in sent_to_browser(page, "answered")["answered"]["water-filling"]["reason"]


def test_a_block_that_is_edited_keeps_its_bits_unless_it_skips(toy_analysis: Analysis) -> None:
    name, other = list(toy_analysis.projections)[:2]
    blocks = tuple(BlockRank((each,), Format.DENSE, None, 4) for each in toy_analysis.projections)
    rank_map = RankMap("m", "f", toy_analysis.id, "water-filling", Metric.LOSS, None, blocks)
    low = edited_map(rank_map, ((name, 3),), frozenset({Format.LOW_RANK}), toy_analysis)
    assert [low.blocks[0].rank, low.blocks[0].bits, low.blocks[1].bits] == [3, 4, 4]
    skip = edited_map(rank_map, ((other, 3),), frozenset({Format.SKIP}), toy_analysis)
    assert [skip.blocks[0].bits, skip.blocks[1].format, skip.blocks[1].bits] == [4, Format.SKIP, 16]


def test_a_kind_counts_by_what_the_model_shows_that_has_it_rounded(rounding_home: Path, toy_analysis: Analysis) -> None:
    home = Home(rounding_home)
    found = load_analysis(home.store, toy_analysis.id)
    opened = open_analysis(home, found, ignore_progress, dtype="float32", device="cpu")
    kinds = {projection.kind for projection in toy_analysis.projections.values()}
    promised = {name: 0.5 if p.kind == "v" else 1e-6 for name, p in toy_analysis.projections.items()}
    # The toy bears rounding well: what was promised to harm counts least, what nobody could see as promised.
    assert weigh_kinds(opened, promised, ignore_progress) == {kind: 0.125 if kind == "v" else 1.0 for kind in kinds}
