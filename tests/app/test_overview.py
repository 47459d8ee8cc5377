"""The Overview page: what its live part is sent, its recommendation, its sample, its table and its one next step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from app import tables
from app.services import allocation, measurements, recommendation
from app.wording.recommendation import change
from engine.jobs import JobQueue
from engine.methods.presets import PRESETS
from engine.prediction.runs import predictor_on, reference_text
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


def test_the_recommendation_is_the_smallest_map_within_its_rule(toy_analysis: Analysis, analysed_home: Path) -> None:
    text = reference_text(measurements.result_rows(toy_analysis.id))
    found = recommendation.smallest_fine_map(toy_analysis.id, text)
    assert found is not None
    assert found.ratio <= recommendation.FINE_RATIO
    for method in PRESETS:
        if method != "bolaco":
            other = allocation.map_to_ratio(toy_analysis.id, method, recommendation.FINE_RATIO, text, ())
            assert found.costed.cost.params <= other.cost.params


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
    assert "Does it still answer?" in [heading.value for heading in page.subheader]
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
