"""The newest stored tables of an analysis and of those with its factors; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from cache import read_stage
from engine.pipeline.reading.analyses import same_factors
from engine.pipeline.reading.documents import read_document
from engine.results.comparison import Comparison
from engine.results.outcomes import MeasuredSensitivity

if TYPE_CHECKING:
    from cache import Artifact, Store


T = TypeVar("T")


def newest_comparison(store: Store, analysis_id: str) -> Comparison | None:
    """Return the newest table of methods of an analysis, or ``None``."""
    return _newest(store, "comparison", Comparison, analysis_id)


def measured_sensitivity(store: Store, analysis_id: str) -> MeasuredSensitivity | None:
    """Return the newest measured sensitivity of an analysis, or ``None``."""
    return _newest(store, "sensitivity", MeasuredSensitivity, analysis_id)


def _newest(store: Store, stage: str, kind: type[T], analysis_id: str) -> T | None:
    known = same_factors(store, analysis_id)

    def read(artifact: Artifact) -> tuple[str, T] | None:
        if artifact.manifest.about["analysis"] not in known:
            return None
        return artifact.manifest.created, read_document(kind, artifact)

    dated, _ = read_stage(store, stage, read)
    return max(dated, key=lambda pair: pair[0])[1] if dated else None
