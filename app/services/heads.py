"""Attention heads of an analysis; cached by its id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app.services.analyses import analysis
from app.services.home import store
from engine.pipeline.reading import heads as reading

if TYPE_CHECKING:
    from engine.analysis.heads import HeadLayout, HeadSpectra
    from engine.types import Metric


def layout(analysis_id: str) -> HeadLayout | None:
    """Return how a model's attention is divided, where that is known."""
    return reading.head_layout(store(), analysis(analysis_id))


@st.cache_resource(max_entries=4, show_spinner="Reading the factors of every layer")
def heads(analysis_id: str, metric: Metric) -> dict[str, HeadSpectra]:
    """Return the heads of every projection whose outputs they divide, by name; shared and never changed."""
    return reading.heads(store(), analysis(analysis_id), metric)
