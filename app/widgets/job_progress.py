"""A job's progress in place; what is shown is read from the job record, so a reload loses nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import streamlit as st

from app import services
from app.labels import duration, percent, plain
from app.widgets.errors import errors_shown
from engine.jobs import JobStatus

if TYPE_CHECKING:
    from engine.jobs import Job

_URL = "job"


def watch(operation: str, analysis_id: str | None = None) -> Job | None:
    """Show the active job of a kind, or the one in the URL; return it.

    Args:
        operation: analyse, evaluate, sensitivity or search.
        analysis_id: of whose jobs; ``None`` for any.
    """
    job = services.watched_job(operation, analysis_id, st.query_params.get(_URL))
    if job is None:
        return None
    if job.status.is_final:
        _show_end(job)
    else:
        follow(job)
        with st.container(border=True):
            _progress(job.id)
    return job


def follow(job: Job) -> None:
    """Remember a job in the URL."""
    if st.query_params.get(_URL) != job.id:
        st.query_params[_URL] = job.id


@st.fragment(run_every="1s")
def _progress(job_id: str) -> None:
    with errors_shown():
        job = services.job(job_id)
        if job.status.is_final:
            st.rerun()
        show_progress(job)
        st.button(
            "Cancel",
            key=f"cancel.{job.id}",
            on_click=services.cancel_job,
            args=(job.id,),
            type="tertiary",
            disabled=job.status is JobStatus.CANCELLING,
            icon=":material/cancel:",
        )


def show_progress(job: Job, *, titled: bool = True) -> None:
    """Draw the bar of an active job: what it does, how far it is, and how long it may still take."""
    if titled:
        st.markdown(f"**{plain(job.title)}**")
    if job.status is JobStatus.QUEUED:
        ahead = job.position or 0
        st.progress(0.0, "Starting" if ahead == 0 else f"Waiting for {ahead} other job{'s' if ahead > 1 else ''}")
        return
    elapsed = time.time() - (job.started or time.time())
    fraction = job.progress.fraction if job.progress is not None else None
    # Progress is that of the current attempt only from its first report on.
    message = plain(job.progress.message) if job.progress is not None else "Starting"
    if job.status is JobStatus.CANCELLING:
        message = "Being cancelled"
    parts = [message] + ([percent(fraction, 0)] if fraction else []) + [f"running for {duration(elapsed)}"]
    if fraction is not None and 0.05 < fraction < 1 and elapsed > 5:
        parts.append(f"about {duration(elapsed * (1 - fraction) / fraction)} left at this pace")
    st.progress(fraction or 0.0, " · ".join(parts))


def _show_end(job: Job) -> None:
    took = "" if job.started is None or job.finished is None else f" after {duration(job.finished - job.started)}"
    if job.status is JobStatus.DONE:
        st.success(f"{plain(job.title)}: done{took}.", icon=":material/check_circle:")
        return
    if job.status is JobStatus.FAILED:
        st.error(f"{plain(job.title)} failed{took}. {plain(job.error or '')}", icon=":material/error:")
    else:
        st.warning(f"{plain(job.title)} was {job.status}{took}.", icon=":material/pause_circle:")
    st.button(
        "Try again" if job.status is JobStatus.FAILED else "Resume",
        help="Goes on after the last finished stage.",
        on_click=services.resume_job,
        args=(job.id,),
        icon=":material/replay:",
    )
