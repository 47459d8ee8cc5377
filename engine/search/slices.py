"""Factors whose products with the weight are computed once, so that every further rank is a slice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from engine.model.module import weight_matrix
from engine.model.stacks import part_named

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from engine.factorization.blocks import Factors

DEFAULT_MEMORY_BYTES = 4 * 10**9


class SlicedFactors:
    """Full-width left and right factors of one block.

    Args:
        left: (D, k).
        right: (k, in).
        offset: (in,) mean input around which the metric is centred, or ``None``.
    """

    def __init__(self, left: torch.Tensor, right: torch.Tensor, offset: torch.Tensor | None) -> None:
        self._left = left
        self._right = right
        self.offset = offset

    def at_rank(self, rank: int, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ARG002
        """Return left (D, rank) and right (rank, in); the products with the weight are known already."""
        return self._left[..., :rank], self._right[..., :rank, :]

    @property
    def n_bytes(self) -> int:
        """Memory taken."""
        return (self._left.numel() + self._right.numel()) * self._left.element_size()


class SlicingReader:
    """Member names -> factors, keeping full-width products while they fit in memory.

    Args:
        module: the dense model.
        factors_of: member names -> the stored factors of that block.
        memory_bytes: blocks beyond this are read and multiplied anew every time.
    """

    def __init__(
        self,
        module: nn.Module,
        factors_of: Callable[[tuple[str, ...]], Factors],
        memory_bytes: int = DEFAULT_MEMORY_BYTES,
    ) -> None:
        self._module = module
        self._factors_of = factors_of
        self._known: dict[tuple[str, ...], SlicedFactors] = {}
        self._free = memory_bytes

    @torch.no_grad()
    def __call__(self, members: tuple[str, ...]) -> Factors | SlicedFactors:
        """Return the factors of a block."""
        if members in self._known:
            return self._known[members]
        factors = self._factors_of(members)
        weight = torch.cat([weight_matrix(part_named(self._module, name)).float() for name in members])
        sliced = SlicedFactors(*factors.at_rank(len(factors.energies), weight), factors.offset)
        if sliced.n_bytes > self._free:
            return factors
        self._free -= sliced.n_bytes
        self._known[members] = sliced
        return sliced
