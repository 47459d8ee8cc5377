"""Part of several pages: the one map that the rank board and the address name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.components.rank_board.state import board_state
from app.services import measurements
from app.views.shared.board_maps import board_maps
from app.widgets.held_draft import held_across_reloads
from app.widgets.opened_map import opened_map
from app.widgets.text_choice import remembered_text

if TYPE_CHECKING:
    from app.costed_maps import CostedMap, NoMap
    from engine.analysis.value import Analysis


def current_map(analysis: Analysis) -> CostedMap | NoMap:
    """Return the map of the method, budget and held ranks that were chosen last, or why there is none."""
    held = held_across_reloads(analysis)
    opened = opened_map(analysis)
    state = board_state(analysis, held)
    text = remembered_text(measurements.result_rows(analysis.id))
    return next(p for p in board_maps(analysis, state, opened, text) if p.method == state.method)
