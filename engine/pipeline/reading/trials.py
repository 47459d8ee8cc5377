"""What searches have measured; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache import read_stage
from engine.allocation import EvaluatedMap
from engine.pipeline.reading.documents import read_document
from engine.rank_map.document import parse_rank_map
from engine.search.outcome import Trial

if TYPE_CHECKING:
    from cache import Artifact, Store


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


def _read_trials(store: Store, analysis_id: str) -> list[tuple[Trial, bytes]]:
    def read(artifact: Artifact) -> tuple[Trial, bytes] | None:
        if artifact.manifest.about["analysis"] != analysis_id:
            return None
        return read_document(Trial, artifact), artifact.path("rank-map.json").read_bytes()

    measured, _ = read_stage(store, "trial", read)
    return sorted(measured, key=lambda pair: pair[0].created, reverse=True)
