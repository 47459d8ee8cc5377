"""Results: everything measured with one analysis."""

from __future__ import annotations

import json

import streamlit as st

from app import charts, services, tables
from app.views._comparison import quality_chart
from app.views._every_method import compare_every_method
from app.widgets import current_analysis, errors_shown, page_link, refined_frame, results_frame, runs_of_one_text


def render() -> None:
    st.title("Results")
    st.caption("Every rank map that was compressed and measured with this analysis, beside the dense model.")
    with errors_shown():
        analysis = current_analysis()
        if analysis is None:
            return
        compare_every_method(analysis)
        runs = services.measured_runs(analysis.id)
        if not runs:
            st.info(
                "Nothing has been measured with this analysis yet. Choose a budget and a method, then press "
                "'Compress and measure'.",
                icon=":material/info:",
            )
            page_link("allocation", "Go to Allocation")
            return
        chosen = runs_of_one_text(runs)
        shown = tables.results(chosen)
        left, right = st.columns(2)
        with left:
            st.markdown("**Quality against size**")
            quality_chart(analysis, chosen, None)
        with right:
            st.markdown("**Predicted against measured** increase of the loss")
            figure = charts.predicted_against_measured(shown)
            st.plotly_chart(figure, key="results.predicted", alt="Predicted against measured increase of the loss")
            st.caption(
                "On the dotted line the prediction is exact; above it the harm is larger than predicted. "
                "Each prediction is calibrated on the other maps measured on this text; bars hold nine cases in ten."
            )
        results_frame(shown)
        refined = services.refined_runs(analysis.id)
        if refined:
            st.subheader("Refined factors")
            st.caption(
                "The same ranks and sizes with corrected or trained factors; never part of the predictions above."
            )
            refined_frame(tables.refined(refined))
        stem = f"rankscope-results-{analysis.id[:8]}"
        downloads = (
            ("CSV", tables.results(runs).to_csv(index=False), "text/csv"),
            ("JSON", json.dumps(runs, indent=2), "application/json"),
        )
        with st.container(horizontal=True):
            for name, content, kind in downloads:
                st.download_button(f"Download as {name}", content, f"{stem}.{name.lower()}", kind, on_click="ignore")
