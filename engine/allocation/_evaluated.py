"""The allocator of methods that search by measuring: it chooses among what was measured and invents nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import InfeasibleBudgetError, InvalidRankMapError
from engine.types import Allocation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.types import BlockRank, Budget, GroupCurves


@dataclass(frozen=True, slots=True)
class EvaluatedMap:
    """A rank map that a search has measured.

    Attributes:
        blocks: the decisions, of unshared formats.
        params: of all compressible projections under them.
        objective: what the search minimises; comparable within one ``measure`` only.
        measure: names the text and the settings it was measured with.
        created: when, as ISO 8601 in UTC.
    """

    blocks: tuple[BlockRank, ...]
    params: int
    objective: float
    measure: str
    created: str


def best_evaluated(
    evaluated: Sequence[EvaluatedMap], groups: Sequence[GroupCurves], budget: Budget, locks: Sequence[BlockRank] = ()
) -> Allocation:
    """Return the best measured map at or under the budget, never anything between two of them.

    Of maps measured in different ways only those count that share the newest way that has any under the budget.

    Args:
        evaluated: of one analysis.
        groups: its curves, for the predicted increase.
        budget: the hard ceiling in parameters.
        locks: must be empty.

    Raises:
        InfeasibleBudgetError: nothing was measured at or under the budget.
        InvalidRankMapError: a rank is held.
    """
    if locks:
        raise InvalidRankMapError(
            "Bayesian allocation takes its maps from a search as they were measured, so it cannot hold a rank of "
            f"{locks[0].name}; release it or choose another method."
        )
    fitting = [m for m in evaluated if m.params <= budget.params]
    if not fitting:
        smallest = min((m.params / budget.compressible_params for m in evaluated), default=None)
        have = "none is measured yet" if smallest is None else f"the smallest measured one keeps {smallest:.3f}"
        raise InfeasibleBudgetError(
            f"No map that keeps at most {budget.kept_fraction:.3f} has been measured ({have}); search with: "
            f"rankscope search ANALYSIS --target {budget.kept_fraction:.2f}"
        )
    newest = max(fitting, key=lambda m: m.created).measure
    best = min((m for m in fitting if m.measure == newest), key=lambda m: (m.objective, m.params))
    curves = {curve.members: curve for group in groups for curve in group.separate}
    nats = sum(float(curves[b.members].nats[b.rank]) for b in best.blocks if b.rank is not None)
    return Allocation(best.blocks, best.params, nats)
