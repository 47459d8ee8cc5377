"""Part of Allocation: search maps by measuring them, for methods that take theirs from a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.services import jobs
from app.widgets.estimate import show_estimate
from app.widgets.job_progress import follow, watch
from app.widgets.pickers import option_picker
from app.widgets.setting_input import whole_number_input
from engine.operations import Search
from engine.results.words import percent

if TYPE_CHECKING:
    from engine.analysis.value import Analysis

_GOALS = {"one": "Best map at this budget", "all": "Best maps of every size"}


def search_maps(analysis: Analysis, kept_fraction: float, *, has_map: bool) -> None:
    """Offer a search, and follow it."""
    watch("search", analysis.id)
    with st.expander("Search by measuring", expanded=not has_map, icon=":material/search:"):
        st.caption(
            "Compresses and measures the model once per trial, on a small part of the calibration text; measured "
            "trials are kept if the search is cancelled."
        )
        goal = option_picker("Goal", _GOALS, key="search.goal")
        trials = whole_number_input(Search, "trials", "Trials", key="search.trials")
        label = "Search every size" if goal == "all" else f"Search at {percent(kept_fraction)}"
        search = _on_text_of(analysis).changed(trials=trials)
        aimed = search.changed(pareto=True) if goal == "all" else search.changed(target=round(kept_fraction, 4))
        show_estimate(aimed)
        if st.button(label, type="primary", icon=":material/play_arrow:", key="search.start"):
            follow(jobs.submit(aimed))
            st.rerun()


def _on_text_of(analysis: Analysis) -> Search:
    """Return a search on the calibration text."""
    corpus = analysis.about["spec"]["corpus"]
    match corpus["source"]:
        case "demo":
            text = f"demo:{corpus['location']}" if corpus["location"] != "wikipedia" else "demo"
        case "hub":
            config = f":{corpus['config']}" if corpus["config"] else ""
            text = f"{corpus['location']}{config}@{corpus['part']}"
        case _:
            text = corpus["location"]
    usual = Search(analysis=analysis.id)
    return usual.changed(
        text=text,
        text_field=corpus["text_field"],
        n_sequences=min(usual.n_sequences, corpus["n_sequences"]),
        length=min(usual.length, corpus["length"]),
    )
