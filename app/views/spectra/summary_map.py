"""Part of Spectra: one number per projection as a heatmap, whose cells are clicked to draw their lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app import charts, tables
from app.views.spectra.block_choice import toggle
from engine.results.words import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from app.views.spectra.choices import Choices

_MAP: Final = "spectra.map"
_LAST: Final = "spectra.map.last"
"""Names of the cells clicked last; where plotly still has them selected, clicking them again leaves none selected."""

_CLICKS: Final = "spectra.map.clicks"


def show_map(table: pd.DataFrame, choices: Choices, drawn: Sequence[str]) -> None:
    """Show every projection's summary, with a frame around those whose lines are drawn."""
    single = table[~table["joined"]]
    summary = choices.summary
    fraction = single[summary] / single["full_rank"]
    title = tables.SUMMARIES[summary]
    if summary == "rank_at_energy":
        title = f"Rank at {percent(choices.energy)} energy"
    meaning = f"{title} over full rank" if choices.relative else title
    rows = single.assign(value=fraction if choices.relative else single[summary])
    figure = charts.layer_heatmap(
        rows,
        "value",
        title=f"{meaning}<br>(dark: compressible)",
        hover=[
            f"{row['block']}<br>{title}: {row[summary]:.4g} of {row['full_rank']} ({share:.1%})"
            for row, share in zip(single.to_dict("records"), fraction, strict=True)
        ],
        percent=choices.relative,
        log=choices.scale.is_log(rows["value"].to_numpy()),
        outlined=drawn,
        n_clicks=st.session_state.get(_CLICKS, 0),
    )
    st.plotly_chart(
        figure,
        key=_MAP,
        on_select=_toggle_clicked,
        selection_mode="points",
        config=charts.chart_config("heatmap"),
        alt=f"Heatmap of {meaning} by layer and kind",
    )


def _toggle_clicked() -> None:
    clicked = [point["customdata"][0] for point in st.session_state[_MAP]["selection"]["points"]]
    toggle(clicked or st.session_state.get(_LAST, []))
    st.session_state[_LAST] = clicked
    st.session_state[_CLICKS] = st.session_state.get(_CLICKS, 0) + 1
