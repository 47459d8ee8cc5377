"""Every budget's best allocation at once: the merged hull of all groups."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.allocation._base import conclude, require_feasible, require_positive
from engine.allocation._blocks import Block, GroupLocks, assign_locks, can_share
from engine.allocation._hull import GroupChain, slopes, trace_group
from engine.allocation._membership import UNSHARED
from engine.types import Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from engine.types import Allocation, BlockRank, Budget, GroupCurves


@dataclass(frozen=True, slots=True, eq=False)
class Frontier:
    """The edges of all groups' hulls, merged by slope once; a budget is a prefix of them.

    An edge lifts one group from a vertex of its hull to the next. The order is by slope (nats per
    parameter, most negative first), then group, then place in the group's hull. Slopes are compared as
    double-precision quotients (nats[i + 1] - nats[i]) / (costs[i + 1] - costs[i]); costs are integers.
    A port that keeps to this reproduces every allocation exactly.

    Attributes:
        groups: the curves of the model's input groups, in model order.
        formats: factored formats a block may choose from.
        rank_step: ranks are multiples of this.
        locks: of each group.
        chains: the hull of each group; a locked block has a single vertex in it.
        places: per group, (n_edges of the group,) positions of its edges in the merged order, increasing.
        costs: (n_edges + 1,) parameters after each prefix; the first is the cheapest allocation's.
        nats: (n_edges + 1,) nats per token after each prefix, up to rounding.
        n_locked: how many locks were given.
    """

    groups: Sequence[GroupCurves]
    formats: frozenset[Format]
    rank_step: int
    locks: tuple[GroupLocks, ...]
    chains: tuple[GroupChain, ...]
    places: tuple[NDArray[np.int64], ...]
    costs: NDArray[np.int64]
    nats: NDArray[np.float64]
    n_locked: int

    @property
    def budgets(self) -> Sequence[int]:
        """The parameters after each prefix, increasing."""
        costs: list[int] = self.costs.tolist()
        return costs

    def around(self, locks: Sequence[BlockRank]) -> Frontier:
        """Return the frontier with other locks; hulls of groups whose locks stay the same are used again.

        Raises:
            InvalidRankMapError: a lock does not fit the groups.
        """
        return _frontier(self.groups, self.formats, self.rank_step, locks, known=self)

    def allocate(self, budget: Budget) -> Allocation:
        """Return the longest prefix within the budget, and whatever later edges still fit.

        Raises:
            InfeasibleBudgetError: the cheapest allocation exceeds the budget.
        """
        require_feasible(int(self.costs[0]), budget, self.n_locked)
        n_taken = int(np.searchsorted(self.costs, budget.params, side="right")) - 1
        vertices = [int(np.searchsorted(places, n_taken)) for places in self.places]
        self._spend(budget.params - int(self.costs[n_taken]), vertices)
        return conclude(
            decision
            for chain, vertex in zip(self.chains, vertices, strict=True)
            for decision in chain.decisions(vertex)
        )

    def _spend(self, params: int, vertices: list[int]) -> None:
        """Walk the remaining edges in order and move ``vertices`` along each that starts there and fits."""
        ahead = [
            (int(places[vertex]), group)
            for group, (places, vertex) in enumerate(zip(self.places, vertices, strict=True))
            if vertex < len(places)
        ]
        heapq.heapify(ahead)
        # A group whose next edge does not fit never stands at the start of its later ones: it is done.
        while ahead:
            _, group = heapq.heappop(ahead)
            costs, vertex = self.chains[group].costs, vertices[group]
            extra = int(costs[vertex + 1] - costs[vertex])
            if extra <= params:
                params -= extra
                vertices[group] = vertex + 1
                if vertex + 1 < len(self.places[group]):
                    heapq.heappush(ahead, (int(self.places[group][vertex + 1]), group))


def build_frontier(
    groups: Sequence[GroupCurves],
    *,
    formats: frozenset[Format],
    locks: Sequence[BlockRank] = (),
    rank_step: int = 1,
) -> Frontier:
    """Return the frontier of a model for every budget.

    Args:
        groups: the curves of the model's input groups, in model order.
        formats: factored formats a block may choose from; dense it always may.
        locks: blocks whose decision is fixed.
        rank_step: ranks are multiples of this; a block no multiple of it shrinks stays dense.

    Raises:
        InvalidRankMapError: a lock does not fit the groups.
        InvalidSpecError: a rank step below 1.
        NumericalError: a curve is not finite.
    """
    require_positive("rank_step", rank_step)
    return _frontier(groups, formats, rank_step, locks)


def _frontier(
    groups: Sequence[GroupCurves],
    formats: frozenset[Format],
    rank_step: int,
    locks: Sequence[BlockRank],
    known: Frontier | None = None,
) -> Frontier:
    assigned = tuple(assign_locks(groups, locks))
    chains = tuple(
        known.chains[place] if known and known.locks[place] == fixed else _chain(group, fixed, formats, rank_step)
        for place, (group, fixed) in enumerate(zip(groups, assigned, strict=True))
    )
    places, costs, nats = _merge(chains)
    return Frontier(groups, formats, rank_step, assigned, chains, places, costs, nats, len(locks))


def _chain(group: GroupCurves, locks: GroupLocks, formats: frozenset[Format], rank_step: int) -> GroupChain:
    if group.shared is not None and locks.whole is not None:
        return trace_group([Block.locked(group.shared, locks.whole)], None)
    together = None
    if group.shared is not None and can_share(group, locks):
        alone = _cheapest(storage for storage in formats if not storage.is_shared)
        storage = _cheapest(storage for storage in formats if storage.is_shared)
        if storage is not Format.DENSE:
            together = Block.open(group.shared, storage, rank_step)
    else:
        alone = _cheapest(UNSHARED.get(storage, storage) for storage in formats)
    separate = [
        Block.locked(curve, lock) if lock else Block.open(curve, alone, rank_step)
        for curve, lock in zip(group.separate, locks.members, strict=True)
    ]
    return trace_group(separate, together)


def _cheapest(formats: Iterable[Format]) -> Format:
    """Return the format to consider among unshared, or among shared, ones; dense if there is none.

    At the same rank the nats are the same and skipping saves r^2 parameters, and every rank that saves
    anything without skipping does with it: the other format has no point on the hull.
    """
    factored = sorted(set(formats) - {Format.DENSE}, key=lambda storage: not storage.skips)
    return factored[0] if factored else Format.DENSE


def _merge(
    chains: Sequence[GroupChain],
) -> tuple[tuple[NDArray[np.int64], ...], NDArray[np.int64], NDArray[np.float64]]:
    """Return places, costs and nats of a frontier."""
    n_edges = [len(chain.costs) - 1 for chain in chains]
    steep = np.concatenate([np.zeros(0), *(slopes(chain.costs, chain.nats) for chain in chains)])
    # Stable: equal slopes stay in the order of groups, and of edges within a group.
    order = np.argsort(steep, kind="stable")
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    base_costs = sum(int(chain.costs[0]) for chain in chains)
    base_nats = sum(float(chain.nats[0]) for chain in chains)
    extra_costs = np.concatenate([np.zeros(0, np.int64), *(np.diff(chain.costs) for chain in chains)])[order]
    extra_nats = np.concatenate([np.zeros(0), *(np.diff(chain.nats) for chain in chains)])[order]
    return (
        tuple(np.split(places, np.cumsum(n_edges)[:-1])) if chains else (),
        np.concatenate([[base_costs], base_costs + np.cumsum(extra_costs)]),
        np.concatenate([[base_nats], base_nats + np.cumsum(extra_nats)]),
    )
