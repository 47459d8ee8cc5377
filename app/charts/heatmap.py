"""Layers by kinds as colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from app.charts.colour_bar import colour_bar, log_limits
from app.charts.style import DIVERGING, HIGHLIGHT, SEQUENTIAL, framed

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd

_FEW = 16
"""Layers up to this number are all labelled; of more, every fifth, unless they are out of order."""

_MOST_ORDERS_APART = 2
"""Of ten that the colours of a ratio reach to; what is further has the colour of the end."""

_SHORT = 5
"""Names of kinds up to this length stand level above their columns."""


def layer_heatmap(
    rows: pd.DataFrame,
    value: str,
    *,
    title: str,
    hover: Sequence[str],
    percent: bool = False,
    log: bool = False,
    is_difference: bool = False,
    limits: tuple[float, float] | None = None,
    outlined: Collection[str] = (),
    n_clicks: int = 0,
) -> go.Figure:
    """Draw layers by kinds; every cell can be clicked (its ``customdata`` begins with the row's ``name``).

    Args:
        rows: with the columns layer, kind, name and ``value``; one row per cell, layers and kinds in their order.
        value: the column shown as colour.
        title: of the colour bar: what is shown, its unit, and what dark means.
        hover: one text per row.
        percent: whether values are fractions.
        log: whether colours follow the logarithm; values that are not positive stay empty.
        is_difference: whether colours part values below zero, or where they are logarithmic below 1, from those above.
        limits: of the colours, in the value's unit.
        outlined: names of the rows whose cells have a frame.
        n_clicks: how many were reported so far; one that is like the last would not be.
    """
    kinds = list(dict.fromkeys(rows["kind"]))
    layers = list(dict.fromkeys(rows["layer"]))
    heights = {layer: place for place, layer in enumerate(layers)}
    grid = np.full((len(layers), len(kinds)), np.nan)
    unit = 100 if percent else 1
    shown = unit * rows[value].to_numpy(dtype=float)
    limits = None if limits is None else (unit * limits[0], unit * limits[1])
    if log:
        low, high = (float(np.log10(v)) for v in limits or log_limits(shown))
        limits = low, high
        shown = np.log10(np.where(shown > 0, shown, np.nan))
    if is_difference:
        widest = float(np.nanmax(np.abs(shown), initial=0.0)) or 1.0
        widest = min(widest, _MOST_ORDERS_APART) if log else widest
        limits = -widest, widest
    for layer, kind, number in zip(rows["layer"], rows["kind"], shown, strict=True):
        grid[heights[layer], kinds.index(kind)] = number
    figure = go.Figure(
        go.Heatmap(
            x=kinds,
            y=list(range(len(layers))),
            z=grid,
            zmin=limits[0] if limits else None,
            zmax=limits[1] if limits else None,
            colorscale=list(DIVERGING if is_difference else SEQUENTIAL),
            colorbar=colour_bar(title, limits if log else None, percent=percent),
            xgap=1,
            ygap=1,
            hoverinfo="skip",
        )
    )
    frames = [
        _frame(kinds.index(kind), heights[layer])
        for layer, kind, name in zip(rows["layer"], rows["kind"], rows["name"], strict=True)
        if name in outlined
    ]
    # Heatmaps report no selection (streamlit issue 8760), so each cell carries a marker that does.
    figure.add_trace(
        go.Scatter(
            x=rows["kind"],
            y=rows["layer"].map(heights),
            mode="markers",
            marker={"symbol": "square", "size": 10, "opacity": 0},
            selected={"marker": {"opacity": 0}},
            unselected={"marker": {"opacity": 0}},
            customdata=[[name, n_clicks] for name in rows["name"]],
            hovertext=list(hover),
            hoverinfo="text",
            showlegend=False,
        )
    )
    figure.update_layout(shapes=frames, hoverdistance=-1, clickmode="event+select", dragmode=False)
    is_ordered = layers == sorted(layers)
    labelled = {i: la for i, la in enumerate(layers) if not is_ordered or len(layers) <= _FEW or la % 5 == 0}
    level = 0 if max(map(len, kinds), default=0) <= _SHORT else None
    figure.update_xaxes(side="top", showgrid=False, range=[-0.5, len(kinds) - 0.5], tickangle=level)
    figure.update_yaxes(
        title="layer",
        range=[len(layers) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
        tickvals=list(labelled),
        ticktext=[str(layer) for layer in labelled.values()],
    )
    return framed(figure, 140 + max(12 * len(layers), 110))


def _frame(column: int, row: int) -> dict[str, object]:
    corners = {"x0": column - 0.47, "x1": column + 0.47, "y0": row - 0.45, "y1": row + 0.45}
    return {"type": "rect", "line": {"color": HIGHLIGHT, "width": 2.5}, **corners}
