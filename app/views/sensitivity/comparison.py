"""Part of Sensitivity: the scores of a cut, and of what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app import tables
from app.services import analyses
from app.views.shared.compared import choose_compared

if TYPE_CHECKING:
    import pandas as pd

    from engine.analysis.value import Analysis
    from engine.results.outcomes import MeasuredSensitivity


@dataclass(frozen=True, slots=True)
class Other:
    """What is compared with.

    Attributes:
        title: for people.
        scores: as :func:`app.tables.sensitivity` returns them, in the order of the model.
        in_heatmap: whether heatmaps show the difference.
    """

    title: str
    scores: pd.DataFrame
    in_heatmap: bool


def choose_other(analysis: Analysis, kept: float) -> Other | None:
    """Ask for what to compare the scores at a kept fraction with."""
    compared = choose_compared(analysis, analysis.default_metric, lambda one: one.nats)
    if compared is None:
        return None
    shown, metric = compared.analysis, compared.metric
    # A measurement cuts the factors of an analysis' own weighting.
    measured = measured_at(shown, kept) if metric == shown.default_metric else None
    predicted = analyses.predicted_increases(shown.id, kept, metric)
    scores = tables.sensitivity(shown, kept, predicted, measured.nll_increase if measured else None)
    return Other(compared.title, scores, compared.in_heatmap)


def measured_at(analysis: Analysis, kept: float) -> MeasuredSensitivity | None:
    """Return the newest measured sensitivity if it was measured at this kept fraction."""
    measured = analyses.measured_sensitivity(analysis.id)
    return measured if measured is not None and measured.kept_fraction == kept else None
