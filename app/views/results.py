"""Results: everything measured with one analysis."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import streamlit as st

from app import charts, services, tables
from app.labels import TIMES, plain
from app.widgets import current_analysis, errors_shown, page_link

if TYPE_CHECKING:
    import pandas as pd

    from engine.analysis import Analysis


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
        _show_charts(analysis, shown)
        _show_table(shown)
        stem = f"rankscope-results-{analysis.id[:8]}"
        with st.container(horizontal=True):
            st.download_button(
                "Download as CSV", rows.to_csv(index=False), f"{stem}.csv", "text/csv", on_click="ignore"
            )
            st.download_button(
                "Download as JSON",
                json.dumps(runs, indent=2),
                f"{stem}.json",
                "application/json",
                on_click="ignore",
            )


def _of_one_text(rows: pd.DataFrame) -> pd.DataFrame:
    texts = list(dict.fromkeys(rows["text"]))
    if len(texts) == 1:
        st.markdown(f"Measured on **{plain(texts[0])}**.")
        return rows
    text = st.selectbox(
        "Measured on", texts, key="results.text", help="Perplexities of different texts do not compare."
    )
    return rows.loc[rows["text"] == text]


def _show_charts(analysis: Analysis, rows: pd.DataFrame) -> None:
    left, right = st.columns(2)
    left.markdown("**Quality against size**")
    curves = services.predicted_curves(analysis.id)
    left.plotly_chart(
        charts.quality_curves(curves, None, rows),
        key="results.quality",
        alt="Perplexity over dense against size",
    )
    right.markdown("**Predicted against measured** increase of the loss")
    right.plotly_chart(
        charts.predicted_against_measured(rows), key="results.predicted", alt="Predicted against measured"
    )


def _show_table(rows: pd.DataFrame) -> None:
    number = st.column_config.NumberColumn
    st.dataframe(
        rows,
        hide_index=True,
        column_order=[
            "method",
            "kept",
            "mb",
            "perplexity",
            "ratio",
            "predicted_ratio",
            "divergence",
            "agreement",
            "params",
            "created",
        ],
        column_config={
            "method": "Method",
            "kept": number("Kept", format="percent", help="Fraction of the compressible parameters."),
            "mb": number("MB", format="%.1f", help="Whole model at float16."),
            "perplexity": number("Perplexity", format="%.3f"),
            "ratio": number("Measured ÷ dense", format=f"%.3f {TIMES}"),
            "predicted_ratio": number("Predicted ÷ dense", format=f"%.3f {TIMES}"),
            "divergence": number(
                "Divergence", format="%.4f", help="KL divergence from the dense model, nats per token."
            ),
            "agreement": number("Same top token", format="percent", help="Share of positions."),
            "params": number("Parameters", format="compact", help="Of the projections."),
            "created": st.column_config.DatetimeColumn("Measured at"),
        },
    )
