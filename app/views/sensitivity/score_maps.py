"""Part of Sensitivity: the three scores side by side, by depth and kind, and how far they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, tables
from app.widgets import columns
from app.widgets.beside import beside
from app.wording.labels import plain
from engine.results.words import percent

if TYPE_CHECKING:
    import pandas as pd

    from app.widgets.colour_scale import ColourScale
    from engine.results.outcomes import MeasuredSensitivity


_TITLES = {
    "importance": "share of the total importance",
    "predicted": "predicted nats per token",
    "measured": "measured nats per token",
}


def show_maps(scores: pd.DataFrame, kept: float, measured: MeasuredSensitivity | None, scale: ColourScale) -> None:
    """Show each score by layer and kind; the predicted and the measured one share their colours."""
    shown = tables.importance_shares(scores)
    nats = charts.log_limits(shown[["predicted", "measured"]].to_numpy())
    for column, place in zip(tables.SCORES, beside("score-map", 340, 340, 340), strict=True):
        place.markdown(f"**{tables.SCORES[column]}**" + ("" if column == "importance" else f" at {percent(kept)} kept"))
        if column == "measured" and measured is None:
            place.info("Not measured yet. The button below cuts each projection alone and runs the model.")
            continue
        in_percent = column == "importance"
        log = scale.is_log(shown[column].to_numpy())
        figure = charts.layer_heatmap(
            shown,
            column,
            title=f"{_TITLES[column]}<br>(dark: safe to cut)",
            hover=[
                f"{row['block']}<br>"
                + (f"{percent(row[column], 3)} of the total" if in_percent else f"{row[column]:.3g} nats")
                for row in shown.to_dict("records")
            ],
            percent=in_percent,
            log=log,
            limits=nats if log and not in_percent else None,
        )
        place.plotly_chart(figure, key=f"sensitivity.{column}", alt=f"Heatmap of {tables.SCORES[column]}")
    caption = "The two maps in nats (loss increase per token) share their colours where these are logarithmic."
    if measured is not None:
        text = f"Measured on {plain(measured.corpus)}, {measured.n_tokens:,} tokens"
        caption += f" {text}. Cells without colour: cutting them did not raise the loss."
    st.caption(caption)


def show_agreement(scores: pd.DataFrame) -> None:
    """Show how the scores spread over layers and kinds, and their rank correlations."""
    st.subheader("By depth and by kind", help="Each score sums to 100 % over the model, which makes them comparable.")
    shares = {by: tables.score_shares(scores, by) for by in ("layer", "kind")}
    for place, (by, share) in zip(beside("score-share", 400, 400), shares.items(), strict=True):
        place.plotly_chart(charts.score_shares(share), key=f"sensitivity.{by}", alt=f"Share of each score by {by}")
    with st.expander("Table by layer and by kind"):
        for place, (by, share) in zip(st.columns(2), shares.items(), strict=True):
            percents = {title: columns.share() for title in share.columns}
            place.dataframe(columns.in_percent(share, percents), column_config=percents, key=f"sensitivity.{by}.table")
    st.subheader(
        "Do the scores agree?", help="Spearman's rank correlation: 1 = same order, 0 = unrelated, -1 = reversed."
    )
    agreement = tables.rank_agreement(scores)
    st.markdown(tables.agreement_sentence(agreement))
    st.dataframe(agreement.style.format("{:.2f}"), width="content")
