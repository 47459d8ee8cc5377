"""Part of Sensitivity: the three scores side by side, by depth and kind, and how far they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, tables
from app.wording.labels import plain

if TYPE_CHECKING:
    import pandas as pd

    from engine.results.outcomes import MeasuredSensitivity


def show_maps(scores: pd.DataFrame, kept: float, measured: MeasuredSensitivity | None) -> None:
    """Show each score by layer and kind; the predicted and the measured one share their colours."""
    meanings = {
        "importance": ("**FLRC importance**, no unit", "importance"),
        "predicted": (f"**Predicted** at {kept:.0%} kept, nats", "nats per token"),
        "measured": (f"**Measured** at {kept:.0%} kept, nats", "nats per token"),
    }
    nats = charts.log_limits(scores[["predicted", "measured"]].to_numpy())
    for column, place in zip(tables.SCORES, st.columns(3), strict=True):
        title, unit = meanings[column]
        place.markdown(title)
        if column == "measured" and measured is None:
            place.info("Not measured yet. The button below cuts each projection alone and runs the model.")
            continue
        hover = [f"{row['block']}<br>{row[column]:.4g} {unit}" for row in scores.to_dict("records")]
        limits = None if column == "importance" else nats
        figure = charts.layer_heatmap(scores, column, hover=hover, log=True, limits=limits)
        place.plotly_chart(figure, key=f"sensitivity.{column}", alt=f"Heatmap of {tables.SCORES[column]}")
    caption = "Colours are logarithmic; the two maps in nats (loss increase per token) share them."
    if measured is not None:
        text = f"Measured on {plain(measured.corpus)}, {measured.n_tokens:,} tokens"
        caption += f" {text}. Cells without colour: cutting them did not raise the loss."
    st.caption(caption)


def show_agreement(scores: pd.DataFrame) -> None:
    """Show how the scores spread over layers and kinds, their rank correlations, and all of them."""
    st.subheader("By depth and by kind", help="Each score sums to 100 % over the model, which makes them comparable.")
    shares = {by: tables.score_shares(scores, by) for by in ("layer", "kind")}
    for place, (by, share) in zip(st.columns(2), shares.items(), strict=True):
        place.plotly_chart(charts.score_shares(share), key=f"sensitivity.{by}", alt=f"Share of each score by {by}")
    with st.expander("Table by layer and by kind"):
        for place, (by, share) in zip(st.columns(2), shares.items(), strict=True):
            percents = dict.fromkeys(share.columns, st.column_config.NumberColumn(format="percent"))
            place.dataframe(share, column_config=percents, key=f"sensitivity.{by}.table")
    st.subheader(
        "Do the scores agree?", help="Spearman's rank correlation: 1 = same order, 0 = unrelated, -1 = reversed."
    )
    agreement = tables.rank_agreement(scores)
    st.markdown(tables.agreement_sentence(agreement))
    left, right = st.columns(2)
    figure = charts.agreement_matrix(agreement)
    left.plotly_chart(figure, key="sensitivity.agreement", alt="Rank correlation of every two scores")
    right.dataframe(agreement.style.format("{:.3f}"))
    with st.expander("Table of every projection"):
        columns = {"block": "Projection", **tables.SCORES}
        st.dataframe(scores[list(columns)].rename(columns=columns), hide_index=True, placeholder="–")
