"""Part of Allocation: every method at one budget, as a table and against the budget."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import charts, services, tables
from app.labels import TIMES, method_title, plain
from app.plans import Impossible

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.plans import Plan
    from engine.analysis import Analysis


def compare_methods(
    analysis: Analysis, plans: Sequence[Plan | Impossible], runs: Sequence[Mapping[str, Any]], kept: float
) -> None:
    """Show the methods' table and their predicted curves with every measured point."""
    dense, text = _dense_perplexity(analysis, runs)
    table = tables.methods([p for p in plans if not isinstance(p, Impossible)], runs, dense)
    number = st.column_config.NumberColumn
    st.dataframe(
        table,
        hide_index=True,
        column_order=["method", "kept", "params", "mb", "predicted_ratio", "predicted", "measured_ratio"],
        column_config={
            "method": "Method",
            "kept": number("Kept", format="percent", help="Fraction of the compressible parameters."),
            "params": number(
                "Parameters", format="compact", help="In the projections; each is one multiply-add per token."
            ),
            "mb": number("MB", format="%.1f", help="Whole model at float16, column orders included."),
            "predicted_ratio": number(
                "Predicted ÷ dense", format=f"%.3f {TIMES}", help="Perplexity over that of the dense model."
            ),
            "predicted": number(
                "Predicted perplexity",
                format="%.2f",
                help=f"On {text}, where the dense model has {dense:.2f}.",
            ),
            "measured_ratio": number(
                "Measured ÷ dense", format=f"%.3f {TIMES}", help="Empty until this very map is measured."
            ),
        },
    )
    for plan in plans:
        if isinstance(plan, Impossible):
            st.caption(f":material/block: {method_title(plan.method)}: {plain(plan.reason)}")
    with st.expander("Quality against size: every method at every budget", expanded=True):
        measured = tables.results(runs) if runs else None
        figure = charts.quality_curves(services.predicted_curves(analysis.id), kept, measured)
        st.plotly_chart(
            figure, key="allocation.curves", alt="Predicted perplexity over dense against kept fraction"
        )
        st.caption(
            "Lines are predicted without held ranks; points are measured. Lower is better; towards the left is smaller."
        )


def _dense_perplexity(analysis: Analysis, runs: Sequence[Mapping[str, Any]]) -> tuple[float, str]:
    """Return the dense perplexity that predictions are given for, and of which text it is."""
    if runs:
        return float(runs[0]["dense_perplexity"]), plain(runs[0]["corpus"])
    return math.exp(analysis.calibration_nll), f"the calibration text ({plain(analysis.about['corpus'])})"
