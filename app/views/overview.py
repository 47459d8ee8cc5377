"""Overview: one model, one budget, what it costs and what it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import services
from app.labels import calibrated, method_title
from app.plans import Plan
from app.views._comparison import quality_chart, quality_table
from app.views._outcome import show_outcome
from app.views._sharing import share_button
from app.widgets import budget_slider, current_analysis, errors_shown, page_link, runs_of_one_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from engine.analysis import Analysis
    from engine.types import Budget


def render() -> None:
    st.title("RankScope")
    st.caption("How small can this model get, and what does that cost?")
    with errors_shown():
        analysis = current_analysis()
        if analysis is None:
            return
        budget = budget_slider(analysis)
        runs = runs_of_one_text(services.measured_runs(analysis.id))
        _show_best(analysis, budget, runs)
        st.subheader("Quality against size")
        quality_chart(analysis, runs, budget.kept_fraction)
        with st.expander("Table of this chart"):
            quality_table(analysis, runs)


def _show_best(analysis: Analysis, budget: Budget, runs: Sequence[Mapping[str, Any]]) -> None:
    plans = [p for p in services.plans(analysis.id, budget.params) if isinstance(p, Plan)]
    if not plans:
        st.warning("No method makes the model this small; move the slider to the right.", icon=":material/warning:")
        return
    predictor = services.predictor(runs)
    best = min(plans, key=lambda p: predictor.predict(p.cost.nats, p.rank_map.metric).nll_increase)
    is_measured = show_outcome(analysis, best, runs, predictor)
    st.caption(
        f"With {method_title(best.method)}, the method predicted to harm the model least here. Perplexity says between "
        f"how many next words a model hesitates. Predictions are {calibrated(predictor.n_runs)}."
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        page_link("allocation", "Compare methods at this budget" if is_measured else "Next: compress it so and measure")
        share_button(analysis, best)
