"""Sums of outer products, of which only the upper half is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_BLOCK = 256
"""Columns of a moment that are computed together; moments are symmetric, so what lies left of them is known."""


def rows_of(values: torch.Tensor) -> torch.Tensor:
    """Return (..., width) as (n_tokens, width) in float32."""
    return values.detach().flatten(0, -2).float()


def add_outer(total: torch.Tensor, rows: torch.Tensor) -> None:
    """Add the upper half of rows^T rows, block by block; rows is (n_tokens, width)."""
    for start in range(0, rows.shape[1], _BLOCK):
        block = slice(start, start + _BLOCK)
        total[block, start:].addmm_(rows[:, block].T, rows[:, start:])


def mirrored(total: torch.Tensor) -> torch.Tensor:
    """Fill the lower half of a symmetric matrix from its upper one, in place."""
    for start in range(0, len(total), _BLOCK):
        block, after = slice(start, start + _BLOCK), start + _BLOCK
        total[after:, block] = total[block, after:].T
    return total
