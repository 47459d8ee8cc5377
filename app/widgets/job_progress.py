"""A job's progress in place; what is shown is read from the job record, so a reload loses nothing."""

from __future__ import annotations

import textwrap
import time
from typing import TYPE_CHECKING

import streamlit as st

from app.services import jobs
from app.services.estimates import jobs_ahead
from app.services.of_run import begin_run
from app.widgets.errors import errors_shown
from app.widgets.job_buttons import cancel_button, resume_button
from app.wording.labels import plain
from engine.jobs import JobStatus
from engine.results.words import duration, percent

if TYPE_CHECKING:
    from engine.jobs import Job
    from engine.rank_map.document import RankMap

_URL = "job"
_MOST_LETTERS = 90
"""Of a step: one line on a narrow page."""

_MOST_NAMED = 3


def watch(operation: str, analysis_id: str | None = None, rank_map: RankMap | None = None) -> Job | None:
    """Show the active job of a kind, or the one in the URL; return it.

    Args:
        operation: analyse, evaluate, sensitivity or search.
        analysis_id: of whose jobs; ``None`` for any.
        rank_map: the map it is about, so that progress and end stand where that map is; ``None`` for any.
    """
    job = jobs.watched_job(operation, analysis_id, rank_map, st.query_params.get(_URL))
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
    begin_run()
    with errors_shown():
        job = jobs.job(job_id)
        if job.status.is_final:
            st.rerun()
        show_progress(job)
        cancel_button(job)


def show_progress(job: Job, *, titled: bool = True) -> None:
    """Draw an active job in as many lines whatever it does: a bar with its step, then times."""
    if titled:
        st.markdown(f"**{plain(job.title)}**")
    if job.status is JobStatus.QUEUED:
        st.progress(0.0, "Waiting" if job.position else "Starting")
        st.caption(_why_it_waits(job))
        return
    if job.place is not None and job.place.host is None and job.status is JobStatus.RUNNING:
        st.progress(0.0, "Waiting")
        st.caption(plain(str(job.place)).replace("waiting", "Waiting", 1))
        return
    message = plain(textwrap.shorten(job.progress.message, _MOST_LETTERS)) if job.progress is not None else "Starting"
    if job.status is JobStatus.CANCELLING:
        message = "Cancelling"
    fraction = (job.progress.fraction if job.progress is not None else None) or 0.0
    st.progress(fraction, f"{percent(fraction, 0)} · {message}")
    where = "" if job.place is None else f" {plain(str(job.place))}"
    seconds = time.time() - (job.started or time.time())
    st.caption(f"Running{where} for {duration(seconds)} · {_time_left(job, seconds)}")


def _time_left(job: Job, seconds: float) -> str:
    left = jobs.remaining_seconds(job.id)
    if left is not None:
        return f"about {duration(left)} left at this pace"
    expected = jobs.job_estimate(job)
    if expected is not None and seconds > expected.seconds:
        return "longer than similar jobs took"
    return "time left unknown" if expected is None else f"takes {expected}"


def _why_it_waits(job: Job) -> str:
    ahead = jobs_ahead(job, jobs.jobs())
    if not ahead:
        return "Its process is being started."
    names = ", then ".join(f"'{plain(other.title)}'" for other in ahead[:_MOST_NAMED])
    more = f" and {len(ahead) - _MOST_NAMED} more" if len(ahead) > _MOST_NAMED else ""
    left = jobs.remaining_seconds(ahead[0].id)
    first = "" if left is None else f" The first takes about {duration(left)} more."
    return f"Waiting for {names}{more}: jobs run one at a time, because each uses all cores and much memory.{first}"


def _show_end(job: Job) -> None:
    took = "" if job.started is None or job.finished is None else f" after {duration(job.finished - job.started)}"
    if job.status is JobStatus.DONE:
        st.success(f"{plain(job.title)}: done{took}.", icon=":material/check_circle:")
        return
    if job.status is JobStatus.FAILED:
        st.error(f"{plain(job.title)} failed{took}. {plain(job.error or '')}", icon=":material/error:")
    else:
        st.warning(f"{plain(job.title)} was {job.status}{took}.", icon=":material/pause_circle:")
    resume_button(job)
