"""Part of Spectra: the chosen blocks' spectra, their cumulative energy, and the table of all blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, tables
from app.widgets import plain_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from engine.analysis import Analysis
    from engine.types import Metric

MOST_LINES = 12
_PICKED = "spectra.picked"


def pick(names: Sequence[str]) -> None:
    """Add blocks to those drawn; the oldest give way."""
    st.session_state[_PICKED] = list(dict.fromkeys([*st.session_state.get(_PICKED, []), *names]))[-MOST_LINES:]


def show_lines(analysis: Analysis, metric: Metric, table: pd.DataFrame) -> None:
    """Draw the chosen blocks; at first those of the middle layer."""
    labels: dict[str, str] = dict(zip(table["name"], table["block"], strict=True))
    if _PICKED not in st.session_state or not set(st.session_state[_PICKED]) <= set(labels):
        layers = sorted(set(table["layer"]))
        middle = table[(table["layer"] == layers[len(layers) // 2]) & ~table["joined"]]
        st.session_state[_PICKED] = list(middle["name"])[:MOST_LINES]
    picked = st.multiselect(
        "Blocks drawn",
        list(labels),
        format_func=labels.__getitem__,
        key=_PICKED,
        max_selections=MOST_LINES,
        help=f"Up to {MOST_LINES}. Blocks such as 'L0 q+k+v' share one inner factor (cat formats).",
    )
    if picked:
        energies = {labels[name]: analysis.energies[metric][name] for name in picked}
        break_even: dict[str, int] = dict(zip(table["block"], table["break_even"], strict=True))
        left, right = st.columns(2)
        left.markdown("**Energy of every singular value**")
        left.plotly_chart(charts.spectra(energies, break_even), key="spectra.lines", alt="Spectra on log axes")
        right.markdown("**Energy kept at every rank**")
        kept = charts.cumulative_energy(energies, break_even)
        right.plotly_chart(kept, key="spectra.kept", alt="Share of energy kept at every rank")
        st.caption(
            "Energies are shares of the block's own total. ◆ marks the break-even rank of the low-rank and cat "
            "formats: above it the factors cost more than the dense weight. The skip formats save parameters up to "
            "full rank minus one."
        )
    with st.expander("Table of every block"):
        columns = {
            "block": "Block",
            **tables.SUMMARIES,
            "full_rank": "Full rank",
            "break_even": "Break-even (low-rank, cat)",
            "break_even_skip": "Break-even (skip, skip+cat)",
        }
        plain_frame(table.round(2), columns)
