"""Colours that stay apart for the colour-blind, the same in the dashboard and in reports; free of torch.

References:
    Okabe & Ito 2008, "Color Universal Design".
"""

from __future__ import annotations

from typing import Final

from engine.methods.presets import PRESETS

OKABE_ITO: Final = ("#E69F00", "#56B4E9", "#009E73", "#D55E00", "#CC79A7", "#0072B2", "#999999")
NEUTRAL: Final = "#808080"


def method_place(title: str) -> int:
    """Return the place of a method by its title among colours and markers; one that is no preset comes last."""
    known = [preset.title for preset in PRESETS.values()]
    return known.index(title) if title in known else len(known)
