"""Parts of a page beside each other, as far as there is room for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator


def beside(key: str, *widths: int) -> list[DeltaGenerator]:
    """Return containers that share the page's width; those that would get narrower than they may go below the others.

    Streamlit's columns shrink instead, down to the width of a phone.

    Args:
        key: letters and dashes.
        widths: the narrowest of each container in pixels, and its share of what is left.
    """
    names = [f"{key}-{place}" for place in range(len(widths))]
    rules = [
        f"div:has(> .st-key-{name}) {{flex: {width} 1 {width}px}}" for name, width in zip(names, widths, strict=True)
    ]
    st.html(f"<style>{''.join(rules)}</style>")
    row = st.container(horizontal=True)
    return [row.container(key=name) for name in names]
