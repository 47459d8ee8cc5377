"""The table in which ranks are held by hand.

What the user typed is Streamlit's difference to a base that stays the same while the table is on the page;
the other columns follow the map. So an edit is never fed back as input, and none is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st

if TYPE_CHECKING:
    from app.plans import Locks
    from engine.analysis.value import Analysis


HELD_KEY = "held.{}"
"""Of the ranks held in an analysis, by projection, in the session."""


def held_ranks(analysis: Analysis) -> Locks:
    """Return the ranks held by hand, the edit that caused this very run included."""
    held = dict(_base(analysis.id))
    changes: dict[str, Any] = st.session_state.get(_editor_key(analysis.id), {})
    names = list(analysis.projections)
    for row, cells in changes.get("edited_rows", {}).items():
        if "held" in cells:
            held[names[int(row)]] = cells["held"]
    locks = tuple((name, int(rank)) for name, rank in held.items() if rank is not None)
    st.session_state[HELD_KEY.format(analysis.id)] = dict(locks)
    return locks


def rank_table(analysis: Analysis, rows: pd.DataFrame) -> None:
    """Show the map as a table, one row per projection as :func:`app.tables.projections` returns them.

    Typing into its last column holds a rank; :func:`held_ranks` returns it in the run that follows.
    """
    base = _base(analysis.id)
    shown = rows.assign(held=pd.array([base.get(name) for name in rows["name"]], dtype="Int64"))
    number = st.column_config.NumberColumn
    st.data_editor(
        shown,
        key=_editor_key(analysis.id),
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
            "full_rank",
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
            "full_rank": number("Full rank"),
            "kept": number("Kept", format="percent", help="Fraction of the block's dense parameters."),
            "nats": number("Predicted nats", format="%.4g", help="Of the block, per token."),
            "held": number(
                "Hold at rank",
                min_value=1,
                step=1,
                help="Type a rank to lock it for every method; clear it to let the method decide. A rank that saves "
                "no parameters means dense.",
            ),
        },
    )


def release_all(analysis_id: str) -> None:
    """Let the methods decide everything again; the table starts afresh."""
    st.session_state[f"held.generation.{analysis_id}"] = _generation(analysis_id) + 1
    for name in (HELD_KEY.format(analysis_id), f"held.base.{analysis_id}"):
        st.session_state.pop(name, None)


def hold_instead(analysis_id: str, held: dict[str, int]) -> None:
    """Hold other ranks than before; the table starts afresh if they differ from what it shows."""
    if held != st.session_state.get(f"held.{analysis_id}", {}):
        release_all(analysis_id)
        st.session_state[f"held.{analysis_id}"] = held


def _base(analysis_id: str) -> dict[str, int]:
    """Return what was held when the table came onto the page."""
    name = f"held.base.{analysis_id}"
    if _editor_key(analysis_id) not in st.session_state:
        st.session_state[name] = dict(st.session_state.get(HELD_KEY.format(analysis_id), {}))
    base: dict[str, int] = st.session_state[name]
    return base


def _editor_key(analysis_id: str) -> str:
    return f"held.editor.{analysis_id[:12]}.{_generation(analysis_id)}"


def _generation(analysis_id: str) -> int:
    return int(st.session_state.get(f"held.generation.{analysis_id}", 0))
