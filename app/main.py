"""Page configuration and navigation; the script that ``app.server`` serves."""

import streamlit as st

from app.pages import navigation
from app.widgets.errors import warn_of_unreadable
from app.widgets.history import keep_history_tidy
from app.widgets.url_state import carry_url_state

st.set_page_config(page_title="RankScope", page_icon=":material/stacked_bar_chart:", layout="wide")
carry_url_state()
page = st.navigation(navigation(), position="top")
warn_of_unreadable()
page.run()
keep_history_tidy()
