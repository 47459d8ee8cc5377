"""The maps that a search has measured so far."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from app.charts.style import NEUTRAL, PER_HUNDRED, framed, method_style

if TYPE_CHECKING:
    import pandas as pd


def searched_maps(trials: pd.DataFrame, title: str, kept: float) -> go.Figure:
    """Draw every trial as a point, and a line through those that no other beats.

    Args:
        trials: as :func:`app.tables.trials` returns it.
        title: of the method that searched.
        kept: the chosen kept fraction, drawn as a line.
    """
    color, symbol = method_style(title)
    figure = go.Figure()
    best = trials[trials["is_best"]]
    for of, name, mode, opacity in (
        (trials, "measured", "markers", 0.5),
        (best, "best of its size", "lines+markers", 1.0),
    ):
        figure.add_trace(
            go.Scatter(
                x=100 * of["kept"],
                y=of["ratio"],
                mode=mode,
                name=name,
                opacity=opacity,
                line={"color": color, "shape": "hv"},
                marker={"color": color, "symbol": symbol, "size": 8},
                hovertemplate="%{x:.1f} % kept<br>%{y:.3f} × the dense perplexity<extra></extra>",
            )
        )
    figure.add_vline(x=100 * kept, line={"dash": "dot", "color": NEUTRAL}, annotation_text="budget")
    figure.update_xaxes(title="kept fraction", **PER_HUNDRED)
    figure.update_yaxes(title="perplexity over dense")
    return framed(figure, 300)
