"""Stored measurements of rank maps; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cache import MissingArtifactError
from engine.prediction.runs import fit_predictor, runs_on_newest_text, with_predictions

if TYPE_CHECKING:
    from cache import Store
    from engine.prediction.power_law import Predictor


def evaluations(store: Store, analysis_id: str | None = None) -> list[dict[str, Any]]:
    """Return the measured rank maps, newest first, each as documented for ``rankscope evaluate --json``.

    Each comes with the prediction that the other runs on the same text make of it.
    """
    return with_predictions(measurements(store, analysis_id))


def newest_predictor(store: Store, analysis_id: str) -> tuple[Predictor, str | None]:
    """Return the predictor calibrated on the text that was measured last, and that text (``None``: nothing was)."""
    runs = measurements(store, analysis_id)
    if not runs:
        return fit_predictor([]), None
    return fit_predictor(runs_on_newest_text(runs)), runs[0]["corpus"]


def refined_evaluations(store: Store, analysis_id: str) -> list[dict[str, Any]]:
    """Return the measured rank maps whose factors were refined, newest first; nothing predicts those."""
    return [run for run in _measurements(store, analysis_id) if run.get("refinement")]


def measurements(store: Store, analysis_id: str | None = None) -> list[dict[str, Any]]:
    """Return the rank maps measured as they are, newest first, without predictions."""
    return [run for run in _measurements(store, analysis_id) if not run.get("refinement")]


def _measurements(store: Store, analysis_id: str | None) -> list[dict[str, Any]]:
    results = []
    for key in store.keys("evaluation"):
        try:
            artifact = store.read(key)
        except MissingArtifactError:
            continue
        if analysis_id in {None, artifact.manifest.about["analysis"]}:
            document = artifact.json("evaluation.json")
            results.append({**document, "id": key.fingerprint, "created": artifact.manifest.created})
    return sorted(results, key=lambda r: r["created"], reverse=True)


def newest_comparison(store: Store, analysis_id: str) -> dict[str, Any] | None:
    """Return the newest table of methods of an analysis, as ``rankscope compare --json`` gave it, or ``None``."""
    artifacts = [store.read(key) for key in store.keys("comparison")]
    fitting = [a for a in artifacts if a.manifest.about["analysis"] == analysis_id]
    if not fitting:
        return None
    newest = max(fitting, key=lambda a: a.manifest.created)
    document: dict[str, Any] = newest.json("comparison.json")
    return document


def measured_sensitivity(store: Store, analysis_id: str) -> dict[str, Any] | None:
    """Return the newest measured sensitivity of an analysis, or ``None``."""
    artifacts = [store.read(key) for key in store.keys("sensitivity")]
    fitting = [a for a in artifacts if a.manifest.about["analysis"] == analysis_id]
    if not fitting:
        return None
    newest = max(fitting, key=lambda a: a.manifest.created)
    document: dict[str, Any] = newest.json("sensitivity.json")
    return document
