"""Part of Spectra: what the page is asked for; all of it is in the address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import streamlit as st

from app import tables
from app.widgets.colour_scale import ColourScale, colour_scale
from app.widgets.inputs import inputs
from app.widgets.pickers import fraction_slider, option_picker
from app.wording.labels import WEIGHTINGS

if TYPE_CHECKING:
    from engine.analysis.value import Analysis
    from engine.types import Metric

_WEIGHTING_HELP: Final = (
    "What the singular values are of. None: the weight itself. Inputs: weighted by what the projection reads. Outputs: "
    "of what it computes. Loss: weighted by the effect on the model's loss."
)
_SUMMARY_HELP: Final = (
    "Effective rank: exp of the entropy of the singular values. Rank at energy: the smallest rank with the chosen "
    "share of the energy, the squared singular values. Stable rank: total energy over the largest."
)


@dataclass(frozen=True, slots=True)
class Choices:
    """What the page shows.

    Attributes:
        metric: what the spectra are weighted by.
        summary: column of :func:`app.tables.spectra` in the heatmap.
        energy: share of the energy that is marked.
        relative: whether the heatmap shows fractions of full rank.
        scale: of its colours.
    """

    metric: Metric
    summary: str
    energy: float
    relative: bool
    scale: ColourScale


def choose(analysis: Analysis) -> Choices:
    """Ask for everything above the charts."""
    with inputs("spectra"):
        analysed = {metric: name for metric, name in WEIGHTINGS.items() if metric in analysis.energies}
        metric = option_picker(
            "Weighting",
            analysed,
            key="weighting",
            default=analysis.default_metric,
            help_text=_WEIGHTING_HELP,
            in_url=True,
        )
        summary = option_picker("Heatmap", tables.SUMMARIES, key="summary", help_text=_SUMMARY_HELP, in_url=True)
        energy = fraction_slider(
            "Energy",
            (0.5, 0.999),
            0.99,
            0.001,
            key="energy",
            width=180,
            help_text="The rank that holds this share of a block's energy is marked on its line.",
        )
        scale = colour_scale()
        relative = st.toggle("Over full rank", True, key="relative", bind="query-params")
    return Choices(metric, summary, energy, relative, scale)
