"""Rows of inputs with labels, as high from the first frame on as they will be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator


def inputs(name: str, *, are_options: bool = False) -> DeltaGenerator:
    """Return a row for inputs, whose places :mod:`app.page_style` gives the height they will have.

    Args:
        name: letters and dashes, one per row of a page.
        are_options: whether all of them are segmented controls, which are a little lower than fields and sliders.
    """
    kind = "options" if are_options else "fields"
    return st.container(horizontal=True, vertical_alignment="bottom", key=f"inputs-{kind}-{name}")
