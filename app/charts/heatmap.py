"""Layers by kinds as colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray


def layer_heatmap(
    rows: pd.DataFrame,
    value: str,
    *,
    hover: Sequence[str],
    log: bool = False,
    limits: tuple[float, float] | None = None,
    colorscale: str = "Cividis",
) -> go.Figure:
    """Draw layers by kinds; every cell can be clicked (its ``customdata`` is the row's ``name``).

    Args:
        rows: with the columns layer, kind, name and ``value``; one row per cell.
        value: the column shown as colour.
        hover: one text per row.
        log: whether colours follow the logarithm; values that are not positive stay empty.
        limits: of the colours, in the value's unit.
        colorscale: a plotly name.
    """
    kinds = list(dict.fromkeys(rows["kind"]))
    layers = sorted(set(rows["layer"]))
    grid = np.full((len(layers), len(kinds)), np.nan)
    shown = rows[value].to_numpy(dtype=float)
    if log:
        shown = np.log10(np.where(shown > 0, shown, np.nan))
    for layer, kind, number in zip(rows["layer"], rows["kind"], shown, strict=True):
        grid[layers.index(layer), kinds.index(kind)] = number
    if log:
        low, high = (float(np.log10(v)) for v in limits or log_limits(rows[value].to_numpy()))
        limits = low, high
    bar: dict[str, object] = {"orientation": "h", "thickness": 10, "y": 0, "yanchor": "top", "ypad": 12}
    if log and limits:
        bar |= _power_ticks(*limits)
    figure = go.Figure(
        go.Heatmap(
            x=kinds,
            y=layers,
            z=grid,
            zmin=limits[0] if limits else None,
            zmax=limits[1] if limits else None,
            colorscale=colorscale,
            colorbar=bar,
            xgap=1,
            ygap=1,
            hoverinfo="skip",
        )
    )
    # Heatmaps report no selection (streamlit issue 8760), so each cell carries a marker that does.
    figure.add_trace(
        go.Scatter(
            x=rows["kind"],
            y=rows["layer"],
            mode="markers",
            marker={"symbol": "square", "size": 10, "opacity": 0, "color": "#FFFFFF"},
            selected={"marker": {"opacity": 0.9}},
            unselected={"marker": {"opacity": 0}},
            customdata=rows["name"],
            hovertext=list(hover),
            hoverinfo="text",
            showlegend=False,
        )
    )
    figure.update_layout(
        height=170 + max(18 * len(layers), 110),
        margin={"l": 10, "r": 10, "t": 10, "b": 10},
        hovermode="closest",
        hoverdistance=-1,
        clickmode="event+select",
        dragmode=False,
    )
    figure.update_xaxes(side="top", showgrid=False, range=[-0.5, len(kinds) - 0.5])
    figure.update_yaxes(
        title="layer",
        range=[len(layers) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
        dtick=1 if len(layers) <= 16 else 5,
    )
    return figure


def log_limits(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return colour limits around the positive values, at most five powers of ten apart."""
    positive = values[np.isfinite(values) & (values > 0)]
    if not len(positive):
        return 0.1, 1.0
    high = float(positive.max())
    return max(float(positive.min()), high * 1e-5) * 0.999, high


def _power_ticks(low: float, high: float) -> dict[str, object]:
    """Return colour-bar ticks at powers of ten, or at the ends where the range holds too few of them."""
    powers = [float(p) for p in range(int(np.ceil(low)), int(np.floor(high)) + 1)]
    if len(powers) >= 2:
        return {"tickvals": powers, "ticktext": [f"1e{p:.0f}" for p in powers]}
    return {"tickvals": [low, high], "ticktext": [f"{10**low:.1e}", f"{10**high:.1e}"]}
