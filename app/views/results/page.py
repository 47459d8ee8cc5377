"""Results: everything measured with one analysis."""

from __future__ import annotations

import streamlit as st

from app import tables
from app.pages import page_link
from app.services import measurements, runs
from app.views.results.evaluating import watch_measurements
from app.views.results.every_method import compare_every_method
from app.views.results.measured_frames import refined_frame
from app.views.results.run_details import show_details
from app.views.results.runs import show_runs
from app.widgets.analysis_picker import current_analysis
from app.widgets.errors import errors_shown
from engine.results.columns import results_to_csv


def render() -> None:
    st.title("Results")
    st.caption("Every rank map that was compressed and measured with this analysis, beside the dense model.")
    with errors_shown():
        analysis = current_analysis()
        if analysis is None:
            return
        compare_every_method(analysis)
        watch_measurements(analysis)
        rows = measurements.result_rows(analysis.id)
        as_they_are = [row for row in rows if row.refinement is None]
        if len(as_they_are) == 1:
            st.info(
                "Nothing has been measured with this analysis yet. Choose a budget and a method, then press "
                "'Compress and measure'.",
                icon=":material/info:",
            )
            page_link("allocation", "Go to Allocation")
            return
        refined = [row for row in rows if row.refinement is not None]
        notes = runs.notes(analysis.id)
        show_runs(analysis, as_they_are, notes)
        show_details(analysis, as_they_are, refined, notes)
        if refined:
            st.header("Refined factors")
            st.caption("The same ranks and sizes with corrected or trained factors; not included in the tables above.")
            refined_frame(tables.refined(refined))
        _offer_files(analysis.id)


def _offer_files(analysis_id: str) -> None:
    stem = f"rankscope-results-{analysis_id[:8]}"
    st.header("Download all results")
    with st.container(horizontal=True):
        rows = measurements.result_rows(analysis_id)
        csv, document = (lambda: results_to_csv(rows)), (lambda: measurements.results_json(analysis_id))
        for name, content, kind in (("CSV", csv, "text/csv"), ("JSON", document, "application/json")):
            st.download_button(f"Download as {name}", content, f"{stem}.{name.lower()}", kind, on_click="ignore")


render()
