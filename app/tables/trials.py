"""The trials of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from engine.results.pareto import pareto_front

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.search.outcome import Trial


def trials(measured: Sequence[Trial]) -> pd.DataFrame:
    """Return one row per trial, smallest first; ``is_best``: no other is as small and better.

    Args:
        measured: on one subset, so that they compare.
    """
    best = pareto_front([(trial.kept_fraction, trial.objective) for trial in measured])
    rows = [
        {
            "kept": trial.kept_fraction,
            "ratio": trial.perplexity / trial.dense_perplexity,
            "divergence": trial.divergence,
            "is_best": is_best,
        }
        for trial, is_best in zip(measured, best, strict=True)
    ]
    return pd.DataFrame(rows, columns=["kept", "ratio", "divergence", "is_best"]).sort_values("kept", ignore_index=True)
