"""Small questions: a budget, a method, a metric, one of a few options."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import streamlit as st

from app.labels import METRICS
from app.widgets.board_state import LOWEST_KEEP, chosen_budget, remember_budget
from engine.types import Budget, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.analysis import Analysis

Option = TypeVar("Option", bound=str)


def kept_fraction_slider(label: str, *, key: str, default: float, help_text: str) -> float:
    """Ask for a kept fraction from 0.3 to 1.0; kept in the URL."""
    return float(
        st.slider(label, 0.3, 1.0, default, 0.01, format="percent", key=key, help=help_text, bind="query-params")
    )


def budget_slider(analysis: Analysis) -> Budget:
    """Ask how much of the compressible parameters may stay: the same budget as the rank board's."""
    # Set in every run, so that what was chosen on the board or comes with a link is what the slider shows.
    st.session_state["budget"] = chosen_budget()
    kept = st.slider(
        "Budget: kept fraction of the compressible parameters",
        LOWEST_KEEP,
        1.0,
        step=0.001,
        format="percent",
        key="budget",
        help="A hard ceiling on all projections together; embeddings and norms are never touched.",
        on_change=_remember_slider,
    )
    return Budget.of_kept_fraction(kept, analysis.inventory.compressible_params)


def _remember_slider() -> None:
    remember_budget(float(st.session_state["budget"]))


def metric_picker(analysis: Analysis, *, key: str) -> Metric:
    """Ask which metric's spectra to show."""
    there = [m for m in Metric if m in analysis.energies]
    start = there.index(Metric.LOSS) if Metric.LOSS in there else 0
    return st.selectbox(
        "Spectrum of what",
        there,
        start,
        format_func=METRICS.__getitem__,
        key=key,
        width=400,
        help="Singular values of the weight itself, or of the weight scaled by what the calibration text showed.",
    )


def option_picker(label: str, options: Mapping[Option, str], *, key: str, help_text: str | None = None) -> Option:
    """Ask for one of a few options, the first being the default."""
    chosen = st.segmented_control(
        label,
        list(options),
        default=next(iter(options)),
        required=True,
        format_func=options.__getitem__,
        key=key,
        help=help_text,
    )
    return chosen if chosen is not None else next(iter(options))
