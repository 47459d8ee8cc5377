"""Part of Results: measure chosen maps in more ways; what is measured appears while the job goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.services import jobs
from app.services import measurements as measured
from app.services.of_run import begin_run
from app.widgets.estimate import show_estimate
from app.widgets.job_progress import follow, watch
from app.widgets.level_picker import evaluation_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.analysis.value import Analysis
    from engine.results.rows import ResultRow


def evaluate_more(analysis: Analysis, chosen: Sequence[ResultRow]) -> None:
    """Offer to evaluate the chosen maps in more ways, and follow the job."""
    with st.expander("Evaluate more", icon=":material/science:"):
        maps = [row.rank_map for row in chosen if row.rank_map is not None]
        operation = evaluation_form(analysis, maps, key="runs", levels=("quick", "full"))
        st.caption("Stored measurements are reused; a cancelled evaluation can be resumed.")
        what = "this run" if len(chosen) == 1 else f"these {len(chosen)} runs"
        pressed = st.button(
            f"Evaluate {what}", icon=":material/play_arrow:", key="runs.evaluate", disabled=operation is None
        )
        if operation is not None:
            show_estimate(operation)
        if pressed and operation is not None:
            follow(jobs.submit(operation))
            st.rerun()


def watch_measurements(analysis: Analysis) -> None:
    """Follow the active evaluation, and show what it stores as it arrives."""
    job = watch("evaluate", analysis.id)
    if job is not None and not job.status.is_final:
        _await_more(measured.stored())


@st.fragment(run_every="2s")
def _await_more(seen: tuple[str, ...]) -> None:
    """Draw the page again once there is a measurement that it does not show."""
    begin_run()
    if measured.stored() != seen:
        st.rerun()
