"""Scores by depth and by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from app.charts.style import DASHES, OKABE_ITO, SYMBOLS, framed

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd


def score_shares(scores: pd.DataFrame, by: str, columns: Mapping[str, str]) -> go.Figure:
    """Draw how each score's total is spread over layers or kinds, so that scores compare."""
    figure = go.Figure()
    for index, (column, title) in enumerate(columns.items()):
        if not scores[column].notna().any():
            continue
        sums = scores.assign(value=scores[column].clip(lower=0)).groupby(by, sort=by == "layer")["value"].sum()
        share = sums / sums.sum() if sums.sum() > 0 else sums
        style: dict[str, Any] = {"name": title, "x": list(share.index), "y": share.to_numpy()}
        if by == "layer":
            line = {"color": OKABE_ITO[index], "dash": DASHES[index]}
            figure.add_trace(go.Scatter(**style, mode="lines+markers", line=line, marker={"symbol": SYMBOLS[index]}))
        else:
            figure.add_trace(go.Bar(**style, marker={"color": OKABE_ITO[index]}))
    figure.update_xaxes(title="layer (0 reads the input)" if by == "layer" else "kind of projection")
    figure.update_yaxes(title="share of the score's total", tickformat=".0%", rangemode="tozero")
    return framed(figure, 340)
