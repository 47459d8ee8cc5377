"""What the tables hold and what the figures are given, on the toy analysis."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from app import charts, tables
from app.costed_maps import CostedMap, NoMap
from app.services import allocation, analyses, measurements, texts
from app.services import maps as saved_maps
from app.wording.labels import block_label, plain
from cache import DirectoryStore, Key
from engine.analysis.curves import predicted_increase, rank_at_energy, summarise_spectrum
from engine.decoding.schedules import RankSchedule
from engine.errors import CorpusError, InvalidRankMapError
from engine.methods.editing import held_blocks
from engine.methods.presets import PRESETS
from engine.pipeline.reading.results import measured_row
from engine.prediction.runs import predictor_on, reference_text
from engine.results.words import count, duration, ratio
from engine.types import Budget, Format, Metric

if TYPE_CHECKING:
    from pathlib import Path

    from engine.analysis.value import Analysis
    from engine.results.rows import ResultRow
    from engine.results.texts import MeasuredText

KEPT = 0.8
COMPUTED = [name for name, preset in PRESETS.items() if not preset.needs_search]


@pytest.fixture
def maps(analysed_home: Path, toy_analysis: Analysis) -> list[CostedMap]:
    budget = Budget.of_kept_fraction(KEPT, toy_analysis.inventory.compressible_params)
    found = allocation.method_maps(toy_analysis.id, budget.params)
    assert [p.method for p in found] == list(PRESETS)
    return [p for p in found if isinstance(p, CostedMap)]


def text_of(analysis: Analysis) -> MeasuredText:
    """Return the one text on which maps were measured."""
    found = reference_text(measurements.result_rows(analysis.id))
    assert found is not None
    return found


def much_harmed(row: ResultRow) -> ResultRow:
    """Return a row of half a predicted nat, measured as one and a half."""
    (found,) = row.perplexities
    harmed = replace(found, perplexity=found.dense_perplexity * math.exp(1.5))
    return replace(row, size=replace(row.size, predicted_nats=0.5), perplexities=(harmed,))


def test_shapes_add_up_to_the_compressible_parameters(toy_analysis: Analysis) -> None:
    table = tables.shapes(toy_analysis.inventory)
    assert table["parameters"].sum() == toy_analysis.inventory.compressible_params
    assert table["count"].sum() == len(toy_analysis.inventory.projections)
    whole = table["share of the model"].sum() + tables.skipped(toy_analysis.inventory)["share of the model"].sum()
    assert whole == pytest.approx(1.0)


def test_spectra_have_every_block_once(toy_analysis: Analysis) -> None:
    energies = toy_analysis.energies[Metric.LOSS]
    first = next(iter(energies))
    summaries = {name: summarise_spectrum(e) for name, e in energies.items()}
    at_energy = {name: rank_at_energy(e, 0.9) for name, e in energies.items()}
    table = tables.spectra(toy_analysis, summaries, at_energy, {first: 7})
    assert sorted(table["name"]) == sorted(energies)
    assert (table["rank_at_energy"] <= table["name"].map(lambda name: summaries[name].rank_99)).all()
    assert table.set_index("name")["cut"].dropna().to_dict() == {first: 7}
    row = table[table["block"] == "L0 gate+up"].iloc[0]
    assert row["break_even"] == (64 * 256 - 1) // (64 + 256)
    assert row["break_even_skip"] == 63


def test_methods_keep_within_the_budget_and_find_their_measurements(
    maps: list[CostedMap], toy_analysis: Analysis
) -> None:
    text = text_of(toy_analysis)
    predictor = predictor_on(text)
    table = tables.methods(maps, text, predictor, 10.0).set_index("name")
    assert list(table.index) == list(PRESETS)
    assert (table["kept"] <= KEPT).all()
    np.testing.assert_allclose(table["predicted"], 10.0 * table["predicted_ratio"])
    assert (table["predicted_low"] < table["predicted_ratio"]).all()
    assert (table["predicted_high"] > table["predicted_ratio"]).all()
    measured = set(table.index[table["measured_ratio"].notna()])
    assert measured == {"water-filling", "svd-llm"}
    for costed in maps:
        expected = predictor.predict(costed.cost.nats, costed.rank_map.metric).perplexities()[0]
        # What is predicted of a measured map is predicted without its own measurement.
        assert (table.loc[costed.method, "predicted_ratio"] == expected) == (costed.method not in measured)


def test_another_map_is_not_taken_for_a_measured_one(toy_analysis: Analysis, analysed_home: Path) -> None:
    rows = measurements.result_rows(toy_analysis.id)
    other = allocation.method_map(toy_analysis.id, "water-filling", toy_analysis.inventory.compressible_params // 2)
    assert measured_row(rows, other.rank_map) is None


def test_an_impossible_method_has_a_row_with_its_reason() -> None:
    table = tables.methods([NoMap("flrc", "too small")], None, predictor_on(None), None)
    assert table.loc[0, "note"] == "too small"
    assert math.isnan(table.loc[0, "kept"])


def test_projections_are_all_there_in_model_order(maps: list[CostedMap], toy_analysis: Analysis) -> None:
    for costed in maps:
        table = tables.projections(costed, toy_analysis)
        assert list(table["name"]) == list(toy_analysis.projections)
        assert table["kept"].between(0, 1).all()
        # A block's nats are repeated for its members: counted once they are the map's.
        once = table.drop_duplicates(["layer", "decided_with"])["nats"].sum()
        assert once == pytest.approx(costed.cost.nats)


def test_held_ranks_are_in_every_methods_map(toy_analysis: Analysis, analysed_home: Path) -> None:
    name = "model.layers.1.self_attn.q_proj"
    params = int(KEPT * toy_analysis.inventory.compressible_params)
    for held, expected in ((7, 7), (64, None)):
        for method in COMPUTED:
            costed = allocation.method_map(toy_analysis.id, method, params, ((name, held),))
            assert [b.rank for b in costed.rank_map.blocks if b.members == (name,)] == [expected]
            assert costed.cost.params <= params


def test_a_held_rank_takes_the_methods_cheapest_format(toy_analysis: Analysis) -> None:
    locks = (("model.layers.0.mlp.down_proj", 8),)
    assert held_blocks(locks, PRESETS["svd-llm"].formats, toy_analysis)[0].format is Format.LOW_RANK
    assert held_blocks(locks, PRESETS["skipcat"].formats, toy_analysis)[0].format is Format.SKIP
    with pytest.raises(InvalidRankMapError):
        held_blocks((("model.layers.9.mlp.down_proj", 8),), PRESETS["skipcat"].formats, toy_analysis)


def test_an_imported_map_is_checked_and_costs_what_it_did(
    maps: list[CostedMap], toy_analysis: Analysis, analysed_home: Path
) -> None:
    text = maps[0].rank_map.to_json()
    for content in (text.replace("q_proj", "x_proj").encode(), b"{}"):
        with pytest.raises(InvalidRankMapError):
            saved_maps.import_map(toy_analysis.id, "map.json", content)
    saved = saved_maps.import_map(toy_analysis.id, "map.json", text.encode())
    assert saved_maps.saved_map(toy_analysis.id, saved.id).cost == maps[0].cost
    table = tables.saved_maps([saved], toy_analysis)
    assert table.to_dict("records")[0]["kept"] == maps[0].cost.kept_fraction


def test_predicted_curves_end_at_the_dense_model(toy_analysis: Analysis, analysed_home: Path) -> None:
    curves = allocation.predicted_curves(toy_analysis.id, predictor_on(None))
    assert set(curves) == set(PRESETS)
    for method, points in curves.items():
        assert points[-1] == pytest.approx((1.0, 1.0, 1.0, 1.0), abs=0.01)
        # A small model's predicted search may have one map for two budgets; with the fewest neurons attention is left.
        missing = 4 if method not in COMPUTED else 2 if method == "width" else 0
        assert len(points) in range(len(allocation.KEPT_STEPS) - missing, 16)
        assert all(low <= predicted <= high for _, predicted, low, high in points)


def test_predictions_learn_from_measurements(
    toy_analysis: Analysis, analysed_home: Path, maps: list[CostedMap]
) -> None:
    text = text_of(toy_analysis)
    harmful = replace(text, rows=tuple(much_harmed(row) for row in text.rows))
    before, after = predictor_on(None), predictor_on(harmful)
    assert (before.n_runs, after.n_runs) == (0, 2)
    for costed in maps:
        of_map = costed.cost.nats, costed.rank_map.metric
        assert after.predict(*of_map).nll_increase > 1.2 * before.predict(*of_map).nll_increase


def test_a_new_measurement_is_seen_and_its_own_prediction_is_made_without_it(
    toy_analysis: Analysis, analysed_home: Path
) -> None:
    _, *found = measurements.result_rows(toy_analysis.id)
    assert [row.perplexities[0].prediction.calibrated_on for row in found] == [1, 1]
    store = DirectoryStore(analysed_home / "artifacts")
    store.delete(Key("evaluation", found[0].perplexities[0].provenance.fingerprint))
    _, left = measurements.result_rows(toy_analysis.id)
    (one,) = left.perplexities
    assert one.prediction.calibrated_on == 0
    assert one.prediction.perplexity == pytest.approx(one.dense_perplexity * math.exp(left.size.predicted_nats))


def test_sensitivity_scores_and_their_agreement(toy_analysis: Analysis, analysed_home: Path) -> None:
    predicted = analyses.predicted_increases(toy_analysis.id, 0.5)
    first = toy_analysis.inventory.projections[0]
    assert predicted[first.name] == predicted_increase(toy_analysis, first, 0.5)
    without = tables.rank_agreement(tables.sensitivity(toy_analysis, 0.5, predicted, None))
    assert list(without.columns) == ["FLRC importance", "Predicted nats"]
    measured = analyses.measured_sensitivity(toy_analysis.id)
    assert measured is not None
    scores = tables.sensitivity(toy_analysis, 0.5, predicted, measured.nll_increase)
    agreement = tables.rank_agreement(scores)
    np.testing.assert_allclose(np.diag(agreement), 1.0)
    ranks = scores[list(tables.SCORES)].rank()
    expected = np.corrcoef(ranks["importance"], ranks["measured"])[0, 1]
    assert agreement.loc["FLRC importance", "Measured nats"] == pytest.approx(expected)


def test_results_begin_with_the_dense_model(toy_analysis: Analysis, analysed_home: Path) -> None:
    table = tables.results(text_of(toy_analysis))
    dense, *measured = table.to_dict("records")
    assert (dense["method"], dense["kept"], dense["ratio"]) == ("dense", 1.0, 1.0)
    assert {row["method"] for row in measured} == {"Water-filling", "SVD-LLM"}
    for row in measured:
        assert math.log(row["ratio"]) == pytest.approx(row["measured_nats"], rel=1e-6, abs=1e-9)


def heatmap_rows() -> pd.DataFrame:
    rows = [(layer, kind, 10.0 ** (layer - 1)) for layer in range(3) for kind in ("q", "down")]
    return pd.DataFrame(
        [{"layer": la, "kind": k, "name": f"{la}.{k}", "value": v} for la, k, v in rows if (la, k) != (2, "q")]
    )


def test_a_heatmap_has_a_clickable_marker_on_every_cell() -> None:
    figure = charts.layer_heatmap(heatmap_rows(), "value", title="t", hover=["h"] * 5)
    cells, markers = figure.data
    assert list(cells.x) == ["q", "down"]
    np.testing.assert_array_equal(cells.z, [[0.1, 0.1], [1, 1], [np.nan, 10]])
    assert [name for name, _ in markers.customdata] == ["0.q", "0.down", "1.q", "1.down", "2.down"]


def test_chosen_cells_of_a_heatmap_have_a_frame() -> None:
    figure = charts.layer_heatmap(heatmap_rows(), "value", title="t", hover=["h"] * 5, outlined=["1.q", "2.down"])
    centres = [((shape.x0 + shape.x1) / 2, (shape.y0 + shape.y1) / 2) for shape in figure.layout.shapes]
    np.testing.assert_allclose(centres, [(0, 1), (1, 2)], atol=1e-12)


def test_a_heatmap_of_differences_has_none_in_the_middle() -> None:
    rows = heatmap_rows().assign(value=[-2.0, 0.0, 0.5, 1.0, np.nan])
    cells = charts.layer_heatmap(rows, "value", title="t", hover=["h"] * 5, is_difference=True).data[0]
    assert (cells.zmin, cells.zmax) == (-2, 2)
    assert cells.colorscale[len(cells.colorscale) // 2] == (0.5, "#F7F7F7")


def test_a_log_heatmap_leaves_what_is_not_positive_empty() -> None:
    rows = heatmap_rows().assign(value=[1.0, -1.0, 0.0, 100.0, np.nan])
    cells = charts.layer_heatmap(rows, "value", title="t", hover=["h"] * 5, log=True).data[0]
    np.testing.assert_allclose(cells.z, [[0, np.nan], [np.nan, 2], [np.nan, np.nan]])
    assert cells.zmax == pytest.approx(2.0)
    nothing = charts.layer_heatmap(rows.assign(value=0.0), "value", title="t", hover=["h"] * 5, log=True)
    assert np.isnan(nothing.data[0].z).all()


def ticks_of(rows: pd.DataFrame, **settings: bool) -> list[str]:
    figure = charts.layer_heatmap(rows, "value", title="rank (dark: compressible)", hover=["h"] * 5, **settings)
    bar = figure.data[0].colorbar
    assert bar.title.text == "rank (dark: compressible)"
    return list(bar.ticktext or [bar.ticksuffix])


def test_a_colour_bar_has_a_title_and_numbers_that_can_be_read() -> None:
    rows = heatmap_rows()
    assert ticks_of(rows, percent=True) == [" %"]
    assert ticks_of(rows, log=True) == ["0.1", "0.3", "1", "3", "10"]
    shares = ticks_of(rows.assign(value=[2e-3, 1e-2, 3e-2, 0.1, 1]), percent=True, log=True)
    assert shares == ["0.3 %", "1 %", "3 %", "10 %", "30 %", "100 %"]
    assert ticks_of(rows.assign(value=0.4), log=True) == ["0.4", "0.4"]
    wide = ticks_of(rows.assign(value=[1e-9, 1e-5, 1e-4, 1e-3, 1e-2]), log=True)
    assert wide == [f"10<sup>{power}</sup>" for power in (-7, -6, -5, -4)] + ["0.001", "0.01"]


def test_colours_are_logarithmic_by_themselves_where_values_lie_more_than_two_orders_apart() -> None:
    assert charts.spans_orders(np.array([1e-3, 0.0, np.nan, 1.0]))
    assert not charts.spans_orders(np.array([0.02, 1.0]))
    assert not charts.spans_orders(np.array([0.0, np.nan]))


def test_quality_has_a_line_per_method_and_one_legend_entry_each(toy_analysis: Analysis, analysed_home: Path) -> None:
    measured = tables.results(text_of(toy_analysis))
    figure = charts.quality_curves(allocation.predicted_curves(toy_analysis.id, predictor_on(None)), 0.8, measured)
    assert len(figure.data) == 2 * len(PRESETS) + 3
    in_legend = [trace.name for trace in figure.data if trace.showlegend is not False]
    assert sorted(in_legend) == sorted(["dense model", *(preset.title for preset in PRESETS.values())])
    ticks = np.log10(figure.layout.yaxis.tickvals)
    assert ticks[0] == 0
    assert (np.diff(ticks) > 0).all()


def test_predictions_are_drawn_against_measurements(toy_analysis: Analysis, analysed_home: Path) -> None:
    measured = tables.results(text_of(toy_analysis))
    diagonal, *points = charts.predicted_against_measured(measured).data
    assert list(diagonal.x) == list(diagonal.y)
    assert sum(len(p.x) for p in points) == 2
    for trace in points:
        assert (np.array(trace.error_x.array) > 0).all()
        assert (np.array(trace.error_x.arrayminus) > 0).all()


@pytest.mark.parametrize("method", [*(p.title for p in PRESETS.values()), "uploaded map"])
def test_methods_differ_in_colour_and_marker(method: str) -> None:
    others = [p.title for p in PRESETS.values() if p.title != method]
    color, symbol = charts.method_style(method)
    for other in others:
        assert charts.method_style(other)[0] != color
        assert charts.method_style(other)[1] != symbol


def test_labels(toy_analysis: Analysis) -> None:
    group = toy_analysis.inventory.groups[0]
    assert block_label([p.name for p in group.members], toy_analysis.projections) == "L0 q+k+v"
    assert [duration(s) for s in (4.4, 200, 4000)] == ["4 s", "3 min 20 s", "1 h 6 min"]
    assert [count(n) for n in (12, 134_515_008)] == ["12", "134.5 M"]
    assert ratio(1.14159).startswith("1.142")
    assert ratio(math.inf).startswith("> 1000")


@pytest.mark.parametrize(
    "text",
    ["![x](http://e.x)", "<img src=x>", ":red[a] :rocket:", "$x$", "`a`", "**b**", "# c", "a\nb", "[a](b)"],
)
def test_text_from_outside_is_shown_as_it_is(text: str) -> None:
    escaped = plain(text)
    assert "\n" not in escaped
    for character in "![]()<>:`*#$":
        assert escaped.count(character) == escaped.count("\\" + character)


@pytest.mark.parametrize(
    ("name", "content"), [("a.exe", b"x"), ("a.txt", b"\xff\xfe"), ("a.txt", b"x" * 5_000_001), ("", b"x")]
)
def test_uploads_of_no_use_are_refused(home: Path, name: str, content: bytes) -> None:
    with pytest.raises(CorpusError):
        texts.store_upload(name, content)
    assert not (home / "uploads").exists()


def test_the_same_mean_as_a_constant_stands_beside_a_schedule() -> None:
    figure = charts.active_curve([0.9, 0.9], RankSchedule.staged(0.9, 0.6, 4, 5), 20)
    lines = {trace.name: list(trace.y) for trace in figure.data}
    assert lines["active"] == [90, 90]
    assert lines["constant, same mean"] == pytest.approx([75] * 20)
    assert sum(lines["constant, same mean"]) == pytest.approx(sum(lines["budget"]))
