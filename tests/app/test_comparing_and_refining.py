"""The comparison of every method on Results, and refinement on Allocation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from app.services import allocation, measurements
from engine.jobs import JobQueue
from engine.methods.allocate import allocate_rank_map
from engine.pipeline.compare import ComparisonSpec, compare
from engine.pipeline.evaluate import EvaluationSession
from engine.pipeline.reading.analyses import curves_by_metric
from engine.pipeline.refine import refine
from engine.progress import ignore_progress
from engine.settings import Home
from engine.specs import CorpusSpec, EvaluationSpec, RefinementSpec
from engine.types import Budget
from tests.app.test_views import button

if TYPE_CHECKING:
    from pathlib import Path

    from engine.analysis.value import Analysis
    from tests.app.test_views import Open


def text(home: Path, n_sequences: int) -> EvaluationSpec:
    corpus = CorpusSpec.parse(str(home / "corpus.txt"), part="calibration", n_sequences=n_sequences, length=64)
    return EvaluationSpec(corpus)


def test_a_stored_comparison_is_drawn_for_both_texts_with_its_table(
    open_page: Open, analysed_home: Path, toy_home: Path, toy_analysis: Analysis
) -> None:
    assert not any("Every method" in found.value for found in open_page("results").header)
    spec = ComparisonSpec((0.8, 0.5), ("svd-llm", "water-filling"), text(toy_home, 4), text(toy_home, 2))
    found = compare(Home(analysed_home), toy_analysis.id, spec, ignore_progress, device="cpu")
    page = open_page("results")
    assert not page.exception
    assert next(heading.value for heading in page.header) == "Every method at every budget"
    table = next(frame.value for frame in page.dataframe if "search_s" in frame.value)
    assert list(table["method"]) == ["SVD-LLM", "Water-filling"] * 2
    assert list(table["ratio"]) == [row.ratio for row in found.rows]
    assert table["other_ratio"].notna().all()


@pytest.mark.usefixtures("no_worker")
def test_comparing_is_one_click(open_page: Open, analysed_home: Path, toy_analysis: Analysis) -> None:
    button(open_page("results"), "Compare").click().run()
    (job,) = JobQueue(analysed_home).jobs()
    assert (job.operation, job.arguments) == ("compare", {"analysis": toy_analysis.id})


@pytest.mark.usefixtures("no_worker")
def test_refining_submits_the_map_that_is_shown(open_page: Open, analysed_home: Path, toy_analysis: Analysis) -> None:
    page = open_page("allocation", keep="0.8", method="water-filling")
    next(toggle for toggle in page.toggle if "train" in toggle.label).set_value(True).run()
    button(page, "Refine and measure").click().run()
    (job,) = JobQueue(analysed_home).jobs()
    budget = Budget.of_kept_fraction(0.8, toy_analysis.inventory.compressible_params)
    expected = allocation.method_map(toy_analysis.id, "water-filling", budget.params).rank_map.to_json()
    assert job.operation == "refine"
    assert job.arguments == {"analysis": toy_analysis.id, "rank_map": expected, "train": True}


def test_refined_maps_are_listed_apart(
    open_page: Open, analysed_home: Path, toy_home: Path, toy_analysis: Analysis
) -> None:
    budget = Budget.of_kept_fraction(0.8, toy_analysis.inventory.compressible_params)
    rank_map = allocate_rank_map(toy_analysis, curves_by_metric(toy_analysis), "water-filling", budget)
    spec = RefinementSpec(compute_dtype="float32")
    home = Home(analysed_home)
    key = refine(home, toy_analysis.id, rank_map, spec, ignore_progress, device="cpu")
    session = EvaluationSession(home, toy_analysis.id, text(toy_home, 4), ignore_progress, device="cpu")
    session.measure(rank_map, ignore_progress, key)
    page = open_page("results")
    assert not page.exception
    table = next(frame.value for frame in page.dataframe if "refined" in frame.value)
    assert list(table["refined"]) == ["corrected, no training"]
    assert sum(row.refinement is None for row in measurements.result_rows(toy_analysis.id)) == 3
    runs = next(frame.value for frame in page.dataframe if "kept_fraction" in frame.value)
    assert list(runs["method"]) == ["dense", "Water-filling", "SVD-LLM"]
    assert len(page.multiselect(key="runs.chosen").options) == 2
    report = measurements.report_html(toy_analysis.id, rank_map.to_json())
    assert "With refined factors" in report
    assert "corrected, no training" in report
