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
class CostedMap:
    """A method's rank map, or the saved one that is open, and what it costs."""

    method: str
    rank_map: RankMap
    cost: RankMapCost


@dataclass(frozen=True, slots=True)
class NoMap:
    """A method that has no map for what it was asked."""

    method: str
    reason: str


def edited_maps(maps: Sequence[CostedMap | NoMap], held: HeldRanks, analysis: Analysis) -> list[CostedMap | NoMap]:
    """Return every map with the held ranks, or why it cannot have them."""
    result: list[CostedMap | NoMap] = []
    for costed in maps:
        if isinstance(costed, NoMap):
            result.append(costed)
            continue
        try:
            rank_map = edited_map(costed.rank_map, held, formats_of(costed), analysis)
            result.append(CostedMap(costed.method, rank_map, cost_of(analysis, rank_map)))
        except InvalidRankMapError as error:
            result.append(NoMap(costed.method, str(error)))
    return result


def formats_of(costed: CostedMap) -> frozenset[Format]:
    """Return the factored formats that a map's method may use; of a saved map those it has."""
    if costed.method in PRESETS:
        return PRESETS[costed.method].formats
    return frozenset(b.format for b in costed.rank_map.blocks if b.rank is not None) or frozenset({Format.LOW_RANK})
