"""Colours, symbols and the frame that all charts share."""

from __future__ import annotations

from typing import Final

import plotly.graph_objects as go

from engine.presets import PRESETS

OKABE_ITO: Final = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2", "#999999")
DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS: Final = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross")
PATTERNS: Final = ("", "/", ".", "x")
NEUTRAL: Final = "#808080"


def line_style(index: int) -> tuple[str, str]:
    """Return the colour and dash of one of several lines; neighbours differ in both, and no two of 42 agree in both."""
    return OKABE_ITO[index % len(OKABE_ITO)], DASHES[index % len(DASHES)]


def method_style(title: str) -> tuple[str, str]:
    """Return the colour and marker of a method by its title; the same on every page."""
    known = [preset.title for preset in PRESETS.values()]
    place = known.index(title) if title in known else len(known)
    return OKABE_ITO[place], SYMBOLS[place]


def method_dash(title: str) -> str:
    """Return the dash of a method's line by its title; with :func:`method_style` no two lines look alike."""
    known = [preset.title for preset in PRESETS.values()]
    return DASHES[(known.index(title) if title in known else len(known)) % len(DASHES)]


def framed(figure: go.Figure, height: int = 420) -> go.Figure:
    """Give a figure its height, narrow margins and the legend above it."""
    figure.update_layout(
        height=height,
        margin={"l": 10, "r": 10, "t": 30, "b": 10},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0, "itemwidth": 45},
        hovermode="closest",
        barmode="group",
    )
    return figure
