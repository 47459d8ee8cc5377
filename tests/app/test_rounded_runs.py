"""Rounded weights on Results and in the report: rows, points, sizes, and what rounding alone does at the same size."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from app import charts, tables
from app.wording.labels import plain
from engine.jobs import JobQueue
from engine.pipeline.measure.plan import Plan, measure_all
from engine.pipeline.reading.results import results, row_of
from engine.pipeline.report import report_content
from engine.prediction.instead import instead_of
from engine.progress import ignore_progress
from engine.rank_map.ceiling import ByteCeiling
from engine.report import render_report
from engine.results.columns import measures, results_to_csv
from engine.results.rounding import Chosen, rounded_instead, sizes_in_words
from engine.results.texts import measured_texts
from engine.results.words import percent
from engine.settings import Home
from engine.specs import CorpusSpec, EvaluationSpec
from tests.app.test_results_page import frame
from tests.app.test_views import button, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from engine.results.rows import ResultRow
    from tests.app.test_views import Open
    from tests.support.measured_toy import MeasuredToy

RATIO = "perplexity_ratio[corpus.txt]"


@pytest.fixture(scope="session")
def rounded_toy(made_once: Callable[[str, Callable[[Path], object]], Path], measured_toy: MeasuredToy) -> Path:
    """The measured toy with its first map, and the dense model, at 8 and 4 bits; do not write to it."""

    def measure(root: Path) -> None:
        shutil.copytree(measured_toy.home / "artifacts", root / "artifacts")
        text = str(measured_toy.home / "corpus.txt")
        spec = EvaluationSpec(CorpusSpec.parse(text, part="calibration", n_sequences=4, length=64))
        for bits in (8, 4):
            plan, maps = Plan((spec,), weight_bits=bits), measured_toy.maps[:1]
            measure_all(Home(root), measured_toy.analysis.id, maps, plan, ignore_progress, device="cpu")

    return made_once("rounded-toy", measure)


@pytest.fixture
def rows(rounded_toy: Path, measured_toy: MeasuredToy) -> list[ResultRow]:
    return results(Home(rounded_toy).store, measured_toy.analysis.id)


@pytest.fixture
def rounded_home(home: Path, rounded_toy: Path) -> Path:
    shutil.copytree(rounded_toy / "artifacts", home / "artifacts")
    return home


def test_every_number_of_bits_is_a_row_with_its_own_bytes(open_page: Open, rounded_home: Path) -> None:
    page = open_page("results")
    assert not page.exception
    table = frame(page, RATIO)
    assert list(table["method"]) == ["dense"] * 3 + ["Water-filling"] * 3 + ["FLRC"]
    assert list(table["weight_bits"]) == [16, 8, 4, 16, 8, 4, 16]
    assert (table["model_mb"].diff()[[1, 2, 4, 5]] < 0).all()
    assert "rounded to 8 bits, those with a dot to 4" in shown(page)


def test_points_of_all_bits_are_told_apart_by_their_filling(rows: list[ResultRow]) -> None:
    named = {measure.name: measure for measure in measures(rows)}
    _, dense, _, water = charts.frontier(rows, named["model_mb"], named[RATIO]).data
    assert dense.marker.symbol == ("hexagon2", "hexagon2-open", "hexagon2-open-dot")
    assert [text.partition("<br>")[0].rpartition(", ")[2] for text in water.hovertext[1:]] == ["8 bits", "4 bits"]
    assert tables.run_label(rows[2]) == "Dense, 4 bits"


def test_a_model_that_rounding_destroyed_is_in_no_chart(rows: list[ResultRow]) -> None:
    named = {measure.name: measure for measure in measures(rows)}
    worse = replace(rows[5], perplexities=tuple(replace(p, perplexity=1e6) for p in rows[5].perplexities))
    line, *points = charts.frontier([*rows[:5], worse, rows[6]], named["model_mb"], named[RATIO]).data
    assert worse.id not in {row_id for trace in points for row_id in trace.customdata}
    assert max(line.y) < 10


def at_ratio(row: ResultRow, ratio: float) -> ResultRow:
    return replace(row, perplexities=tuple(replace(p, perplexity=ratio * p.dense_perplexity) for p in row.perplexities))


def test_the_best_rounded_model_that_is_no_larger_is_preferred(rows: list[ResultRow]) -> None:
    ratios = {"dense": (1.0, 1.1, 1.5), "water-filling": (1.3, 1.2, 1.6)}
    places = {"dense": iter(ratios["dense"]), "water-filling": iter(ratios["water-filling"])}
    rows = [at_ratio(row, next(places[row.method])) for row in rows[:-1]] + rows[-1:]
    (text,) = measured_texts(rows)
    _, eight, _, water, water_at_eight, _ = rows[:-1]

    def instead(n_bytes: int, ratio: float, ceiling: int = 0, high: float | None = None) -> str:
        rank_map = replace(water.rank_map, budget_params=None, ceiling=ByteCeiling(ceiling)) if ceiling else None
        found = rounded_instead(rows, text, Chosen(rank_map, n_bytes, ratio, high))
        return "" if found is None else found.words

    assert instead(eight.model_bytes, 1.2).startswith("Prefer the dense model at 8 bits: on ")
    assert "this map takes" in instead(eight.model_bytes, 1.2)
    assert "was measured at 1.200 ×" in instead(eight.model_bytes, 1.2)
    # As large, or as good as far as anybody sees.
    assert instead(eight.model_bytes, 1.1) == instead(eight.model_bytes, 1.1004) == ""
    assert instead(water.model_bytes, 1.0) == instead(water_at_eight.model_bytes - 1, 1.4) == ""
    # A measured map at its bits competes, too.
    named = f"Prefer Water-filling, {percent(water.size.kept_fraction)} kept, with 8 bits: on "
    assert instead(water_at_eight.model_bytes, 1.25).startswith(named)
    # What was asked for counts, not what the answer happens to take.
    assert instead(eight.model_bytes - 9, 1.2, eight.model_bytes).startswith("Prefer the dense model at 8 bits")
    # A prediction that is better but not sure to be has to be measured.
    assert instead(eight.model_bytes, 1.05, high=1.09) == ""
    unsure = instead(eight.model_bytes, 1.05, high=1.4)
    assert unsure.startswith("Measure this map before you prefer it to the dense model at 8 bits: on ")
    assert "is predicted at 1.050 ×, up to 1.400 ×." in unsure
    by_block = replace(water.rank_map, blocks=tuple(replace(block, bits=8) for block in water.rank_map.blocks))
    rows = [replace(at_ratio(water, 1.0), rank_map=by_block)]
    assert "kept, with bits per block: on " in instead(water.model_bytes, 1.25)


def test_the_detail_of_a_run_says_what_it_takes_and_what_rounding_does(
    open_page: Open, rounded_home: Path, rows: list[ResultRow]
) -> None:
    worst = rows[-1]
    page = open_page("results", {"runs.chosen": [worst.id]})
    assert not page.exception
    assert f"Whole model: {sizes_in_words(worst)}" in shown(page)
    assert "Prefer " in "".join(info.value for info in page.info)
    page = open_page("results", {"runs.chosen": [rows[1].id]})
    assert "Prefer " not in "".join(info.value for info in page.info)


def test_board_and_overview_name_the_rounded_model_to_prefer(
    open_page: Open, rounded_home: Path, measured_toy: MeasuredToy, rows: list[ResultRow]
) -> None:
    (text,) = measured_texts(rows)
    found = instead_of(rows, row_of(measured_toy.analysis, rows, measured_toy.maps[1]), text)
    assert found is not None
    page = open_page("allocation", keep="0.6", method="flrc")
    assert f":material/balance: {plain(found.words)}" in shown(page)
    page = open_page("overview", keep="0.6")
    assert not page.exception
    assert shown(page).count(":material/balance:") == 1


@pytest.mark.usefixtures("no_worker")
def test_bits_are_asked_for_beside_the_level(open_page: Open, rounded_home: Path) -> None:
    page = open_page("results", {"runs.bits": "4"})
    button(page, "Evaluate this run").click().run()
    (job,) = JobQueue(rounded_home).jobs()
    assert job.arguments["bits"] == "4"
    assert "repetitions" not in job.arguments


def test_the_report_has_rounded_points_sizes_and_the_sentence(rounded_toy: Path, measured_toy: MeasuredToy) -> None:
    content = report_content(Home(rounded_toy).store, measured_toy.analysis.id, measured_toy.maps[1])
    page = render_report(content)
    assert "dense model, 8 bits" in page
    assert 'class="rounded"' in page
    assert "<b>Prefer " in page
    assert sizes_in_words(content.row) in page
    without = replace(content, others=tuple(row for row in content.others if row.weight_bits == 16))
    assert "Prefer " not in render_report(without)


def test_files_tell_the_bits(rows: list[ResultRow]) -> None:
    head, *lines = results_to_csv(rows).splitlines()
    place = head.split(",").index("weight_bits")
    assert [line.split(",")[place] for line in lines] == ["16", "8", "4", "16", "8", "4", "16"]
