"""Part of Allocation: compress with the active map, measure, and show what came out beside the prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from app.pages import page_link
from app.plans import measurement_of
from app.services import measurements as measured
from app.views.allocation.refining import refine_plan
from app.widgets.job_progress import follow, watch
from app.widgets.level_picker import evaluation_form
from app.wording.labels import calibrated, plain, ratio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.plans import Plan
    from engine.analysis.value import Analysis


def measure_plan(analysis: Analysis, plan: Plan, runs: Sequence[Mapping[str, Any]]) -> None:
    """Offer the measurement of a plan, follow it, and show the first of ``runs`` that is of it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        button = st.empty()
        with st.popover("Measured on…", icon=":material/settings:", help="How thoroughly, text and amount"):
            level, arguments = evaluation_form(analysis, key="evaluate", levels=("perplexity", "quick", "full"))
    pressed = button.button(
        "Compress and measure",
        type="primary",
        disabled=arguments is None,
        icon=":material/play_arrow:",
        help="Compresses the model with the active map and measures it; the page may be closed.",
    )
    if pressed and arguments is not None:
        follow(measured.submit_evaluation(analysis.id, [plan.rank_map.to_json()], level, arguments))
        st.rerun()
    watch("evaluate", analysis.id)
    run = measurement_of(plan, runs)
    if run is None:
        st.caption("This map has not been measured yet.")
    else:
        show_measurement(run, analysis)
        page_link("results", "All measured maps")
    refine_plan(analysis, plan)


def show_measurement(run: Mapping[str, Any], analysis: Analysis) -> None:
    """Show one measurement beside the dense model and the prediction."""
    dense, measured, predicted = run["dense_perplexity"], run["perplexity"], run["predicted_perplexity"]
    tiles = st.columns(4)
    tiles[0].metric("Dense perplexity", f"{dense:.2f}", border=True, height="stretch")
    for tile, title, value in ((tiles[1], "Predicted", predicted), (tiles[2], "Measured", measured)):
        tile.metric(
            title,
            f"{value:.2f}",
            ratio(value / dense),
            delta_color="off",
            delta_arrow="off",
            border=True,
            help="Perplexity; below it how many times that of the dense model.",
        )
    tiles[3].metric(
        "Same top token",
        f"{run['agreement']:.1%}",
        border=True,
        height="stretch",
        help="Share of positions where the compressed model's likeliest token is the dense model's.",
    )
    held_out = ", the calibration text itself, not held out" if run["corpus"] == analysis.about["corpus"] else ""
    low, high = run["predicted_perplexity_low"], run["predicted_perplexity_high"]
    st.caption(
        f"On {plain(run['corpus'])}{held_out}: {run['n_tokens']:,} tokens, {run['dtype']}. Without this measurement "
        f"{low:.2f} to {high:.2f} was predicted, {calibrated(run['prediction_calibrated_on'])}."
    )
