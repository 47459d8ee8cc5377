"""Overview: one model, one size, what it costs and what it keeps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import streamlit as st

from app.components.rank_board.data import LOWEST_KEEP
from app.components.rank_board.state import chosen_budget, remember_budget
from app.costed_maps import CostedMap
from app.services import allocation, measurements, recommendation
from app.views.overview.live import show_live_overview
from app.views.overview.next_steps import show_next_steps
from app.views.overview.sample import show_sample
from app.views.shared.board_maps import map_edited_by_hand
from app.views.shared.comparison import quality_table
from app.views.shared.rounded_instead import say_instead
from app.widgets.analysis_picker import current_analysis, explain_emptiness
from app.widgets.errors import errors_shown
from app.widgets.text_choice import chosen_text
from app.wording.recommendation import not_recommended, recommended
from engine.prediction.runs import predictor_on
from engine.results.words import calibrated
from engine.types import Budget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.analysis.value import Analysis
    from engine.results.rows import ResultRow
    from engine.results.texts import MeasuredText


def render() -> None:
    title, picker = st.columns([2, 7], vertical_alignment="center")
    title.title("RankScope")
    with errors_shown():
        with picker:
            analysis = current_analysis(explain=False, is_compact=True)
        if analysis is None:
            explain_emptiness()
            return
        rows = measurements.result_rows(analysis.id)
        keep, text = chosen_budget(), chosen_text(rows)
        edited = map_edited_by_hand(analysis, text)
        show_live_overview(analysis, keep, rows, text, edited)
        st.caption(f"Lines are predictions, {calibrated(predictor_on(text).n_runs)}; points are measured.")
        named = _recommend(analysis, rows, text)
        best = edited or _best_map(analysis, keep, text)
        if best is not None:
            say_instead(analysis, best.rank_map, rows, text, unless=named)
            show_next_steps(analysis, best, rows, text)
        show_sample(rows, keep)
        with st.expander("Table of this chart"):
            quality_table(analysis, text)


def _recommend(analysis: Analysis, rows: Sequence[ResultRow], text: MeasuredText | None) -> str:
    """Recommend a size; return the id of the rounded model that is to be preferred to it, or an empty text."""
    found = recommendation.smallest_fine_map(analysis.id, text)
    fine = recommendation.FINE_RATIO
    with st.container(horizontal=True, vertical_alignment="center", border=True):
        if found is None:
            st.markdown(not_recommended(fine))
            return ""
        st.markdown(recommended(found.costed, found.ratio, fine, is_measured=found.is_measured))
        keep = max(math.ceil(1e4 * found.costed.cost.kept_fraction) / 1e4, LOWEST_KEEP)
        st.button("Show this size", on_click=remember_budget, args=(analysis, keep), key="recommended")
        return say_instead(analysis, found.costed.rank_map, rows, text)


def _best_map(analysis: Analysis, keep: float, text: MeasuredText | None) -> CostedMap | None:
    """Return the map with the smallest predicted loss of quality, which the browser shows, too."""
    budget = Budget.of_kept_fraction(keep, analysis.inventory.compressible_params)
    maps = [p for p in allocation.method_maps(analysis.id, budget.params) if isinstance(p, CostedMap)]
    predictor = predictor_on(text)
    return min(maps, key=lambda p: predictor.predict(p.cost.nats, p.rank_map.metric).nll_increase, default=None)


render()
