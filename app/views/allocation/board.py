"""Part of Allocation: the rank board, with Python's own answer to what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.components.rank_board import rank_board
from app.components.rank_board.data import BoardInput
from app.components.rank_board.state import board_key, take_report
from app.services import allocation
from app.services import maps as saved_maps
from app.services.speed import known_devices
from app.views.shared.board_maps import board_maps
from app.views.shared.comparison import dense_perplexity
from app.widgets.url_state import url_state
from engine.prediction.runs import predictor_on
from engine.rank_map.named import NamedMap
from engine.results.words import calibrated

if TYPE_CHECKING:
    from app.components.rank_board.data import BoardState
    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis
    from engine.results.texts import MeasuredText


def board_input(
    analysis: Analysis, state: BoardState, opened: CostedMap | None, text: MeasuredText | None
) -> BoardInput:
    """Return what the board is sent for its state, Python's own maps among it.

    Args:
        analysis: of the model.
        state: what the board shows.
        opened: the saved map that is open, without the held ranks.
        text: that predictions are calibrated on.
    """
    dense, described = dense_perplexity(analysis, text)
    n_runs = predictor_on(text).n_runs
    rest = calibrated(n_runs) if n_runs else "no map measured yet, so intervals are wide"
    name, _ = allocation.board_curves(analysis.id)
    saved = [m for m in saved_maps.all_saved(analysis.id) if isinstance(m, NamedMap)]
    return BoardInput(
        analysis=analysis,
        curves=name,
        state=state,
        maps=board_maps(analysis, state, opened, text),
        opened=opened,
        opened_name=next((m.name for m in saved if m.id == url_state("map")), ""),
        saved=saved,
        searched=allocation.board_trials(analysis.id),
        text=text,
        devices=known_devices(state.size_dtype),
        dense_perplexity=dense,
        basis=f"{described.replace(chr(92), '')}: dense {dense:.2f}, {rest}.",
    )


def show_board(board: BoardInput) -> None:
    """Show the board; what is changed on it comes back in the next run's state."""
    analysis = board.analysis
    _, curves = allocation.board_curves(analysis.id)
    rank_board(board, curves, key=board_key(analysis), on_change=lambda: take_report(analysis))
