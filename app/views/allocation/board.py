"""Part of Allocation: the rank board, with Python's own answer to what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from app.components.rank_board import rank_board
from app.components.rank_board.data import board_data
from app.components.rank_board.state import aim_of, board_key, take_report
from app.plans import edited_each
from app.services import allocation
from app.services import maps as saved_maps
from app.views.shared.comparison import dense_perplexity
from app.wording.labels import calibrated
from engine.methods.presets import PRESETS
from engine.prediction.runs import predictor_on
from engine.rank_map.named import NamedMap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.plans import Impossible, Plan
    from engine.analysis.value import Analysis
    from engine.methods.editing import HeldRanks
    from engine.results.texts import MeasuredText


def board_plans(
    analysis: Analysis,
    state: dict[str, Any],
    locks: HeldRanks,
    opened: Plan | None,
    text: MeasuredText | None,
) -> list[Plan | Impossible]:
    """Return Python's own maps for what the board shows, the open one last."""
    dense, _ = dense_perplexity(analysis, text)
    plans = allocation.plans_for(analysis.id, aim_of(state, locks), dense, text)
    if opened is not None:
        plans.append(opened)
    return plans if state["base"] is None else edited_each(plans, locks, analysis)


def show_board(
    analysis: Analysis,
    state: Mapping[str, Any],
    locks: HeldRanks,
    plans: Sequence[Plan | Impossible],
    text: MeasuredText | None,
    opened: Plan | None,
) -> None:
    """Show the board; what is changed on it comes back in the next run's state."""
    predictor = predictor_on(text)
    dense, described = dense_perplexity(analysis, text)
    name, curves = allocation.board_curves(analysis.id)
    saved = [m for m in saved_maps.all_saved(analysis.id) if isinstance(m, NamedMap)]
    data = board_data(analysis, plans, locks, state, predictor, text, opened, saved)
    data |= {
        "curves": name,
        "evaluated": allocation.board_trials(analysis.id),
        "dense_perplexity": dense,
        "basis": (
            f"Predictions are for {described.replace(chr(92), '')}, where the dense model has a perplexity of "
            f"{dense:.2f}, {calibrated(predictor.n_runs)}."
        ),
    }
    rank_board(data, curves, key=board_key(analysis), on_change=lambda: take_report(analysis))
    if state["method"] in PRESETS:
        preset = PRESETS[state["method"]]
        paper = f" [arXiv:{preset.paper}](https://arxiv.org/abs/{preset.paper})" if preset.paper else ""
        st.caption(f"**{preset.title}**: {preset.summary}{paper}")
