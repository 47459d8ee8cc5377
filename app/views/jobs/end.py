"""Part of Jobs: why a job ended, and what it printed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import streamlit as st

from app.services import jobs
from app.wording.labels import plain
from engine.jobs import JobStatus

if TYPE_CHECKING:
    from engine.jobs import Job


_TAIL_LINES: Final = 15


def explain_end(job: Job) -> None:
    """Say why a job did not finish and what to do."""
    match job.status:
        case JobStatus.FAILED:
            st.error(f"{plain(job.error or 'It failed.')} Fix the cause, then press 'Try again' to resume.")
        case JobStatus.INTERRUPTED:
            st.warning(plain(job.error or "Its process is gone."))
        case JobStatus.CANCELLED:
            st.caption("Cancelled; 'Resume' continues after the last finished stage.")


def show_log(job: Job) -> None:
    """Show the log's end, read again with every refresh while it is open."""
    log = st.expander("Log", key=f"log.{job.id}", on_change="rerun")
    if not log.open:
        return
    with log:
        tail = jobs.job_log(job.id, _TAIL_LINES)
        st.code(tail or "Nothing was printed.", language=None, wrap_lines=True)
        if tail.count("\n") + 1 >= _TAIL_LINES:
            st.caption(f"The last {_TAIL_LINES} lines; the download has all of them.")
        st.download_button(
            "Download the log",
            lambda: jobs.job_log(job.id, last_lines=sys.maxsize),
            f"rankscope-{job.operation}-{job.id}.txt",
            "text/plain",
            key=f"log.file.{job.id}",
            on_click="ignore",
            icon=":material/download:",
        )
