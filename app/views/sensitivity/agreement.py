"""Part of Sensitivity: the scores by depth and by kind, and how far they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, tables
from app.widgets import columns
from app.widgets.beside import beside
from app.wording.labels import plain

if TYPE_CHECKING:
    import pandas as pd

    from app.views.sensitivity.comparison import Other


def show_agreement(scores: pd.DataFrame, other: Other | None) -> None:
    """Show how the scores spread over layers and kinds, and their rank correlations.

    Args:
        scores: of every projection, in the order to show.
        other: whose shares are drawn thin or pale beside.
    """
    st.header("By depth and by kind", help="Each score sums to 100 % over the model, which makes them comparable.")
    shares = {by: tables.score_shares(scores, by) for by in ("layer", "kind")}
    for place, (by, share) in zip(beside("score-share", 400, 400), shares.items(), strict=True):
        compared = None if other is None else (other.title, tables.score_shares(other.scores, by))
        place.plotly_chart(
            charts.score_shares(share, compared), key=f"sensitivity.{by}", alt=f"Share of each score by {by}"
        )
    with st.expander("Table by layer and by kind"):
        for place, (by, share) in zip(st.columns(2), shares.items(), strict=True):
            percents = {title: columns.share() for title in share.columns}
            place.dataframe(columns.in_percent(share, percents), column_config=percents, key=f"sensitivity.{by}.table")
    st.header("Do the scores agree?", help="Spearman's rank correlation: 1 = same order, 0 = unrelated, -1 = reversed.")
    agreement = tables.rank_agreement(scores)
    st.markdown(tables.agreement_sentence(agreement))
    st.dataframe(agreement.style.format("{:.2f}"), width="content")
    if other is not None:
        st.markdown(f"Against {plain(other.title)}: {tables.agreement_with(scores, other.scores)}")
