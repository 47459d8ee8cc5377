"""How long it may take, said before it is started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.services import jobs

if TYPE_CHECKING:
    from engine.operations import Operation


def show_estimate(operation: Operation) -> None:
    """Say how long an operation may take and how many wait before it; one line in any case."""
    expected = jobs.estimate(operation)
    told = (
        "No comparable job has run on this machine yet, so the time is unknown."
        if expected is None
        else (f"Takes {expected}.")
    )
    n_active = sum(not job.status.is_final for job in jobs.jobs())
    if n_active:
        told += f" {n_active} other job{'s are' if n_active > 1 else ' is'} before it."
    st.caption(f":material/schedule: {told}")
