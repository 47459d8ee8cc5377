"""Allocation: the rank board, the measurement of the chosen map, and the same as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app.components.rank_board.held import release_all
from app.components.rank_board.state import board_state
from app.costed_maps import NoMap
from app.services import measurements
from app.views.allocation.board import board_input, show_board
from app.views.allocation.exporting import export_map
from app.views.allocation.measuring import measure_map
from app.views.allocation.rank_map import show_rank_map
from app.views.allocation.saved_maps import show_saved_maps
from app.views.allocation.searching import search_maps
from app.views.shared.comparison import compare_methods
from app.views.shared.difference import show_difference
from app.widgets.analysis_picker import current_analysis
from app.widgets.errors import errors_shown
from app.widgets.held_draft import held_across_reloads
from app.widgets.opened_map import opened_map
from app.widgets.text_choice import chosen_text
from app.wording.labels import plain
from engine.methods.presets import PRESETS
from engine.results.words import counted, method_title

if TYPE_CHECKING:
    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis

_TABS: Final = ("Measure & export", "Saved maps", "Compare methods", "Heatmap & table")


def render() -> None:
    title, picker = st.columns([2, 7], vertical_alignment="center")
    title.title("Allocation")
    with errors_shown():
        with picker:
            analysis = current_analysis(is_compact=True)
        if analysis is None:
            return
        held = held_across_reloads(analysis)
        opened = opened_map(analysis)
        state = board_state(analysis, held)
        rows = measurements.result_rows(analysis.id)
        text = chosen_text(rows)
        board = board_input(analysis, state, opened, text)
        show_board(board)
        active = next(p for p in board.maps if p.method == state.method)
        shown = None if isinstance(active, NoMap) else active
        kept = shown.cost.kept_fraction if shown and (state.target or state.base) else state.keep
        measure, saved, compare, table = st.tabs(_TABS)
        with measure:
            if active.method in PRESETS and PRESETS[active.method].needs_search:
                search_maps(analysis, kept, has_map=shown is not None)
            if isinstance(active, NoMap):
                st.error(plain(f"{method_title(active.method)} has no map for these settings. {active.reason}"))
            else:
                measure_map(analysis, active, rows, text)
                export_map(analysis, active, state.dtype)
                _offer_file(analysis, active)
        with saved:
            show_saved_maps(analysis, shown)
        with compare:
            compare_methods(analysis, board.maps, text, kept)
            if shown is not None:
                show_difference(analysis, shown, board.maps)
        with table:
            if held:
                label = f"Release {counted(len(held), 'held rank')}"
                st.button(label, on_click=release_all, args=(analysis.id,), icon=":material/lock_open:")
            if shown is not None:
                show_rank_map(analysis, shown)


def _offer_file(analysis: Analysis, active: CostedMap) -> None:
    st.download_button(
        "Download this rank map",
        active.rank_map.to_json(),
        f"{active.method.replace(' ', '-')}-{active.cost.kept_fraction:.2f}-{analysis.id[:8]}.json",
        "application/json",
        on_click="ignore",
        icon=":material/download:",
    )


render()
