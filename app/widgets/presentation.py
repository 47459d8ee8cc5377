"""Presentation mode: larger type and no captions, for a projector; in the URL, so that a link keeps it."""

from __future__ import annotations

from typing import Final

import streamlit as st

from app.widgets.url_state import set_url_state, url_state

_STYLE: Final = """<style>
html { font-size: 120%; }
[data-testid="stCaptionContainer"] { display: none; }
.ov-root, .rb-root { zoom: 1.2; }
</style>"""


def presentation_button() -> None:
    """Offer to switch presentation mode on or off."""
    is_on = url_state("present") is not None
    label = "Stop presenting" if is_on else "Present"
    if st.button(label, key="presentation", type="tertiary", help="Larger type and no captions, for a projector"):
        set_url_state("present", None if is_on else "1")
        st.rerun()


def style_presentation() -> None:
    """Make the type larger and hide captions where presentation mode is on."""
    if url_state("present"):
        st.html(_STYLE)
