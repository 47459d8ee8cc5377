"""Part of Spectra: the numbers of every block."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import tables
from engine.results.words import percent

if TYPE_CHECKING:
    import pandas as pd


def show_table(table: pd.DataFrame, energy: float) -> None:
    """Show every block, joined ones included, with its summaries and the ranks marked on its line."""
    columns = {
        "block": "Block",
        **tables.SUMMARIES,
        "rank_at_energy": f"Rank at {percent(energy)} energy",
        "full_rank": "Full rank",
        "cut": "Current map's cut",
        "break_even": "Break-even (low-rank, cat)",
        "break_even_skip": "Break-even (skip, skip+cat)",
    }
    pinned = "baseline" in table
    if pinned:
        now, before = (table[column].fillna(table["full_rank"]) for column in ("cut", "baseline"))
        table = table.assign(delta=now - before)
        columns |= {"baseline": "Baseline's cut", "delta": "\u0394 rank"}
    tenths = st.column_config.NumberColumn(format="%.1f")
    with st.expander("Table of every block"):
        if pinned and st.toggle("Differences only", key="spectra.differences"):
            table = table[table["delta"] != 0]
        st.dataframe(
            table[list(columns)].rename(columns=columns),
            column_config={columns[name]: tenths for name in ("effective_rank", "stable_rank")},
            hide_index=True,
            placeholder="–",
            key="spectra.blocks",
        )
