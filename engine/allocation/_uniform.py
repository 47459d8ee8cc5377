"""The published baseline: the same kept fraction everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.allocation._base import allocators, conclude, only_format, require_feasible, require_positive
from engine.allocation._units import blocks_in_one_format
from engine.formats import largest_rank
from engine.types import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.allocation._blocks import Block
    from engine.types import Allocation, BlockRank, Budget, GroupCurves

OFFERED: Final = tuple(storage for storage in Format if storage is not Format.DENSE)
"""Formats the method can work with."""


@allocators.register("uniform")
def allocate_uniformly(
    groups: Sequence[GroupCurves],
    budget: Budget,
    *,
    formats: frozenset[Format],
    locks: Sequence[BlockRank] = (),
    rank_step: int = 1,
) -> Allocation:
    """Give every free block the same kept fraction: the one the locks leave.

    A block whose lowest rank already costs more than its share takes that rank, and the others share
    what remains. As published, what rounding down leaves over is not spent. In width the blocks are the
    MLPs, and everything else stays dense.

    Args:
        groups: the curves of the model's input groups; only their shapes matter.
        budget: the hard ceiling in parameters; never exceeded.
        formats: exactly one format besides dense.
        locks: blocks whose decision is fixed.
        rank_step: ranks are multiples of this, and widths of 2, 4, 8, 16 or 32 where they are large (see
            ``aligned_step``); a block no multiple of it shrinks stays dense.

    Raises:
        InfeasibleBudgetError: the locks, with all else at its lowest rank, exceed the budget.
        InvalidRankMapError: a lock does not fit the groups.
        InvalidSpecError: not exactly one format, one that no block has a curve for, or a rank step below 1.

    References:
        SVD-LLM, arXiv:2403.07378, and SkipCat, arXiv:2512.13494: one compression ratio for all.
    """
    require_positive("rank_step", rank_step)
    storage = only_format(formats, "uniform", OFFERED)
    blocks = blocks_in_one_format(groups, storage, locks, rank_step=rank_step)
    floors = {index: block.params(block.cheapest) for index, block in enumerate(blocks)}
    require_feasible(sum(floors.values()), budget, len(locks))

    ranks = [block.cheapest for block in blocks]
    sharing = [index for index, block in enumerate(blocks) if not block.is_settled]
    remaining = budget.params - sum(floors[i] for i, block in enumerate(blocks) if block.is_settled)
    while sharing:
        dense = sum(blocks[i].curve.dense_params for i in sharing)
        if remaining >= dense:
            for i in sharing:
                ranks[i] = None
            break
        # Shares are compared and taken in integers: a fraction in floating point may overshoot.
        short = [i for i in sharing if floors[i] * dense > remaining * blocks[i].curve.dense_params]
        if not short:
            for i in sharing:
                ranks[i] = _rank_within(blocks[i], remaining * blocks[i].curve.dense_params // dense)
            break
        remaining -= sum(floors[i] for i in short)
        sharing = [i for i in sharing if i not in set(short)]
    return conclude(groups, zip(blocks, ranks, strict=True))


def _rank_within(block: Block, params: int) -> int:
    curve = block.curve
    of_each = params // curve.matrices
    return block.rank_at_most(largest_rank(block.storage, of_each, curve.in_features, curve.out_features))
