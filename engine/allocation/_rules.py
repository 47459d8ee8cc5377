"""Allocators set to one model: whatever chooses the ranks is asked in the same way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from engine.allocation._base import allocators
from engine.allocation._evaluated import best_searched

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.allocation._evaluated import EvaluatedMap, PredictedMaps
    from engine.types import Allocation, BlockRank, Budget, Format, GroupCurves


class Rule(Protocol):
    """An allocator with one model's curves, formats and settings; :class:`Frontier` is one."""

    @property
    def budgets(self) -> Sequence[int]:
        """Budgets in parameters, increasing, among which the smallest one that meets a target is looked for."""

    def allocate(self, budget: Budget) -> Allocation:
        """Return the allocation at a budget.

        Raises:
            RankScopeError: whatever :class:`Allocator` raises.
        """

    def around(self, locks: Sequence[BlockRank]) -> Rule:
        """Return the rule with these locks instead of its own.

        Raises:
            InvalidRankMapError: a lock does not fit the model.
        """


@dataclass(frozen=True, slots=True, eq=False)
class BudgetByBudget:
    """A registered allocator that computes every budget afresh.

    Attributes:
        allocator: its name.
        groups: the curves of the model's input groups, in model order.
        formats: factored formats that may be used.
        locks: blocks whose decision is fixed.
        settings: keyword arguments of the allocator.
    """

    allocator: str
    groups: Sequence[GroupCurves]
    formats: frozenset[Format]
    locks: Sequence[BlockRank]
    settings: Mapping[str, Any]

    @property
    def budgets(self) -> Sequence[int]:
        """Every number of parameters up to the dense model's."""
        return every_budget(self.groups)

    def allocate(self, budget: Budget) -> Allocation:
        """Return the allocator's allocation at a budget; it raises what the allocator does."""
        allocate = allocators.get(self.allocator)
        return allocate(self.groups, budget, formats=self.formats, locks=self.locks, **self.settings)

    def around(self, locks: Sequence[BlockRank]) -> BudgetByBudget:
        """Return the rule with these locks."""
        return replace(self, locks=locks)


@dataclass(frozen=True, slots=True, eq=False)
class BestSearched:
    """The choice among the maps that searches have found.

    Attributes:
        groups: the curves of the model's input groups, in model order.
        evaluated: what searches have measured.
        predicted: what a search on predictions has found; ``None``: nothing.
        locks: with any there is no answer.
    """

    groups: Sequence[GroupCurves]
    evaluated: Sequence[EvaluatedMap]
    predicted: PredictedMaps | None
    locks: Sequence[BlockRank]

    @property
    def budgets(self) -> Sequence[int]:
        """Every number of parameters up to the dense model's."""
        return every_budget(self.groups)

    def allocate(self, budget: Budget) -> Allocation:
        """Return :func:`best_searched` at a budget."""
        return best_searched(self.evaluated, self.predicted, self.groups, budget, self.locks)

    def around(self, locks: Sequence[BlockRank]) -> BestSearched:
        """Return the rule with these locks."""
        return replace(self, locks=locks)


def every_budget(groups: Sequence[GroupCurves]) -> range:
    """Return every budget there can be."""
    return range(sum(group.dense_params for group in groups) + 1)
