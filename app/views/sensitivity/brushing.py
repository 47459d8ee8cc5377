"""Part of Sensitivity: projections that are clicked or brushed on a heatmap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from app import charts, tables

if TYPE_CHECKING:
    import plotly.graph_objects as go
    from streamlit.delta_generator import DeltaGenerator


def show_brushed(place: DeltaGenerator, figure: go.Figure, column: str, alt: str) -> None:
    """Show a heatmap of :func:`app.charts.layer_heatmap` on which a drag of the pointer selects cells."""
    place.plotly_chart(
        figure.update_layout(dragmode="select"),
        key=_key(column),
        on_select="rerun",
        selection_mode=("points", "box"),
        config=charts.chart_config(column),
        alt=alt,
    )


def brushed() -> frozenset[str]:
    """Return the names of the projections that are selected on any of the heatmaps."""
    found: set[str] = set()
    for column in tables.SCORES:
        selection = st.session_state.get(_key(column), {}).get("selection", {})
        found |= {point["customdata"][0] for point in selection.get("points", ())}
    return frozenset(found)


def _key(column: str) -> str:
    return f"sensitivity.{column}"
