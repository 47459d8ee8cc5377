"""The Overview page: its sentence for everyone, its tiles, its chart's table and its one next step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from app import tables
from app.services import allocation, measurements
from app.wording.headline import headline, uncertainty
from cache import DirectoryStore
from engine.methods.presets import PRESETS
from engine.prediction.runs import predictor_on, reference_text
from engine.types import Budget

if TYPE_CHECKING:
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from engine.analysis.value import Analysis

Open = "Callable[..., AppTest]"


def title_of(page: AppTest) -> str:
    return next(m.value for m in page.markdown if m.value.startswith("####"))


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0.95, "5.0 % less uncertain"),
        (1.0, "no more uncertain"),
        (1.0004, "no more uncertain"),
        (1.05, "5.0 % more uncertain"),
        (1.5, "50 % more uncertain"),
        (3.0, "3.0 × as uncertain"),
        (math.inf, "more than 1000 × as uncertain"),
    ],
)
def test_uncertainty_in_words(ratio: float, words: str) -> None:
    assert uncertainty(ratio) == words


def test_the_headline_is_a_prediction_until_exactly_this_map_was_measured(
    toy_analysis: Analysis, analysed_home: Path
) -> None:
    budget = Budget.of_kept_fraction(0.8, toy_analysis.inventory.compressible_params)
    costed = allocation.method_map(toy_analysis.id, "water-filling", budget.params)
    predicted = headline(costed, toy_analysis.inventory, (1.05, 1.01, 2.5), None, "news")
    assert "smaller**" in predicted
    assert "a prediction, likely between 1.0 % and 2.5 ×" in predicted
    assert "as measured" in headline(costed, toy_analysis.inventory, (1.05, 1.01, 2.5), 1.07, "news")


def test_the_next_step_is_to_measure_until_it_was(open_page: Open, analysed_home: Path) -> None:
    page = open_page("overview", keep="0.8")
    assert "as measured" in title_of(page)
    (link,) = page.get("page_link")
    assert link.proto.label == "Compare methods at this budget"
    store = DirectoryStore(analysed_home / "artifacts")
    for key in store.keys("evaluation"):
        store.delete(key)
    page = open_page("overview", keep="0.8")
    assert "a prediction" in title_of(page)
    (link,) = page.get("page_link")
    assert link.proto.label == "Compress and measure"


def test_tiles_hold_size_arithmetic_kept_and_both_perplexities(open_page: Open, analysed_home: Path) -> None:
    labels = [m.label for m in open_page("overview").metric]
    assert labels == ["Size", "Arithmetic per token", "Kept", "Perplexity, predicted", "Perplexity, measured"]


def test_the_charts_table_holds_every_point(toy_analysis: Analysis, analysed_home: Path) -> None:
    text = reference_text(measurements.result_rows(toy_analysis.id))
    assert text is not None
    curves = allocation.predicted_curves(toy_analysis.id, predictor_on(text))
    table = tables.quality(curves, tables.results(text))
    assert table["predicted_ratio"].notna().sum() == sum(len(points) for points in curves.values())
    assert table["measured_ratio"].notna().sum() == len(text.rows) + 1
    assert set(table["method"]) >= {PRESETS[name].title for name in curves} | {"dense"}
