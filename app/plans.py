"""What a method would do at a budget: a rank map with its cost, or why it cannot; free of Streamlit."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from engine.formats import max_useful_rank
from engine.locks import lock_of
from engine.presets import get_preset
from engine.types import BlockRank, Format

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.analysis import Analysis
    from engine.pipeline.reading import RankMapCost
    from engine.rank_map import RankMap

Locks = tuple[tuple[str, int], ...]
"""Projection name and the rank a user holds it at; a rank that saves nothing stands for dense."""

SAVED = "saved map"
"""Stands for the saved map that is open, where a method could stand."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A rank map that can be compressed with, and what it costs."""

    method: str
    rank_map: RankMap
    cost: RankMapCost


@dataclass(frozen=True, slots=True)
class Impossible:
    """A method that has no plan at this budget."""

    method: str
    reason: str


def locked_blocks(locks: Locks, method: str, analysis: Analysis) -> tuple[BlockRank, ...]:
    """Return what held ranks mean to a method: its cheapest format, or dense where that costs no less.

    Raises:
        InvalidRankMapError: a lock names no projection.
        InvalidSpecError: there is no such method.
    """
    formats = get_preset(method).formats
    result = []
    for name, rank in locks:
        lock = lock_of(name, rank, analysis.inventory, formats)
        projection = analysis.projections[name]
        useful = max_useful_rank(lock.format, projection.in_features, projection.out_features)
        result.append(lock if rank <= useful else BlockRank((name,), Format.DENSE, None))
    return tuple(result)


def measurement_of(plan: Plan, runs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the newest measurement of exactly this map.

    Equal metric, parameters and predicted nats identify a map: the nats are a sum over every block's rank.
    """
    for run in runs:
        same = run["metric"] == plan.rank_map.metric and run["params"] == plan.cost.params
        if same and math.isclose(run["predicted_nats"], plan.cost.nats, rel_tol=1e-9):
            return run
    return None
