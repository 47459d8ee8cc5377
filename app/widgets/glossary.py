"""The words of the product behind a question mark on every page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.services import analyses, measurements
from app.widgets.presentation import presentation_button
from app.widgets.welcome import CHOICE_KEY
from app.wording import method_cards
from engine.errors import RankScopeError
from engine.prediction.runs import reference_text

if TYPE_CHECKING:
    from engine.results.texts import MeasuredText


@st.fragment
def glossary_button() -> None:
    """Offer the glossary and the cards of the methods, in the corner that :mod:`app.page_style` gives them."""
    with st.container(key="glossary", horizontal=True, vertical_alignment="center"):
        presentation_button()
        pressed = st.button("?", key="glossary.open", help="Glossary, formats and methods")
    if pressed:
        _explain()


@st.dialog("What the words mean", width="large")
def _explain() -> None:
    words, methods, formats = st.tabs(["Words", "Methods", "Formats"])
    words.markdown(method_cards.words())
    with methods:
        for title, card in method_cards.method_cards(_measured_text()):
            st.markdown(f"**{title}**\n\n{card}")
    formats.markdown(method_cards.formats())


def _measured_text() -> MeasuredText | None:
    """Return the text that the open analysis' maps were measured on."""
    chosen = st.session_state.get(CHOICE_KEY)
    if chosen is None or chosen not in {heading.id for heading in analyses.analysis_headings()}:
        return None
    try:
        return reference_text(measurements.result_rows(chosen))
    except RankScopeError:
        return None
