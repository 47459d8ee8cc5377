"""The first thing a visitor does: analyse the demo, or a model of their own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import streamlit as st

import app
from app.services import jobs, texts
from app.widgets.job_progress import follow
from engine.jobs import JobStatus
from engine.operations import Analyse
from engine.results.words import megabytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.jobs import Job

CHOICE_KEY = "analysis.choice"
"""Of the analysis that is open, in the session."""

GONE_KEY = "analysis.gone"
"""Of the analysis that was open and is not there any more."""

_PICTURE: Final = Path(app.__file__).with_name("first_visit.svg")
_FETCHING: Final = frozenset({"demo", "demo-texts", "demo-model", "demo-download", "convert-gguf"})
"""Stages in which the demo is fetched."""

_STEPS: Final = (
    ("Fetch", "The model and its texts, once: up to {disk} of disk."),
    ("Analyse", "The model reads a text; then its weight matrices are decomposed. A few minutes on two cores."),
    ("Measure", "Every method on held-out text, one of them at three sizes. Meanwhile the pages can be used."),
)


def welcome() -> None:
    """Offer to analyse the demo, and show what that leads to."""
    st.info(
        "Nothing has been analysed yet. Start with the demo, a small real model (SmolLM2, 135 M parameters).",
        icon=":material/rocket_launch:",
    )
    _show_steps(("", "", ""))
    if st.button("Analyse the demo model", type="primary"):
        start_analysis(Analyse(measure=True))
    _show_picture()


def show_first_steps(job: Job) -> None:
    """Say which of the steps to the first result an analysis is at, and what comes."""
    is_fetching = job.progress is None or job.progress.stage in _FETCHING
    if job.status is JobStatus.QUEUED:
        _show_steps(("", "", ""))
    else:
        _show_steps((":material/pending:", "", "") if is_fetching else (":material/check:", ":material/pending:", ""))
    _show_picture()


def start_analysis(operation: Analyse) -> None:
    """Submit an analysis, follow it, and show it when it is done."""
    follow(jobs.submit(operation))
    for name in (CHOICE_KEY, GONE_KEY):
        st.session_state.pop(name, None)
    st.query_params.pop("analysis", None)
    st.rerun()


def _show_steps(icons: Sequence[str]) -> None:
    disk = megabytes(texts.demo_disk_bytes())
    for number, (place, icon, (title, about)) in enumerate(zip(st.columns(3), icons, _STEPS, strict=True), start=1):
        with place.container(border=True, height="stretch"):
            st.markdown(f"**{number}. {title}** {icon}")
            st.caption(about.format(disk=disk))


def _show_picture() -> None:
    st.image(_PICTURE, "What comes: quality against size for every method, and the ranks to change by hand.", width=640)
