"""Part of Jobs: one job with what can be done about it."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from typing import TYPE_CHECKING

import streamlit as st

from app import services
from app.labels import duration, plain
from app.widgets import show_progress
from engine.jobs import JobStatus

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
                _explain_end(job)
            else:
                show_progress(job, titled=False)
        with actions.container(horizontal=True, horizontal_alignment="right"):
            if not job.status.is_final:
                st.button(
                    "Cancel",
                    key=f"cancel.{job.id}",
                    on_click=services.cancel_job,
                    args=(job.id,),
                    disabled=job.status is JobStatus.CANCELLING,
                )
            elif job.status is not JobStatus.DONE:
                st.button(
                    "Try again" if job.status is JobStatus.FAILED else "Resume",
                    key=f"resume.{job.id}",
                    on_click=services.resume_job,
                    args=(job.id,),
                    type="primary",
                    help="Goes on after the last finished stage.",
                )
            if job.status.is_final:
                st.button(
                    "Forget",
                    key=f"forget.{job.id}",
                    on_click=services.forget_job,
                    args=(job.id,),
                    help="Deletes this entry and its log; what it computed stays.",
                )
        _show_log(job)


def _explain_end(job: Job) -> None:
    """Say why a job did not finish and what to do."""
    match job.status:
        case JobStatus.FAILED:
            st.error(f"{plain(job.error or 'It failed.')} When that is mended, 'Try again' goes on where it stopped.")
        case JobStatus.INTERRUPTED:
            st.warning(plain(job.error or "Its process is gone."))
        case JobStatus.CANCELLED:
            st.caption("Cancelled before its end; 'Resume' goes on after the last finished stage.")


def _show_log(job: Job) -> None:
    """Show the log's end, read again with every refresh while it is open."""
    log = st.expander("Log", key=f"log.{job.id}", on_change="rerun")
    if not log.open:
        return
    with log:
        st.code(services.job_log(job.id) or "Nothing was printed.", language=None, height=240)
        st.download_button(
            "Download the log",
            lambda: services.job_log(job.id, last_lines=sys.maxsize),
            f"rankscope-{job.operation}-{job.id}.txt",
            "text/plain",
            key=f"log.file.{job.id}",
            on_click="ignore",
            icon=":material/download:",
        )


def _history(job: Job) -> str:
    submitted = datetime.fromtimestamp(job.created).astimezone().strftime("%d %b %Y, %H:%M")
    parts = [f"submitted {submitted}"]
    if job.started is not None:
        parts.append(f"took {duration((job.finished or time.time()) - job.started)}")
    if job.attempts > 1:
        parts.append(f"{job.attempts} attempts")
    return " · ".join([*parts, f"id {job.id}"])
