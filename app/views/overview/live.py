"""Part of Overview: the slider with what it changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.components.live_overview import live_overview
from app.components.live_overview.data import OverviewInput
from app.components.rank_board.data import DTYPES, LOWEST_KEEP
from app.components.rank_board.state import remember_budget
from app.services import allocation
from app.services.speed import known_devices
from app.views.shared.comparison import dense_perplexity
from engine.prediction.runs import predictor_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis
    from engine.results.rows import ResultRow
    from engine.results.texts import MeasuredText


def show_live_overview(
    analysis: Analysis, keep: float, rows: Sequence[ResultRow], text: MeasuredText | None, edited: CostedMap | None
) -> None:
    """Show what every size would do; the size that is chosen is every page's budget."""
    _, name = dense_perplexity(analysis, text)
    key = f"overview.{analysis.id[:12]}"
    curves_name, curves = allocation.board_curves(analysis.id)
    overview = OverviewInput(
        analysis=analysis,
        curves=curves_name,
        keep=keep,
        revision=st.session_state.get(f"{key}.revision", 0),
        edited=edited,
        searched=allocation.board_trials(analysis.id),
        rows=rows,
        text=text,
        devices=known_devices(DTYPES[0]),
        text_name=name.replace("\\", ""),
        lines=allocation.predicted_curves(analysis.id, predictor_on(text)),
    )
    live_overview(overview, curves, key=key, on_change=lambda: _take(analysis, key))


def _take(analysis: Analysis, key: str) -> None:
    """Take over the budget that the browser reports, if it is one."""
    chosen = st.session_state[key].get("chosen")
    if not isinstance(chosen, dict):
        return
    keep, revision = chosen.get("keep"), chosen.get("revision")
    if isinstance(keep, int | float) and LOWEST_KEEP <= keep <= 1 and isinstance(revision, int | float):
        remember_budget(analysis, float(keep))
        st.session_state[f"{key}.revision"] = int(revision)
