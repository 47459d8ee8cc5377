"""Overview: one model, one budget, what it costs and what it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.costed_maps import CostedMap
from app.pages import page_link
from app.services import allocation, measurements
from app.views.overview.outcome import show_outcome
from app.views.shared.board_maps import map_edited_by_hand
from app.views.shared.comparison import quality_chart, quality_table
from app.views.shared.sharing import share_button
from app.widgets.analysis_picker import current_analysis
from app.widgets.errors import errors_shown
from app.widgets.pickers import budget_slider
from app.widgets.text_choice import chosen_text
from engine.prediction.runs import predictor_on
from engine.results.words import calibrated, method_title

if TYPE_CHECKING:
    from engine.analysis.value import Analysis
    from engine.results.texts import MeasuredText
    from engine.types import Budget


def render() -> None:
    st.title("RankScope")
    st.caption("How small can this model get, and what does that cost?")
    with errors_shown():
        analysis = current_analysis()
        if analysis is None:
            return
        budget = budget_slider(analysis)
        text = chosen_text(measurements.result_rows(analysis.id))
        _show_best(analysis, budget, text)
        st.subheader("Quality against size")
        quality_chart(analysis, text, budget.kept_fraction)
        with st.expander("Table of this chart"):
            quality_table(analysis, text)


def _show_best(analysis: Analysis, budget: Budget, text: MeasuredText | None) -> None:
    maps = [p for p in allocation.method_maps(analysis.id, budget.params) if isinstance(p, CostedMap)]
    if not maps:
        st.warning("No method makes the model this small; move the slider to the right.", icon=":material/warning:")
        return
    predictor = predictor_on(text)
    edited = map_edited_by_hand(analysis, text)
    best = edited or min(maps, key=lambda p: predictor.predict(p.cost.nats, p.rank_map.metric).nll_increase)
    is_measured = show_outcome(analysis, best, text, predictor)
    why = "edited by hand on Allocation" if edited else "the method with the smallest predicted loss of quality here"
    st.caption(
        f"With {method_title(best.method)}, {why}. Perplexity: "
        f"roughly the number of next words the model finds equally likely. "
        f"Predictions are {calibrated(predictor.n_runs)}."
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        page_link("allocation", "Compare methods at this budget" if is_measured else "Compress and measure")
        share_button(analysis, best)


render()
