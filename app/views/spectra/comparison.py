"""Part of Spectra: the spectra that these are compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app import tables
from app.services import analyses
from app.views.shared.compared import choose_compared

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from app.views.spectra.choices import Choices
    from engine.analysis.value import Analysis


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
    compared = choose_compared(analysis, choices.metric, lambda one: one.energies)
    if compared is None:
        return None
    shown, metric = compared.analysis, compared.metric
    at_energy = analyses.ranks_at_energy(shown.id, metric, choices.energy)
    table = tables.spectra(shown, analyses.spectrum_summaries(shown.id, metric), at_energy, {})
    return Other(compared.title, shown.energies[metric], table, compared.in_heatmap)
