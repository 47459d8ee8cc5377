"""Part of Allocation: what can be done with the board's map, under the board; only the open tab is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app.components.rank_board.held import release_all
from app.costed_maps import NoMap
from app.views.allocation.compressing import compress_to_size
from app.views.allocation.device import ask_device
from app.views.allocation.measuring import measure_map
from app.views.allocation.rank_map import show_rank_map
from app.views.allocation.saved_maps import show_saved_maps
from app.views.allocation.searching import search_maps
from app.views.shared.comparison import compare_methods
from app.views.shared.difference import show_difference
from app.views.shared.exporting import export_map
from app.views.shared.rounded_instead import say_instead
from app.wording.labels import plain
from engine.methods.presets import PRESETS
from engine.results.words import counted, method_title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.components.rank_board.data import BoardInput
    from app.costed_maps import CostedMap
    from engine.results.rows import ResultRow

_TABS: Final = ("Measure & export", "Saved maps", "Compare methods", "Heatmap & table", "On a device")


def show_tabs(board: BoardInput, rows: Sequence[ResultRow]) -> None:
    """Show the tab that the address names, and above it which rounded model is to be preferred, if one is.

    Args:
        board: what is on the board.
        rows: what was measured of the analysis.
    """
    active = next(p for p in board.maps if p.method == board.state.method)
    shown = None if isinstance(active, NoMap) else active
    kept = (
        shown.cost.kept_fraction
        if shown and (board.state.target or board.state.time or board.state.base)
        else board.state.keep
    )
    if shown is not None:
        say_instead(board.analysis, shown.rank_map, rows, board.text, board.state.size_dtype)
    tabs = st.tabs(_TABS, key="tab", bind="query-params")
    title, place = next(((title, tab) for title, tab in zip(_TABS, tabs, strict=True) if tab.open))
    with place:
        match title:
            case "Measure & export":
                _measure_and_export(board, active, kept, rows)
            case "Saved maps":
                show_saved_maps(board.analysis, shown)
            case "Compare methods":
                compare_methods(board.analysis, board.maps, board.text, kept)
                if shown is not None:
                    show_difference(board.analysis, shown, board.maps)
            case "Heatmap & table":
                _show_ranks(board, shown)
            case "On a device":
                if shown is not None:
                    ask_device(board.analysis, shown, rows, board.state.size_dtype)


def _measure_and_export(board: BoardInput, active: CostedMap | NoMap, kept: float, rows: Sequence[ResultRow]) -> None:
    analysis = board.analysis
    if active.method in PRESETS and PRESETS[active.method].needs_search:
        search_maps(analysis, kept, has_map=not isinstance(active, NoMap))
    if isinstance(active, NoMap):
        st.error(plain(f"{method_title(active.method)} has no map for these settings. {active.reason}"))
        return
    measure_map(analysis, active, rows, board.text)
    export_map(analysis, active, board.state.size_dtype)
    compress_to_size(analysis, active, kept)
    st.download_button(
        "Download this rank map",
        active.rank_map.to_json(),
        f"{active.method.replace(' ', '-')}-{active.cost.kept_fraction:.2f}-{analysis.id[:8]}.json",
        "application/json",
        on_click="ignore",
        icon=":material/download:",
    )


def _show_ranks(board: BoardInput, shown: CostedMap | None) -> None:
    held = board.state.held
    if held:
        label = f"Release {counted(len(held), 'held rank')}"
        st.button(label, on_click=release_all, args=(board.analysis.id,), icon=":material/lock_open:")
    if shown is not None:
        show_rank_map(board.analysis, shown)
