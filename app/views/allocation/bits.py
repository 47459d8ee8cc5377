"""Part of Allocation: what rounding does, which has to be known before bits can be chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.services import jobs
from app.widgets.estimate import show_estimate
from app.widgets.job_progress import follow, watch
from engine.operations import PredictRounding

if TYPE_CHECKING:
    from engine.analysis.value import Analysis


def ask_for_rounding(analysis: Analysis) -> None:
    """Offer to predict what rounding does, once, and follow it."""
    watch(PredictRounding.name, analysis.id)
    if analysis.rounding is not None:
        return
    operation = PredictRounding(analysis=analysis.id)
    button, words = st.columns([2, 5], vertical_alignment="center")
    words.caption(
        "Bits are chosen by what rounding a block harms; that is predicted once from the stored statistics "
        "and a short run of the model for each kind of projection."
    )
    if button.button("Predict what rounding does", icon=":material/play_arrow:", key="rounding.start"):
        follow(jobs.submit(operation))
        st.rerun()
    show_estimate(operation)
