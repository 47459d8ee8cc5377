"""Part of Results: every method at every budget, measured on the same texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, tables
from app.services import jobs, measurements
from app.views.results.measured_frames import comparison_frame
from app.widgets.estimate import show_estimate
from app.widgets.job_progress import follow, watch
from app.wording.labels import plain
from engine.operations import Compare
from engine.results.comparison import Comparison
from engine.results.words import percent

if TYPE_CHECKING:
    from engine.analysis.value import Analysis


def compare_every_method(analysis: Analysis) -> None:
    """Show the newest comparison of an analysis, and offer to make one."""
    watch("compare", analysis.id)
    newest = measurements.comparison(analysis.id)
    if newest is not None:
        _show(newest)
    with st.expander("Compare every method", expanded=False, icon=":material/compare_arrows:"):
        st.caption(
            "Measures every method at 90, 80, 70, 60 and 50 % kept, on held-out Wikipedia passages and on BBC news. "
            "Bolaco searches first. Stored measurements are reused."
        )
        operation = Compare(analysis=analysis.id)
        show_estimate(operation)
        if st.button("Compare", icon=":material/play_arrow:", key="compare.start"):
            follow(jobs.submit(operation))
            st.rerun()


def _show(comparison: Comparison) -> None:
    rows = tables.comparison(comparison.rows)
    text, other = plain(comparison.text), comparison.other_text and plain(comparison.other_text)
    st.header("Every method at every budget")
    columns = {"ratio": f"On {text}"} | ({"other_ratio": f"On {other}"} if other else {})
    for place, (column, title) in zip(st.columns(len(columns)), columns.items(), strict=True):
        with place:
            st.markdown(f"**{title}**, measured")
            figure = charts.comparison_lines(rows, column)
            st.plotly_chart(figure, key=f"compare.{column}", alt=f"Measured perplexity over dense, {title}")
    comparison_frame(rows, text=text, other_text=other)
    error = comparison.prediction_median_relative_error
    if error is not None:
        st.caption(
            f"Predictions of the increase of the loss miss by {percent(error, 0)} in the median, each made without the "
            "row's own measurement, where the increase is 0.05 to 1.5 nats per token. Nothing here was trained."
        )
