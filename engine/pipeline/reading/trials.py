"""What searches have measured; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cache import MissingArtifactError
from engine.allocation import EvaluatedMap
from engine.rank_map.document import parse_rank_map

if TYPE_CHECKING:
    from cache import Store


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
    found = []
    for key in store.keys("trial"):
        try:
            artifact = store.read(key)
        except MissingArtifactError:
            continue
        if artifact.manifest.about["analysis"] == analysis_id:
            document = {**artifact.json("trial.json"), "id": key.fingerprint, "created": artifact.manifest.created}
            found.append((document, artifact.path("rank-map.json").read_bytes()))
    return sorted(found, key=lambda pair: pair[0]["created"], reverse=True)
