"""Predictors from measured rank maps: calibrated per analysis and text, never across texts; free of torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engine.prediction.power_law import MeasuredRun, Predictor, predict_left_out
from engine.results.rows import PredictedPerplexity
from engine.results.texts import measured_texts
from engine.types import Metric

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from engine.results.rows import PerplexityResult, ResultRow
    from engine.results.texts import MeasuredText


def calibration_texts(rows: Sequence[ResultRow]) -> tuple[MeasuredText, ...]:
    """Return the texts that predictions can be calibrated on, the one they are calibrated on by default first.

    It is the first of :func:`~engine.results.texts.measured_texts`, for pages, board, reports and commands alike.
    """
    return tuple(text for text in measured_texts(rows) if text.rows)


def reference_text(rows: Sequence[ResultRow]) -> MeasuredText | None:
    """Return the text that predictions are calibrated on unless another is chosen; ``None``: no map was measured."""
    return next(iter(calibration_texts(rows)), None)


def calibration(text: MeasuredText | None) -> tuple[MeasuredRun, ...]:
    """Return what a predictor learns from the maps measured on a text; nothing where there is none."""
    return () if text is None else tuple(_measured_run(row, text) for row in text.rows)


def predictor_on(text: MeasuredText | None) -> Predictor:
    """Return the predictor for a text; without one it rests on the analysis alone."""
    return Predictor.fit(calibration(text))


def with_predictions(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """Return rows of one analysis whose perplexities say what was to be expected of them.

    Each prediction is made from all other maps on the same text; refined factors and the dense model have none.
    """
    predicted: dict[tuple[str, tuple[Hashable, ...]], PredictedPerplexity] = {}
    for text in calibration_texts(rows):
        runs = calibration(text)
        n_telling = sum(run.tells for run in runs)
        for row, run, prediction in zip(text.rows, runs, predict_left_out(runs), strict=True):
            expected = prediction.perplexities(text.dense_perplexity)
            predicted[row.id, text.setting] = PredictedPerplexity(*expected, n_telling - run.tells)
    return [
        replace(
            row, perplexities=tuple(replace(p, prediction=predicted.get((row.id, p.setting))) for p in row.perplexities)
        )
        for row in rows
    ]


def _measured_run(row: ResultRow, text: MeasuredText) -> MeasuredRun:
    found: PerplexityResult | None = text.of(row)
    assert found is not None
    assert row.metric is not None
    return MeasuredRun(Metric(row.metric), row.size.predicted_nats, found.increase)
