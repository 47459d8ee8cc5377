"""The newest stored tables of an analysis; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cache import read_stage

if TYPE_CHECKING:
    from cache import Artifact, Store


def newest_comparison(store: Store, analysis_id: str) -> dict[str, Any] | None:
    """Return the newest table of methods of an analysis, as ``rankscope compare --json`` gave it, or ``None``."""
    return _newest(store, "comparison", analysis_id)


def measured_sensitivity(store: Store, analysis_id: str) -> dict[str, Any] | None:
    """Return the newest measured sensitivity of an analysis, or ``None``."""
    return _newest(store, "sensitivity", analysis_id)


def _newest(store: Store, stage: str, analysis_id: str) -> dict[str, Any] | None:
    def read(artifact: Artifact) -> tuple[str, dict[str, Any]] | None:
        is_of_it = artifact.manifest.about["analysis"] == analysis_id
        return (artifact.manifest.created, artifact.json(f"{stage}.json")) if is_of_it else None

    documents, _ = read_stage(store, stage, read)
    return max(documents, key=lambda pair: pair[0])[1] if documents else None
