"""Colours, symbols and the frame that all charts share."""

from __future__ import annotations

from typing import Final

import plotly.graph_objects as go

from engine import palette

OKABE_ITO: Final = palette.OKABE_ITO
DASHES: Final = ("solid", "dash", "dot", "dashdot")
SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross")
NEUTRAL: Final = palette.NEUTRAL


def method_style(title: str) -> tuple[str, str]:
    """Return the colour and marker of a method by its title; the same on every page."""
    place = palette.method_place(title)
    return OKABE_ITO[place], SYMBOLS[place]


def framed(figure: go.Figure, height: int = 420) -> go.Figure:
    """Give a figure its height, narrow margins and the legend above it."""
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 10, "t": 30, "b": 10},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        hovermode="closest",
        barmode="group",
    )
    return figure
