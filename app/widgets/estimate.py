"""How long it may take, said before it is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.services import jobs
from engine.results.words import counted

if TYPE_CHECKING:
    from engine.operations import Operation


def show_estimate(operation: Operation) -> None:
    """Say how long an operation may take and how many wait before it; one line in any case."""
    expected = jobs.estimate(operation)
    if expected is None:
        sentence = "No comparable job has finished yet, so the time is unknown."
    else:
        sentence = f"Takes {expected}."
    n_before = jobs.jobs_before_a_new_one()
    if n_before:
        sentence += f" {counted(n_before, 'other job')} {'is' if n_before == 1 else 'are'} before it."
    st.caption(f":material/schedule: {sentence}")
