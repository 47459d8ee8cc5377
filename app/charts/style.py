"""Colours, symbols and the frame that all charts share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from engine.results import palette
from engine.results.words import TIMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import plotly.graph_objects as go

OKABE_ITO: Final = palette.OKABE_ITO
DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross")
PATTERNS: Final = ("", "/", ".", "x")
NEUTRAL: Final = palette.NEUTRAL
SEQUENTIAL: Final = palette.SEQUENTIAL
DIVERGING: Final = palette.DIVERGING
HIGHLIGHT: Final = palette.HIGHLIGHT
TEXT: Final = "#000037"
"""Streamlit replaces it by its strongest grey in the light and in the dark theme; its own labels are too pale."""

PER_HUNDRED: Final = {"ticksuffix": " %"}
"""Of an axis whose numbers are percentages: plotly's own format of fractions is not that of the texts."""

_MARGIN: Final = {"l": 10, "r": 36, "t": 30, "b": 10}
"""On the right the toolbar has its place, so that it covers nothing."""

_BUTTONS_LEFT_OUT: Final = ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]


def line_style(index: int) -> tuple[str, str]:
    """Return the colour and dash of one of several lines; neighbours differ in both, and no two of 42 agree in both."""
    return OKABE_ITO[index % len(OKABE_ITO)], DASHES[index % len(DASHES)]


def depth_colours(layers: Sequence[float]) -> list[str]:
    """Return a colour per layer, from that of the first to that of the last."""
    first, last = min(layers), max(layers)
    stops = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in palette.DEPTH])
    places = (np.array(layers, dtype=float) - first) / max(last - first, 1) * (len(stops) - 1)
    mixed = np.stack([np.interp(places, range(len(stops)), channel) for channel in stops.T], axis=1)
    return ["#" + "".join(f"{round(part):02X}" for part in colour) for colour in mixed]


def method_style(title: str) -> tuple[str, str]:
    """Return the colour and marker of a method by its title; the same on every page."""
    place = palette.method_place(title)
    return OKABE_ITO[place], SYMBOLS[place]


def method_dash(title: str) -> str:
    """Return the dash of a method's line by its title; with :func:`method_style` no two lines look alike."""
    return DASHES[palette.method_place(title) % len(DASHES)]


def framed(figure: go.Figure, height: int = 420) -> go.Figure:
    """Give a figure its height, readable texts, narrow margins, the legend above it and the toolbar beside it."""
    text = {"color": TEXT}
    axes = {"xaxis", "yaxis", *(name for name in figure.layout if name.startswith(("xaxis", "yaxis")))}
    figure.update_layout(
        {axis: {"tickfont": text, "title": {"font": text}} for axis in axes},
        height=height,
        margin=_MARGIN,
        font=text,
        hoverlabel={"font": text},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "itemwidth": 45, "font": text},
        modebar={"orientation": "v", "remove": _BUTTONS_LEFT_OUT},
        hovermode="closest",
        barmode="group",
    )
    figure.update_annotations(font=text)
    return figure


def rank_ticks(highest: int, *, relative: bool) -> dict[str, object]:
    """Return ticks of a logarithmic axis of ranks, each with its whole number.

    Args:
        highest: rank there is.
        relative: whether the axis shows shares of the full rank.
    """
    places = [digit * 10**power for power in range(7) for digit in (1, 2, 5)]
    within = [place for place in places if place <= highest]
    if relative:
        shares = [100 / place for place in within]
        return {"tickvals": shares, "ticktext": [f"{share:.2g} %" for share in shares]}
    return {"tickvals": within, "ticktext": [f"{rank:,}" for rank in within]}


def chart_config(name: str) -> dict[str, object]:
    """Return plotly's settings of a chart whose toolbar saves it as a drawing of that name."""
    return {"displaylogo": False, "toImageButtonOptions": {"format": "svg", "filename": name}}


def ratio_axis(figure: go.Figure) -> dict[str, object]:
    """Return log-axis settings whose range holds every point and shows at least a tenth."""
    drawn = [np.asarray(trace.y, dtype=float) for trace in figure.data if trace.fill is None]
    ratios = np.concatenate([*drawn, np.ones(1)])
    ratios = ratios[np.isfinite(ratios) & (ratios > 0)]
    high = max(float(ratios.max()), 1.1)
    low = float(ratios.min()) / high**0.05
    # 1 is always a tick, and none comes closer to the one below than a ninth of the axis.
    room = (np.log10(high) - np.log10(low)) / 9
    shown = [1.0]
    for tick in (1.02, 1.05, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100, 1e3, 1e4, 1e5, 1e6):
        if tick <= high * 1.1 and np.log10(tick / shown[-1]) >= room:
            shown.append(tick)
    return {
        "type": "log",
        "range": [np.log10(low), np.log10(high) * 1.05],
        "tickvals": shown,
        "ticktext": [f"{t:g} {TIMES}" for t in shown],
    }
