"""Model: choose a model and a text, analyse, and see what was found."""

from __future__ import annotations

import streamlit as st

from app.pages import page_link
from app.services.estimates import operation_of
from app.views.model.analysis_form import analysis_form, take_up
from app.views.model.inventory import show_analysis
from app.views.model.plan import show_plan
from app.views.model.storage import show_storage
from app.widgets.analysis_picker import current_analysis
from app.widgets.errors import errors_shown
from app.widgets.estimate import show_estimate
from app.widgets.job_progress import watch
from app.widgets.welcome import show_first_steps, start_analysis, welcome
from engine.jobs import JobStatus
from engine.operations import Analyse


def render() -> None:
    st.title("Model")
    st.caption("Analyse a model on a calibration text to see which weights can be compressed.")
    with errors_shown():
        job = watch("analyse")
        if job is not None and job.status is JobStatus.DONE:
            _next_steps()
        analysis = current_analysis(explain=False)
        if analysis is not None:
            show_analysis(analysis)
            _next_steps()
        elif job is None or job.status.is_final:
            welcome()
        else:
            show_first_steps(job)
        did_not_end = job is not None and job.status.is_final and job.status is not JobStatus.DONE
        failed = operation_of(job) if job is not None and did_not_end else None
        if isinstance(failed, Analyse):
            with errors_shown():
                take_up(failed)
        title = "Analyse another model or text" if analysis else "Analyse your own model"
        with st.expander(title, expanded=did_not_end):
            operation = analysis_form()
            can_begin = operation is not None and show_plan(operation)
            if operation is not None and can_begin:
                show_estimate(operation)
            if st.button("Analyse", type="primary", disabled=not can_begin) and operation is not None:
                start_analysis(operation)
        show_storage()


def _next_steps() -> None:
    with st.container(horizontal=True):
        page_link("spectra", "Show its spectra")
        page_link("allocation", "Choose ranks")


render()
