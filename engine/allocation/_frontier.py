"""Every budget's best allocation at once: the merged hull of all units."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from engine.allocation._base import conclude, require_feasible, require_positive
from engine.allocation._blocks import aligned_step
from engine.allocation._choices import IN_PARAMETERS
from engine.allocation._hull import hull_of_block, hull_of_either, hull_of_sum, slopes
from engine.allocation._membership import UNSHARED
from engine.allocation._units import units_of
from engine.types import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from engine.allocation._choices import Choices
    from engine.allocation._hull import Hull
    from engine.allocation._units import MlpCurves, Unit
    from engine.types import Allocation, BlockRank, Budget, DistortionCurve, GroupCurves


@dataclass(frozen=True, slots=True, eq=False)
class Frontier:
    """The edges of all units' hulls, merged by slope once; a budget is a prefix of them.

    A unit is an input group with the MLPs that read the same input. Its hull is built from those of its blocks by two
    operations, in this order: an MLP is either {its projections, each for itself} or {its width}; a group is either
    {its members that are in no MLP, then its MLPs, each for itself} or {the members as one block, then the down
    projections of its MLPs, each for itself}. Options that are ruled out are left away, a sum of one part is that part.

    An edge lifts one unit from a vertex of its hull to the next. The order is by slope (nats per parameter, most
    negative first), then unit, then place in the unit's hull; within a sum by slope, then part. Slopes are compared
    as double-precision quotients (nats[i + 1] - nats[i]) / (costs[i + 1] - costs[i]); costs are integers, and nats of
    a sum are added up in the order of its parts. Of equal options the first is taken. A port that keeps to this
    reproduces every allocation exactly.

    Attributes:
        groups: the curves of the model's input groups, in model order.
        formats: formats a block may choose from.
        rank_step: ranks are multiples of this and of :func:`aligned_step`.
        units: of the model with their locks, in the order of their groups.
        hulls: of each unit; a locked block has a single vertex in it.
        places: per unit, (n_edges of the unit,) positions of its edges in the merged order, increasing.
        costs: (n_edges + 1,) parameters after each prefix; the first is the cheapest allocation's.
        nats: (n_edges + 1,) nats per token after each prefix, up to rounding.
        n_locked: how many locks were given.
        choices: what blocks may be and cost; where costs are no parameters, neither is a budget (:meth:`within`).
    """

    groups: Sequence[GroupCurves]
    formats: frozenset[Format]
    rank_step: int
    units: tuple[Unit, ...]
    hulls: tuple[Hull, ...]
    places: tuple[NDArray[np.int64], ...]
    costs: NDArray[np.int64]
    nats: NDArray[np.float64]
    n_locked: int
    choices: Choices = IN_PARAMETERS

    @property
    def budgets(self) -> Sequence[int]:
        """The parameters after each prefix, increasing."""
        costs: list[int] = self.costs.tolist()
        return costs

    def around(self, locks: Sequence[BlockRank]) -> Frontier:
        """Return the frontier with other locks; hulls of units whose locks stay the same are used again.

        Raises:
            InvalidRankMapError: a lock does not fit the groups.
        """
        return _frontier(self.groups, self.formats, self.rank_step, locks, known=self, choices=self.choices)

    def allocate(self, budget: Budget) -> Allocation:
        """Return the longest prefix within the budget, and whatever later edges still fit.

        Raises:
            InfeasibleBudgetError: the cheapest allocation exceeds the budget.
        """
        require_feasible(int(self.costs[0]), budget, self.n_locked)
        return self.within(budget.params)

    def within(self, limit: int) -> Allocation:
        """Return the same for a limit in what costs are counted in; the cheapest allocation is within it."""
        n_taken = int(np.searchsorted(self.costs, limit, side="right")) - 1
        vertices = [int(np.searchsorted(places, n_taken)) for places in self.places]
        self._spend(limit - int(self.costs[n_taken]), vertices)
        decided = (d for hull, vertex in zip(self.hulls, vertices, strict=True) for d in hull.decisions(vertex))
        return conclude(self.groups, decided)

    def _spend(self, left: int, vertices: list[int]) -> None:
        """Walk the remaining edges in order and move ``vertices`` along each that starts there and fits."""
        ahead = [
            (int(places[vertex]), unit)
            for unit, (places, vertex) in enumerate(zip(self.places, vertices, strict=True))
            if vertex < len(places)
        ]
        heapq.heapify(ahead)
        # A unit whose next edge does not fit never stands at the start of its later ones: it is done.
        while ahead:
            _, unit = heapq.heappop(ahead)
            costs, vertex = self.hulls[unit].costs, vertices[unit]
            extra = int(costs[vertex + 1] - costs[vertex])
            if extra <= left:
                left -= extra
                vertices[unit] = vertex + 1
                if vertex + 1 < len(self.places[unit]):
                    heapq.heappush(ahead, (int(self.places[unit][vertex + 1]), unit))


def build_frontier(
    groups: Sequence[GroupCurves],
    *,
    formats: frozenset[Format],
    locks: Sequence[BlockRank] = (),
    rank_step: int = 1,
    choices: Choices = IN_PARAMETERS,
) -> Frontier:
    """Return the frontier of a model for every budget.

    Args:
        groups: the curves of the model's input groups, in model order.
        formats: formats a block may choose from; dense it always may.
        locks: blocks whose decision is fixed.
        rank_step: ranks are multiples of this and of :func:`aligned_step`; a block none of them shrinks stays dense.
        choices: what blocks may be and cost.

    Raises:
        InvalidRankMapError: a lock does not fit the groups.
        InvalidSpecError: a rank step below 1.
        NumericalError: a curve is not finite.
    """
    require_positive("rank_step", rank_step)
    return _frontier(groups, formats, rank_step, locks, choices=choices)


def _frontier(
    groups: Sequence[GroupCurves],
    formats: frozenset[Format],
    rank_step: int,
    locks: Sequence[BlockRank],
    known: Frontier | None = None,
    choices: Choices = IN_PARAMETERS,
) -> Frontier:
    units = tuple(units_of(groups, locks))
    hulls = tuple(
        known.hulls[place]
        if known and known.units[place].locks == unit.locks
        else _hull_of(unit, formats, rank_step, choices)
        for place, unit in enumerate(units)
    )
    places, costs, nats = _merge(hulls)
    return Frontier(groups, formats, rank_step, units, hulls, places, costs, nats, len(locks), choices)


def _hull_of(unit: Unit, formats: frozenset[Format], rank_step: int, choices: Choices) -> Hull:
    def hull(curve: DistortionCurve, allowed: frozenset[Format]) -> Hull:
        step = aligned_step(curve, rank_step)
        blocks = [unit.block(curve, storage, step) for storage in choices.storages(allowed)]
        return hull_of_either([hull_of_block(each) for block in blocks for each in choices.of(block)])

    def width(mlp: MlpCurves) -> Hull:
        block = unit.block(mlp.width, Format.WIDTH, aligned_step(mlp.width, rank_step))
        return hull_of_either([hull_of_block(each) for each in choices.of(block)])

    lone = frozenset(UNSHARED.get(storage, storage) for storage in formats)
    apart = frozenset(storage for storage in formats if not storage.is_shared) if unit.can_share else lone
    together = frozenset(storage for storage in formats if storage.is_shared and unit.can_share)

    def hull_of_mlp(mlp: MlpCurves) -> Hull:
        if unit.is_narrow(mlp):
            return width(mlp)
        ranks = hull_of_sum([*(hull(curve, apart) for curve in mlp.up), hull(mlp.down, lone)])
        may_narrow = Format.WIDTH in formats and unit.can_narrow(mlp)
        return hull_of_either([ranks, *([width(mlp)] if may_narrow else [])])

    options = []
    if not unit.is_whole:
        options.append(hull_of_sum([*(hull(curve, apart) for curve in unit.alone), *map(hull_of_mlp, unit.mlps)]))
    if unit.group.shared is not None and (unit.is_whole or together):
        downs = [hull(mlp.down, lone) for mlp in unit.mlps]
        options.append(hull_of_sum([hull(unit.group.shared, together), *downs]))
    return hull_of_either(options)


def _merge(
    hulls: Sequence[Hull],
) -> tuple[tuple[NDArray[np.int64], ...], NDArray[np.int64], NDArray[np.float64]]:
    """Return places, costs and nats of a frontier."""
    n_edges = [len(hull.costs) - 1 for hull in hulls]
    steep = np.concatenate([np.zeros(0), *(slopes(hull.costs, hull.nats) for hull in hulls)])
    # Stable: equal slopes stay in the order of units, and of edges within a unit.
    order = np.argsort(steep, kind="stable")
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    base_costs = sum(int(hull.costs[0]) for hull in hulls)
    base_nats = sum(float(hull.nats[0]) for hull in hulls)
    extra_costs = np.concatenate([np.zeros(0, np.int64), *(np.diff(hull.costs) for hull in hulls)])[order]
    extra_nats = np.concatenate([np.zeros(0), *(np.diff(hull.nats) for hull in hulls)])[order]
    return (
        tuple(np.split(places, np.cumsum(n_edges)[:-1])) if hulls else (),
        np.concatenate([[base_costs], base_costs + np.cumsum(extra_costs)]),
        np.concatenate([[base_nats], base_nats + np.cumsum(extra_nats)]),
    )
