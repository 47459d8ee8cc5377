"""The energies of single blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from app.charts.style import DASHES, NEUTRAL, OKABE_ITO, framed

if TYPE_CHECKING:
    from collections.abc import Mapping


def spectra(energies: Mapping[str, Any], break_even: Mapping[str, int]) -> go.Figure:
    """Draw each block's energies over its total on log axes; a mark sits at its break-even rank."""
    figure = go.Figure()
    for index, (label, values) in enumerate(energies.items()):
        total = float(values.sum())
        share = values / total if total > 0 else values
        _line_with_mark(figure, index, label, share, break_even[label])
    figure.update_xaxes(title="singular value, largest first", type="log")
    figure.update_yaxes(title="share of the block's energy", type="log", exponentformat="power")
    return framed(figure)


def cumulative_energy(energies: Mapping[str, Any], break_even: Mapping[str, int]) -> go.Figure:
    """Draw the share of its energy a block keeps at every rank."""
    figure = go.Figure()
    for index, (label, values) in enumerate(energies.items()):
        total = float(values.sum())
        kept = np.cumsum(values) / total if total > 0 else np.zeros(len(values))
        _line_with_mark(figure, index, label, kept, break_even[label])
    figure.add_hline(y=0.99, line={"dash": "dot", "color": NEUTRAL}, annotation_text="99 %")
    figure.update_xaxes(title="rank kept")
    figure.update_yaxes(title="share of the block's energy kept", tickformat=".0%")
    return framed(figure)


def _line_with_mark(figure: go.Figure, index: int, label: str, values: Any, mark: int) -> None:
    color = OKABE_ITO[index % len(OKABE_ITO)]
    ranks = np.arange(1, len(values) + 1)
    # A few hundred points show the same line; more would only slow the browser.
    chosen = np.unique(np.round(np.geomspace(1, len(values), 300)).astype(int)) - 1
    figure.add_trace(
        go.Scatter(
            x=ranks[chosen],
            y=values[chosen],
            mode="lines",
            name=label,
            legendgroup=label,
            line={"color": color, "dash": DASHES[index // len(OKABE_ITO) % len(DASHES)]},
            hovertemplate=f"{label}<br>rank %{{x}}: %{{y:.4~g}}<extra></extra>",
        )
    )
    if 1 <= mark <= len(values):
        figure.add_trace(
            go.Scatter(
                x=[mark],
                y=[values[mark - 1]],
                mode="markers",
                legendgroup=label,
                showlegend=False,
                marker={
                    "color": color,
                    "symbol": "diamond",
                    "size": 11,
                    "line": {"width": 1, "color": "#FFFFFF"},
                },
                hovertemplate=f"{label}<br>break-even rank {mark}<extra></extra>",
            )
        )
