"""Page configuration and navigation; the script that ``app.server`` serves."""

from pathlib import Path

import streamlit as st

from app.pages import navigation
from app.widgets.errors import warn_of_unreadable
from app.widgets.glossary import glossary_button
from app.widgets.history import keep_history_tidy
from app.widgets.url_state import carry_url_state

st.set_page_config(page_title="RankScope", page_icon=Path(__file__).with_name("icon.svg"), layout="wide")
carry_url_state()
page = st.navigation(navigation(), position="top")
warn_of_unreadable()
glossary_button()
page.run()
keep_history_tidy()
