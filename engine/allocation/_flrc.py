"""FLRC's allocation: ranks proportional to the importance one backward pass measured.

References:
    FLRC, arXiv:2510.09332, implemented from the published description; the exponent, the floor, the
    rounding and the treatment of importances of 0 are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from engine.allocation._base import allocators, conclude, only_format, require_feasible, require_positive
from engine.allocation._units import blocks_in_one_format
from engine.errors import InvalidSpecError, NumericalError
from engine.types import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from engine.allocation._blocks import Block
    from engine.types import Allocation, BlockRank, Budget, GroupCurves

    Floats = NDArray[np.float64]

OFFERED: Final = (Format.LOW_RANK, Format.CAT, Format.SKIP, Format.SKIP_CAT)
"""Formats the method can work with; the importance of a projection says nothing about an MLP's neurons."""

LEAST_WEIGHT = 1e-12
"""Weights below this fraction of the largest count as it, so a block of importance 0 gets what the others
cannot use, and if all are 0 every block has the same rank."""


@allocators.register("flrc")
def allocate_by_importance(
    groups: Sequence[GroupCurves],
    budget: Budget,
    *,
    formats: frozenset[Format],
    locks: Sequence[BlockRank] = (),
    gamma: float = 1.0,
    min_rank: int = 1,
    rank_step: int = 1,
) -> Allocation:
    """Give every free block a rank proportional to its importance to the power ``gamma``.

    A block whose proportional rank would cost as much as dense becomes dense, one below ``min_rank``
    takes ``min_rank``, and the others share what that frees or takes. Ranks are then rounded down to
    multiples of ``rank_step``, and what is left is handed out one step per block, largest fractional
    part first (ties: model order), skipping steps that no longer fit.

    Args:
        groups: the curves of the model's input groups; shapes and importances matter.
        budget: the hard ceiling in parameters; never exceeded.
        formats: exactly one factored format; not width.
        locks: blocks whose decision is fixed.
        gamma: exponent of the importances, at least 0 (0: the same rank everywhere).
        min_rank: no free factored block has a lower rank.
        rank_step: ranks are multiples of this; a block no multiple of it shrinks stays dense.

    Raises:
        InfeasibleBudgetError: the locks, with all else at its lowest rank, exceed the budget.
        InvalidRankMapError: a lock does not fit the groups.
        InvalidSpecError: not exactly one factored format, or a setting out of range.
        NumericalError: an importance is negative or not finite; the message names the block.
    """
    require_positive("rank_step", rank_step)
    require_positive("min_rank", min_rank)
    if not 0 <= gamma < np.inf:
        raise InvalidSpecError(f"The setting gamma was given as {gamma}; expected a finite number of at least 0.")
    storage = only_format(formats, "flrc", OFFERED)
    blocks = blocks_in_one_format(groups, storage, locks, rank_step=rank_step, min_rank=min_rank)
    ranks = [block.cheapest for block in blocks]
    floor_params = [block.params(block.cheapest) for block in blocks]
    require_feasible(sum(floor_params), budget, len(locks))

    free = [index for index, block in enumerate(blocks) if not block.is_settled]
    if free:
        settled = sum(params for block, params in zip(blocks, floor_params, strict=True) if block.is_settled)
        shares = _Shares.of([blocks[i] for i in free], gamma)
        for i, rank in zip(free, shares.divide(budget.params - settled), strict=True):
            ranks[i] = rank
    return conclude(groups, zip(blocks, ranks, strict=True))


def importance_weights(blocks: Sequence[Block], gamma: float) -> Floats:
    """Return (n_blocks,) importances to the power ``gamma``, the largest 1, none below ``LEAST_WEIGHT``."""
    for block in blocks:
        if not 0 <= block.curve.importance < np.inf:
            raise NumericalError(
                f"The importance of {block.curve.name} is {block.curve.importance}; expected a finite number "
                "of at least 0, so analyse the model again."
            )
    importances = np.array([block.curve.importance for block in blocks], dtype=np.float64)
    largest = importances.max()
    if largest == 0:
        return np.ones_like(importances)
    weights: Floats = np.maximum((importances / largest) ** gamma, LEAST_WEIGHT)
    return weights


@dataclass(frozen=True, slots=True, eq=False)
class _Shares:
    """The free blocks as arrays of shape (n_blocks,)."""

    blocks: list[Block]
    weights: Floats
    floors: Floats
    reach: Floats  # largest rank the curve has
    smaller_side: Floats
    sides: Floats  # in + D
    saved: Floats  # 1 where skip saves r^2, else 0
    matrices: Floats  # that have the rank in common
    dense: Floats

    @classmethod
    def of(cls, blocks: list[Block], gamma: float) -> _Shares:
        curves = [block.curve for block in blocks]

        def column(values: Sequence[float]) -> Floats:
            return np.array(values, dtype=np.float64)

        return cls(
            blocks=blocks,
            weights=importance_weights(blocks, gamma),
            floors=column([block.ranks[0] for block in blocks]),
            reach=column([curve.max_rank for curve in curves]),
            smaller_side=column([min(curve.in_features, curve.out_features) for curve in curves]),
            sides=column([curve.in_features + curve.out_features for curve in curves]),
            saved=column([float(block.storage.skips) for block in blocks]),
            matrices=column([curve.matrices for curve in curves]),
            dense=column([curve.dense_params for curve in curves]),
        )

    def divide(self, params: int) -> list[int | None]:
        """Return the blocks' ranks (``None``: dense) whose cost is at most ``params``."""
        proportional = self.weights * self._constant(params)
        wanted = np.maximum(proportional, self.floors)
        dense = self._is_dense(wanted)
        ranks = [
            None if is_dense else block.rank_at_most(int(rank))
            for block, rank, is_dense in zip(self.blocks, wanted, dense, strict=True)
        ]
        left = params - sum(block.params(rank) for block, rank in zip(self.blocks, ranks, strict=True))
        fractions = [p - r for p, r in zip(proportional, ranks, strict=True) if r is not None]
        rounded = [i for i, rank in enumerate(ranks) if rank is not None]
        for i in (rounded[k] for k in np.argsort(-np.array(fractions), kind="stable")):
            block, rank = self.blocks[i], ranks[i]
            assert rank is not None
            above = rank + block.ranks.step
            following = above if above <= block.ranks[-1] else None
            extra = block.params(following) - block.params(rank)
            if extra <= left:
                ranks[i] = following
                left -= extra
        return ranks

    def _constant(self, params: int) -> float:
        """Return the largest rank per unit of weight at which real-valued ranks cost at most ``params``.

        Bisection down to neighbouring floating-point numbers, with a running sum: the same steps in
        any language that has IEEE doubles give the same constant.
        """
        low, high = 0.0, 2.0 * float((self.smaller_side / self.weights).max())
        if self._cost(high) <= params:
            return high
        while low < (middle := low + (high - low) / 2) < high:
            if self._cost(middle) <= params:
                low = middle
            else:
                high = middle
        return low

    def _cost(self, constant: float) -> float:
        ranks = np.maximum(self.weights * constant, self.floors)
        kept = self._factored(np.minimum(ranks, self.reach))
        return float(np.cumsum(np.where(self._is_dense(ranks), self.dense, kept))[-1])

    def _is_dense(self, ranks: Floats) -> NDArray[np.bool_]:
        result: NDArray[np.bool_] = self._factored(np.minimum(ranks, self.smaller_side)) >= self.dense
        return result

    def _factored(self, ranks: Floats) -> Floats:
        result: Floats = self.matrices * (ranks * (self.sides - self.saved * ranks))
        return result
