"""The allocator of methods that search: it chooses among what searches have found and invents nothing."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from engine.errors import InfeasibleBudgetError, InvalidRankMapError
from engine.types import Allocation, BlockRank, Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.types import Budget, GroupCurves

MEASURED_REACH: Final = 0.1
"""A measured map speaks for budgets up to this much above its own kept fraction."""


class SearchKind(StrEnum):
    """What a search judged its maps by."""

    MEASURED = "measured"
    PREDICTED = "predicted"


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


@dataclass(frozen=True, slots=True)
class PredictedMaps:
    """The best low-rank map of every size that a search on predictions has found.

    Attributes:
        projections: names, in model order.
        columns: for every projection, its place in a row of ``ranks``.
        ranks: a row for each map; 0 stands for dense.
        params: of each map, ascending.
        nats: of each map, descending.
    """

    projections: tuple[str, ...]
    columns: tuple[int, ...]
    ranks: tuple[tuple[int, ...], ...]
    params: tuple[int, ...]
    nats: tuple[float, ...]

    def best(self, budget: Budget) -> Allocation | None:
        """Return the map with the least predicted increase at or under a budget, or ``None``."""
        place = bisect_right(self.params, budget.params) - 1
        if place < 0:
            return None
        return Allocation(self.blocks(place), self.params[place], self.nats[place])

    def blocks(self, place: int) -> tuple[BlockRank, ...]:
        """Return the decisions of one of the maps."""
        ranks = self.ranks[place]
        return tuple(
            BlockRank((name,), Format.LOW_RANK, ranks[column])
            if ranks[column]
            else BlockRank((name,), Format.DENSE, None)
            for name, column in zip(self.projections, self.columns, strict=True)
        )


def best_searched(
    evaluated: Sequence[EvaluatedMap],
    predicted: PredictedMaps | None,
    groups: Sequence[GroupCurves],
    budget: Budget,
    locks: Sequence[BlockRank] = (),
) -> Allocation:
    """Return the best measured map at or under the budget, or where none is near it the best predicted one.

    A measured map is near a budget if it keeps at most :data:`MEASURED_REACH` less. Of maps measured in different
    ways only those count that share the newest way that has one near the budget. Between two maps nothing is
    interpolated.

    Args:
        evaluated: of one analysis.
        predicted: of the same.
        groups: its curves, for the predicted increase.
        budget: the hard ceiling in parameters.
        locks: must be empty.

    Raises:
        InfeasibleBudgetError: no map is at or under the budget.
        InvalidRankMapError: a rank is held.
    """
    if locks:
        raise InvalidRankMapError(
            "Bayesian allocation takes its maps as its search has found them, so it cannot hold a rank of "
            f"{locks[0].name}; release it or choose another method."
        )
    fitting = [m for m in evaluated if m.params <= budget.params]
    near = [m for m in fitting if m.params >= budget.params - MEASURED_REACH * budget.compressible_params]
    foreseen = None if near or predicted is None else predicted.best(budget)
    if foreseen is not None:
        return foreseen
    if not fitting:
        raise _nothing_fits(evaluated, predicted, budget)
    newest = max(near or fitting, key=lambda m: m.created).measure
    best = min((m for m in fitting if m.measure == newest), key=lambda m: (m.objective, m.params))
    curves = {curve.members: curve for group in groups for curve in group.separate}
    nats = sum(float(curves[b.members].nats[b.rank]) for b in best.blocks if b.rank is not None)
    return Allocation(best.blocks, best.params, nats)


def _nothing_fits(
    evaluated: Sequence[EvaluatedMap], predicted: PredictedMaps | None, budget: Budget
) -> InfeasibleBudgetError:
    sizes = [m.params for m in evaluated] + ([] if predicted is None else [predicted.params[0]])
    if not sizes:
        return InfeasibleBudgetError(
            "No map has been searched for yet; search for maps, or choose a method that computes them."
        )
    smallest = -(-min(sizes) * 10_000 // budget.compressible_params) / 10_000
    return InfeasibleBudgetError(
        f"The smallest map that a search has found keeps {smallest:.4f} of the compressible parameters, but at most "
        f"{budget.kept_fraction:.4f} was asked for; raise the kept fraction to at least {smallest:.4f}."
    )
