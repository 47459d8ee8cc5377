"""Scores by depth and by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import plotly.graph_objects as go

from app.charts.style import NEUTRAL, PATTERNS, PER_HUNDRED, SYMBOLS, framed, line_style

if TYPE_CHECKING:
    import pandas as pd

_FEW_LAYERS: Final = 10
"""Each of which has a tick of its own."""


def score_shares(shares: pd.DataFrame, compared: tuple[str, pd.DataFrame] | None = None) -> go.Figure:
    """Draw how each score's total is spread: lines over layers, bars over kinds.

    Args:
        shares: as :func:`app.tables.score_shares` returns them.
        compared: what the same scores elsewhere are called, and these: thin lines, pale bars.
    """
    figure = go.Figure()
    by_layer = shares.index.name == "layer"
    for index, title in enumerate(shares.columns):
        _add(figure, shares[title], index, by_layer=by_layer)
        if compared is not None and title in compared[1].columns:
            _add(figure, compared[1][title], index, by_layer=by_layer, beside=compared[0])
    if compared is not None:
        how = "thin" if by_layer else "pale"
        figure.add_trace(
            go.Scatter(
                x=[None], y=[None], mode="lines", line={"color": NEUTRAL, "width": 1}, name=f"{how}: {compared[0]}"
            )
        )
    figure.update_xaxes(title="layer (0 reads the input)" if by_layer else "kind of projection")
    if by_layer and len(shares) <= _FEW_LAYERS:
        figure.update_xaxes(dtick=1)
    if not shares.index.is_monotonic_increasing:
        figure.update_xaxes(type="category")
    figure.update_yaxes(title="share of the score's total", rangemode="tozero", **PER_HUNDRED)
    return framed(figure, 340)


def _add(figure: go.Figure, share: pd.Series, index: int, *, by_layer: bool, beside: str = "") -> None:
    """Add one score, in the style of its place; what is compared has no entry in the legend."""
    color, dash = line_style(index)
    name = f"{share.name}, {beside}" if beside else share.name
    style: dict[str, object] = {"name": name, "x": list(share.index), "y": 100 * share.to_numpy()}
    style |= {"showlegend": False} if beside else {}
    if by_layer:
        line = {"color": color, "dash": dash, **({"width": 1} if beside else {})}
        mode = "lines" if beside else "lines+markers"
        figure.add_trace(go.Scatter(**style, mode=mode, line=line, marker={"symbol": SYMBOLS[index]}))
    else:
        marker = {"color": color, "pattern": {"shape": PATTERNS[index]}}
        figure.add_trace(go.Bar(**style, marker=marker, opacity=0.45 if beside else 1))
