"""Part of several pages: every method's map as the rank board shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.components.rank_board.state import board_base, board_state
from app.costed_maps import CostedMap, edited_maps
from app.services import allocation
from app.services.chosen_bits import with_chosen_bits
from app.services.speed import fast_maps
from app.views.shared.comparison import dense_perplexity
from app.widgets.held_draft import held_across_reloads
from app.widgets.opened_map import opened_map

if TYPE_CHECKING:
    from app.components.rank_board.data import BoardState
    from app.costed_maps import NoMap
    from engine.analysis.value import Analysis
    from engine.results.texts import MeasuredText


def board_maps(
    analysis: Analysis, state: BoardState, opened: CostedMap | None, text: MeasuredText | None
) -> list[CostedMap | NoMap]:
    """Return the map of every method, then the open saved map, with what is held in each.

    Args:
        analysis: of the model.
        state: what the board shows.
        opened: the saved map that is open, without the held ranks.
        text: that predictions are calibrated on.
    """
    dense, _ = dense_perplexity(analysis, text)
    request = state.request
    maps = (
        allocation.maps_for(analysis.id, request, dense, text)
        if request.time is None
        else fast_maps(analysis.id, request.time, request.held)
    )
    if state.chooses_bits:
        maps = with_chosen_bits(maps, analysis, state.request, text)
    if state.base is not None:
        maps = edited_maps(maps, state.held, analysis)
    return maps if opened is None else [*maps, *edited_maps([opened], state.held, analysis)]


def map_edited_by_hand(analysis: Analysis, text: MeasuredText | None) -> CostedMap | None:
    """Return the map that the board shows where rebalancing is off; ``None``: it is on, or there is no such map."""
    held = held_across_reloads(analysis)
    if board_base(analysis) is None:
        return None
    opened = opened_map(analysis)
    state = board_state(analysis, held)
    maps = board_maps(analysis, state, opened, text)
    return next((p for p in maps if p.method == state.method and isinstance(p, CostedMap)), None)
