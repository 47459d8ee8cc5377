"""What a method would do at a budget: a rank map with its cost, or why it cannot; free of Streamlit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import InvalidRankMapError
from engine.methods.cost import cost_of
from engine.methods.editing import edited_map
from engine.methods.presets import PRESETS
from engine.types import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.analysis.value import Analysis
    from engine.methods.cost import RankMapCost
    from engine.methods.editing import HeldRanks
    from engine.rank_map.document import RankMap

SAVED = "saved map"
"""Stands for the saved map that is open, where a method could stand."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A rank map that can be compressed with, and what it costs."""

    method: str
    rank_map: RankMap
    cost: RankMapCost


@dataclass(frozen=True, slots=True)
class MapRequest:
    """What every method is asked for.

    Attributes:
        keep: kept fraction of the compressible parameters; a ceiling.
        target: predicted perplexity that is not to be exceeded, with as few parameters as possible; it replaces
            ``keep``.
        held: ranks held by hand.
    """

    keep: float
    target: float | None
    held: HeldRanks


@dataclass(frozen=True, slots=True)
class Impossible:
    """A method that has no plan at this budget."""

    method: str
    reason: str


def edited_each(plans: Sequence[Plan | Impossible], locks: HeldRanks, analysis: Analysis) -> list[Plan | Impossible]:
    """Return every plan's map with the held ranks, or why it cannot have them."""
    result: list[Plan | Impossible] = []
    for plan in plans:
        if isinstance(plan, Impossible):
            result.append(plan)
            continue
        try:
            rank_map = edited_map(plan.rank_map, locks, formats_of(plan), analysis)
            result.append(Plan(plan.method, rank_map, cost_of(analysis, rank_map)))
        except InvalidRankMapError as error:
            result.append(Impossible(plan.method, str(error)))
    return result


def formats_of(plan: Plan) -> frozenset[Format]:
    """Return the factored formats a plan's method may use; of a saved map those it has."""
    if plan.method in PRESETS:
        return PRESETS[plan.method].formats
    return frozenset(b.format for b in plan.rank_map.blocks if b.rank is not None) or frozenset({Format.LOW_RANK})
