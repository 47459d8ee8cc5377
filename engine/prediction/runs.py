"""Predictors from stored measurements: calibrated per analysis and text, never across texts; free of torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.prediction.power_law import MeasuredRun, Predictor, predict_left_out
from engine.types import Metric

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from engine.prediction.power_law import Prediction


def text_of(run: Mapping[str, Any]) -> tuple[Hashable, ...]:
    """Return what tells measurements apart that must not be mixed: the analysis, the text, its amount and the type.

    The dense model's loss to the last digit stands for the content of the text, whatever it is called.
    """
    return tuple(run[name] for name in ("analysis", "corpus", "n_sequences", "n_tokens", "dtype", "dense_nll"))


def measured_run(run: Mapping[str, Any]) -> MeasuredRun:
    """Return what a predictor learns from a measurement."""
    return MeasuredRun(Metric(run["metric"]), run["predicted_nats"], run["nll"] - run["dense_nll"])


def runs_on_newest_text(runs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return those of ``runs`` (newest first) that were made on the text measured last."""
    return [run for run in runs if text_of(run) == text_of(runs[0])]


def fit_predictor(runs: Sequence[Mapping[str, Any]]) -> Predictor:
    """Return the predictor calibrated on measurements of one analysis on one text."""
    assert len({text_of(run) for run in runs}) <= 1
    return Predictor.fit([measured_run(run) for run in runs])


def with_predictions(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return measurements, of any texts, with what was to be expected of each from the others on its text."""
    texts: dict[tuple[Hashable, ...], list[int]] = {}
    for index, run in enumerate(runs):
        texts.setdefault(text_of(run), []).append(index)
    predictions: dict[int, tuple[Prediction, int]] = {}
    for indices in texts.values():
        learned = [measured_run(runs[index]) for index in indices]
        n_telling = sum(own.tells for own in learned)
        for index, own, prediction in zip(indices, learned, predict_left_out(learned), strict=True):
            predictions[index] = prediction, n_telling - own.tells
    return [{**run, **_expected(run["dense_perplexity"], *predictions[index])} for index, run in enumerate(runs)]


def _expected(dense_perplexity: float, prediction: Prediction, n_runs: int) -> dict[str, Any]:
    predicted, low, high = prediction.perplexities(dense_perplexity)
    return {
        "predicted_nll_increase": prediction.nll_increase,
        "predicted_perplexity": predicted,
        "predicted_perplexity_low": low,
        "predicted_perplexity_high": high,
        "prediction_calibrated_on": n_runs,
    }
