"""Small questions: a budget, a method, a metric, one of a few options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import streamlit as st

from app.labels import METRICS, method_title
from engine.presets import PRESETS
from engine.types import Budget, Metric

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.analysis import Analysis

Option = TypeVar("Option", bound=str)

DEFAULT_METHOD: Final = "water-filling"
"""The active method until another is picked."""


def kept_fraction_slider(label: str, *, key: str, default: float, help_text: str) -> float:
    """Ask for a kept fraction from 0.3 to 1.0; kept in the URL."""
    return float(
        st.slider(label, 0.3, 1.0, default, 0.01, format="percent", key=key, help=help_text, bind="query-params")
    )


def budget_slider(analysis: Analysis) -> Budget:
    """Ask how much of the compressible parameters may stay."""
    kept = kept_fraction_slider(
        "Budget: kept fraction of the compressible parameters",
        key="keep",
        default=0.8,
        help_text="A hard ceiling on all projections together; embeddings and norms are never touched.",
    )
    return Budget.of_kept_fraction(kept, analysis.inventory.compressible_params)


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


def method_picker(
    names: Sequence[str],
    *,
    key: str,
    help_text: str = "The one whose map is shown below and which 'Compress and measure' uses.",
) -> str:
    """Ask for the method whose map is used; kept in the URL."""
    chosen = st.selectbox(
        "Active method",
        names,
        names.index(DEFAULT_METHOD) if DEFAULT_METHOD in names else 0,
        format_func=method_title,
        key=key,
        bind="query-params",
        help=help_text,
    )
    if chosen in PRESETS:
        preset = PRESETS[chosen]
        st.caption(
            preset.summary + (f" [arXiv:{preset.paper}](https://arxiv.org/abs/{preset.paper})" if preset.paper else "")
        )
    return chosen


def option_picker(
    label: str, options: Mapping[Option, str], *, key: str, help_text: str | None = None, in_url: bool = False
) -> Option:
    """Ask for one of a few options, the first being the default; kept in the URL if asked."""
    chosen = st.segmented_control(
        label,
        list(options),
        default=next(iter(options)),
        required=True,
        format_func=options.__getitem__,
        key=key,
        help=help_text,
        bind="query-params" if in_url else None,
    )
    return chosen if chosen is not None else next(iter(options))
