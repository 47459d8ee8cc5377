"""The table in which ranks are held by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pandas as pd
import streamlit as st

from app.components.rank_board.held import editor_key, held_base, held_ranks, show_rows
from app.widgets import columns
from app.widgets.baseline import beside_baseline
from app.wording.labels import projection_label
from engine.types import BITS

if TYPE_CHECKING:
    from engine.analysis.value import Analysis
    from engine.types import Projection

_NAMED: Final = 5
"""Projections that a sentence names."""

_KEPT: Final = columns.share("Kept", help_text="Fraction of the block's dense parameters.")


def rank_table(analysis: Analysis, rows: pd.DataFrame) -> None:
    """Show the map as a table, one row per projection as :func:`app.tables.projections` returns them.

    Typing into its last column holds a rank, which ``app.components.rank_board.held`` knows in the next run.
    """
    rows = beside_baseline(rows, analysis, key="allocation.differences")
    show_rows(analysis.id, list(rows["name"]))
    base = held_base(analysis.id)
    shown = rows.assign(held=pd.array([base.get(name) for name in rows["name"]], dtype="Int64"))
    number = st.column_config.NumberColumn
    st.data_editor(
        columns.in_percent(shown, {"kept": _KEPT}),
        key=editor_key(analysis.id),
        hide_index=True,
        height=420,
        num_rows="fixed",
        placeholder="",
        disabled=[column for column in shown.columns if column != "held"],
        column_order=[
            "block",
            "layer",
            "kind",
            "format",
            "decided_with",
            "rank",
            "delta",
            "full_rank",
            *(["bits"] if (rows["bits"] < max(BITS)).any() else []),
            "kept",
            "nats",
            "held",
        ],
        column_config={
            "block": "Projection",
            "layer": "Layer",
            "kind": "Kind",
            "format": "Format",
            "decided_with": st.column_config.TextColumn("Decided with", help="The projections of its block."),
            "rank": number("Rank", help="Of the block; a dense block has its full rank."),
            "delta": number("\u0394 rank", format="%+d", help="Difference from the baseline."),
            "full_rank": number("Full rank"),
            "bits": number("Bits", help="Of the block's weights."),
            "kept": _KEPT,
            "nats": number("Predicted nats", format="%.4g", help="Of the block, per token."),
            "held": number(
                "Hold at rank",
                min_value=1,
                step=1,
                help="Type a rank to hold it for every method; clear it to let the method decide. A rank that saves "
                "no parameters means dense.",
            ),
        },
    )
    projections = analysis.projections
    held = [(projections[name], rank) for name, rank in held_ranks(analysis) if name in projections]
    beyond = [projection_label(p) for p, rank in held if rank > _full_rank(p)]
    if beyond:
        more = f" and {len(beyond) - _NAMED} more" if len(beyond) > _NAMED else ""
        st.caption(f"Held above their full rank, and so kept dense: {', '.join(beyond[:_NAMED])}{more}.")


def _full_rank(projection: Projection) -> int:
    return min(projection.in_features, projection.out_features)
