"""What every projection loses at every rank, a small chart per kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.charts.style import TEXT, depth_colours, framed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd

_COLUMNS: Final = 4
_BANDS: Final = 5
"""Of layers that share a colour: a line in each of plotly's traces would take half a second."""

_LEAST: Final = 1e-4
"""Share of the energy below which a line is not followed."""


def energy_lost(curves: pd.DataFrame, cuts: pd.DataFrame, before: pd.DataFrame) -> go.Figure:
    """Draw a line per projection, coloured by depth, with a tick where the map and a cross where the baseline cuts it.

    Args:
        curves: with the columns block, layer, kind, rank_fraction and lost.
        cuts: with the same columns, one row per block that is cut.
        before: the same of the baseline.
    """
    kinds = list(dict.fromkeys(curves["kind"]))
    n_rows = -(-len(kinds) // _COLUMNS)
    figure = make_subplots(
        n_rows, _COLUMNS, shared_xaxes=True, shared_yaxes=True, subplot_titles=kinds, horizontal_spacing=0.03
    )
    traces: list[go.Scatter] = []
    for place, kind in enumerate(kinds, 1):
        axes = {"xaxis": f"x{place}", "yaxis": f"y{place}"}
        traces += _lines(curves[curves["kind"] == kind], axes)
        for symbol, marked in (("line-ns", cuts), ("x-thin", before)):
            traces.append(_ticks(marked[(marked["kind"] == kind) & (marked["lost"] >= _LEAST)], symbol, axes))
    figure.add_traces(traces)
    figure.update_layout(showlegend=False)
    figure.update_annotations(font_size=13)
    figure.update_xaxes(range=[0, 100], **_percents(25, 50, 75))
    figure.update_yaxes(type="log", range=[np.log10(100 * _LEAST), 2.05], **_percents(0.01, 0.1, 1, 10, 100))
    figure.update_xaxes(title="rank over full rank", row=n_rows)
    figure.update_yaxes(title="energy lost", col=1)
    return framed(figure, 90 + 180 * n_rows)


def _percents(*values: float) -> dict[str, object]:
    """Return these ticks; plotly gives those of a list no suffix."""
    return {"tickvals": values, "ticktext": [f"{value:g} %" for value in values]}


def _lines(curves: pd.DataFrame, axes: Mapping[str, str]) -> Iterator[go.Scatter]:
    """Return one trace per band of layers, its lines parted by a row of nothing."""
    depth = curves["layer"] / max(curves["layer"].max(), 1)
    bands = np.minimum((depth * _BANDS).astype(int), _BANDS - 1)
    ends = curves["block"] != curves["block"].shift(-1)
    # Ranks rise along a line, so that a copy of its end without a value parts it from the next.
    parted = curves.loc[np.repeat(curves.index, 1 + ends)]
    parted = parted.assign(lost=parted["lost"].where(~parted.index.duplicated() & (parted["lost"] >= _LEAST)))
    for band, color in enumerate(depth_colours(range(_BANDS))):
        own = parted[bands[parted.index] == band]
        yield go.Scatter(
            x=100 * own["rank_fraction"].to_numpy(),
            y=100 * own["lost"].to_numpy(),
            mode="lines",
            line={"color": color, "width": 1},
            opacity=0.55,
            hovertext=own["block"].to_numpy(),
            hovertemplate="%{hovertext}<br>%{x:.1f} % of the ranks: %{y:.2f} % lost<extra></extra>",
            **axes,
        )


def _ticks(cuts: pd.DataFrame, symbol: str, axes: Mapping[str, str]) -> go.Scatter:
    return go.Scatter(
        x=100 * cuts["rank_fraction"],
        y=100 * cuts["lost"],
        mode="markers",
        marker={"symbol": symbol, "size": 9 if symbol == "line-ns" else 6, "line": {"width": 1.5, "color": TEXT}},
        hovertext=cuts["block"],
        hovertemplate="%{hovertext}: cut at %{x:.1f} % of its ranks<br>%{y:.2f} % lost<extra></extra>",
        **axes,
    )
