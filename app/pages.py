"""The pages of the dashboard, in the order of the flow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.views.allocation import page as allocation
from app.views.jobs import page as jobs
from app.views.model import page as model
from app.views.overview import page as overview
from app.views.playground import page as playground
from app.views.results import page as results
from app.views.sensitivity import page as sensitivity
from app.views.spectra import page as spectra

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamlit.navigation.page import StreamlitPage


def pages() -> dict[str, StreamlitPage]:
    """Return every page by its URL path."""
    described: list[tuple[str, Callable[[], None], str, str]] = [
        ("overview", overview.render, "Overview", ":material/speed:"),
        ("model", model.render, "Model", ":material/deployed_code:"),
        ("spectra", spectra.render, "Spectra", ":material/show_chart:"),
        ("sensitivity", sensitivity.render, "Sensitivity", ":material/thermostat:"),
        ("allocation", allocation.render, "Allocation", ":material/tune:"),
        ("jobs", jobs.render, "Jobs", ":material/list_alt:"),
        ("results", results.render, "Results", ":material/monitoring:"),
        ("playground", playground.render, "Playground", ":material/forum:"),
    ]
    return {
        path: st.Page(render, title=title, icon=icon, url_path=path, default=path == "overview")
        for path, render, title, icon in described
    }
