"""Ranks held by hand, on the board or in the table beside it, in the session.

What is typed into the table is Streamlit's difference to a base that stays the same while the table is on the page;
its other columns follow the map. So an edit is never fed back as input, and none is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from engine.methods.editing import without

if TYPE_CHECKING:
    from engine.analysis.value import Analysis
    from engine.methods.editing import HeldRanks


_HELD = "held.{}"
"""Of the ranks held in an analysis, by projection or, for a width, by MLP, in the session."""

_ROWS = "held.rows.{}"
"""Of the projections that the table shows, in its order, in the session."""


def held_ranks(analysis: Analysis) -> HeldRanks:
    """Return the ranks held by hand, the edit that caused this very run included."""
    held = dict(held_base(analysis.id))
    changes = st.session_state.get(editor_key(analysis.id), {})
    names = st.session_state.get(_ROWS.format(analysis.id), list(analysis.projections))
    for row, cells in changes.get("edited_rows", {}).items():
        if "held" in cells:
            name, rank = names[int(row)], cells["held"]
            # A projection with a rank of its own takes its MLP's width away; an empty cell does not.
            if rank is None:
                held.pop(name, None)
            else:
                held = {**without(held, [name]), name: rank}
    ranks = tuple((name, int(rank)) for name, rank in held.items())
    st.session_state[_HELD.format(analysis.id)] = dict(ranks)
    return ranks


def release_all(analysis_id: str) -> None:
    """Let the methods decide everything again; the table starts afresh."""
    st.session_state.pop(_HELD.format(analysis_id), None)
    _start_afresh(analysis_id)


def show_rows(analysis_id: str, names: list[str]) -> None:
    """Say which projections the table shows now; edits are kept by place, so with others it starts afresh."""
    before = st.session_state.get(_ROWS.format(analysis_id))
    if before is not None and before != names:
        _start_afresh(analysis_id)
    st.session_state[_ROWS.format(analysis_id)] = names


def _start_afresh(analysis_id: str) -> None:
    st.session_state[f"held.generation.{analysis_id}"] = _generation(analysis_id) + 1
    st.session_state.pop(f"held.base.{analysis_id}", None)


def hold_instead(analysis_id: str, held: dict[str, int]) -> None:
    """Hold other ranks than before; the table starts afresh if they differ from what it shows."""
    if held != st.session_state.get(_HELD.format(analysis_id), {}):
        release_all(analysis_id)
        st.session_state[_HELD.format(analysis_id)] = held


def held_base(analysis_id: str) -> dict[str, int]:
    """Return what was held when the table came onto the page."""
    name = f"held.base.{analysis_id}"
    if editor_key(analysis_id) not in st.session_state:
        st.session_state[name] = dict(st.session_state.get(_HELD.format(analysis_id), {}))
    base: dict[str, int] = st.session_state[name]
    return base


def editor_key(analysis_id: str) -> str:
    """Return the key of the table's edits; a new one is a table that starts afresh."""
    return f"held.editor.{analysis_id[:12]}.{_generation(analysis_id)}"


def _generation(analysis_id: str) -> int:
    return int(st.session_state.get(f"held.generation.{analysis_id}", 0))
