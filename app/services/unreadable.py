"""Stored results that cannot be read."""

from __future__ import annotations

import streamlit as st

from app.services.home import store
from engine.pipeline.reading.unreadable import unreadable_warning

_REMEMBERED_S = 20.0
"""Every run of every page asks, and damage is rare."""


def warning() -> str | None:
    """Return a sentence about what cannot be read in this home; ``None``: everything can."""
    return _warning(str(store().root))


@st.cache_data(ttl=_REMEMBERED_S, max_entries=4, show_spinner=False)
def _warning(root: str) -> str | None:  # noqa: ARG001 - part of the cache's key
    return unreadable_warning(store())
