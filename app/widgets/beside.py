"""Parts of a page beside each other, as far as there is room for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.page_style import WIDTHS

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator


def beside(key: str, *widths: int) -> list[DeltaGenerator]:
    """Return containers that share the page's width; those that would get narrower than they may go below the others.

    Streamlit's columns shrink instead, down to the width of a phone.

    Args:
        key: letters and dashes.
        widths: the narrowest of each container in pixels, and its share of what is left; :mod:`app.page_style` has a
            rule for each.
    """
    assert set(widths) <= set(WIDTHS)
    row = st.container(horizontal=True)
    parts = [row.container(key=f"beside-{width}-{key}-{place}") for place, width in enumerate(widths)]
    for part in parts:
        part.empty()  # a container without an element has no place
    return parts
