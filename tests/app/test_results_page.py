"""Results: runs in a table, their front, chosen runs in detail, and evaluating more of them."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
import streamlit as st

from app import charts, tables
from app.services import maps, runs
from app.services import measurements as measured
from app.wording.passages import STRONGEST_NATS, coloured, strongest_of
from engine.errors import NamedMapError
from engine.jobs import JobQueue
from engine.pipeline.reading.results import results
from engine.rank_map.document import parse_rank_map
from engine.results.columns import measures
from engine.results.passages import Passage, Token
from engine.settings import Home
from tests.app.test_saved_maps import query
from tests.app.test_views import button, shown

if TYPE_CHECKING:
    from pathlib import Path

    from engine.results.rows import ResultRow
    from tests.app.test_views import Open
    from tests.support.measured_toy import MeasuredToy


@pytest.fixture
def measured_home(home: Path, measured_toy: MeasuredToy) -> Path:
    shutil.copytree(measured_toy.home / "artifacts", home / "artifacts")
    return home


@pytest.fixture
def rows(measured_toy: MeasuredToy) -> list[ResultRow]:
    return results(measured_toy.store, measured_toy.analysis.id)


def measured_toy_id(home: Path) -> str:
    return Home(home).store.keys("analysis")[0].fingerprint


def frame(page, column: str):
    return next(found.value for found in page.dataframe if column in found.value)


def test_the_table_has_the_dense_model_first_and_the_stores_numbers(
    open_page: Open, measured_home: Path, rows: list[ResultRow]
) -> None:
    page = open_page("results")
    assert not page.exception
    assert not page.error
    table = frame(page, "perplexity_ratio[corpus.txt]")
    assert list(table["method"]) == ["dense", "Water-filling", "FLRC"]
    assert list(table["perplexity_ratio[corpus.txt]"]) == [row.perplexities[0].ratio for row in rows]
    assert list(table["acc[demo_piqa]"]) == [
        100 * next(task.acc.value for task in row.tasks if task.task == "demo_piqa") for row in rows
    ]
    assert list(table["decode_multiply_adds"]) == [row.costs[0].decode_multiply_adds for row in rows]
    assert "divergence[corpus.txt]" not in table


def test_filters_leave_the_dense_model_and_one_text_shows_more(open_page: Open, measured_home: Path) -> None:
    page = open_page("results")
    page = page.multiselect(key="runs.methods").set_value(["flrc"]).run()
    assert list(frame(page, "kept_fraction")["method"]) == ["dense", "FLRC"]
    page = page.multiselect(key="runs.methods").set_value([]).run()
    page = page.slider(key="runs.kept").set_value((70, 100)).run()
    assert list(frame(page, "kept_fraction")["method"]) == ["dense", "Water-filling"]
    page = page.selectbox(key="runs.text").set_value("corpus.txt").run()
    assert "divergence[corpus.txt]" in frame(page, "kept_fraction")
    page = page.slider(key="runs.kept").set_value((0, 20)).run()
    assert not page.exception
    assert list(frame(page, "kept_fraction")["method"]) == ["dense"]
    assert "Nothing was measured for this selection." in shown(page)


def test_every_quality_is_drawn_against_every_cost(open_page: Open, measured_home: Path) -> None:
    page = open_page("results")
    for key in ("runs.quality", "runs.cost"):
        for option in page.selectbox(key=key).options:
            place = page.selectbox(key=key).options.index(option)
            page = page.selectbox(key=key).select_index(place).run()
            assert not page.exception, option
    assert any("Speed" in option for option in page.selectbox(key="runs.cost").options)
    assert any("Zero-shot mean" in option for option in page.selectbox(key="runs.quality").options)


def test_the_front_goes_by_what_is_better(rows: list[ResultRow]) -> None:
    named = {measure.name: measure for measure in measures(rows)}
    size, ratio = named["model_mb"], named["perplexity_ratio[corpus.txt]"]
    speed = named["decode_ratio[batch 1]"]
    smallest = min(rows, key=lambda row: row.size.params)
    assert charts.front_of(rows, size, ratio)[0] is smallest
    fastest = max(rows, key=lambda row: speed.of(row).value)
    assert charts.front_of(rows, speed, ratio)[0] is fastest
    line, *points = charts.frontier(rows, size, ratio).data
    assert sum(len(trace.x) for trace in points) == len(rows)
    assert len(line.x) == len(charts.front_of(rows, size, ratio))


def test_chosen_runs_are_shown_beside_the_dense_model(
    open_page: Open, measured_home: Path, rows: list[ResultRow]
) -> None:
    _, water, flrc = rows
    page = open_page("results", {"runs.chosen": [water.id, flrc.id]})
    assert not page.exception
    paired = frame(page, "settled")
    task = next(t for t in water.tasks if t.task == "demo_piqa")
    first = paired[(paired["score"] == "Accuracy minus dense: PIQA (demo)")].iloc[0]
    assert (first["difference"], first["low"]) == (task.differences["acc"].mean, task.differences["acc"].low)
    assert set(frame(page, "gained")["kind"]) <= {"q", "k", "v", "o", "gate", "up", "down"}
    sources = frame(page, "artifact")
    assert {"dense model", "Water-filling, 80.0 % kept", "FLRC, 60.0 % kept"} == set(sources["run"])
    assert any("<script>" in text.value for text in page.text)
    assert len([b for b in page.get("download_button") if b.proto.label.startswith("Share: ")]) == 2
    assert len([b for b in page.button if b.label == "Open on the board"]) == 2
    page = page.number_input(key="runs.article").set_value(2).run()
    assert not page.exception
    page = page.multiselect(key="runs.chosen").set_value([]).run()
    assert "Choose one or more runs above." in shown(page)


def test_the_address_names_the_runs_in_detail(open_page: Open, measured_home: Path, rows: list[ResultRow]) -> None:
    dense, first, second = rows
    page = open_page("results", run=second.id[:12])
    picker = page.multiselect(key="runs.chosen")
    assert picker.value == [second.id]
    page = picker.set_value([second.id, first.id]).run()
    assert page.query_params["run"] == [second.id[:12], first.id[:12]]
    # What is chosen by hand counts more than what the link said.
    page = page.multiselect(key="runs.chosen").set_value([first.id]).run()
    assert page.multiselect(key="runs.chosen").value == [first.id]
    for unknown in (dense.id, "ffff"):
        assert len(open_page("results", run=unknown).multiselect(key="runs.chosen").value) == 1


def test_a_run_that_is_gone_is_not_chosen(open_page: Open, measured_home: Path) -> None:
    page = open_page("results", {"runs.chosen": ["gone"]})
    assert not page.exception
    assert len(page.multiselect(key="runs.chosen").value) == 1


@pytest.mark.usefixtures("no_worker")
def test_evaluating_more_submits_the_chosen_maps_at_a_level(
    open_page: Open, measured_home: Path, measured_toy: MeasuredToy
) -> None:
    page = open_page("results", {"runs.level": "full"})
    button(page, "Evaluate this run").click().run()
    (job,) = JobQueue(measured_home).jobs()
    assert job.operation == "evaluate"
    assert job.arguments["level"] == "full"
    assert job.arguments["rank_maps"] == [measured_toy.maps[0].to_json()]
    assert "level" not in JobQueue(measured_home).jobs()[0].title


@pytest.mark.usefixtures("no_worker")
def test_compressing_asks_how_thoroughly(open_page: Open, measured_home: Path) -> None:
    page = open_page("allocation", {"evaluate.level": "quick"}, keep="0.8")
    button(page, "Compress and measure").click().run()
    (job,) = JobQueue(measured_home).jobs()
    assert job.arguments["level"] == "quick"


@pytest.mark.usefixtures("no_worker")
def test_a_map_is_measured_on_as_much_text_as_the_others(open_page: Open, measured_home: Path) -> None:
    page = open_page("allocation", keep="0.7")
    button(page, "Compress and measure").click().run()
    (job,) = JobQueue(measured_home).jobs()
    assert (job.arguments["n_sequences"], job.arguments["length"]) == (4, 64)


def test_the_report_of_a_run_is_the_stores(measured_home: Path, measured_toy: MeasuredToy) -> None:
    page = measured.report_html(measured_toy.analysis.id, measured_toy.maps[0].to_json())
    row = measured.result_rows(measured_toy.analysis.id)[1]
    assert f"{row.perplexities[0].perplexity:.2f}" in page
    st.cache_resource.clear()


def test_provenance_names_every_measurement(rows: list[ResultRow]) -> None:
    table = tables.provenance(rows)
    n = sum(len(p) for r in rows for p in (r.perplexities, r.tasks, r.summaries, r.costs, r.memories))
    assert len(table) == n
    assert table["versions"].str.contains("torch").all()
    assert (table["model"].str.len() >= 12).all()


def test_methods_stand_in_one_order_and_the_front_is_a_staircase(rows: list[ResultRow]) -> None:
    named = {measure.name: measure for measure in measures(rows)}
    size, ratio = named["model_mb"], named["perplexity_ratio[corpus.txt]"]
    for order in (rows, rows[::-1]):
        line, *points = charts.frontier(order, size, ratio).data
        assert [trace.name for trace in points] == ["dense model", "FLRC", "Water-filling"]
        assert (line.name, line.line.shape) == ("Pareto front", "hv")
        assert {row_id for trace in points for row_id in trace.customdata} == {row.id for row in rows}
    assert charts.frontier(rows, named["decode_ratio[batch 1]"], ratio).data[0].line.shape == "vh"


def test_columns_are_chosen_and_stay(open_page: Open, measured_home: Path) -> None:
    page = open_page("results")
    page = page.multiselect(key="runs.columns").set_value(["divergence[corpus.txt]"]).run()
    assert not page.exception
    table = frame(page, "divergence[corpus.txt]")
    assert "kept_fraction" not in table


def test_a_run_has_a_name_and_a_note(open_page: Open, measured_home: Path, rows: list[ResultRow]) -> None:
    _, water, _ = rows
    page = open_page("results", {"runs.chosen": [water.id]})
    next(field for field in page.text_input if field.label == "Name").set_value("for the *phone*")
    next(field for field in page.text_area if field.label == "Note").set_value("good enough")
    page = button(page, "Keep").click().run()
    assert not page.exception
    page = open_page("results", {"runs.chosen": [water.id]})
    table = frame(page, "name")
    assert list(table["name"]) == ["", "for the *phone*", ""]
    assert list(table["note"]) == ["", "good enough", ""]
    assert "for the \\*phone\\*" in shown(page)
    with pytest.raises(NamedMapError, match="at most 500"):
        runs.put_note(measured_toy_id(measured_home), water, "", "x" * 501)


def test_a_run_opens_on_the_board_as_a_saved_map(open_page: Open, measured_home: Path, rows: list[ResultRow]) -> None:
    _, water, _ = rows
    analysis = measured_toy_id(measured_home)
    opened = runs.saved_for(analysis, water)
    assert maps.saved_map(analysis, opened).rank_map.blocks == water.rank_map.blocks
    assert runs.saved_for(analysis, water) == opened
    page = open_page("results", {"runs.chosen": [water.id]})
    page = button(page, "Open on the board").click().run()
    assert not page.exception
    assert query(page)["map"] == opened


def test_a_deleted_run_is_gone_and_the_others_stay(open_page: Open, measured_home: Path, rows: list[ResultRow]) -> None:
    _, water, flrc = rows
    page = open_page("results", {"runs.chosen": [water.id]})
    page = page.button(key=f"delete.{water.id}").click().run()
    assert not page.exception
    table = frame(page, "kept_fraction")
    assert list(table["id"]) == ["dense", flrc.id]
    assert table["perplexity_ratio[corpus.txt]"].notna().all()


def test_a_pinned_run_is_what_every_page_compares_with(
    open_page: Open, measured_home: Path, measured_toy: MeasuredToy, rows: list[ResultRow]
) -> None:
    _, water, flrc = rows
    page = open_page("results", {"runs.chosen": [water.id]})
    page = page.button(key=f"pin.{water.id}").click().run()
    assert not page.exception
    table = frame(page, "kept_fraction_delta")
    deltas = table["perplexity_ratio[corpus.txt]_delta"]
    assert list(deltas) == pytest.approx([row.perplexities[0].ratio - water.perplexities[0].ratio for row in rows])
    assert "Baseline: **Water\\-filling, 80\\.0 % kept**" in "".join(text.value for text in page.caption)
    page = page.multiselect(key="runs.chosen").set_value([flrc.id]).run()
    assert len(frame(page, "gained"))
    pinned = query(page)["baseline"]
    allocation = open_page("allocation", baseline=pinned, keep="0.7", tab="Compare methods")
    assert not allocation.exception
    methods = frame(allocation, "mb_delta").set_index("name")
    assert methods.loc["water-filling", "mb_delta"] < 0
    assert not open_page("overview", baseline="gone").exception
    page = page.button(key="baseline.unpin").click().run()
    assert "baseline" not in page.query_params
    assert not any("kept_fraction_delta" in found.value for found in page.dataframe)


def test_the_passage_that_pays_most_is_shown_and_another_can_be_picked(
    open_page: Open, measured_home: Path, rows: list[ResultRow]
) -> None:
    assert not any("place" in found.value for found in open_page("results").dataframe)
    page = open_page("results", {"runs.passages": True, "runs.chosen": [rows[2].id]})
    assert not page.exception
    table = frame(page, "damage")
    assert list(table["damage"]) == sorted(table["damage"], reverse=True)
    assert all(table["start"])
    assert f"**Passage {table['place'][0]}**" in shown(page)
    assert "nats: dense" in "".join(element.proto.body for element in page.get("html"))


def test_tokens_of_a_passage_are_text_and_say_what_they_cost() -> None:
    passage = Passage(1, (Token("<b>", None, None), Token(" a", 1.0, 4.0), Token("b", 2.0, 1.0), Token("c", 1.0, 1.0)))
    html = coloured(passage)
    assert html.startswith('&lt;b&gt;<span title="+3.00 nats: dense 1.00, compressed 4.00"')
    assert "underline solid" in html.split("</span>")[0]
    assert "underline dotted" in html.split("</span>")[1]
    assert "style" not in html.split("</span>")[2]


def test_small_harm_has_colours_of_its_own_scale_and_digits() -> None:
    passage = Passage(1, (Token("a", None, None), Token("b", 1.0, 1.02), Token("c", 1.0, 0.99)))
    assert "style" not in coloured(passage)
    html = coloured(passage, strongest_of([passage]))
    assert "+0.0200 nats: dense 1.0000, compressed 1.0200" in html
    assert "rgba(230,97,1,0.50)" in html
    assert "rgba(33,102,172,0.25)" in html
    assert strongest_of([Passage(1, passage.tokens[:1])]) == STRONGEST_NATS


def test_deleting_a_run_deletes_the_losses_of_its_tokens(measured_home: Path, rows: list[ResultRow]) -> None:
    store = Home(measured_home).store
    assert len(store.keys("token-losses")) == 2
    runs.delete_run(rows[2])
    assert len(store.keys("token-losses")) == len(store.keys("evaluation")) == 1


def test_a_run_is_exported_from_its_row(
    open_page: Open, measured_home: Path, rows: list[ResultRow], no_worker: None
) -> None:
    page = open_page("results", {"runs.chosen": [rows[2].id]})
    assert rows[2].rank_map is not None
    page.button(key="export.start").click().run()
    (job,) = JobQueue(measured_home).jobs()
    assert job.operation == "export"
    assert parse_rank_map(str(job.arguments["rank_map"]).encode()).blocks == rows[2].rank_map.blocks
    page = open_page("results", {"runs.chosen": [rows[1].id, rows[2].id]})
    assert not [one for one in page.button if one.key == "export.start"]


def test_no_choice_of_quality_repeats_the_only_text(measured_home: Path, open_page: Open) -> None:
    page = open_page("results")
    (quality,) = (box for box in page.selectbox if box.label == "Quality")
    assert quality.options[0] == "Perplexity ÷ dense"
    assert not any("corpus.txt" in option for option in quality.options)
