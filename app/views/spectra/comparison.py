"""Part of Spectra: another weighting or another analysis that the spectra are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import streamlit as st

from app import tables
from app.services import analyses
from app.views.spectra.choices import WEIGHTINGS
from app.wording.labels import plain
from engine.types import Metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from app.views.spectra.choices import Choices
    from engine.analysis.value import Analysis

_NOTHING: Final = ""


@dataclass(frozen=True, slots=True)
class Other:
    """What is compared with.

    Attributes:
        title: for people.
        energies: block name -> (k,) squared singular values, descending.
        table: as :func:`app.tables.spectra` returns it.
        in_heatmap: whether the heatmap shows the difference.
    """

    title: str
    energies: Mapping[str, NDArray[np.float64]]
    table: pd.DataFrame
    in_heatmap: bool


def choose_other(analysis: Analysis, choices: Choices) -> Other | None:
    """Ask for what to compare with."""
    options = {_NOTHING: "Nothing"}
    options |= {
        metric.value: f"Weighting: {name}"
        for metric, name in WEIGHTINGS.items()
        if metric in analysis.energies and metric != choices.metric
    }
    options |= {h.id: h.label for h in analyses.analysis_headings() if h.id != analysis.id}
    with st.popover("Compare"):
        chosen = st.selectbox(
            "Compare with",
            list(options),
            format_func=options.__getitem__,
            key="with",
            bind="query-params",
            help="Another weighting of these spectra, or another analysis of a model with the same projections.",
        )
        in_heatmap = st.toggle("Difference in the heatmap", True, key="difference", bind="query-params")
    if chosen == _NOTHING:
        return None
    if chosen in set(Metric):
        return _other(analysis, Metric(chosen), choices.energy, options[chosen], in_heatmap=in_heatmap)
    compared = analyses.analysis(chosen)
    if compared.projections.keys() != analysis.projections.keys():
        st.warning(f"{plain(options[chosen])} has other projections, so that the spectra cannot be compared.")
        return None
    if choices.metric not in compared.energies:
        st.warning(f"{plain(options[chosen])} has no spectra of the weighting {WEIGHTINGS[choices.metric]}.")
        return None
    return _other(compared, choices.metric, choices.energy, options[chosen], in_heatmap=in_heatmap)


def _other(analysis: Analysis, metric: Metric, energy: float, title: str, *, in_heatmap: bool) -> Other:
    summaries = analyses.spectrum_summaries(analysis.id, metric)
    table = tables.spectra(analysis, summaries, analyses.ranks_at_energy(analysis.id, metric, energy), {})
    return Other(title, analysis.energies[metric], table, in_heatmap)
