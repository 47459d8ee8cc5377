"""The numbers behind the drawn spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

QUANTITIES: Final[Mapping[str, str]] = {
    "sigma": "Singular values",
    "kept": "Energy kept",
    "lost": "Energy lost",
}
"""What :func:`spectrum_lines` can give at every rank, for people."""

_POINTS = 200
"""On each of the two scales; more would look the same and only slow the browser."""

_COARSE = 48
"""Ranks of a line among hundreds."""

_CURVE = ("block", "layer", "kind", "rank_fraction", "lost")


def spectrum_lines(energies: Mapping[str, NDArray[np.float64]], quantity: str) -> pd.DataFrame:
    """Return one row per rank and one column per block, empty above a block's full rank.

    Args:
        energies: block -> (k,) squared singular values, descending.
        quantity: ``sigma``, over the largest; ``kept`` or ``lost``, the share of the energy at that rank.
    """
    columns = {block: pd.Series(*_line(values, quantity)) for block, values in energies.items()}
    table = pd.DataFrame(columns)
    table.index.name = "rank"
    return table


def _line(values: NDArray[np.float64], quantity: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    n = len(values)
    places = np.concatenate([np.geomspace(1, n, _POINTS), np.linspace(1, n, _POINTS)])
    ranks = np.unique(np.round(places).astype(np.int64))
    total = float(values.sum())
    if total <= 0:
        return np.zeros(len(ranks)), ranks
    match quantity:
        case "sigma":
            every = np.sqrt(values / values[0])
        case "kept":
            every = np.cumsum(values) / total
        case _:
            every = np.append(np.cumsum(values[:0:-1])[::-1], 0.0) / total
    return every[ranks - 1], ranks


def energy_lost(blocks: pd.DataFrame, energies: Mapping[str, NDArray[np.float64]]) -> pd.DataFrame:
    """Return what blocks lose at ranks over their full rank.

    Args:
        blocks: as :func:`app.tables.spectra` returns them.
        energies: block name -> (k,) squared singular values, descending.
    """
    curves: dict[str, list[object]] = {name: [] for name in _CURVE}
    for row in blocks.to_dict("records"):
        lost = _lost(energies[row["name"]])
        ranks = np.unique(np.linspace(0, len(lost) - 1, _COARSE).round().astype(np.int64))
        for name in ("block", "layer", "kind"):
            curves[name] += [row[name]] * len(ranks)
        curves["rank_fraction"] += list(ranks / ranks[-1])
        curves["lost"] += list(lost[ranks])
    return pd.DataFrame(curves)


def cuts(blocks: pd.DataFrame, energies: Mapping[str, NDArray[np.float64]], column: str = "cut") -> pd.DataFrame:
    """Return what every block that a map cuts loses there, with its row.

    Args:
        blocks: as :func:`app.tables.spectra` returns them.
        energies: block name -> (k,) squared singular values, descending.
        column: of the ranks; missing where the map leaves a block dense.
    """
    found: list[dict[str, object]] = []
    for row in blocks.to_dict("records"):
        if row[column] >= 1:
            lost, cut = _lost(energies[row["name"]]), int(row[column])
            facts = {str(name): value for name, value in row.items()}
            found.append({**facts, "cut": cut, "rank_fraction": cut / (len(lost) - 1), "lost": lost[cut]})
    return pd.DataFrame(found, columns=[*_CURVE, "cut", "full_rank"])


def _lost(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the share of the energy that is lost at every rank from 0 to the full one."""
    lost: NDArray[np.float64] = 1 - np.append(0.0, np.cumsum(values)) / max(
        float(values.sum()), np.finfo(np.float64).tiny
    )
    return lost
