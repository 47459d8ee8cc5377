"""The pages of the dashboard, in the order of the flow; each is a script that is read when it is opened."""

from __future__ import annotations

from pathlib import Path
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
"""Folder under ``views`` and URL path -> title and icon."""

FIRST: Final = "overview"
"""The page of the address that names none."""


def page_file(name: str) -> Path:
    """Return the script of a page."""
    return Path(__file__).with_name("views") / name / "page.py"


def navigation(first: str) -> list[st.Page]:
    """Return what ``st.navigation`` offers, ``first`` as the default page."""
    return [
        st.Page(page_file(name), title=title, icon=icon, url_path=name, default=name == first)
        for name, (title, icon) in PAGES.items()
    ]


def page_link(name: str, label: str, **query: str) -> None:
    """Offer another page, perhaps of something, as the next step."""
    st.page_link(page_file(name), label=label, icon=":material/arrow_forward:", query_params=query)
