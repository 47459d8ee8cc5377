"""What can be done about a job, wherever it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.services import jobs
from engine.jobs import JobStatus

if TYPE_CHECKING:
    from engine.jobs import Job


def cancel_button(job: Job) -> None:
    """Offer to end an active job."""
    st.button(
        "Cancel",
        key=f"cancel.{job.id}",
        on_click=jobs.cancel_job,
        args=(job.id,),
        disabled=job.status is JobStatus.CANCELLING,
        icon=":material/cancel:",
    )


def resume_button(job: Job) -> None:
    """Offer to go on with a job that did not end well."""
    st.button(
        "Try again" if job.status is JobStatus.FAILED else "Resume",
        key=f"resume.{job.id}",
        on_click=jobs.resume_job,
        args=(job.id,),
        type="primary",
        icon=":material/replay:",
        help="Continues after the last finished stage.",
    )
