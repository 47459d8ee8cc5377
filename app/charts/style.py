"""Colours, symbols and the frame that all charts share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from engine.results import palette
from engine.results.words import TIMES

if TYPE_CHECKING:
    import plotly.graph_objects as go

OKABE_ITO: Final = palette.OKABE_ITO
DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross")
PATTERNS: Final = ("", "/", ".", "x")
NEUTRAL: Final = palette.NEUTRAL
SEQUENTIAL: Final = [[place / (len(palette.SEQUENTIAL) - 1), colour] for place, colour in enumerate(palette.SEQUENTIAL)]
TEXT: Final = "#000037"
"""Streamlit replaces it by its strongest grey in the light and in the dark theme; its own labels are too pale."""

_MARGIN: Final = {"l": 10, "r": 36, "t": 30, "b": 10}
"""On the right the toolbar has its place, so that it covers nothing."""

_BUTTONS_LEFT_OUT: Final = ["select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]


def line_style(index: int) -> tuple[str, str]:
    """Return the colour and dash of one of several lines; neighbours differ in both, and no two of 42 agree in both."""
    return OKABE_ITO[index % len(OKABE_ITO)], DASHES[index % len(DASHES)]


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
    figure.update_layout(
        height=height,
        margin=_MARGIN,
        font=text,
        hoverlabel={"font": text},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "itemwidth": 45, "font": text},
        modebar={"orientation": "v", "remove": _BUTTONS_LEFT_OUT},
        hovermode="closest",
        barmode="group",
    )
    figure.update_xaxes(tickfont=text, title_font=text)
    figure.update_yaxes(tickfont=text, title_font=text)
    figure.update_annotations(font=text)
    return figure


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
