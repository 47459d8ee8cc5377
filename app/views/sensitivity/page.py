"""Sensitivity: how much each projection matters, by three scores, and how far they agree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app import tables
from app.components.rank_board.held import held_ranks
from app.services import analyses, jobs
from app.views.sensitivity.agreement import show_agreement
from app.views.sensitivity.comparison import choose_other
from app.views.sensitivity.passages import show_block_passages
from app.views.sensitivity.projections import show_projections
from app.views.sensitivity.score_maps import show_maps
from app.views.shared.current_map import current_map
from app.widgets.analysis_picker import current_analysis
from app.widgets.colour_scale import colour_scale
from app.widgets.errors import errors_shown
from app.widgets.estimate import show_estimate
from app.widgets.inputs import inputs
from app.widgets.job_progress import follow, watch
from app.widgets.pickers import kept_fraction_slider, option_picker
from app.widgets.text_form import measuring_form
from app.wording.compressible import costly_in_words
from engine.operations import Sensitivity
from engine.results.words import percent

if TYPE_CHECKING:
    import pandas as pd

    from app.costed_maps import CostedMap, NoMap
    from engine.analysis.value import Analysis

_ORDERS: Final = {"model": "As in the model", "cheapest": "Cheapest to cut first"}
_ORDER_HELP: Final = "Cheapest: fewest predicted nats for each MB that cutting frees."


def render() -> None:
    st.title("Sensitivity")
    st.caption("Which projections must keep their rank? Two estimates from the analysis; a measurement checks them.")
    with errors_shown():
        analysis = current_analysis()
        if analysis is None:
            return
        watch("sensitivity", analysis.id)
        measured = analyses.measured_sensitivity(analysis.id)
        with inputs("cut"):
            kept = kept_fraction_slider(
                "Each projection is cut alone, to this fraction of its own parameters",
                key="cut",
                default=measured.kept_fraction if measured else Sensitivity.settings()["kept_fraction"].default,
                help_text="In low-rank format; all other projections stay dense.",
            )
        with inputs("scales", are_options=True):
            scale = colour_scale()
            order = option_picker("Layers and kinds", _ORDERS, key="order", help_text=_ORDER_HELP, in_url=True)
            other = choose_other(analysis, kept)
        if measured is not None and measured.kept_fraction != kept:
            st.info(
                f"The measurement was made at {percent(measured.kept_fraction)} kept; "
                f"it is not shown at {percent(kept)}."
            )
            measured = None
        predicted = analyses.predicted_increases(analysis.id, kept)
        scores = tables.sensitivity(analysis, kept, predicted, measured.nll_increase if measured else None)
        if order == "cheapest":
            scores = tables.cheapest_first(scores)
        _say_costly(scores, kept)
        show_maps(scores, kept, measured, scale, other)
        _ask_to_measure(analysis, kept, is_measured=measured is not None)
        show_agreement(scores, other)
        current = current_map(analysis)
        _show_projections(analysis, scores if order == "model" else scores.sort_values("nats_per_mb"), current)
        show_block_passages(analysis, scores, current)


def _show_projections(analysis: Analysis, scores: pd.DataFrame, current: CostedMap | NoMap) -> None:
    summaries = analyses.spectrum_summaries(analysis.id, analysis.default_metric)
    show_projections(analysis, scores, summaries, current, held_ranks(analysis))


def _say_costly(scores: pd.DataFrame, kept: float) -> None:
    by = "predicted" if scores["measured"].isna().all() else "measured"
    words = costly_in_words(*(list(scores[column]) for column in ("kind", "layer", "block", by, "freed_mb")))
    how = f"{by.capitalize()}, each cut alone to {percent(kept)}"
    st.markdown(f"{words} ({how}; Spectra tells how low ranks are, not what a cut costs.)", width=1100)


def _ask_to_measure(analysis: Analysis, kept: float, *, is_measured: bool) -> None:
    label = "Measure again, on another text or amount" if is_measured else "Measure it"
    with st.expander(label, expanded=not is_measured):
        number = len(analysis.projections)
        st.caption(f"Cuts each of the {number} projections alone to {percent(kept)} and measures the loss.")
        usual = Sensitivity(analysis=analysis.id, kept_fraction=kept)
        operation = measuring_form(analysis, usual, key="sensitivity")
        if operation is not None:
            show_estimate(operation)
        pressed = st.button("Measure sensitivity", type="primary", disabled=operation is None)
        if pressed and operation is not None:
            follow(jobs.submit(operation))
            st.rerun()


render()
