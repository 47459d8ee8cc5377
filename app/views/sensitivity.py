"""Sensitivity: how much each projection matters, by three scores, and how far they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from app import charts, services, tables
from app.labels import plain
from app.widgets import (
    current_analysis,
    errors_shown,
    follow,
    kept_fraction_slider,
    measuring_form,
    page_link,
    watch,
)
from engine.operations import SENSITIVITY_DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from engine.analysis import Analysis


def render() -> None:
    st.title("Sensitivity")
    st.caption(
        "Which projections must keep their rank? Two estimates from the analysis, and the truth if you measure it."
    )
    with errors_shown():
        analysis = current_analysis()
        if analysis is None:
            return
        watch("sensitivity", analysis.id)
        measured = services.measured_sensitivity(analysis.id)
        kept = (
            measured["kept_fraction"]
            if measured
            else kept_fraction_slider(
                "Predict for a projection cut to this kept fraction of its own parameters",
                key="cut",
                default=0.5,
                help_text="Each projection is cut alone, in low-rank format; all others stay dense.",
            )
        )
        scores = tables.sensitivity(
            analysis,
            services.predicted_increases(analysis.id, kept),
            measured["nll_increase"] if measured else None,
        )
        _show_maps(scores, kept, measured)
        _ask_to_measure(analysis, kept, measured)
        _show_agreement(scores)
        page_link("allocation", "Next: share out the ranks")


def _show_maps(scores: pd.DataFrame, kept: float, measured: Mapping[str, Any] | None) -> None:
    meanings = {
        "importance": ("**FLRC importance** (log colour)", "importance, no unit"),
        "predicted": (f"**Predicted** loss increase at {kept:.0%} kept", "nats per token"),
        "measured": (f"**Measured** loss increase at {kept:.0%} kept", "nats per token"),
    }
    for column, place in zip(tables.SCORES, st.columns(3), strict=True):
        title, unit = meanings[column]
        place.markdown(title)
        if column == "measured" and measured is None:
            place.info("Not measured yet: the button below cuts each projection alone and runs the model.")
            continue
        hover = [f"{row.block}<br>{getattr(row, column):.4g} {unit}" for row in scores.itertuples()]
        figure = charts.layer_heatmap(scores, column, meaning=unit, hover=hover, log=True)
        place.plotly_chart(figure, key=f"sensitivity.{column}", alt=f"Heatmap of {tables.SCORES[column]}")
    if measured is not None:
        st.caption(
            f"Measured on {plain(measured['corpus'])}, {measured['n_tokens']:,} tokens. Cells without colour: no increase."
        )


def _ask_to_measure(analysis: Analysis, kept: float, measured: Mapping[str, Any] | None) -> None:
    label = "Measure again, on another text or amount" if measured else "Measure it"
    with st.expander(label, expanded=measured is None):
        st.caption(
            f"Cuts each of the {len(analysis.projections)} projections alone to {kept:.0%} and measures the loss."
        )
        arguments = measuring_form(
            analysis,
            key="sensitivity",
            n_sequences=SENSITIVITY_DEFAULTS["n_sequences"],
            length=SENSITIVITY_DEFAULTS["length"],
        )
        if (
            st.button("Measure sensitivity", type="primary", disabled=arguments is None)
            and arguments is not None
        ):
            follow(services.submit_sensitivity(analysis.id, {**arguments, "kept_fraction": kept}))
            st.rerun()


def _show_agreement(scores: pd.DataFrame) -> None:
    st.subheader(
        "By depth and by kind", help="Every score adds up to 100 % over the model, so that they compare."
    )
    left, right = st.columns(2)
    left.plotly_chart(
        charts.score_shares(scores, "layer", tables.SCORES), key="sensitivity.layer", alt="Scores by layer"
    )
    right.plotly_chart(
        charts.score_shares(scores, "kind", tables.SCORES), key="sensitivity.kind", alt="Scores by kind"
    )
    st.subheader(
        "Do the scores agree?",
        help="Spearman's rank correlation over all projections: 1 is the same order, 0 none.",
    )
    st.dataframe(tables.rank_agreement(scores).style.format("{:.2f}"))
    with st.expander("Table of every projection"):
        columns = {"block": "Projection", **tables.SCORES}
        st.dataframe(scores[list(columns)].rename(columns=columns), hide_index=True)
