"""Part of Allocation: better factors at the same ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from app.pages import page_link
from app.services import jobs
from app.widgets.job_progress import follow, watch
from app.widgets.setting_input import whole_number_input
from app.wording.labels import ratio
from engine.jobs import JobStatus
from engine.operations import Refine

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.plans import Plan
    from engine.analysis.value import Analysis


def refine_plan(analysis: Analysis, plan: Plan) -> None:
    """Offer the refinement of a plan, follow it, and say what it brought."""
    job = watch("refine", analysis.id)
    if job is not None and job.status is JobStatus.DONE and isinstance(job.result, dict):
        st.caption(_outcome(job.result))
        page_link("results", "All refined maps")
    with st.expander("Refine the factors at these ranks", icon=":material/tune:"):
        st.caption(
            "Refits the left factors to the dense model's outputs, layer by layer; ranks and size stay the same. "
            "Training on the dense model's predictions gains more and takes longer. Refined maps are listed "
            "separately."
        )
        train = st.toggle("Also train the factors", key="refine.train")
        minutes = whole_number_input(
            Refine, "minutes", "Minutes of training at most", key="refine.minutes", disabled=not train
        )
        if st.button("Refine and measure", icon=":material/play_arrow:", key="refine.start"):
            rank_map = plan.rank_map.to_json()
            follow(jobs.submit(Refine(analysis=analysis.id, rank_map=rank_map, train=train, minutes=minutes)))
            st.rerun()


def _outcome(result: Mapping[str, Any]) -> str:
    """Return what a refinement brought; jobs of earlier versions recorded a measurement where a row is now."""
    after = result["after"].get("perplexities", [result["after"]])[0]
    before = result["before"].get("perplexities", [result["before"]])
    same = next(found for found in before if found.get("setting") == after.get("setting"))
    before_ratio, after_ratio = (ratio(found["perplexity"] / after["dense_perplexity"]) for found in (same, after))
    return f"Perplexity over dense: {before_ratio} before, {after_ratio} after."
