"""Part of Allocation: the active map as a heatmap and as a table in which ranks are held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, tables
from app.views.allocation.rank_table import rank_table
from app.widgets.pickers import option_picker
from engine.methods.byte_budget import blocks_at_bits
from engine.results.words import count, megabytes, percent

if TYPE_CHECKING:
    import pandas as pd

    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis

_COLOURS = {"rank_fraction": "Kept rank", "kept": "Kept parameters", "nats": "Predicted nats"}
_MEANINGS = {
    "rank_fraction": "rank over full rank",
    "kept": "parameters over dense",
    "nats": "predicted nats per token of the block",
}


def show_rank_map(analysis: Analysis, costed: CostedMap) -> None:
    """Show what a map decides about every projection, and let ranks be held."""
    rows = tables.projections(costed, analysis)
    colour = option_picker("Colour shows", _COLOURS, key="allocation.colour")
    st.markdown(f"**Colour: {_MEANINGS[colour]}**, layers from the input (0) downwards")
    in_nats = colour == "nats"
    figure = charts.layer_heatmap(
        rows,
        colour,
        title=f"{_MEANINGS[colour]}<br>(dark: {'least harmed' if in_nats else 'cut most'})",
        hover=_hover(rows),
        percent=not in_nats,
        log=in_nats and bool((rows["nats"] > 0).any()),
        limits=None if in_nats else (0.0, 1.0),
    )
    st.plotly_chart(figure, key="allocation.map", alt=f"Heatmap of {_MEANINGS[colour]} by layer and kind")
    cost = costed.cost
    st.caption(
        f"{count(cost.params)} parameters in the projections, {count(cost.model_params)} in the whole model, "
        f"{megabytes(cost.bytes_at('float16'))} at float16.{_bits_in_words(costed)}"
    )
    st.markdown("**Ranks, projection by projection.** Type into the last column to hold a rank for every method.")
    rank_table(analysis, rows)


def _bits_in_words(costed: CostedMap) -> str:
    """Say how many blocks have which bits, where they have bits of their own."""
    if not costed.rank_map.is_rounded:
        return ""
    return " Blocks: " + ", ".join(f"{n} at {kind}" for kind, n in blocks_at_bits(costed.rank_map).items()) + "."


def _hover(rows: pd.DataFrame) -> list[str]:
    texts = []
    for row in rows.to_dict("records"):
        joined = f", decided as {row['decided_with']}" if row["decided_with"] != row["block"] else ""
        texts.append(
            f"{row['block']} ({row['format']}{joined})<br>"
            f"rank {row['rank']} of {row['full_rank']}, {row['bits']} bits<br>"
            f"{percent(row['kept'])} of its parameters<br>{row['nats']:.4g} nats per token"
        )
    return texts
