"""Colours that stay apart for the colour-blind, the same in the dashboard and in reports; free of torch.

References:
    Okabe & Ito 2008, "Color Universal Design".
"""

from __future__ import annotations

from typing import Final

from engine.methods.presets import PRESETS
from engine.results.words import method_title

OKABE_ITO: Final = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2", "#999999")
"""Of methods, and of lines that have no order."""

NEUTRAL: Final = "#808080"
SEQUENTIAL: Final = (
    "#440154",
    "#482878",
    "#3E4A89",
    "#31688E",
    "#26828E",
    "#1F9E89",
    "#35B779",
    "#6DCD59",
    "#B4DE2C",
    "#FDE725",
)
"""Of values, the smallest first: Viridis, whose lightness rises evenly for the colour-blind too."""

DIVERGING: Final = ("#2166AC", "#67A9CF", "#D1E5F0", "#F7F7F7", "#FDDBC7", "#EF8A62", "#B2182B")
"""Of differences, the middle for none: ColorBrewer's blue and red, which the colour-blind tell apart."""

DEPTH: Final = ("#3B6FD4", "#8A5FD0", "#C9508F", "#D9603B", "#B98900")
"""Of lines over depth, the first layer first; at least 3 : 1 on a white and on a dark page."""

HIGHLIGHT: Final = "#E8384F"
"""Around chosen cells: no colour of the values comes near it."""


def shown_place(method: str) -> tuple[int, str]:
    """Return what methods are sorted by wherever several are listed: the presets' order, then by name."""
    return method_place(method_title(method)), method


def method_place(title: str) -> int:
    """Return the place of a method by its title among colours and markers; one that is no preset comes last."""
    known = [preset.title for preset in PRESETS.values()]
    return known.index(title) if title in known else len(known)
