"""Links between pages."""

from __future__ import annotations

import streamlit as st


def page_link(path: str, label: str) -> None:
    """Offer another page as the next step."""
    # The pages import the views, and views offer links to pages.
    from app.pages import pages

    st.page_link(pages()[path], label=label, icon=":material/arrow_forward:")
