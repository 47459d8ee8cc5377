"""The Sensitivity page: shares by depth and kind, and how far the scores agree."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from app import charts, tables
from app.components.rank_board.selection import selected_in_address
from app.pages import page_file
from app.services import analyses
from app.views.shared.compared import difference
from app.wording.labels import projection_label
from engine.analysis.curves import rank_alone
from engine.jobs import JobQueue
from engine.operations import Passages
from engine.pipeline.analyse import analyse
from engine.pipeline.reading.analyses import load_analysis
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import AnalysisSpec, CorpusSpec, ModelSpec

if TYPE_CHECKING:
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from engine.analysis.value import Analysis

Open = "Callable[..., AppTest]"


def projections(page: AppTest):
    """Return the table of all projections."""
    return next(d for d in page.dataframe if d.key and d.key.startswith("sensitivity.projections"))


def scores(analysis: Analysis) -> pd.DataFrame:
    return tables.sensitivity(analysis, 0.5, analyses.predicted_increases(analysis.id, 0.5), None)


@pytest.mark.parametrize("by", ["layer", "kind"])
def test_score_shares_add_up_to_one_and_are_drawn(toy_analysis: Analysis, analysed_home: Path, by: str) -> None:
    shares = tables.score_shares(scores(toy_analysis), by)
    assert list(shares.columns) == ["FLRC importance", "Predicted nats"]
    np.testing.assert_allclose(shares.sum(), 1)
    for trace in charts.score_shares(shares).data:
        np.testing.assert_allclose(trace.y, 100 * shares[trace.name])


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
    table = projections(page).value
    assert table["importance"].sum() == pytest.approx(100)
    nothing = pd.DataFrame({"importance": [0.0, 0.0]})
    assert tables.importance_shares(nothing)["importance"].sum() == 0


def test_the_page_says_how_far_all_three_agree(open_page: Open, analysed_home: Path) -> None:
    page = open_page("sensitivity")
    (sentence,) = [m.value for m in page.markdown if m.value.startswith("FLRC importance and predicted nats")]
    assert sentence.count(";") == 2
    assert "measured nats" in sentence


def test_the_cheapest_layers_and_kinds_come_first() -> None:
    rows = pd.DataFrame(
        [
            {"layer": layer, "kind": kind, "predicted": nats, "freed_mb": mb}
            for layer, kind, nats, mb in [
                (0, "q", 3.0, 1.0),
                (0, "up", 4.0, 4.0),
                (1, "q", 1.0, 1.0),
                (1, "up", 1.0, 4.0),
            ]
        ]
    )
    ordered = tables.cheapest_first(rows)
    assert list(zip(ordered["layer"], ordered["kind"], strict=True)) == [(1, "up"), (1, "q"), (0, "up"), (0, "q")]


def test_layers_out_of_order_are_drawn_and_labelled_in_that_order() -> None:
    rows = pd.DataFrame({"layer": [2, 0, 1], "kind": "q", "name": ["c", "a", "b"], "value": [1.0, 2.0, 3.0]})
    figure = charts.layer_heatmap(rows, "value", title="t", hover=["h"] * 3, outlined=["a"])
    assert list(figure.data[0].z[:, 0]) == [1, 2, 3]
    assert list(figure.layout.yaxis.ticktext) == ["2", "0", "1"]
    (frame,) = figure.layout.shapes
    assert (frame.y0 + frame.y1) / 2 == 1


def test_nats_per_mb_are_of_what_the_cut_frees(toy_analysis: Analysis, analysed_home: Path) -> None:
    table = scores(toy_analysis).set_index("name")
    first = toy_analysis.inventory.projections[0]
    freed = (first.params - rank_alone(first, 0.5) * (first.in_features + first.out_features)) * 2 / 1e6
    assert table.loc[first.name, "nats_per_mb"] == pytest.approx(table.loc[first.name, "predicted"] / freed)
    shares = tables.score_shares(tables.cheapest_first(scores(toy_analysis)), "layer")
    assert sorted(shares.index) == [0, 1, 2]


def test_selected_projections_are_held_on_the_board_and_released(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis
) -> None:
    page = open_page("sensitivity", order="Cheapest to cut first", keep="0.6")
    table = projections(page)
    assert table.value["nats_per_mb"].is_monotonic_increasing
    row = table.value.iloc[0]
    page.session_state[projections(page).key] = {"selection": {"rows": [0], "columns": [], "cells": []}}
    page.run()
    next(b for b in page.button if b.label == "Hold 1 projection at the rank shown").click().run()
    assert not page.exception
    held = dict(page.session_state[f"held.{toy_analysis.id}"])
    assert list(held.values()) == [row["rank"]]
    assert page.query_params["held"]
    page.switch_page(page_file("allocation")).run()
    assert dict(page.session_state[f"held.{toy_analysis.id}"]) == held


def test_a_projection_of_an_mlp_at_a_width_is_held_with_it(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis
) -> None:
    page = open_page("sensitivity", method="width", keep="0.6")
    mlp = toy_analysis.inventory.mlps[0]
    row = list(projections(page).value["block"]).index(projection_label(mlp.down))
    page.session_state[projections(page).key] = {"selection": {"rows": [row], "columns": [], "cells": []}}
    page.run()
    next(b for b in page.button if b.label == "Hold 1 projection at the rank shown").click().run()
    assert not page.exception
    held = dict(page.session_state[f"held.{toy_analysis.id}"])
    assert list(held) == [mlp.name]
    assert 0 < held[mlp.name] < mlp.neurons
    assert projections(page).value["held"].sum() == len(mlp.members)
    next(b for b in page.button if b.label == "Release 1 held rank").click().run()
    assert not page.exception
    assert f"held.{toy_analysis.id}" not in page.session_state or not page.session_state[f"held.{toy_analysis.id}"]


def test_the_passages_of_a_selected_projection_are_offered_measured_and_shown(
    open_page: Open, analysed_home: Path, toy_home: Path, toy_analysis: Analysis, no_worker: None
) -> None:
    page = open_page("sensitivity", keep="0.5")
    table = projections(page)
    row = list(table.value["format"] != "dense").index(True)
    page.session_state[table.key] = {"selection": {"rows": [row], "columns": [], "cells": []}}
    page.run()
    next(b for b in page.button if b.label == "See which text pays for it").click().run()
    assert not page.exception
    picked = page.selectbox(key="sensitivity.passages.projection")
    assert toy_analysis.projections[picked.value].name == picked.value
    assert projection_label(toy_analysis.projections[picked.value]) == table.value["block"].iloc[row]
    assert any("time is unknown" in caption.value for caption in page.caption)
    assert any("that it then predicts worse" in caption.value for caption in page.caption)
    page.button(key="passages.start").click().run()
    assert not page.exception
    (job,) = JobQueue(analysed_home).jobs()
    assert job.operation == "passages"
    assert job.arguments["projection"] == picked.value
    few = Passages(**{**job.arguments, "n_sequences": 2, "length": 32, "device": "cpu"})
    few.run(Home(analysed_home), ignore_progress)
    page = open_page("sensitivity", keep="0.5", job=job.id)
    assert not page.exception
    damage = next(d.value for d in page.dataframe if "damage" in d.value)["damage"]
    assert list(damage) == sorted(damage, reverse=True)
    assert "nats: dense" in "".join(element.proto.body for element in page.get("html"))


def test_a_projection_that_the_map_leaves_dense_pays_nothing(open_page: Open, analysed_home: Path) -> None:
    page = open_page("sensitivity", {"sensitivity.passages": True}, keep="0.9")
    table = projections(page).value
    dense = list(table["format"] == "dense").index(True)
    picked = page.selectbox(key="sensitivity.passages.projection")
    page = picked.select_index(dense).run()
    assert not page.exception
    assert any("dense, so no text pays for it" in info.value for info in page.info)
    assert not [button for button in page.button if button.key == "passages.start"]


def test_another_weighting_is_compared_in_heatmaps_lines_and_words(open_page: Open, analysed_home: Path) -> None:
    page = open_page("sensitivity", **{"with": "Weighting: Inputs", "cut": "50"})
    assert not page.exception
    said = "\n".join(element.value for kind in (page.markdown, page.caption, page.info) for element in kind)
    assert "Compared with Weighting" in said
    assert "Not measured at 50.0 % kept for what is compared" in said  # the measurement cut the default weighting
    assert "The same in what is compared" in said  # importances have no weighting
    assert "FLRC importance: both put the projections in nearly the same order (1.00)" in said
    page.toggle(key="difference").set_value(False).run()
    assert not page.exception
    assert "Not measured at" not in "\n".join(info.value for info in page.info)


def test_another_analysis_is_compared_with_its_own_scores(
    open_page: Open, analysed_home: Path, toy_home: Path, toy_analysis: Analysis
) -> None:
    corpus = CorpusSpec.parse(str(toy_home / "corpus.txt"), part="calibration", n_sequences=2, length=32)
    key = analyse(
        Home(analysed_home), AnalysisSpec(ModelSpec.parse(str(toy_home / "toy-model")), corpus), ignore_progress
    )
    page = open_page("sensitivity", analysis=toy_analysis.id[:12])
    (label,) = [option for option in page.selectbox(key="with").options if "2 × 32" in option]
    page.selectbox(key="with").select(label).run()
    assert not page.exception
    said = "\n".join(element.value for element in page.markdown)
    other = load_analysis(Home(analysed_home).store, key.fingerprint)
    assert tables.agreement_with(scores(toy_analysis), scores(other)).splitlines()[0] in said


def test_a_ratio_has_colours_around_one_and_a_difference_around_zero() -> None:
    rows = pd.DataFrame({"layer": [0, 1], "kind": "q", "name": ["a", "b"], "value": [0.5, 4.0]})
    ratio = charts.layer_heatmap(rows, "value", title="t", hover=["h"] * 2, log=True, is_difference=True).data[0]
    assert (ratio.zmin, ratio.zmax) == pytest.approx((-math.log10(4), math.log10(4)))
    assert "1" in ratio.colorbar.ticktext
    plain = charts.layer_heatmap(rows, "value", title="t", hover=["h"] * 2, is_difference=True).data[0]
    assert (plain.zmin, plain.zmax) == (-4, 4)
    assert difference(rows["value"], pd.Series([1.0, 0.0]), is_ratio=True).tolist()[0] == 0.5
    assert math.isnan(difference(rows["value"], pd.Series([1.0, 0.0]), is_ratio=True)[1])


def test_what_is_compared_is_drawn_beside_each_score(toy_analysis: Analysis, analysed_home: Path) -> None:
    for by in ("layer", "kind"):
        shares = tables.score_shares(scores(toy_analysis), by)
        figure = charts.score_shares(shares, ("Another", shares))
        assert [trace.name for trace in figure.data if trace.name.endswith(", Another")] == [
            f"{title}, Another" for title in shares.columns
        ]
        assert sum(trace.showlegend is not False for trace in figure.data) == len(shares.columns) + 1


def test_what_is_brushed_on_a_map_is_the_table_and_can_be_held_or_selected_on_the_board(
    open_page: Open, analysed_home: Path, toy_analysis: Analysis
) -> None:
    page = open_page("sensitivity", keep="0.6")
    names = [p.name for p in toy_analysis.inventory.projections]
    points = [{"customdata": [name, 0]} for name in names[1:3]]
    page.session_state["sensitivity.predicted"] = {"selection": {"points": points}}
    page.run()
    assert not page.exception
    assert len(projections(page).value) == 2
    link = next(link for link in page.get("page_link") if "Select 2 projections" in link.proto.label)
    assert "select=1-2" in link.proto.query_string
    next(b for b in page.button if b.label == "Hold 2 projections at the rank shown").click().run()
    assert set(dict(page.session_state[f"held.{toy_analysis.id}"])) == set(names[1:3])


def test_projections_are_selected_by_their_places(toy_analysis: Analysis) -> None:
    names = list(toy_analysis.projections)
    assert selected_in_address(toy_analysis, {names[5], names[0], names[1]}) == {"select": "0-1.5"}
