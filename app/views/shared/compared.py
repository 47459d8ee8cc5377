"""Part of Spectra and Sensitivity: another weighting or another analysis that all projections are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import streamlit as st

from app.services import analyses
from app.wording.labels import WEIGHTINGS, plain
from engine.results.words import TIMES
from engine.types import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    import pandas as pd

    from engine.analysis.value import Analysis

_NOTHING: Final = ""


@dataclass(frozen=True, slots=True)
class Compared:
    """What is compared with.

    Attributes:
        title: for people.
        analysis: of a model with the same projections.
        metric: what its spectra and factors are weighted by.
        in_heatmap: whether heatmaps show the difference.
    """

    title: str
    analysis: Analysis
    metric: Metric
    in_heatmap: bool


def choose_compared(
    analysis: Analysis, metric: Metric, weightings_of: Callable[[Analysis], Container[Metric]]
) -> Compared | None:
    """Ask for what to compare with.

    Args:
        analysis: that the page shows.
        metric: in which weighting.
        weightings_of: an analysis -> those in which it can be shown.
    """
    options = {_NOTHING: "Nothing"}
    options |= {
        other.value: f"Weighting: {name}"
        for other, name in WEIGHTINGS.items()
        if other in weightings_of(analysis) and other != metric
    }
    options |= {h.id: h.label for h in analyses.analysis_headings() if h.id != analysis.id}
    with st.popover("Compare"):
        chosen = st.selectbox(
            "Compare with",
            list(options),
            format_func=options.__getitem__,
            key="with",
            bind="query-params",
            help="Another weighting in this analysis, or another analysis of a model with the same projections.",
        )
        in_heatmap = st.toggle("Difference in the heatmap", True, key="difference", bind="query-params")
    if chosen == _NOTHING:
        return None
    if chosen in set(Metric):
        return Compared(options[chosen], analysis, Metric(chosen), in_heatmap)
    compared = analyses.analysis(chosen)
    if compared.projections.keys() != analysis.projections.keys():
        st.warning(f"{plain(options[chosen])} has other projections and cannot be compared.")
        return None
    if metric not in weightings_of(compared):
        st.warning(f"{plain(options[chosen])} lacks the weighting {WEIGHTINGS[metric]} and cannot be compared.")
        return None
    return Compared(options[chosen], compared, metric, in_heatmap)


def difference(values: pd.Series, others: pd.Series, *, is_ratio: bool) -> pd.Series:
    """Return how far values are from what they are compared with: where colours are logarithmic, how many times."""
    return values / others.where(others > 0) if is_ratio else values - others


def colours_in_words(*, is_ratio: bool) -> str:
    """Return what the colours of :func:`difference` mean."""
    return f"({TIMES} what is compared; red: higher here)" if is_ratio else "(red: higher here, blue: lower)"


def difference_in_words(amount: float, *, is_ratio: bool, percent: bool) -> str:
    """Return one of :func:`difference` for a tooltip."""
    if is_ratio:
        return f"{amount:.3g} {TIMES} what is compared"
    return (f"{100 * amount:+.1f} %" if percent else f"{amount:+.3g}") + " against what is compared"
