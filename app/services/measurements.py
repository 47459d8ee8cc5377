"""What views ask for about stored measurements: rows, texts, files, reports, and more measuring."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.costed_maps import CostedMap
from app.services import analyses
from app.services.home import store, stored_of
from engine.methods import cost
from engine.pipeline import report as reporting
from engine.pipeline.reading import measurements, results
from engine.pipeline.reading import passages as reading
from engine.rank_map.document import parse_rank_map
from engine.report import render_report

if TYPE_CHECKING:
    from engine.rank_map.document import RankMap
    from engine.results.comparison import Comparison
    from engine.results.outcomes import MeasuredBlock
    from engine.results.passages import Passage
    from engine.results.rows import PerplexityResult, ResultRow, SummaryResult, SummaryTexts

_STAGES = ("evaluation", "task-scores", "summaries", "cost", "memory")


def stored() -> tuple[str, ...]:
    """Return the names of all stored measurements, which grow while a job runs."""
    return tuple(name for stage in _STAGES for name in stored_of(stage))


def result_rows(analysis_id: str) -> tuple[ResultRow, ...]:
    """Return everything measured with an analysis: the dense model first, then the largest map first."""
    return _rows(analysis_id, stored())


@st.cache_resource(max_entries=8, show_spinner="Reading the measurements")
def _rows(analysis_id: str, names: tuple[str, ...]) -> tuple[ResultRow, ...]:  # noqa: ARG001 - part of the cache's key
    return tuple(results.results(store(), analysis_id))


def summary_texts(summaries: SummaryResult) -> list[SummaryTexts]:
    """Return the articles with what people and the models wrote of them."""
    return results.summary_texts(store(), summaries)


def passages(result: PerplexityResult) -> list[Passage] | None:
    """Return the passages of a measured text, the most damaged first; ``None`` where their losses were not kept."""
    return reading.passages(store(), result)


def block_passages(analysis_id: str, alone: RankMap) -> tuple[MeasuredBlock, list[Passage]] | None:
    """Return what was measured last of the one block that a map cuts, and its passages, the most damaged first."""
    known = analyses.same_factors(analysis_id)
    return _block_passages(analysis_id, alone.to_json(), known, stored_of("block-losses"))


@st.cache_data(max_entries=8, show_spinner=False)
def _block_passages(
    analysis_id: str,
    alone: str,
    known: frozenset[str],  # noqa: ARG001 - part of the cache's key
    names: tuple[str, ...],  # noqa: ARG001 - part of the cache's key
) -> tuple[MeasuredBlock, list[Passage]] | None:
    return reading.block_passages(store(), analysis_id, parse_rank_map(alone.encode()))


def costed_map(analysis_id: str, row: ResultRow) -> CostedMap:
    """Return a measured map as what a method would do."""
    assert row.rank_map is not None
    return CostedMap(row.method, row.rank_map, cost.cost_of(analyses.analysis(analysis_id), row.rank_map))


def report_html(analysis_id: str, rank_map: str) -> str:
    """Return the report about a rank map as one HTML document.

    Raises:
        RankScopeError: the map is not one of the analysed model.
    """
    return render_report(reporting.report_content(store(), analysis_id, parse_rank_map(rank_map.encode())))


def results_json(analysis_id: str) -> str:
    """Return every measurement with everything that is known of it."""
    return reporting.results_to_json(result_rows(analysis_id), analysis_id)


def comparison(analysis_id: str) -> Comparison | None:
    """Return the newest table of every method at every budget."""
    return _comparison(analysis_id, analyses.same_factors(analysis_id), stored_of("comparison"))


@st.cache_data(max_entries=8, show_spinner=False)
def _comparison(
    analysis_id: str,
    known: frozenset[str],  # noqa: ARG001 - part of the cache's key
    names: tuple[str, ...],  # noqa: ARG001 - part of the cache's key
) -> Comparison | None:
    return measurements.newest_comparison(store(), analysis_id)
