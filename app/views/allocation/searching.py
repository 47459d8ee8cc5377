"""Part of Allocation: search maps by measuring them, for methods that take theirs from a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, tables
from app.services import jobs, measurements, searching
from app.widgets.errors import errors_shown
from app.widgets.estimate import show_estimate
from app.widgets.job_progress import follow, watch
from app.widgets.pickers import option_picker
from app.widgets.setting_input import whole_number_input
from engine.allocation import MEASURED_REACH
from engine.methods.presets import SEARCHED
from engine.operations import Search
from engine.results.words import counted, duration, percent

if TYPE_CHECKING:
    from engine.analysis.value import Analysis

_GOALS = {"one": "Best map at this budget", "all": "Best maps of every size"}


def search_maps(analysis: Analysis, kept_fraction: float, *, has_map: bool) -> None:
    """Offer a search, follow it, and show what it has measured so far."""
    n_measured = len(searching.comparable_trials(analysis.id))
    if n_measured:
        st.caption(
            f"{counted(n_measured, 'map')} measured so far: the best of them is the answer at budgets up to "
            f"{percent(MEASURED_REACH, 0)} of the model above, a **predicted search** elsewhere."
        )
    elif has_map:
        st.caption(
            "A **predicted search**: the best map of the method's search space as predictions have it, found without "
            "running the model. A search measures such maps, and the best of them replaces it."
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        button = st.empty()
        with st.popover(
            "Search for…",
            icon=":material/settings:",
            help="One size or all, how many trials, and how many jobs share them",
        ):
            goal = option_picker("Goal", _GOALS, key="search.goal")
            trials = whole_number_input(Search, "trials", "Trials", key="search.trials")
            workers = whole_number_input(Search, "workers", "Workers: jobs that share the trials", key="search.workers")
            st.caption(
                "A trial compresses the model and measures it on a small part of the calibration text. Measured trials "
                "are kept if the search is cancelled."
            )
    search = searching.search_on_text_of(analysis).changed(trials=trials, workers=workers)
    search = search.changed(pareto=True) if goal == "all" else search.changed(target=round(kept_fraction, 4))
    label = "Search every size" if goal == "all" else f"Search at {percent(kept_fraction)}"
    pressed = button.button(label, icon=":material/travel_explore:", key="search.start")
    _show_time(search, analysis)
    if pressed:
        follow(jobs.submit(search))
        st.rerun()
    job = watch("search", analysis.id)
    is_running = job is not None and not job.status.is_final
    st.fragment(_show_trials, run_every="2s" if is_running else None)(analysis.id, kept_fraction)


def _show_time(search: Search, analysis: Analysis) -> None:
    trials, rows = searching.comparable_trials(analysis.id), measurements.result_rows(analysis.id)
    expected = searching.expected_seconds(search, trials, rows)
    if expected is None or jobs.estimate(search) is not None:
        show_estimate(search)
    else:
        st.caption(f":material/schedule: About {duration(expected)}, judged by what was measured of this model.")


def _show_trials(analysis_id: str, kept_fraction: float) -> None:
    with errors_shown():
        measured = tables.trials(searching.comparable_trials(analysis_id))
        if measured.empty:
            return
        figure = charts.searched_maps(measured, SEARCHED.title, kept_fraction)
        alt = f"Perplexity over dense of {counted(len(measured), 'searched map')} against their kept fraction"
        st.plotly_chart(figure, key="search.trials.chart", alt=alt)
