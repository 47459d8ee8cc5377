"""Part of Allocation: every method at one budget, as a table and against the budget."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import charts, tables
from app.plans import Impossible
from app.services import allocation, measurements
from app.views.shared.method_frames import methods_frame, quality_frame
from app.wording.labels import calibrated, method_title, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.plans import Plan
    from engine.analysis.value import Analysis


def compare_methods(
    analysis: Analysis, plans: Sequence[Plan | Impossible], runs: Sequence[Mapping[str, Any]], kept: float
) -> None:
    """Show the methods' table and their predicted curves with every measured point."""
    dense, text = dense_perplexity(analysis, runs)
    predictor = measurements.predictor(runs)
    possible = [p for p in plans if not isinstance(p, Impossible)]
    methods_frame(
        tables.methods(possible, runs, predictor, dense),
        perplexity_of=f"On {text}, where the dense model has {dense:.2f}.",
    )
    st.caption(f"Predictions are for {text}, {calibrated(predictor.n_runs)}.")
    for plan in plans:
        if isinstance(plan, Impossible):
            st.caption(f":material/block: {method_title(plan.method)}: {plain(plan.reason)}")
    with st.expander("Quality against size: every method at every budget", expanded=True):
        quality_chart(analysis, runs, kept)


def quality_chart(analysis: Analysis, runs: Sequence[Mapping[str, Any]], kept: float | None) -> None:
    """Show predicted curves and measured points."""
    measured = tables.results(runs) if runs else None
    predictor = measurements.predictor(runs)
    _, text = dense_perplexity(analysis, runs)
    figure = charts.quality_curves(allocation.predicted_curves(analysis.id, predictor), kept, measured)
    st.plotly_chart(figure, key="quality", alt="Predicted perplexity over dense against kept fraction")
    on = f" on {plain(tables.measured_on(runs[0]))}" if runs else ""
    st.caption(
        "Perplexity over that of the dense model (1 is unharmed) against the kept fraction of compressible "
        f"parameters. Lines are predicted for {text}, {calibrated(predictor.n_runs)}, without held ranks; bands hold "
        f"nine cases in ten. Points are measured{on}."
    )


def quality_table(analysis: Analysis, runs: Sequence[Mapping[str, Any]]) -> None:
    """Show the numbers of :func:`quality_chart`."""
    curves = allocation.predicted_curves(analysis.id, measurements.predictor(runs))
    quality_frame(tables.quality(curves, tables.results(runs) if runs else None))


def dense_perplexity(analysis: Analysis, runs: Sequence[Mapping[str, Any]]) -> tuple[float, str]:
    """Return the dense perplexity that predictions are given for, and of which text it is."""
    if runs:
        return float(runs[0]["dense_perplexity"]), plain(runs[0]["corpus"])
    return math.exp(analysis.calibration_nll), f"the calibration text ({plain(analysis.about['corpus'])})"
