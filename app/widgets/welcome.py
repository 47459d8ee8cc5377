"""The first thing a visitor does: analyse the demo, or a model of their own."""

from __future__ import annotations

import streamlit as st

from app.services import jobs, texts
from app.widgets.job_progress import follow
from engine.operations import Analyse
from engine.results.words import megabytes

CHOICE_KEY = "analysis.choice"
"""Of the analysis that is open, in the session."""

GONE_KEY = "analysis.gone"
"""Of the analysis that was open and is not there any more."""


def welcome() -> None:
    """Offer to analyse the demo."""
    disk = megabytes(texts.demo_disk_bytes())
    st.info(
        "Nothing has been analysed yet. Start with the demo, a small real model (SmolLM2, 135 M parameters): it "
        f"is downloaded once (up to {disk} of disk) and analysed in a few minutes.",
        icon=":material/rocket_launch:",
    )
    if st.button("Analyse the demo model", type="primary"):
        start_analysis(Analyse())


def start_analysis(operation: Analyse) -> None:
    """Submit an analysis, follow it, and show it when it is done."""
    follow(jobs.submit(operation))
    for name in (CHOICE_KEY, GONE_KEY):
        st.session_state.pop(name, None)
    st.query_params.pop("analysis", None)
    st.rerun()
