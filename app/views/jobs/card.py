"""Part of Jobs: one job with what can be done about it."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING

import streamlit as st

from app.services import jobs
from app.views.jobs.end import explain_end, show_log
from app.widgets.job_buttons import cancel_button, resume_button
from app.widgets.job_progress import show_progress
from app.widgets.job_result import link_to_result
from app.wording.labels import plain
from engine.jobs import JobStatus
from engine.results.words import duration

if TYPE_CHECKING:
    from engine.jobs import Job

_BADGES = {
    JobStatus.QUEUED: ("blue", ":material/schedule:"),
    JobStatus.RUNNING: ("blue", ":material/play_circle:"),
    JobStatus.CANCELLING: ("orange", ":material/cancel:"),
    JobStatus.DONE: ("green", ":material/check_circle:"),
    JobStatus.FAILED: ("red", ":material/error:"),
    JobStatus.CANCELLED: ("gray", ":material/cancel:"),
    JobStatus.INTERRUPTED: ("orange", ":material/power_off:"),
}


def show_job(job: Job) -> None:
    """Show a job's state, progress or end, actions and log."""
    color, icon = _BADGES[job.status]
    with st.container(border=True, key=f"job-{job.id}"):
        what, actions = st.columns([5, 2])
        with what:
            st.markdown(f":{color}-badge[{icon} {job.status}] **{plain(job.title)}**")
            if job.status.is_final:
                st.caption(_history(job))
                explain_end(job)
                link_to_result(job)
            else:
                show_progress(job, titled=False)
        with actions.container(horizontal=True, horizontal_alignment="right"):
            if not job.status.is_final:
                cancel_button(job)
            elif job.status is not JobStatus.DONE:
                resume_button(job)
            if job.status.is_final:
                st.button(
                    "Forget",
                    key=f"forget.{job.id}",
                    on_click=jobs.forget_job,
                    args=(job.id,),
                    help="Deletes this entry and its log; stored results are kept.",
                )
        show_log(job)


def _history(job: Job) -> str:
    submitted = datetime.fromtimestamp(job.created).astimezone().strftime("%d %b %Y, %H:%M")
    parts = [f"submitted {submitted}"]
    if job.started is not None:
        parts.append(f"took {duration((job.finished or time.time()) - job.started)}")
    if job.place is not None:
        parts.append(plain(str(job.place)))
    if job.attempts > 1:
        parts.append(f"{job.attempts} attempts")
    return " · ".join([*parts, f"id {job.id}"])
