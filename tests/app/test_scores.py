"""The Sensitivity page: shares by depth and kind, and how far the scores agree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from app import charts, tables
from app.services import analyses

if TYPE_CHECKING:
    from pathlib import Path

    from engine.analysis.value import Analysis

Open = "Callable[..., AppTest]"


def scores(analysis: Analysis) -> pd.DataFrame:
    return tables.sensitivity(analysis, analyses.predicted_increases(analysis.id, 0.5), None)


@pytest.mark.parametrize("by", ["layer", "kind"])
def test_score_shares_add_up_to_one_and_are_drawn(toy_analysis: Analysis, analysed_home: Path, by: str) -> None:
    shares = tables.score_shares(scores(toy_analysis), by)
    assert list(shares.columns) == ["FLRC importance", "Predicted nats"]
    np.testing.assert_allclose(shares.sum(), 1)
    for trace in charts.score_shares(shares).data:
        np.testing.assert_allclose(trace.y, shares[trace.name])


def test_a_score_of_nothing_has_no_shares() -> None:
    rows = pd.DataFrame(
        {"layer": [0, 1], "importance": [0.0, 0.0], "predicted": [-1.0, 2.0], "measured": [math.nan] * 2}
    )
    shares = tables.score_shares(rows, "layer")
    assert shares.to_numpy().tolist() == [[0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("correlation", "words"),
    [
        (1.0, "nearly the same order"),
        (0.7, "mostly agree"),
        (0.3, "only roughly"),
        (0.0, "nearly unrelated"),
        (-0.8, "opposite"),
    ],
)
def test_an_agreement_is_told_in_words(correlation: float, words: str) -> None:
    matrix = pd.DataFrame([[1, correlation], [correlation, 1]], index=["A", "B"], columns=["A", "B"])
    sentence = tables.agreement_sentence(matrix)
    assert words in sentence
    assert f"({correlation:.2f})" in sentence


def test_one_score_agrees_with_nothing() -> None:
    assert "Only one" in tables.agreement_sentence(pd.DataFrame([[1.0]], index=["A"], columns=["A"]))


def test_importances_are_shown_as_shares_of_their_total(open_page: Open, analysed_home: Path) -> None:
    page = open_page("sensitivity")
    table = page.dataframe[-1].value
    assert table["FLRC importance"].sum() == pytest.approx(100)
    nothing = pd.DataFrame({"importance": [0.0, 0.0]})
    assert tables.importance_shares(nothing)["importance"].sum() == 0


def test_the_page_says_how_far_all_three_agree(open_page: Open, analysed_home: Path) -> None:
    page = open_page("sensitivity")
    (sentence,) = [m.value for m in page.markdown if m.value.startswith("FLRC importance and predicted nats")]
    assert sentence.count(";") == 2
    assert "measured nats" in sentence
