"""Part of Allocation: compress with the active map, measure, and show what came out beside the prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from app import services
from app.labels import plain, ratio
from app.plans import measurement_of
from app.widgets import follow, measuring_form, page_link, watch
from engine.operations import EVALUATE_DEFAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app.plans import Plan
    from engine.analysis import Analysis


def measure_plan(analysis: Analysis, plan: Plan, runs: Sequence[Mapping[str, Any]]) -> None:
    """Offer the measurement of a plan, follow it, and show it."""
    place, settings = st.columns([1, 2], vertical_alignment="center")
    with (
        settings,
        st.popover("Measured on…", icon=":material/settings:", help="Text and amount for the measurement"),
    ):
        arguments = measuring_form(
            analysis,
            key="evaluate",
            n_sequences=EVALUATE_DEFAULTS["n_sequences"],
            length=EVALUATE_DEFAULTS["length"],
        )
    pressed = place.button(
        "Compress and measure",
        type="primary",
        disabled=arguments is None,
        icon=":material/play_arrow:",
        help="Compresses the model with the active map and measures its perplexity. Runs as a job; the page may be closed.",
    )
    if pressed and arguments is not None:
        follow(services.submit_evaluation(analysis.id, plan.rank_map.to_json(), arguments))
        st.rerun()
    watch("evaluate", analysis.id)
    run = measurement_of(plan, runs)
    if run is None:
        st.caption("This map has not been measured yet.")
        return
    show_measurement(run)
    page_link("results", "All measured maps")


def show_measurement(run: Mapping[str, Any]) -> None:
    """Show one measurement beside the dense model and the prediction."""
    dense, measured, predicted = run["dense_perplexity"], run["perplexity"], run["predicted_perplexity"]
    tiles = st.columns(4)
    tiles[0].metric("Dense perplexity", f"{dense:.2f}", border=True)
    tiles[1].metric(
        "Predicted", f"{predicted:.2f}", ratio(predicted / dense), "off", delta_arrow="off", border=True
    )
    tiles[2].metric(
        "Measured", f"{measured:.2f}", ratio(measured / dense), "off", delta_arrow="off", border=True
    )
    tiles[3].metric(
        "Same top token",
        f"{run['agreement']:.1%}",
        border=True,
        help="Share of positions where the compressed model's likeliest token is the dense model's.",
    )
    st.caption(
        f"On {plain(run['corpus'])}: {run['n_tokens']:,} tokens, {run['dtype']}. Perplexities are of held-out text "
        "unless it is the calibration text."
    )
