"""Part of Allocation: better factors at the same ranks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from app.pages import page_link
from app.services import jobs
from app.widgets.estimate import show_estimate
from app.widgets.job_progress import follow, watch
from app.widgets.setting_input import whole_number_input
from engine.operations import Refine
from engine.results.outcomes import Refinement
from engine.results.words import ratio

if TYPE_CHECKING:
    from app.costed_maps import CostedMap
    from engine.analysis.value import Analysis
    from engine.jobs import Job


@dataclass(frozen=True, slots=True)
class _Measurement:
    """What jobs of 0.1.0 recorded where a row is now."""

    perplexity: float
    dense_perplexity: float


@dataclass(frozen=True, slots=True)
class _FormerRefinement:
    before: _Measurement
    after: _Measurement


def refine_map(analysis: Analysis, costed: CostedMap) -> None:
    """Offer the refinement of a map, follow it, and say what it brought."""
    job = watch("refine", analysis.id, costed.rank_map)
    outcome = _outcome(job)
    if outcome is not None:
        st.caption(outcome)
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
        n_sequences = whole_number_input(
            Refine,
            "train_sequences",
            "Training text, sequences",
            key="refine.sequences",
            disabled=not train,
            help_text="Of the calibration text, or all there is. Training passes over it once, if the minutes allow.",
        )
        rank_map = costed.rank_map.to_json()
        operation = Refine(
            analysis=analysis.id, rank_map=rank_map, train=train, minutes=minutes, train_sequences=n_sequences
        )
        show_estimate(operation)
        if st.button("Refine and measure", icon=":material/play_arrow:", key="refine.start"):
            follow(jobs.submit(operation))
            st.rerun()


def _outcome(job: Job | None) -> str | None:
    """Return what a refinement brought."""
    refinement, former = jobs.result_of(job, Refinement), jobs.result_of(job, _FormerRefinement)
    if refinement is not None:
        before, after = (one.ratio for one in refinement.perplexities)
    elif former is not None:
        before, after = (one.perplexity / one.dense_perplexity for one in (former.before, former.after))
    else:
        return None
    return f"Perplexity over dense: {ratio(before)} before, {ratio(after)} after."
