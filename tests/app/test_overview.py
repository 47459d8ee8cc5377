"""The Overview page: what its live part is sent, its recommendation, its sample, its table and its one next step."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from app import tables
from app.components.live_overview.data import timed_here
from app.components.rank_board.data import LOWEST_KEEP
from app.services import allocation, measurements, recommendation
from app.wording.recommendation import change
from engine.jobs import JobQueue
from engine.methods.presets import PRESETS
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.reading.results import results
from engine.prediction.runs import predictor_on, reference_text
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import CorpusSpec, EvaluationSpec
from engine.types import Budget
from tests.app.conftest import sent_to_browser

if TYPE_CHECKING:
    from pathlib import Path

    from engine.analysis.value import Analysis
    from tests.support.measured_toy import MeasuredToy

Open = "Callable[..., AppTest]"


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (0.95, "−5.0 %"),
        (1.0004, "unchanged"),
        (1.05, "+5.0 %"),
        (1.0997, "+10 %"),
        (1.5, "+50 %"),
        (3.0, "3.0 ×"),
        (math.inf, "> 1000 ×"),
    ],
)
def test_a_perplexity_in_words(ratio: float, words: str) -> None:
    assert change(ratio) == words


def test_every_measured_map_stands_beside_the_prediction_made_without_it(
    open_page: Open, toy_analysis: Analysis, analysed_home: Path
) -> None:
    sent = sent_to_browser(open_page("overview", keep="0.8"), "lines")
    text = reference_text(measurements.result_rows(toy_analysis.id))
    assert text is not None
    for one, row in zip(sent["measured"], text.rows, strict=True):
        found = text.of(row)
        assert found is not None
        assert found.prediction is not None
        assert one["ratio"] == found.ratio
        assert one["expected"][0] == found.prediction.perplexity / found.dense_perplexity
        own, *_ = predictor_on(text).predict(row.size.predicted_nats, row.rank_map.metric).perplexities()
        assert one["expected"][0] != own


def test_tasks_and_speed_are_sent_where_they_were_measured(
    open_page: Open, home: Path, measured_toy: MeasuredToy
) -> None:
    home.symlink_to(measured_toy.home)
    first = sent_to_browser(open_page("overview"), "lines")["measured"][0]
    assert 0 <= first["tasks"]["value"] <= 1
    assert 0 <= first["tasks"]["dense"] <= 1
    assert first["speed"]["value"] > 0
    assert first["timed_here"]["1"] == pytest.approx(1 / first["speed"]["value"])


def test_only_what_this_machine_timed_counts_as_its_own(measured_toy: MeasuredToy) -> None:
    row = next(row for row in results(measured_toy.store, measured_toy.analysis.id) if row.costs and not row.is_dense)
    assert timed_here(row).keys() == {1, 2}
    assert timed_here(replace(row, costs=tuple(replace(cost, machine="a cluster's") for cost in row.costs))) == {}
    assert timed_here(replace(row, costs=tuple(replace(cost, machine=None) for cost in row.costs))) == {}


def test_the_recommendation_is_the_smallest_map_within_its_rule(toy_analysis: Analysis, analysed_home: Path) -> None:
    text = reference_text(measurements.result_rows(toy_analysis.id))
    found = recommendation.smallest_fine_map(toy_analysis.id, text)
    assert found is not None
    assert found.ratio <= recommendation.FINE_RATIO
    smallest = Budget.of_kept_fraction(LOWEST_KEEP, toy_analysis.inventory.compressible_params)
    for method in PRESETS:
        if method != "bolaco":
            other = allocation.map_to_ratio(toy_analysis.id, method, recommendation.FINE_RATIO, text, ())
            assert found.costed.cost.params <= max(other.cost.params, smallest.params)
    assert found.costed.cost.kept_fraction > 0.9 * LOWEST_KEEP


def test_the_recommended_size_becomes_the_budget(open_page: Open, analysed_home: Path) -> None:
    page = open_page("overview", keep="0.8")
    assert any("at most 10 % above the dense model's" in text.value for text in page.markdown)
    page = page.button(key="recommended").click().run()
    assert not page.exception
    assert sent_to_browser(page, "lines")["keep"] != 0.8


@pytest.mark.usefixtures("no_worker")
def test_what_is_not_measured_yet_is_one_click_away(open_page: Open, analysed_home: Path) -> None:
    page = open_page("overview", keep="0.8")
    assert page.button(key="measure").label == "Measure answers and speed"
    page = page.button(key="measure").click().run()
    assert not page.exception
    (job,) = JobQueue(analysed_home).jobs()
    assert (job.operation, job.arguments["level"]) == ("evaluate", "quick")
    assert page.query_params["job"] == job.id
    assert any(b.label == "Cancel" for b in page.button)
    page = open_page("overview", keep="0.7")
    assert page.button(key="measure").label == "Compress and measure this version"


@pytest.mark.usefixtures("no_worker")
def test_a_version_measured_on_another_text_says_so_and_is_measured_on_this_one(
    open_page: Open, toy_home: Path, toy_analysis: Analysis, analysed_home: Path
) -> None:
    text = reference_text(measurements.result_rows(toy_analysis.id))
    assert text is not None
    (other,) = (row.rank_map for row in text.rows if row.method == "svd-llm")
    corpus = CorpusSpec.parse(str(toy_home / "corpus.txt"), part="evaluation", n_sequences=2, length=64)
    session = EvaluationSession(Home(analysed_home), toy_analysis.id, EvaluationSpec(corpus), ignore_progress)
    setting = session.measure(other, ignore_progress).setting
    page = open_page("overview", {"measured-on": setting}, keep="0.8")
    assert not page.exception
    assert page.button(key="measure").label == "Measure it on corpus.txt (calibration text), 126 tokens, float32"
    said = " ".join(caption.value for caption in page.caption).replace("\\", "")
    assert "This version was measured on corpus.txt (calibration text), 252 tokens, float32" in said
    page.button(key="measure").click().run()
    (job,) = JobQueue(analysed_home).jobs()
    assert (job.arguments["n_sequences"], job.arguments["length"]) == (2, 64)


def test_a_version_measured_in_every_way_asks_for_no_more(
    open_page: Open, home: Path, measured_toy: MeasuredToy
) -> None:
    home.symlink_to(measured_toy.home)
    assert "measure" not in {button.key for button in open_page("overview", keep="0.8").button}


def test_an_evaluated_summary_shows_how_both_models_write(
    open_page: Open, home: Path, measured_toy: MeasuredToy
) -> None:
    home.symlink_to(measured_toy.home)
    page = open_page("overview", keep="0.8")
    assert "Does it still answer?" in [heading.value for heading in page.header]
    assert "**Dense model**" in [text.value for text in page.markdown]


def test_the_charts_table_holds_every_point(toy_analysis: Analysis, analysed_home: Path) -> None:
    text = reference_text(measurements.result_rows(toy_analysis.id))
    assert text is not None
    curves = allocation.predicted_curves(toy_analysis.id, predictor_on(text))
    table = tables.quality(curves, tables.results(text))
    assert table["predicted_ratio"].notna().sum() == sum(len(points) for points in curves.values())
    assert table["measured_ratio"].notna().sum() == len(text.rows) + 1
    assert list(dict.fromkeys(table["method"])) == [PRESETS[name].title for name in PRESETS if name in curves] + [
        "dense"
    ]
    assert all(rows["kept"].is_monotonic_decreasing for _, rows in table.groupby("method"))


def test_the_shown_map_can_be_pinned(open_page: Open, analysed_home: Path) -> None:
    page = open_page("overview", keep="0.7")
    page = next(one for one in page.button if one.label == "Pin as baseline").click().run()
    assert not page.exception
    assert any("Baseline: **" in caption.value for caption in page.caption)
