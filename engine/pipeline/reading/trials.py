"""What searches have found; free of torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cache import read_stage
from engine.allocation import EvaluatedMap, PredictedMaps
from engine.methods.presets import SEARCHED
from engine.pipeline.reading.analyses import same_factors
from engine.pipeline.reading.documents import read_document
from engine.rank_map.document import parse_rank_map
from engine.search.outcome import Trial
from engine.search.predicted import search_predictions

if TYPE_CHECKING:
    from cache import Artifact, Store
    from engine.analysis.value import Analysis
    from engine.methods.allocate import Request


def trials(store: Store, analysis_id: str) -> list[Trial]:
    """Return what searches have measured so far, newest first, also while they run; nothing of it is held out."""
    return [trial for trial, _ in _read_trials(store, analysis_id)]


def evaluated_maps(store: Store, analysis_id: str) -> list[EvaluatedMap]:
    """Return the maps that searches have measured, newest first."""
    return [
        EvaluatedMap(
            parse_rank_map(content).blocks,
            trial.params,
            trial.objective,
            f"{trial.subset} {trial.divergence_weight}",
            trial.created,
        )
        for trial, content in _read_trials(store, analysis_id)
    ]


def predicted_maps(analysis: Analysis) -> PredictedMaps | None:
    """Return the best maps that predictions find; ``None``: the analysis lacks the metric of searched maps.

    Raises:
        NumericalError: a curve is not finite.
    """
    if SEARCHED.metric not in analysis.nats:
        return None
    return search_predictions(analysis.inventory, analysis.nats[SEARCHED.metric])


def with_searched_maps(request: Request, store: Store, analysis: Analysis) -> Request:
    """Return a request with everything that searches have found for an analysis.

    Raises:
        NumericalError: a curve is not finite.
    """
    return replace(request, evaluated=evaluated_maps(store, analysis.id), predicted=predicted_maps(analysis))


def _read_trials(store: Store, analysis_id: str) -> list[tuple[Trial, bytes]]:
    known = same_factors(store, analysis_id)

    def read(artifact: Artifact) -> tuple[Trial, bytes] | None:
        if artifact.manifest.about["analysis"] not in known:
            return None
        return read_document(Trial, artifact), artifact.path("rank-map.json").read_bytes()

    measured, _ = read_stage(store, "trial", read)
    return sorted(measured, key=lambda pair: pair[0].created, reverse=True)
