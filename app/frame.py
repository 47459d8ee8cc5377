"""What stands around every page: settings, navigation, warnings, the glossary and the jobs that run."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import streamlit as st

from app.pages import FIRST, navigation
from app.services.of_run import begin_run
from app.widgets.errors import warn_of_unreadable
from app.widgets.glossary import glossary_button
from app.widgets.history import keep_history_tidy
from app.widgets.job_indicator import NAME, jobs_indicator
from app.widgets.presentation import style_presentation
from app.widgets.url_state import carry_url_state


def draw(first: str = FIRST) -> None:
    """Draw the page that a visitor asks for, and ``first`` where the address names none."""
    st.set_page_config(
        page_title=NAME,
        page_icon=Path(__file__).with_name("icon.svg"),
        layout="wide",
        menu_items={"About": f"{NAME} {version('rankscope')}: low-rank compression of language models."},
    )
    begin_run()
    carry_url_state()
    page = st.navigation(navigation(first), position="top")
    warn_of_unreadable()
    glossary_button()
    style_presentation()
    jobs_indicator(page.title)
    page.run()
    keep_history_tidy()
