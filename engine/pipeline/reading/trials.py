"""What searches have measured; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cache import read_stage
from engine.allocation import EvaluatedMap
from engine.rank_map.document import parse_rank_map

if TYPE_CHECKING:
    from cache import Artifact, Store


def trials(store: Store, analysis_id: str) -> list[dict[str, Any]]:
    """Return what searches have measured so far, newest first, also while they run.

    Each has ``objective``, ``perplexity``, ``kept_fraction`` and the like, on a subset that is named but not held out.
    """
    return [document for document, _ in _read_trials(store, analysis_id)]


def evaluated_maps(store: Store, analysis_id: str) -> list[EvaluatedMap]:
    """Return the maps that searches have measured, newest first."""
    return [
        EvaluatedMap(
            parse_rank_map(content).blocks,
            document["params"],
            document["objective"],
            f"{document['subset']} {document['divergence_weight']}",
            document["created"],
        )
        for document, content in _read_trials(store, analysis_id)
    ]


def _read_trials(store: Store, analysis_id: str) -> list[tuple[dict[str, Any], bytes]]:
    def read(artifact: Artifact) -> tuple[dict[str, Any], bytes] | None:
        if artifact.manifest.about["analysis"] != analysis_id:
            return None
        about = {"id": artifact.key.fingerprint, "created": artifact.manifest.created}
        return {**artifact.json("trial.json"), **about}, artifact.path("rank-map.json").read_bytes()

    found, _ = read_stage(store, "trial", read)
    return sorted(found, key=lambda pair: pair[0]["created"], reverse=True)
