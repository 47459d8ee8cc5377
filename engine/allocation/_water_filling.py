"""The allocator that uses all of it: the least predicted damage at a budget, over ranks and formats."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.allocation._base import allocators
from engine.allocation._frontier import build_frontier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.types import Allocation, BlockRank, Budget, Format, GroupCurves


@allocators.register("water-filling")
def allocate_by_water_filling(
    groups: Sequence[GroupCurves],
    budget: Budget,
    *,
    formats: frozenset[Format],
    locks: Sequence[BlockRank] = (),
    rank_step: int = 1,
) -> Allocation:
    """Minimise the predicted loss increase under the budget.

    Optimal among these ranks at every budget that is a vertex of the merged hull, and within one edge's nats of
    optimal elsewhere. For many budgets of one model, build the frontier once.

    Args:
        groups: the curves of the model's input groups, in model order.
        budget: the hard ceiling in parameters; never exceeded.
        formats: factored formats a block may choose from; dense it always may.
        locks: blocks whose decision is fixed.
        rank_step: ranks are multiples of this, and of 2, 4, 8, 16 or 32 where a matrix is large (see ``aligned_step``);
            a block none of them shrinks stays dense.

    Raises:
        InfeasibleBudgetError: the locks, with all else at its cheapest, exceed the budget.
        InvalidRankMapError: a lock does not fit the groups.
        InvalidSpecError: a rank step below 1.
        NumericalError: a curve is not finite.
    """
    return build_frontier(groups, formats=formats, locks=locks, rank_step=rank_step).allocate(budget)
