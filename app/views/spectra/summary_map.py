"""Part of Spectra: one number per projection as a heatmap, whose cells are clicked to draw their lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app import charts, tables
from app.views.shared.compared import colours_in_words, difference, difference_in_words
from app.views.spectra.block_choice import toggle
from app.wording.compressible import compressible_in_words
from engine.results.words import percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from app.views.spectra.choices import Choices
    from app.views.spectra.comparison import Other

_MAP: Final = "spectra.map"
_LAST: Final = "spectra.map.last"
"""Names of the cells clicked last; where plotly still has them selected, clicking them again leaves none selected."""

_CLICKS: Final = "spectra.map.clicks"


def show_map(table: pd.DataFrame, choices: Choices, drawn: Sequence[str], other: Other | None) -> None:
    """Show every projection's summary, with a frame around those whose lines are drawn.

    Args:
        table: as :func:`app.tables.spectra` returns it.
        choices: what is shown, and how.
        drawn: names of blocks.
        other: whose summaries are taken off these, if it says so.
    """
    single = table[~table["joined"]]
    title = _title(choices)
    meaning = f"{title} over full rank" if choices.relative else title
    values = _values(single, choices)
    log = choices.scale.is_log(values.to_numpy())
    is_difference = other is not None and other.in_heatmap
    if other is not None and is_difference:
        others = single["name"].map(_values(other.table, choices).set_axis(other.table["name"]))
        values = difference(values, others, is_ratio=log)
    figure = charts.layer_heatmap(
        single.assign(value=values),
        "value",
        title=f"{meaning}<br>" + (colours_in_words(is_ratio=log) if is_difference else "(dark: compressible)"),
        hover=_hover(single, title, choices, values if is_difference else None, is_ratio=log),
        percent=choices.relative and not (is_difference and log),
        log=log,
        is_difference=is_difference,
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


def say_compressible(table: pd.DataFrame, choices: Choices) -> None:
    """Say what the heatmap shows of the model, whatever its colours are."""
    single = table[~table["joined"]]
    shares = single[choices.summary] / single["full_rank"]
    title = _title(choices)
    words = compressible_in_words(
        title[0].lower() + title[1:], list(single["kind"]), list(single["block"]), list(shares)
    )
    st.markdown(words, width=1100)


def _title(choices: Choices) -> str:
    if choices.summary == "rank_at_energy":
        return f"Rank at {percent(choices.energy)} energy"
    return tables.SUMMARIES[choices.summary]


def _values(table: pd.DataFrame, choices: Choices) -> pd.Series:
    return table[choices.summary] / (table["full_rank"] if choices.relative else 1)


def _hover(
    rows: pd.DataFrame, title: str, choices: Choices, differences: pd.Series | None, *, is_ratio: bool
) -> list[str]:
    summary = choices.summary
    texts = [
        f"{row['block']}<br>{title}: {row[summary]:.4g} of {full} ({percent(row[summary] / full)})"
        for row, full in zip(rows.to_dict("records"), rows["full_rank"], strict=True)
    ]
    if differences is None:
        return texts
    return [
        f"{text}<br>{difference_in_words(amount, is_ratio=is_ratio, percent=choices.relative)}"
        for text, amount in zip(texts, differences, strict=True)
    ]


def _toggle_clicked() -> None:
    clicked = [point["customdata"][0] for point in st.session_state[_MAP]["selection"]["points"]]
    toggle(clicked or st.session_state.get(_LAST, []))
    st.session_state[_LAST] = clicked
    st.session_state[_CLICKS] = st.session_state.get(_CLICKS, 0) + 1
