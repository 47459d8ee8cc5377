"""The pages of the dashboard, in the order of the flow; each is a script that is read when it is opened."""

from __future__ import annotations

from typing import Final

import streamlit as st

PAGES: Final = {
    "overview": ("Overview", ":material/speed:"),
    "model": ("Model", ":material/deployed_code:"),
    "spectra": ("Spectra", ":material/show_chart:"),
    "sensitivity": ("Sensitivity", ":material/thermostat:"),
    "allocation": ("Allocation", ":material/tune:"),
    "jobs": ("Jobs", ":material/list_alt:"),
    "results": ("Results", ":material/monitoring:"),
    "playground": ("Playground", ":material/forum:"),
}
"""Folder under ``views`` and URL path -> title and icon; the first is the default page."""


def page_file(name: str) -> str:
    """Return the script of a page, relative to ``main.py``."""
    return f"views/{name}/page.py"


def navigation() -> list[st.Page]:
    """Return what ``st.navigation`` offers."""
    return [
        st.Page(page_file(name), title=title, icon=icon, url_path=name, default=name == "overview")
        for name, (title, icon) in PAGES.items()
    ]


def page_link(name: str, label: str, **query: str) -> None:
    """Offer another page, perhaps of something, as the next step."""
    st.page_link(page_file(name), label=label, icon=":material/arrow_forward:", query_params=query)
