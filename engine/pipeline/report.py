"""Reports and files from what is stored; without torch."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from engine.methods.cost import cost_of
from engine.pipeline.reading.analyses import load_analysis
from engine.pipeline.reading.passages import passages
from engine.pipeline.reading.results import results, row_of, summary_texts
from engine.prediction.runs import predictor_on, reference_text
from engine.rank_map.document import check_rank_map
from engine.report import ReportContent, TextSample
from engine.results.outcomes import row_to_json
from engine.results.rows import PredictedPerplexity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cache import Store
    from engine.rank_map.document import RankMap
    from engine.results.passages import Passage
    from engine.results.rows import ResultRow

RESULTS_SCHEMA = "rankscope/results/1"
SAMPLES = 3
"""Articles whose summaries are shown."""

PASSAGES = 2
"""Of the measured text, the most damaged first."""

PASSAGE_TOKENS = 120
"""Of a passage, those for which the compressed model pays most."""


def report_content(store: Store, analysis_id: str, rank_map: RankMap) -> ReportContent:
    """Return everything that is known of a rank map; predictions where nothing was measured.

    Args:
        store: holds the analysis.
        analysis_id: its id, or the start of it.
        rank_map: for the analysed model.

    Raises:
        InvalidRankMapError: the map does not fit the model.
        RankScopeError: there is no such analysis, or it has no factors in the map's metric.
        DamagedArtifactError: a measurement is not what was written.
    """
    analysis = load_analysis(store, analysis_id)
    check_rank_map(rank_map, analysis.inventory, analysis.about["model_fingerprint"])
    found = results(store, analysis.id)
    measured = tuple(row for row in found if row.refinement is None and not row.is_dense)
    row = row_of(analysis, found, rank_map)
    text = reference_text(found)
    predictor = predictor_on(text)
    expected = predictor.predict(cost_of(analysis, rank_map).nats, rank_map.metric)
    return ReportContent(
        analysis=analysis,
        rank_map=rank_map,
        row=row,
        dense=found[0],
        others=measured,
        refined=tuple(one for one in found if one.refinement is not None and one.map_id == row.id),
        forecast=PredictedPerplexity(*expected.perplexities(), predictor.n_runs),
        forecast_text=text,
        samples=_samples(store, row),
        passages=_passages(store, row),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        version=version("rankscope"),
    )


def results_to_json(rows: Sequence[ResultRow], analysis_id: str) -> str:
    """Return every row with its rank map, every measurement and where each comes from."""
    documents = [
        {**row_to_json(row), "rank_map": None if row.rank_map is None else json.loads(row.rank_map.to_json())}
        for row in rows
    ]
    return json.dumps({"schema": RESULTS_SCHEMA, "analysis": analysis_id, "rows": documents}, indent=2)


def _passages(store: Store, row: ResultRow) -> tuple[Passage, ...]:
    found = passages(store, row.perplexities[0]) if row.perplexities else None
    return tuple(passage.around_worst(PASSAGE_TOKENS) for passage in (found or [])[:PASSAGES])


def _samples(store: Store, row: ResultRow) -> tuple[TextSample, ...]:
    if not row.summaries:
        return ()
    largest = max(row.summaries, key=lambda summaries: summaries.n)
    return tuple(
        TextSample(largest.text, one.article, one.reference, one.dense, one.compressed)
        for one in summary_texts(store, largest)[:SAMPLES]
    )
