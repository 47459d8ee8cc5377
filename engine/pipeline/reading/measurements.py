"""The newest stored tables of an analysis; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cache import Store


def newest_comparison(store: Store, analysis_id: str) -> dict[str, Any] | None:
    """Return the newest table of methods of an analysis, as ``rankscope compare --json`` gave it, or ``None``."""
    return _newest(store, "comparison", analysis_id)


def measured_sensitivity(store: Store, analysis_id: str) -> dict[str, Any] | None:
    """Return the newest measured sensitivity of an analysis, or ``None``."""
    return _newest(store, "sensitivity", analysis_id)


def _newest(store: Store, stage: str, analysis_id: str) -> dict[str, Any] | None:
    artifacts = [store.read(key) for key in store.keys(stage)]
    fitting = [artifact for artifact in artifacts if artifact.manifest.about["analysis"] == analysis_id]
    if not fitting:
        return None
    document: dict[str, Any] = max(fitting, key=lambda a: a.manifest.created).json(f"{stage}.json")
    return document
