"""Quality against size, predicted and measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from app.charts.style import NEUTRAL, PER_HUNDRED, framed, method_dash, method_style, ratio_axis
from engine.results.palette import method_place
from engine.results.words import TIMES, method_title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd


def quality_curves(
    curves: Mapping[str, Sequence[tuple[float, float, float, float]]], kept: float | None, measured: pd.DataFrame | None
) -> go.Figure:
    """Draw quality against size: predicted lines per method, measured points on top.

    Args:
        curves: method -> (kept fraction, predicted perplexity over dense, lowest, highest); the last two as a band.
        kept: the chosen kept fraction, drawn as a line.
        measured: as :func:`app.tables.results` returns it.
    """
    figure = go.Figure()
    for method, points in curves.items():
        title = method_title(method)
        color, _ = method_style(title)
        kept_fractions, ratios, lows, highs = (np.minimum(column, 1e6) for column in zip(*points, strict=True))
        figure.add_trace(
            go.Scatter(
                x=100 * np.concatenate([kept_fractions, kept_fractions[::-1]]),
                y=np.concatenate([lows, highs[::-1]]),
                mode="lines",
                fill="toself",
                opacity=0.15,
                line={"width": 0, "color": color},
                legendgroup=title,
                showlegend=False,
                hoverinfo="skip",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=100 * kept_fractions,
                y=ratios,
                mode="lines",
                name=title,
                legendgroup=title,
                line={"color": color, "dash": method_dash(title)},
                customdata=np.stack([lows, highs], axis=1),
                hovertemplate=(
                    f"{title}, predicted<br>%{{x:.1f}} % kept: %{{y:.3f}} {TIMES} dense<br>"
                    "(%{customdata[0]:.3f} to %{customdata[1]:.3f})<extra></extra>"
                ),
            )
        )
    if measured is not None:
        _add_measured(figure, measured)
    figure.add_trace(
        go.Scatter(
            x=[100.0],
            y=[1.0],
            mode="markers",
            name="dense model",
            marker={"color": NEUTRAL, "symbol": "hexagon2", "size": 13, "line": {"width": 1, "color": "#FFFFFF"}},
            hovertemplate=f"the dense model: 100 % kept, 1 {TIMES}<extra></extra>",
        )
    )
    if kept is not None:
        figure.add_vline(x=100 * kept, line={"dash": "dot", "color": NEUTRAL}, annotation_text="budget")
    figure.add_hline(y=1.0, line={"dash": "dot", "color": NEUTRAL})
    figure.update_xaxes(title="kept fraction", **PER_HUNDRED)
    figure.update_yaxes(title="perplexity over dense", **ratio_axis(figure))
    return framed(figure)


def comparison_lines(rows: pd.DataFrame, column: str) -> go.Figure:
    """Draw one measured line per method over the kept fraction.

    Args:
        rows: as :func:`app.tables.comparison` returns them.
        column: ``ratio`` or ``other_ratio``.
    """
    figure = go.Figure()
    for title in sorted(set(rows["method"]), key=method_place):
        points = rows[rows["method"] == title].sort_values("kept")
        color, symbol = method_style(title)
        figure.add_trace(
            go.Scatter(
                x=100 * points["kept"],
                y=points[column],
                mode="lines+markers",
                name=title,
                line={"color": color},
                marker={"symbol": symbol, "size": 9},
                hovertemplate=f"{title}, measured<br>%{{x:.1f}} % kept: %{{y:.3f}} {TIMES} dense<extra></extra>",
            )
        )
    figure.add_hline(y=1.0, line={"dash": "dot", "color": NEUTRAL})
    figure.update_xaxes(title="kept fraction", **PER_HUNDRED)
    figure.update_yaxes(title="perplexity over dense", **ratio_axis(figure))
    return framed(figure)


def _add_measured(figure: go.Figure, measured: pd.DataFrame) -> None:
    shown = {trace.name for trace in figure.data}
    for title, rows in sorted(
        measured[measured["method"] != "dense"].groupby("method", sort=False), key=lambda one: method_place(str(one[0]))
    ):
        color, symbol = method_style(str(title))
        figure.add_trace(
            go.Scatter(
                x=100 * rows["kept"],
                y=rows["ratio"],
                mode="markers",
                name=title,
                legendgroup=title,
                showlegend=str(title) not in shown,
                marker={
                    "color": color,
                    "symbol": symbol,
                    "size": 11,
                    "line": {"width": 1, "color": "#FFFFFF"},
                },
                customdata=rows[["text", "perplexity"]].to_numpy(),
                hovertemplate=(
                    f"{title}, measured<br>%{{x:.1f}} % kept: %{{y:.3f}} {TIMES} dense<br>"
                    "perplexity %{customdata[1]:.2f} on %{customdata[0]}<extra></extra>"
                ),
            )
        )


def predicted_against_measured(measured: pd.DataFrame) -> go.Figure:
    """Draw the predicted against the measured increase of the loss; on the diagonal they agree.

    The predictions are those that the other runs make; bars are 90 % intervals.
    """
    rows = measured[measured["method"] != "dense"]
    top = 1.05 * max(float(rows[["expected_nats", "measured_nats"]].to_numpy().max()), 1e-6)
    figure = go.Figure(
        go.Scatter(
            x=[0, top],
            y=[0, top],
            mode="lines",
            name="perfect prediction",
            line={"dash": "dot", "color": NEUTRAL},
            hoverinfo="skip",
        )
    )
    for title, group in sorted(rows.groupby("method", sort=False), key=lambda one: method_place(str(one[0]))):
        color, symbol = method_style(str(title))
        figure.add_trace(
            go.Scatter(
                x=group["expected_nats"],
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": group["expected_high"] - group["expected_nats"],
                    "arrayminus": group["expected_nats"] - group["expected_low"],
                    "color": NEUTRAL,
                    "thickness": 1,
                },
                y=group["measured_nats"],
                mode="markers",
                name=str(title),
                marker={"color": color, "symbol": symbol, "size": 11},
                customdata=100 * group["kept"],
                hovertemplate=(
                    f"{title}, %{{customdata:.1f}} % kept<br>predicted %{{x:.4f}}, measured %{{y:.4f}}<extra></extra>"
                ),
            )
        )
    figure.update_xaxes(title="predicted, nats per token")
    figure.update_yaxes(title="measured, nats per token")
    return framed(figure)
