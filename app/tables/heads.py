"""Attention heads of one kind of projection."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import pandas as pd

from engine.analysis.curves import summarise_spectrum

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.analysis.heads import HeadLayout, HeadSpectra
    from engine.types import Projection

HEAD_VALUES: Final[Mapping[str, str]] = {
    "rank_fraction": "Effective rank over its size",
    "share": "Share of the energy",
    "lost": "Lost at the map's cut",
}
"""Columns of :func:`heads` that a heatmap can show."""

_COLUMNS: Final = ("name", "layer", "kind", "block", "reads", "effective_rank", "rank_fraction", "share", "cut", "lost")


def heads(
    projections: Mapping[str, Projection],
    spectra: Mapping[str, HeadSpectra],
    layout: HeadLayout,
    cuts: Mapping[str, int],
) -> pd.DataFrame:
    """Return one row per head.

    Args:
        projections: by name.
        spectra: of the projections to show, by name.
        layout: of the model's attention.
        cuts: rank of every projection that the current map cuts by itself.
    """
    rows = []
    for name, found in spectra.items():
        projection, cut = projections[name], cuts.get(name)
        lost = [math.nan] * len(found.energies) if cut is None else found.lost(cut).tolist()
        for head, (energies, share) in enumerate(zip(found.energies, found.shares.tolist(), strict=True)):
            effective = summarise_spectrum(energies).effective_rank
            label = f"{projection.kind}{head}"
            reads = f"k{layout.keys_of(head)}" if projection.kind == "q" else ""
            facts = (f"{name}/{head}", projection.layer, label, f"L{projection.layer} {label}", reads, effective)
            rows.append((*facts, effective / len(energies), share, math.nan if cut is None else cut, lost[head]))
    return pd.DataFrame(rows, columns=list(_COLUMNS))
