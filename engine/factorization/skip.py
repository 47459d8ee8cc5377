"""Turn low-rank factors into the skip format: an identity block of the inner factor is left out.

left @ right @ x = (left @ A1) (x1 + A1^-1 A2 x2) with right = [A1 A2] after a permutation of columns.

References:
    SkipCat, arXiv:2512.13494 (the format);
    Gu & Eisenstat 1996, "Efficient algorithms for computing a strong rank-revealing QR factorization"
    (the bound on A1^-1 A2 reached by swapping columns).
"""

from __future__ import annotations

from dataclasses import dataclass

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
    rank, width = right.shape
    packed, pivots = torch.linalg.lu_factor(right.T.double())
    if not torch.isfinite(packed).all() or (packed.diagonal() == 0).any():
        raise NumericalError(
            f"The inner factor of {name} at rank {rank} has no {rank} independent columns; choose a smaller rank."
        )
    order = list(range(width))
    for i, pivot in enumerate((pivots - 1).tolist()):
        order[i], order[pivot] = order[pivot], order[i]
    columns = torch.tensor(order, device=right.device)
    mixed = torch.linalg.solve_triangular(packed[:rank], packed[rank:], upper=False, left=False, unitriangular=True)
    _swap_until_bounded(mixed, columns)
    return SkipFactors(left @ right[:, columns[:rank]], mixed.T.to(left).contiguous(), columns)


def _swap_until_bounded(mixed: torch.Tensor, columns: torch.Tensor) -> None:
    """Swap a mixed with a kept column, largest entry first, updating both arguments in place.

    Args:
        mixed: (in - r, r), (A1^-1 A2)^T.
        columns: (in,) order of the columns.
    """
    rank = mixed.shape[1]
    if mixed.numel() == 0:
        return
    for _ in range(_MAX_SWAPS_PER_RANK * rank):
        j, i = divmod(int(mixed.abs().argmax()), rank)
        pivot = mixed[j, i].clone()
        if abs(pivot) <= LARGEST_ENTRY:
            return
        row = mixed[j].clone()
        column = mixed[:, i] / pivot
        row[i] -= 1.0
        mixed.addr_(column, row, alpha=-1.0)
        mixed[j] = -row / pivot
        mixed[j, i] = 1.0 / pivot
        columns[[i, rank + j]] = columns[[rank + j, i]]
