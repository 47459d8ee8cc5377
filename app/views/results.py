"""Results: everything measured with one analysis."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import streamlit as st

from app import charts, services, tables
from app.labels import plain
from app.views._comparison import quality_chart
from app.widgets import current_analysis, errors_shown, page_link, results_frame

if TYPE_CHECKING:
    import pandas as pd


def render() -> None:
    st.title("Results")
    st.caption("Every rank map that was compressed and measured with this analysis, beside the dense model.")
    with errors_shown():
        analysis = current_analysis()
        if analysis is None:
            return
        runs = services.measured_runs(analysis.id)
        if not runs:
            st.info(
                "Nothing has been measured with this analysis yet. Choose a budget and a method, then press "
                "'Compress and measure'.",
                icon=":material/info:",
            )
            page_link("allocation", "Go to Allocation")
            return
        rows = tables.results(runs)
        shown = _of_one_text(rows)
        left, right = st.columns(2)
        with left:
            st.markdown("**Quality against size**")
            quality_chart(analysis, [run for run in runs if run["id"] in set(shown["id"])], None)
        with right:
            st.markdown("**Predicted against measured** increase of the loss")
            figure = charts.predicted_against_measured(shown)
            st.plotly_chart(figure, key="results.predicted", alt="Predicted against measured increase of the loss")
            st.caption("On the dotted line the prediction is exact; below it the harm was predicted too large.")
        results_frame(shown)
        stem = f"rankscope-results-{analysis.id[:8]}"
        document = json.dumps(runs, indent=2)
        with st.container(horizontal=True):
            st.download_button(
                "Download as CSV", rows.to_csv(index=False), f"{stem}.csv", "text/csv", on_click="ignore"
            )
            st.download_button("Download as JSON", document, f"{stem}.json", "application/json", on_click="ignore")


def _of_one_text(rows: pd.DataFrame) -> pd.DataFrame:
    texts = list(dict.fromkeys(rows["text"]))
    if len(texts) == 1:
        st.markdown(f"Measured on **{plain(texts[0])}**.")
        return rows
    text = st.selectbox(
        "Measured on", texts, key="results.text", help="Perplexities of different texts do not compare."
    )
    chosen: pd.DataFrame = rows[rows["text"] == text]
    return chosen
