"""Jobs: what waits, runs and ran, with progress, log, cancel and resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.pages import page_link
from app.services import home, jobs
from app.services.of_run import begin_run
from app.views.jobs.card import show_job
from app.widgets.errors import errors_shown
from app.wording.labels import plain
from engine.jobs import JobStatus
from engine.jobs.engines import describe
from engine.results.words import counted

if TYPE_CHECKING:
    from engine.jobs import Job

_SHOWN = 20


def render() -> None:
    st.title("Jobs")
    with errors_shown():  # jobs are shown even where no new one could run
        st.caption(f"Long computations run in the background, {_where_jobs_run()}; closing the browser stops none.")
    with errors_shown():
        active = _any_active(jobs.jobs())
        st.fragment(_show_jobs, run_every="2s" if active else "10s")(active)


def _where_jobs_run() -> str:
    engine = home.engine_of_new_jobs()
    if engine.is_local:
        return "on this machine one at a time"
    return f"through {plain(describe(engine))}, as many at once as there is room for"


def _any_active(every: list[Job]) -> bool:
    return any(not job.status.is_final for job in every)


def _show_jobs(was_active: bool) -> None:
    begin_run()
    with errors_shown():
        every = jobs.jobs()
        if _any_active(every) != was_active:
            st.rerun()  # with the other pace of refreshing
        if not every:
            st.info("No job has run yet.", icon=":material/info:")
            page_link("model", "Analyse a model")
            return
        active = [job for job in every if not job.status.is_final]
        over = [job for job in every if job.status.is_final]
        for job in sorted(active, key=_turn):
            show_job(job)
        if over:
            with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
                st.header("Finished")
                _forget_all(over)
        shown = st.session_state.get("jobs.shown", _SHOWN)
        for job in over[:shown]:
            show_job(job)
        if len(over) > shown:
            st.button(f"Show all {len(over)}", on_click=st.session_state.update, args=({"jobs.shown": len(over)},))


def _forget_all(over: list[Job]) -> None:
    with st.popover("Forget all finished", type="tertiary", icon=":material/delete_sweep:"):
        st.caption(f"Deletes {counted(len(over), 'entry', 'entries')} and their logs; stored results are kept.")
        st.button("Forget them", key="jobs.forget-all", on_click=jobs.forget_finished, type="primary")


def _turn(job: Job) -> int:
    """What runs comes first, then what waits in the order of the queue."""
    return -1 if job.status is not JobStatus.QUEUED else job.position or 0


render()
