"""Running jobs on every page: a line in the corner, the browser tab's title, and a notice when one has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import streamlit as st

from app.pages import page_file
from app.services import jobs, measurements
from app.services.of_run import begin_run
from app.widgets.errors import errors_shown
from app.wording.labels import plain
from engine.jobs import JobStatus
from engine.results.words import counted, percent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.jobs import Job

NAME: Final = "RankScope"
_SEEN: Final = "jobs.seen-active"
_CORNER: Final = """<style>
.st-key-jobs-indicator { position: fixed; top: 0.75rem; right: 12rem; width: auto; z-index: 999991; }
@media (max-width: 1100px) { .st-key-jobs-indicator { top: 3.4rem; right: 3.4rem; } }
</style>"""


def jobs_indicator(page_title: str) -> None:
    """Say in the corner and in the tab's title what runs, and announce what has ended; asks again only meanwhile."""
    with errors_shown():
        every = jobs.jobs()
        active = [job for job in every if not job.status.is_final]
        seen = st.session_state.get(_SEEN, frozenset())
        ended = [job for job in every if job.id in seen and job.status.is_final]
        for job in ended:
            _announce(job)
        st.session_state[_SEEN] = frozenset(job.id for job in active)
        if active:
            st.html(_CORNER)
            st.fragment(_show, run_every="2s")(page_title, st.session_state[_SEEN], measurements.stored())
        elif ended:
            st.set_page_config(page_title=f"{_outcome(ended[0])} \u2013 {NAME}")
        else:
            st.set_page_config(page_title=f"{page_title} \u2013 {NAME}")


def _show(page_title: str, seen: frozenset[str], stored: tuple[str, ...]) -> None:
    """Show what runs; draw the page anew when a job begins or ends, or a measurement has arrived."""
    begin_run()
    with errors_shown():
        active = [job for job in jobs.jobs() if not job.status.is_final]
        if {job.id for job in active} != seen or measurements.stored() != stored:
            st.rerun()
        done = _done(active)
        st.set_page_config(page_title=f"{done} {page_title} \u2013 {NAME}".strip())
        with st.container(key="jobs-indicator"):
            label = f"{counted(len(active), 'job')}{f' {done}' if done else ''}"
            titles = "; ".join(plain(job.title) for job in active)
            st.page_link(page_file("jobs"), label=label, icon=":material/progress_activity:", help=titles)


def _done(active: Sequence[Job]) -> str:
    """Return how much of the job that runs is done."""
    fractions = (job.progress.fraction for job in active if job.status is JobStatus.RUNNING and job.progress)
    return next((percent(fraction, 0) for fraction in fractions if fraction is not None), "")


def _outcome(job: Job) -> str:
    return "\u2713 Done" if job.status is JobStatus.DONE else f"{job.status}".capitalize()


def _announce(job: Job) -> None:
    if job.status is JobStatus.DONE:
        st.toast(f"Finished: {plain(job.title)}", icon=":material/check_circle:", duration="long")
    else:
        st.toast(f"{str(job.status).capitalize()}: {plain(job.title)}", icon=":material/error:", duration="long")
