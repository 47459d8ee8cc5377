"""The lines of the Spectra page: their numbers, their marks, and the ways to choose them."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import charts, tables
from app.services import allocation
from app.services import maps as saved_maps
from engine.pipeline.analyse import analyse
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import AnalysisSpec, CorpusSpec, ModelSpec
from engine.types import Budget, Metric

if TYPE_CHECKING:
    from pathlib import Path

    from engine.analysis.value import Analysis

Open = "Callable[..., AppTest]"
ENERGIES = {"L0 q": np.array([16.0, 4.0, 4.0, 1.0]), "L0 k": np.zeros(3)}
BLOCKS = pd.DataFrame(
    {
        "name": ["q", "k"],
        "block": ["L0 q", "L0 k"],
        "layer": 0,
        "kind": ["q", "k"],
        "full_rank": [4, 3],
        "cut": [1, np.nan],
        "break_even": [2, 0],
        "break_even_skip": [3, 2],
    }
)
MARKS = {"cut": "cut", "break_even": "low-rank, cat", "break_even_skip": "skip, skip+cat"}
NOTHING = pd.DataFrame()


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [("sigma", [1, 0.5, 0.5, 0.25]), ("kept", [0.64, 0.8, 0.96, 1]), ("lost", [0.36, 0.2, 0.04, 0])],
)
def test_quantities_at_every_rank(quantity: str, expected: list[float]) -> None:
    lines = tables.spectrum_lines(ENERGIES, quantity)
    assert list(lines.index) == [1, 2, 3, 4]
    np.testing.assert_allclose(lines["L0 q"], expected, atol=1e-15)
    np.testing.assert_array_equal(lines["L0 k"], [0, 0, 0, np.nan])


def test_what_is_lost_stays_exact_far_below_what_is_kept() -> None:
    lines = tables.spectrum_lines({"b": np.array([1.0, 1e-30])}, "lost")
    assert lines["b"][1] == pytest.approx(1e-30)


def test_long_spectra_are_thinned_but_keep_their_ends() -> None:
    lines = tables.spectrum_lines({"b": np.arange(4096.0, 0, -1)}, "kept")
    assert len(lines) < 400
    assert (lines.index[0], lines.index[-1], lines["b"].iloc[-1]) == (1, 4096, pytest.approx(1))
    assert np.diff(lines.index).max() < 25


def test_marks_sit_on_the_line_at_their_ranks() -> None:
    lines = tables.spectrum_lines(ENERGIES, "kept")
    figure = charts.spectra(lines, BLOCKS, charts.Axes("kept", relative=True), MARKS, NOTHING)
    line, cut, plain, skip = [t for t in figure.data if t.legendgroup == "L0 q"]
    np.testing.assert_allclose(line.x, [25, 50, 75, 100])
    assert (list(cut.x), list(cut.y)) == ([25], [0.64])
    assert (list(plain.x), list(plain.y)) == ([50], [0.8])
    assert (list(skip.x), list(skip.y)) == ([75], [0.96])
    assert len({mark.marker.symbol for mark in (cut, plain, skip)}) == 3
    assert len([t for t in figure.data if t.legendgroup == "L0 k"]) == 2
    named = [t.name for t in figure.data if t.mode == "markers" and t.showlegend is not False]
    assert named == list(MARKS.values())


def test_on_a_logarithmic_axis_zeros_are_left_out_and_ranks_are_whole() -> None:
    axes = charts.Axes("lost", log_height=True, log_rank=True)
    figure = charts.spectra(tables.spectrum_lines(ENERGIES, "lost"), BLOCKS, axes, MARKS, NOTHING)
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "log")
    assert list(figure.layout.xaxis.ticktext) == ["1", "2"]
    for trace in figure.data:
        assert not (np.array(trace.y, dtype=float) <= 0).any()


def test_lines_of_one_kind_have_colours_in_the_order_of_their_layers() -> None:
    blocks = BLOCKS.assign(kind="q", layer=[0, 9])
    figure = charts.spectra(tables.spectrum_lines(ENERGIES, "kept"), blocks, charts.Axes("kept"), {}, NOTHING)
    assert [(t.line.color, t.line.dash) for t in figure.data] == [("#3B6FD4", "solid"), ("#B98900", "solid")]


def test_the_rest_of_a_kind_is_one_faint_line_with_gaps() -> None:
    lines = tables.spectrum_lines(ENERGIES, "kept")
    faint, line = charts.spectra(lines[["L0 q"]], BLOCKS, charts.Axes("kept"), {}, lines[["L0 k"]]).data
    assert faint.opacity < 1
    assert list(faint.x) == [1, 2, 3, None]
    assert line.name == "L0 q"


def test_what_all_lose_is_drawn_by_kind_with_a_tick_at_each_cut() -> None:
    energies = {"q": ENERGIES["L0 q"], "k": ENERGIES["L0 k"]}
    curves, cuts = tables.energy_lost(BLOCKS, energies), tables.cuts(BLOCKS, energies)
    np.testing.assert_allclose(curves.loc[curves["block"] == "L0 q", "lost"], [1, 0.36, 0.2, 0.04, 0], atol=1e-12)
    (cut,) = cuts.to_dict("records")
    assert (cut["block"], cut["rank_fraction"], cut["lost"]) == ("L0 q", 0.25, pytest.approx(0.36))
    before = tables.cuts(BLOCKS.assign(baseline=[np.nan, 1]), energies, "baseline")
    figure = charts.energy_lost(curves, cuts, before)
    assert [note.text for note in figure.layout.annotations] == ["q", "k"]
    assert figure.layout.yaxis2.ticktext == ("0.01 %", "0.1 %", "1 %", "10 %", "100 %")
    ticks, crosses = [t for t in figure.data if t.mode == "markers" and len(t.x)]
    assert (ticks.marker.symbol, crosses.marker.symbol, list(crosses.hovertext)) == ("line-ns", "x-thin", ["L0 k"])
    assert (list(ticks.x), list(ticks.y), ticks.xaxis) == ([25], [pytest.approx(36)], "x")
    drawn = np.concatenate([t.y for t in figure.data if t.mode == "lines" and t.xaxis == "x" and len(t.y)])
    np.testing.assert_allclose(drawn[:4], [100, 36, 20, 4], atol=1e-10)
    assert np.isnan(drawn[4:]).all()


def test_compared_lines_are_thin_and_have_the_colours_of_their_blocks() -> None:
    lines = tables.spectrum_lines(ENERGIES, "kept")
    figure = charts.spectra(lines, BLOCKS, charts.Axes("kept"), {}, NOTHING, ("Inputs", lines[["L0 q"]]))
    own, _, compared, entry = figure.data
    assert (compared.line.color, compared.line.dash) == (own.line.color, own.line.dash)
    assert compared.line.width == 1
    assert entry.name == "thin: Inputs"


def picked(page: AppTest) -> list[str]:
    return page.multiselect(key="blocks").value


def test_a_kind_or_a_layer_is_drawn_at_once(open_page: Open, analysed_home: Path, toy_analysis: Analysis) -> None:
    page = open_page("spectra")
    assert all(name.startswith("model.layers.1.") for name in picked(page))
    page.menu_button(key="spectra.kind").click("down").run()
    assert picked(page) == [f"model.layers.{i}.mlp.down_proj" for i in range(3)]
    page.menu_button(key="spectra.layer").click(2).run()
    assert len(picked(page)) == 7
    assert all(name.startswith("model.layers.2.") for name in picked(page))
    page.button(key="spectra.clear").click().run()
    assert picked(page) == []
    assert not page.exception


def test_every_quantity_scale_and_weighting_is_shown(open_page: Open, analysed_home: Path) -> None:
    page = open_page("spectra")
    for quantity in tables.QUANTITIES:
        page.button_group(key="lines").set_value(quantity).run()
        page.button_group(key=f"axes-{quantity}").set_value(["rank", "relative", "kind"]).run()
        assert not page.exception
    page.button_group(key="lines").set_value("all").run()
    assert not page.exception
    for metric in Metric:
        page.button_group(key="weighting").set_value(metric).run()
        assert not page.exception
        assert not page.error


def test_a_click_draws_a_block_and_another_takes_it_away() -> None:
    def script() -> None:
        import streamlit as st

        from app.views.spectra.block_choice import toggle

        st.session_state.setdefault("blocks", ["a"])
        st.button("b", on_click=toggle, args=(["b"],))

    page = AppTest.from_function(script).run()
    page.button[0].click().run()
    assert page.session_state["blocks"] == ["a", "b"]
    page.button[0].click().run()
    assert page.session_state["blocks"] == ["a"]


def test_the_cut_is_that_of_the_address(open_page: Open, analysed_home: Path, toy_analysis: Analysis) -> None:
    page = open_page("spectra", keep="0.5", method="SVD-LLM")
    cuts = page.dataframe[-1].value.set_index("Block")["Current map's cut"].dropna()
    costed = allocation.method_map(toy_analysis.id, "svd-llm", toy_analysis.inventory.compressible_params // 2)
    assert list(cuts) == [block.rank for block in costed.rank_map.blocks if block.rank is not None]
    assert len(cuts) == len(toy_analysis.projections)
    too_much = {f"held.{toy_analysis.id}": dict.fromkeys(toy_analysis.projections, 10_000)}
    without_map = open_page("spectra", too_much, keep="0.5")
    assert without_map.dataframe[-1].value["Current map's cut"].isna().all()


def test_the_rank_at_an_energy_follows_the_slider(open_page: Open, analysed_home: Path) -> None:
    ranks = [
        open_page("spectra", energy=energy).dataframe[-1].value[f"Rank at {shown} energy"].sum()
        for energy, shown in (("50", "50.0 %"), ("90", "90.0 %"))
    ]
    assert ranks[0] < ranks[1]


def test_what_was_chosen_comes_from_the_address(open_page: Open, analysed_home: Path) -> None:
    page = open_page(
        "spectra",
        weighting="Inputs",
        summary="Stable rank",
        lines="Energy kept",
        relative="false",
        colours="Linear",
        blocks=["L0 q", "L2 down"],
    )
    assert page.button_group(key="weighting").value == Metric.INPUT
    assert page.button_group(key="summary").value == "stable_rank"
    assert page.button_group(key="lines").value == "kept"
    assert page.button_group(key="colours").value == "linear"
    assert page.toggle(key="relative").value is False
    assert picked(page) == ["model.layers.0.self_attn.q_proj", "model.layers.2.mlp.down_proj"]
    assert not page.exception


def test_another_weighting_is_laid_over_the_lines(open_page: Open, analysed_home: Path) -> None:
    page = open_page("spectra", **{"with": "Weighting: Inputs"})
    assert page.selectbox(key="with").value == Metric.INPUT
    page.toggle(key="difference").set_value(False).run()
    page.button_group(key="weighting").set_value(Metric.INPUT).run()
    assert page.selectbox(key="with").value == ""
    assert not page.exception


def test_another_analysis_is_laid_over_the_lines_if_its_projections_are_the_same(
    open_page: Open, analysed_home: Path, toy_home: Path, toy_analysis: Analysis, tmp_path: Path
) -> None:
    corpus = CorpusSpec.parse(str(toy_home / "corpus.txt"), part="calibration", n_sequences=2, length=32)
    deeper = json.loads((toy_home / "toy-model" / "config.json").read_text(encoding="utf-8"))
    assert deeper["num_hidden_layers"] == 3
    smaller = tmp_path / "two-layers"
    shutil.copytree(toy_home / "toy-model", smaller)
    (smaller / "config.json").write_text(json.dumps(deeper | {"num_hidden_layers": 2}), encoding="utf-8")
    for folder in (toy_home / "toy-model", smaller):
        analyse(Home(analysed_home), AnalysisSpec(ModelSpec.parse(str(folder)), corpus), ignore_progress)
    page = open_page("spectra", analysis=toy_analysis.id[:12])
    others = page.selectbox(key="with").options
    for folder, warned in (("toy-model", False), ("two-layers", True)):
        (label,) = [option for option in others if option.startswith(folder)]
        page.selectbox(key="with").select(label).run()
        assert not page.exception
        assert ["other projections" in warning.value for warning in page.warning] == [True] * warned


def test_the_baseline_has_its_own_ticks_and_tables_can_show_differences_only(
    open_page: Open, toy_analysis: Analysis, analysed_home: Path
) -> None:
    dense = toy_analysis.inventory.compressible_params
    first, second = (
        allocation.method_map(toy_analysis.id, method, Budget.of_kept_fraction(0.8, dense).params)
        for method in ("svd-llm", "flrc")
    )
    pinned = saved_maps.save_map(toy_analysis.id, "before", first.rank_map).id
    ranks = [{b.name: b.rank for b in one.rank_map.blocks} for one in (first, second)]
    differing = {name for name in toy_analysis.projections if ranks[0].get(name) != ranks[1].get(name)}
    shown = {"baseline": pinned, "keep": "0.8", "method": "flrc"}
    page = open_page("spectra", **shown)
    assert not page.exception
    assert "cut by the baseline, before" in page.get("plotly_chart")[-1].proto.spec
    everything = open_page("spectra", **shown, lines="Energy lost by all")
    assert any("Crosses: cut by the baseline, before" in caption.value for caption in everything.caption)
    page = page.toggle(key="spectra.differences").set_value(True).run()
    table = page.dataframe[-1].value
    assert len(table) == len(differing)
    assert (table["\u0394 rank"] != 0).all()
    page = open_page("sensitivity", **shown)
    assert len(page.dataframe[-1].value) == len(toy_analysis.projections)
    page = page.toggle(key="sensitivity.differences").set_value(True).run()
    assert len(page.dataframe[-1].value) == len(differing)
    assert "delta" not in open_page("sensitivity").dataframe[-1].value
    page = open_page("allocation", **shown, tab="Heatmap & table")
    assert len(page.dataframe[-1].value) == len(toy_analysis.projections)
    page = page.toggle(key="allocation.differences").set_value(True).run()
    assert not page.exception
    assert set(page.dataframe[-1].value["name"]) == differing
