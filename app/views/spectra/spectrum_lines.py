"""Part of Spectra: the chosen blocks' spectra with the table of the same numbers, and the table of all blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, tables
from app.views.spectra.block_choice import pick_blocks
from app.widgets.pickers import option_picker

if TYPE_CHECKING:
    import pandas as pd

    from engine.analysis.value import Analysis
    from engine.types import Metric

_AXES = {
    "sigma": "singular value, over the block's largest",
    "kept": "share of the block's energy kept",
    "lost": "share of the block's energy lost",
}
_HELP = (
    "Singular values: how much each further rank adds. Energy is their squares: what a block keeps, or loses, when it "
    "is cut to a rank."
)
_SCALES = {"height": "Logarithmic height", "rank": "Logarithmic ranks", "relative": "Ranks over full rank"}
_AT_FIRST = {"sigma": ["height", "rank"], "kept": [], "lost": ["height"]}


def show_lines(analysis: Analysis, metric: Metric, table: pd.DataFrame) -> None:
    """Draw the chosen blocks, at first those of the middle layer."""
    picked = pick_blocks(table)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        quantity = option_picker("Draw", tables.QUANTITIES, key="spectra.quantity", help_text=_HELP)
        scales = st.pills(
            "Axes",
            list(_SCALES),
            selection_mode="multi",
            default=_AT_FIRST[quantity],
            format_func=_SCALES.__getitem__,
            key=f"spectra.axes.{quantity}",
        )
    if picked:
        labels: dict[str, str] = dict(zip(table["name"], table["block"], strict=True))
        lines = tables.spectrum_lines({labels[name]: analysis.energies[metric][name] for name in picked}, quantity)
        figure = charts.spectra(
            lines,
            table,
            _AXES[quantity],
            log_height="height" in scales,
            log_rank="rank" in scales,
            relative="relative" in scales,
        )
        st.plotly_chart(figure, key="spectra.lines", alt=f"{_AXES[quantity]} by rank, for {', '.join(lines.columns)}")
        st.caption(
            "Break-even: above that rank the factors of a format cost more than the dense weight. ◆ low-rank and cat, "
            "▲ skip and skip+cat, which save parameters up to full rank minus one."
        )
        with st.expander("Table of the drawn lines"):
            st.dataframe(lines.reset_index(), hide_index=True, placeholder="", key="spectra.numbers")
    with st.expander("Table of every block"):
        columns = {
            "block": "Block",
            **tables.SUMMARIES,
            "full_rank": "Full rank",
            "break_even": "Break-even (low-rank, cat)",
            "break_even_skip": "Break-even (skip, skip+cat)",
        }
        st.dataframe(table.round(2)[list(columns)].rename(columns=columns), hide_index=True)
