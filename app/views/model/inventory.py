"""Part of Model: what an analysis found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app import tables
from app.widgets import columns
from app.wording.labels import plain
from engine.results.words import count, percent

if TYPE_CHECKING:
    import pandas as pd

    from engine.analysis.value import Analysis

_ROW_HEIGHT: Final = 35
"""Of a table, in pixels."""


def show_analysis(analysis: Analysis) -> None:
    """Show the model's numbers, its weights, and how it was analysed."""
    inventory = analysis.inventory
    share = inventory.compressible_params / inventory.total_params
    tiles = [
        ("Parameters", count(inventory.total_params), "In the whole model."),
        (
            "Compressible",
            percent(share),
            "Share of all parameters in the projections below; kept fractions elsewhere are fractions of these.",
        ),
        (
            "Projections",
            f"{len(inventory.projections)}",
            f"Weight matrices in {inventory.n_layers} layers and {len(inventory.groups)} input groups.",
        ),
        (
            "Calibration loss",
            f"{analysis.calibration_nll:.2f} nats",
            "The dense model's mean negative log-likelihood per token of the calibration text.",
        ),
    ]
    with st.container(key="tiles-model"):
        places = st.columns(4)
    for place, (label, value, help_text) in zip(places, tiles, strict=True):
        place.metric(label, value, border=True, help=help_text)
    st.markdown(f"**What can be compressed** ({plain(inventory.architecture)}, {inventory.n_layers} layers)")
    _show_table(tables.shapes(inventory))
    st.markdown("**What is not compressed**")
    _show_table(tables.skipped(inventory))
    with st.expander("How it was analysed: text, settings, time, memory, versions"):
        facts: columns.Columns = {"what": "What", "value": st.column_config.TextColumn("Value", width="large")}
        st.dataframe(tables.how_analysed(analysis), hide_index=True, column_config=facts, key="model.facts")


def _show_table(table: pd.DataFrame) -> None:
    config: columns.Columns = {name: name[0].upper() + name[1:] for name in map(str, table)} | {
        "share of the model": columns.share("Share of the model", help_text="Of all parameters, embeddings included."),
        "parameters": st.column_config.NumberColumn("Parameters", format="localized"),
    }
    height = _ROW_HEIGHT * (len(table) + 1) + 2
    with st.container(height=height, border=False):  # Streamlit loads a table after what stands below it
        st.dataframe(columns.in_percent(table, config), hide_index=True, column_config=config, height=height)
