"""What every projection loses at every rank, a small chart per kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import plotly.graph_objects as go

from app.charts.style import TEXT, depth_colours, framed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd

_COLUMNS: Final = 4
_BETWEEN: Final = 0.03
"""Share of the width between two charts."""

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
    axes = {kind: {"xaxis": f"x{place}", "yaxis": f"y{place}"} for place, kind in enumerate(kinds, 1)}
    traces = list(_lines(curves, axes))
    for symbol, marked in (("line-ns", cuts), ("x-thin", before)):
        shown = marked[marked["lost"] >= _LEAST]
        traces += [_ticks(shown[shown["kind"] == kind], symbol, axes[kind]) for kind in kinds]
    # Plotly checks one whole in a quarter of the time that it takes for as many parts.
    figure = go.Figure({"data": traces, "layout": _small_charts(kinds)})
    return framed(figure, 90 + 180 * -(-len(kinds) // _COLUMNS))


def _small_charts(kinds: Sequence[str]) -> dict[str, object]:
    """Return a layout of axes in rows and columns, each pair under the name of its kind."""
    n_rows = -(-len(kinds) // _COLUMNS)
    width, height = (1 - _BETWEEN * (_COLUMNS - 1)) / _COLUMNS, 0.7 / n_rows + 0.3 / n_rows**2
    titles: list[dict[str, object]] = []
    layout: dict[str, object] = {"showlegend": False, "annotations": titles}
    for place, kind in enumerate(kinds):
        row, column = divmod(place, _COLUMNS)
        left, top = column * (width + _BETWEEN), 1 - row * (height + 0.3 / n_rows)
        is_lowest, number = place + _COLUMNS >= len(kinds), str(place + 1) if place else ""
        layout[f"xaxis{number}"] = {
            "domain": [left, left + width],
            "anchor": f"y{number}",
            "range": [0, 100],
            "matches": "x" if place else None,
            "title": "rank over full rank" if is_lowest else None,
            "showticklabels": is_lowest,
            **_percents(25, 50, 75),
        }
        layout[f"yaxis{number}"] = {
            "domain": [max(top - height, 0), top],
            "anchor": f"x{number}",
            "type": "log",
            "range": [np.log10(100 * _LEAST), 2.05],
            "matches": "y" if place else None,
            "title": None if column else "energy lost",
            "showticklabels": not column,
            **_percents(0.01, 0.1, 1, 10, 100),
        }
        titles.append(_title(kind, left + width / 2, top))
    return layout


def _title(text: str, x: float, y: float) -> dict[str, object]:
    place = {"xref": "paper", "yref": "paper", "x": x, "y": y, "xanchor": "center", "yanchor": "bottom"}
    return {"text": text, "showarrow": False, "font": {"size": 13}, **place}


def _percents(*values: float) -> dict[str, object]:
    """Return these ticks; plotly gives those of a list no suffix."""
    return {"tickvals": values, "ticktext": [f"{value:g} %" for value in values]}


def _lines(curves: pd.DataFrame, axes: Mapping[str, Mapping[str, str]]) -> Iterator[dict[str, object]]:
    """Return one trace per kind and band of layers, its lines parted by a row of nothing."""
    depth = curves["layer"] / max(curves["layer"].max(), 1)
    banded = curves.assign(band=np.minimum((depth * _BANDS).astype(int), _BANDS - 1))
    # Ranks rise along a line, so that a copy of its end without a value parts it from the next.
    parted = banded.loc[np.repeat(banded.index, 1 + (banded["block"] != banded["block"].shift(-1)))]
    parted = parted.assign(lost=parted["lost"].where(~parted.index.duplicated() & (parted["lost"] >= _LEAST)))
    for kind in axes:
        of_kind = parted[parted["kind"] == kind]
        for band, colour in enumerate(depth_colours(range(_BANDS))):
            own = of_kind[of_kind["band"] == band]
            yield {
                "type": "scatter",
                "x": 100 * own["rank_fraction"].to_numpy(),
                "y": 100 * own["lost"].to_numpy(),
                "mode": "lines",
                "line": {"color": colour, "width": 1},
                "opacity": 0.55,
                "hovertext": own["block"].to_numpy(),
                "hovertemplate": "%{hovertext}<br>%{x:.1f} % of the ranks: %{y:.2f} % lost<extra></extra>",
                **axes[kind],
            }


def _ticks(cuts: pd.DataFrame, symbol: str, axes: Mapping[str, str]) -> dict[str, object]:
    return {
        "type": "scatter",
        "x": 100 * cuts["rank_fraction"].to_numpy(),
        "y": 100 * cuts["lost"].to_numpy(),
        "mode": "markers",
        "marker": {"symbol": symbol, "size": 9 if symbol == "line-ns" else 6, "line": {"width": 1.5, "color": TEXT}},
        "hovertext": cuts["block"].to_numpy(),
        "hovertemplate": "%{hovertext}: cut at %{x:.1f} % of its ranks<br>%{y:.2f} % lost<extra></extra>",
        **axes,
    }
