"""Turn factors into the skip format: an identity block of the inner factor is left out.

left @ right @ x = (left @ A1) (x1 + A1^-1 A2 x2) with right = [A1 A2] after a permutation of columns.

References:
    SkipCat, arXiv:2512.13494 (the format);
    Gu & Eisenstat 1996, "Efficient algorithms for computing a strong rank-revealing QR factorization"
    (the bound on A1^-1 A2 reached by swapping columns).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from engine.errors import NumericalError
from engine.model.module import device_for_float64
from engine.types import block_name

if TYPE_CHECKING:
    from engine.factorization.blocks import Factors

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

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Map one input (in,) to its output (D,)."""
        rank = len(self.mix)
        ordered = x[self.columns]
        return self.left @ (ordered[:rank] + self.mix @ ordered[rank:])


def to_skip(
    left: torch.Tensor, right: torch.Tensor, name: str = "block", dtype: torch.dtype = torch.float64
) -> SkipFactors:
    """Convert left (D, r) @ right (r, in) exactly, solving in ``dtype``.

    Columns are chosen by LU with column pivoting, then swapped until ``mix`` is bounded.

    Raises:
        NumericalError: ``right`` has not full row rank.
    """
    mixed, columns = _mix_of_row_space(_in(dtype, right), name)
    return SkipFactors(left @ right[:, columns[: len(right)]], mixed.T.to(left).contiguous(), columns)


def skip_at_rank(factors: Factors, rank: int, weight: torch.Tensor, dtype: torch.dtype = torch.float64) -> SkipFactors:
    """Return the truncation of ``weight`` (D, in) in skip format, by the shortest way there.

    The left factor is the truncated weight at the kept columns. Where few of all directions are discarded, that is the
    weight less what they carry, and the rows of [I mix] are found without the inner factor. On the input side
    they follow from the discarded directions N, whose null space they span: [I mix] N = 0, hence mix = -N1 N2^-1. On
    the output side any ``rank`` rows of the truncated weight span them; those are left out which N determines best.

    Args:
        factors: of the block.
        rank: wanted.
        weight: float32.
        dtype: in which mix is solved for; float64, or float32 where it is stored in 16 bits.

    Raises:
        NumericalError: the factors have not ``rank`` independent columns.
    """
    name = block_name(factors.members)
    n_all, width = factors.dual.shape
    is_whole, n_discarded = n_all == width, n_all - rank
    basis, dual = factors.basis[:, rank:], factors.dual[rank:]
    if factors.on_output_side:
        if not is_whole or 4 * n_discarded > n_all:
            left, right = factors.at_rank(rank, weight)
            return to_skip(left, right, name, dtype)
        inner = _in(dtype, dual)
        rows = _eliminate(inner.T, name)[1][n_discarded:]
        carried = _in(dtype, basis[rows]) @ (inner @ _in(dtype, weight))
        mixed, columns = _mix_of_row_space(_in(dtype, weight[rows]) - carried, name)
        kept = weight[:, columns[:rank]]
        left = torch.addmm(kept, basis, dual @ kept, alpha=-1)
    elif is_whole and 2 * rank > n_all:
        mixed, columns = _mix_of_null_space(_in(dtype, basis), name)
        kept = columns[:rank]
        left = torch.addmm(weight[:, kept], weight @ basis, dual[:, kept], alpha=-1)
    else:
        right = factors.dual[:rank]
        mixed, columns = _mix_of_row_space(_in(dtype, right), name)
        left = weight @ (factors.basis[:, :rank] @ right[:, columns[:rank]])
    return SkipFactors(left, mixed.T.to(left).contiguous(), columns)


def _mix_of_row_space(right: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mix^T (in - r, r) and the columns (in,), from rows right (r, in)."""
    mixed, columns = _eliminate(right.T, name)
    _swap_until_bounded(mixed, columns)
    return mixed, columns


def _mix_of_null_space(discarded: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mix^T (in - r, r) and the columns (in,), from directions (in, in - r) it must annihilate."""
    n_mixed = discarded.shape[1]
    if n_mixed == 0:
        width = len(discarded)
        return discarded.new_empty(0, width), torch.arange(width, device=discarded.device)
    eliminated, rows = _eliminate(discarded, name)
    mixed, columns = eliminated.T.neg_(), rows.roll(-n_mixed)
    _swap_until_bounded(mixed, columns)
    return mixed, columns


def _eliminate(tall: torch.Tensor, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return T2 T1^-1 (n - k, k) and the order (n,) of the rows of [T1; T2] = ``tall`` (n, k).

    T1 holds the rows that LU with partial pivoting takes.
    """
    length, n_columns = tall.shape
    packed, pivots, singular = torch.linalg.lu_factor_ex(tall)
    solved = torch.linalg.solve_triangular(
        packed[:n_columns], packed[n_columns:], upper=False, left=False, unitriangular=True
    )
    if singular or not torch.isfinite(packed.diagonal().sum() + solved.sum()):
        raise NumericalError(f"The inner factor of {name} has no {n_columns} independent columns; choose another rank.")
    order = list(range(length))
    for i, pivot in enumerate((pivots - 1).tolist()):
        order[i], order[pivot] = order[pivot], order[i]
    return solved, torch.tensor(order, device=tall.device)


def _in(dtype: torch.dtype, matrix: torch.Tensor) -> torch.Tensor:
    """Return a matrix in a type, on a device that has it."""
    device = device_for_float64(matrix.device) if dtype is torch.float64 else matrix.device
    return matrix.to(device, dtype)


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
        smallest, largest = mixed.aminmax()
        if max(-smallest, largest) <= LARGEST_ENTRY:
            return
        j, i = divmod(int(mixed.abs().argmax()), rank)
        pivot = mixed[j, i].clone()
        row = mixed[j].clone()
        column = mixed[:, i] / pivot
        row[i] -= 1.0
        mixed.addr_(column, row, alpha=-1.0)
        mixed[j] = -row / pivot
        mixed[j, i] = 1.0 / pivot
        columns[[i, rank + j]] = columns[[rank + j, i]]
