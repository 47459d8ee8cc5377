"""Every consumer of stored measurements gives the same answer: which text, what was measured, what is predicted.

The home has three texts that rules could prefer: one with the most measured maps, one with more perplexities once
refined factors are counted, and one that was measured last.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from app import tables
from app.services import allocation, measurements
from engine.export.specs import ExportSpec
from engine.methods.allocate import allocate_rank_map
from engine.methods.cost import cost_of
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.export import export
from engine.pipeline.reading.analyses import curves_by_metric
from engine.pipeline.reading.results import measured_on, measured_row, results
from engine.pipeline.refine import refine
from engine.pipeline.report import report_content
from engine.prediction.runs import predictor_on, reference_text
from engine.progress import ignore_progress
from engine.rank_map.document import parse_rank_map
from engine.results.words import ratio
from engine.settings import Home
from engine.specs import CorpusSpec, EvaluationSpec, RefinementSpec
from engine.types import Budget
from tests.app.conftest import sent_to_browser
from tests.app.test_views import in_tab, shown
from tests.end_to_end.test_command_line import Terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from streamlit.testing.v1 import AppTest

    from engine.rank_map.document import RankMap
    from engine.results.rows import PerplexityResult, ResultRow
    from engine.results.texts import MeasuredText
    from tests.support.measured_toy import MeasuredToy

LINES = ("The sea is not full of singular values.", "Wide rivers run to the product of a matrix.")


class Measured(NamedTuple):
    """What is in the home: the toy, its rows, the text with most maps, and the measured and an unmeasured map."""

    toy: MeasuredToy
    rows: list[ResultRow]
    text: MeasuredText
    rank_map: RankMap
    found: PerplexityResult
    unmeasured: RankMap
    predicted: float


@pytest.fixture(scope="module")
def made(measured_toy: MeasuredToy, tmp_path_factory: pytest.TempPathFactory) -> Measured:
    """Measure more of the toy in a copy of its home: ``other.txt`` has most maps, ``corpus.txt`` has the newest."""
    root = tmp_path_factory.mktemp("several-texts")
    shutil.copytree(measured_toy.home, root, dirs_exist_ok=True)
    toy = measured_toy._replace(home=root)
    store, analysis = toy.store, toy.analysis
    other = root / "other.txt"
    other.write_text("\n\n".join(f"Chapter {i}. {LINES[i % 2]} {LINES[(i + 1) % 2]}" for i in range(60)))

    def session(text: Path, n_sequences: int) -> EvaluationSession:
        corpus = CorpusSpec.parse(str(text), part="calibration", n_sequences=n_sequences, length=64)
        return EvaluationSession(Home(root), analysis.id, EvaluationSpec(corpus), ignore_progress, device="cpu")

    third, unmeasured = (
        allocate_rank_map(
            analysis,
            curves_by_metric(analysis),
            "water-filling",
            Budget.of_kept_fraction(kept, analysis.inventory.compressible_params),
        )
        for kept in (0.5, 0.7)
    )
    on_other = session(other, 3)
    for rank_map in (*toy.maps, third):
        on_other.measure(rank_map, ignore_progress)
    on_corpus = session(root / "corpus.txt", 4)
    for rank_map in toy.maps:
        spec = RefinementSpec(compute_dtype="float32")
        key = refine(Home(root), analysis.id, rank_map, spec, ignore_progress, device="cpu")
        on_corpus.measure(rank_map, ignore_progress, key)
    session(root / "corpus.txt", 2).measure(toy.maps[0], ignore_progress)
    rows = results(store, analysis.id)
    text = reference_text(rows)
    assert text is not None
    found = measured_on(text, toy.maps[0])
    assert found is not None
    predicted = predictor_on(text).predict(cost_of(analysis, unmeasured).nats, unmeasured.metric).perplexities()[0]
    return Measured(toy, rows, text, toy.maps[0], found, unmeasured, predicted)


@pytest.fixture
def measured_home(home: Path, made: Measured) -> Path:
    shutil.copytree(made.toy.home / "artifacts", home / "artifacts")
    return home


def test_the_home_holds_what_rules_could_disagree_on(made: Measured) -> None:
    assert (made.text.name, len(made.text.rows)) == ("other.txt", 3)
    by_setting: dict[object, int] = {}
    for row in made.rows[1:]:
        for one in row.perplexities:
            by_setting[one.setting] = by_setting.get(one.setting, 0) + 1
    assert max(by_setting, key=by_setting.__getitem__) != made.text.setting
    every = [one for row in made.rows for one in row.perplexities]
    newest = max(one.provenance.created for one in every)  # in seconds, so that several may be
    assert ("corpus.txt", 2) in {(one.text, one.n_sequences) for one in every if one.provenance.created == newest}
    assert len(measured_row(made.rows, made.rank_map).perplexities) == 3
    assert sum(row.map_id == made.rows[1].map_id for row in made.rows) == 2


def test_pages_show_the_text_and_what_was_measured_on_it(
    open_page: Callable[..., AppTest], measured_home: Path, made: Measured
) -> None:
    overview = open_page("overview", keep="0.8")
    assert overview.selectbox(key="measured-on").value == made.text.setting
    sent = sent_to_browser(overview, "lines")
    assert sent["text"] == "other.txt"
    assert made.found.ratio in {one["ratio"] for one in sent["measured"]}
    assert "calibrated on 3 measured maps" in shown(overview)
    allocated = open_page("allocation", keep="0.8", method="water-filling")
    assert not allocated.exception
    assert next(m.value for m in allocated.metric if m.label == "Measured") == f"{made.found.perplexity:.2f}"
    assert f"On other\\.txt, {made.found.n_tokens:,} tokens" in shown(allocated)
    compared = in_tab(allocated, "Compare methods")
    methods = next(frame.value for frame in compared.dataframe if "predicted_ratio" in frame.value)
    assert methods.set_index("name").loc["water-filling", "measured_ratio"] == made.found.ratio
    results_page = open_page("results")
    assert results_page.selectbox(key="runs.text").options[1] == made.text.title
    table = next(frame.value for frame in results_page.dataframe if "kept_fraction" in frame.value)
    water = table[table["id"] == made.rows[1].id].iloc[0]
    assert water[f"perplexity_ratio[{made.text.title}]"] == made.found.ratio
    assert "On other\\.txt" in shown(results_page)


def test_another_text_may_be_chosen_on_every_page(
    open_page: Callable[..., AppTest], measured_home: Path, made: Measured
) -> None:
    page = open_page("allocation", keep="0.8", method="water-filling")
    picker = page.selectbox(key="measured-on")
    assert picker.options[0] == made.text.about
    page = picker.select_index(1).run()
    assert "On corpus\\.txt" in shown(page)
    assert next(m.value for m in page.metric if m.label == "Measured") != f"{made.found.perplexity:.2f}"


def test_the_board_is_sent_what_python_shows(
    open_page: Callable[..., AppTest], measured_home: Path, made: Measured
) -> None:
    page = open_page("allocation", keep="0.8", method="water-filling")
    sent = sent_to_browser(page, "measured")
    assert len({one["content"] for one in sent["measured"]}) == len(sent["measured"]) == 3
    assert made.found.perplexity in {one["perplexity"] for one in sent["measured"]}
    assert sent["predictor"] == predictor_on(made.text).to_json()
    assert sent["dense_perplexity"] == made.text.dense_perplexity
    assert "other.txt" in sent["basis"]


def test_tables_take_a_map_for_measured_by_what_it_decides(measured_home: Path, made: Measured) -> None:
    analysis = made.toy.analysis
    compressible = analysis.inventory.compressible_params
    rows = measurements.result_rows(analysis.id)
    for kept, is_measured in ((0.8, True), (0.7, False)):
        costed = allocation.method_map(analysis.id, "water-filling", Budget.of_kept_fraction(kept, compressible).params)
        assert (measured_row(rows, costed.rank_map) is not None) is is_measured
        table = tables.methods([costed], made.text, predictor_on(made.text), None)
        assert bool(table["measured_ratio"].notna().all()) is is_measured


def test_reports_and_commands_say_the_same(measured_home: Path, made: Measured, tmp_path: Path) -> None:
    analysis = made.toy.analysis.id
    content = report_content(made.toy.store, analysis, made.rank_map)
    assert content.forecast_text == made.text
    page = measurements.report_html(analysis, made.rank_map.to_json())
    unbroken = ratio(made.found.ratio).replace(" ", "\u00a0")
    assert f"On other.txt its perplexity was measured as {unbroken}" in page
    terminal, path = Terminal(measured_home), tmp_path / "map.json"
    told = terminal.json("allocate", analysis[:12], "--keep", 0.7, "--out", path)
    assert (told["prediction_text"], told["prediction_calibrated_on"]) == ("other.txt", 3)
    assert told["predicted_perplexity_ratio"] == pytest.approx(made.predicted, rel=1e-12)
    searched = tmp_path / "searched.json"
    told_of_search = terminal.json("allocate", analysis[:12], "--method", "bolaco", "--keep", 0.7, "--out", searched)
    budget = Budget.of_kept_fraction(0.7, made.toy.analysis.inventory.compressible_params)
    on_page = allocation.method_map(analysis, "bolaco", budget.params)
    assert parse_rank_map(searched.read_bytes()).blocks == on_page.rank_map.blocks
    assert (told_of_search["search"], told_of_search["params"]) == ("predicted", on_page.cost.params)
    told = terminal.json("report", analysis[:12], path, tmp_path / "unmeasured.html")
    assert (told["measured"], told["prediction_text"]) == (False, "other.txt")
    assert told["predicted_perplexity_ratio"] == pytest.approx(made.predicted, rel=1e-12)
    path.write_text(made.rank_map.to_json())
    told = terminal.json("report", analysis[:12], path, tmp_path / "measured.html")
    assert told["perplexity_ratios"]["other.txt"] == made.found.ratio


@pytest.mark.usefixtures("warm_starts")
def test_the_card_of_an_export_states_every_measurement_of_the_map_and_no_other(made: Measured, tmp_path: Path) -> None:
    toy = made.toy
    export(Home(toy.home), toy.analysis.id, made.rank_map, tmp_path / "small", ExportSpec(), ignore_progress)
    card = (tmp_path / "small" / "README.md").read_text(encoding="utf-8")
    stated = re.findall(
        r"^\| (\S+\.txt(?: \(calibration text\))?) \| ([\d,]+) \| float32 \| ([\d.]+) ", card, re.MULTILINE
    )
    row = measured_row(made.rows, made.rank_map)
    assert row is not None
    assert stated == [(one.text_title, f"{one.n_tokens:,}", f"{one.perplexity:.4f}") for one in row.perplexities]
