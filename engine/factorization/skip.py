"""Turn low-rank factors into the skip format: an identity block of the inner factor is left out.

left @ right @ x = (left @ A1) (x1 + A1^-1 A2 x2) with right = [A1 A2] after a permutation of columns.

References:
    SkipCat, arXiv:2512.13494 (the format);
    Gu & Eisenstat 1996, "Efficient algorithms for computing a strong rank-revealing QR factorization"
    (the bound on A1^-1 A2 reached by swapping columns).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch

from engine.errors import NumericalError

LARGEST_ENTRY = 2.0
"""Swaps stop when no entry of A1^-1 A2 is larger than this (f in Gu & Eisenstat)."""
_MAX_SWAPS_PER_RANK = 4


@dataclass(frozen=True, slots=True)
class SkipFactors:
    """A rank-r block in skip format.

    Attributes:
        left: (D, r), left @ A1.
        mix: (r, in - r), A1^-1 A2.
        columns: (in,) order of the input columns: the r kept as they are, then the mixed ones.
    """

    left: torch.Tensor
    mix: torch.Tensor
    columns: torch.Tensor


def to_skip(left: torch.Tensor, right: torch.Tensor, name: str = "block") -> SkipFactors:
    """Convert left (D, r) @ right (r, in) exactly, solving in float64.

    Columns are chosen by LU with column pivoting, then swapped until ``mix`` is bounded.

    Raises:
        NumericalError: ``right`` has not full row rank.
    """
    matrix = right.detach().double().cpu().numpy()
    rank = len(matrix)
    columns, mix = _bounded_mix(matrix, name)
    kept = torch.from_numpy(np.ascontiguousarray(matrix[:, columns[:rank]]))
    return SkipFactors(
        (left.double().cpu() @ kept).to(left),
        torch.from_numpy(np.ascontiguousarray(mix)).to(left),
        torch.from_numpy(columns),
    )


def _bounded_mix(matrix: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return a column order (in,) int64 and A1^-1 A2 (r, in - r) with bounded entries."""
    rank, width = matrix.shape
    packed, pivots = scipy.linalg.lu_factor(matrix.T, check_finite=False)
    columns = np.arange(width, dtype=np.int64)
    for i, pivot in enumerate(pivots):
        columns[[i, pivot]] = columns[[pivot, i]]
    diagonal = np.abs(packed.diagonal())
    if not np.isfinite(packed).all() or diagonal.min(initial=np.inf) <= 1e-300:
        raise NumericalError(
            f"The inner factor of {name} at rank {rank} has no {rank} independent columns; choose a smaller rank."
        )
    lower = packed[:rank]
    mix = scipy.linalg.solve_triangular(
        lower, packed[rank:].T, trans="T", lower=True, unit_diagonal=True, check_finite=False
    )
    _swap_until_bounded(mix, columns)
    return columns, mix


def _swap_until_bounded(mix: np.ndarray, columns: np.ndarray) -> None:
    """Swap a kept with a mixed column, largest entry first, updating ``mix`` and ``columns`` in place."""
    rank = len(mix)
    if mix.size == 0:
        return
    for _ in range(_MAX_SWAPS_PER_RANK * rank):
        i, j = np.unravel_index(np.abs(mix).argmax(), mix.shape)
        pivot = mix[i, j]
        if abs(pivot) <= LARGEST_ENTRY:
            return
        column = mix[:, j].copy()
        row = mix[i] / pivot
        column[i] -= 1.0
        mix -= np.outer(column, row)
        mix[:, j] = -column / pivot
        mix[i, j] = 1.0 / pivot
        columns[i], columns[rank + j] = columns[rank + j], columns[i]
