"""Scores by depth and by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import plotly.graph_objects as go

from app.charts.style import PATTERNS, PER_HUNDRED, SYMBOLS, framed, line_style

if TYPE_CHECKING:
    import pandas as pd


def score_shares(shares: pd.DataFrame) -> go.Figure:
    """Draw how each score's total is spread: lines over layers, bars over kinds.

    Args:
        shares: as :func:`app.tables.score_shares` returns them.
    """
    figure = go.Figure()
    by_layer = shares.index.name == "layer"
    for index, title in enumerate(shares.columns):
        color, dash = line_style(index)
        style: dict[str, object] = {"name": title, "x": list(shares.index), "y": 100 * shares[title].to_numpy()}
        if by_layer:
            marker = {"symbol": SYMBOLS[index]}
            figure.add_trace(
                go.Scatter(**style, mode="lines+markers", line={"color": color, "dash": dash}, marker=marker)
            )
        else:
            figure.add_trace(go.Bar(**style, marker={"color": color, "pattern": {"shape": PATTERNS[index]}}))
    figure.update_xaxes(title="layer (0 reads the input)" if by_layer else "kind of projection")
    if not shares.index.is_monotonic_increasing:
        figure.update_xaxes(type="category")
    figure.update_yaxes(title="share of the score's total", rangemode="tozero", **PER_HUNDRED)
    return framed(figure, 340)
