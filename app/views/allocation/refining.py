"""Part of Allocation: better factors at the same ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.pages import page_link
from app.services import jobs
from app.widgets.job_progress import follow, watch
from app.wording.labels import ratio
from engine.jobs import JobStatus
from engine.operations import REFINE_DEFAULTS

if TYPE_CHECKING:
    from app.plans import Plan
    from engine.analysis.value import Analysis


def refine_plan(analysis: Analysis, plan: Plan) -> None:
    """Offer the refinement of a plan, follow it, and say what it brought."""
    job = watch("refine", analysis.id)
    if job is not None and job.status is JobStatus.DONE and isinstance(job.result, dict):
        before, after = job.result["before"], job.result["after"]
        dense = after["dense_perplexity"]
        st.caption(
            f"Perplexity over dense: {ratio(before['perplexity'] / dense)} before, "
            f"{ratio(after['perplexity'] / dense)} after."
        )
        page_link("results", "All refined maps")
    with st.expander("Refine the factors at these ranks", icon=":material/tune:"):
        st.caption(
            "Fits the left factors once more to what the dense model computes, layer by layer; the ranks and the size "
            "stay. Training against the dense model's predictions goes further and takes longer; refined maps are "
            "listed apart."
        )
        train = st.toggle("Also train the factors", key="refine.train")
        minutes = st.number_input(
            "Minutes of training at most",
            1,
            600,
            int(REFINE_DEFAULTS["minutes"]),
            key="refine.minutes",
            disabled=not train,
        )
        if st.button("Refine and measure", icon=":material/play_arrow:", key="refine.start"):
            arguments = {"train": train, "minutes": float(minutes)}
            follow(jobs.submit_refinement(analysis.id, plan.rank_map.to_json(), arguments))
            st.rerun()
