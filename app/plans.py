"""What a method would do at a budget: a rank map with its cost, or why it cannot; free of Streamlit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from engine.errors import InvalidRankMapError
from engine.formats import max_useful_rank
from engine.methods.cost import cost_of
from engine.methods.locks import lock_of
from engine.methods.presets import PRESETS
from engine.types import BlockRank, Format, block_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from engine.analysis.value import Analysis
    from engine.methods.cost import RankMapCost
    from engine.rank_map.document import RankMap

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
class Aim:
    """What every method is asked for.

    Attributes:
        keep: kept fraction of the compressible parameters; a ceiling.
        perplexity: predicted perplexity that is not to be exceeded, by as few parameters as can be; it stands instead
            of ``keep``.
        locks: ranks held by hand.
    """

    keep: float
    perplexity: float | None
    locks: Locks


@dataclass(frozen=True, slots=True)
class Impossible:
    """A method that has no plan at this budget."""

    method: str
    reason: str


def locked_blocks(locks: Locks, method: str, analysis: Analysis) -> tuple[BlockRank, ...]:
    """Return what held ranks mean to a method: its cheapest format, or dense where that costs no less.

    Raises:
        InvalidRankMapError: a lock names no projection.
    """
    return tuple(_lock(name, rank, PRESETS[method].formats, analysis) for name, rank in locks)


def edited(plan: Plan, locks: Locks, analysis: Analysis) -> Plan:
    """Return a map in which the held projections have their ranks and every other block is as it was.

    A shared block has one rank: that of its held members, where they agree. Where they do not it comes apart, and
    every member has the rank it is held at or the block's, in the cheapest format the map uses.

    Raises:
        InvalidRankMapError: a lock names no projection or a rank that was not analysed.
    """
    held, rank_map = dict(locks), plan.rank_map
    formats = formats_of(plan)
    blocks = tuple(b for block in rank_map.blocks for b in _edited_block(block, held, formats, analysis))
    for block in blocks:
        if block.rank is not None and block.rank >= len(analysis.nats[rank_map.metric][block_name(block.members)]):
            raise InvalidRankMapError(
                f"{block.name} is held at rank {block.rank}, but was analysed up to a lower one; hold a lower rank."
            )
    budget = rank_map.budget_params if blocks == rank_map.blocks else None
    changed = replace(rank_map, blocks=blocks, budget_params=budget)
    return Plan(plan.method, changed, cost_of(analysis, changed))


def edited_each(plans: Sequence[Plan | Impossible], locks: Locks, analysis: Analysis) -> list[Plan | Impossible]:
    """Return every plan :func:`edited`, or why it cannot be."""
    result: list[Plan | Impossible] = []
    for plan in plans:
        try:
            result.append(edited(plan, locks, analysis) if isinstance(plan, Plan) else plan)
        except InvalidRankMapError as error:
            result.append(Impossible(plan.method, str(error)))
    return result


def formats_of(plan: Plan) -> frozenset[Format]:
    """Return the factored formats a plan's method may use; of a saved map those it has."""
    if plan.method in PRESETS:
        return PRESETS[plan.method].formats
    return frozenset(b.format for b in plan.rank_map.blocks if b.rank is not None) or frozenset({Format.LOW_RANK})


def _edited_block(
    block: BlockRank, held: Mapping[str, int], formats: frozenset[Format], analysis: Analysis
) -> Iterable[BlockRank]:
    ranks = {held[name] for name in block.members if name in held}
    if not ranks:
        return [block]
    if len(block.members) > 1 and len(ranks) == 1:
        members = [analysis.projections[name] for name in block.members]
        useful = max_useful_rank(block.format, members[0].in_features, sum(p.out_features for p in members))
        (rank,) = ranks
        if rank <= useful:
            return [BlockRank(block.members, block.format, rank)]
        return [BlockRank((name,), Format.DENSE, None) for name in block.members]
    return [_lock(name, held.get(name, block.rank), formats, analysis) for name in block.members]


def _lock(name: str, rank: int | None, formats: frozenset[Format], analysis: Analysis) -> BlockRank:
    lock = lock_of(name, rank, analysis.inventory, formats)
    projection = analysis.projections[name]
    if rank is None or rank > max_useful_rank(lock.format, projection.in_features, projection.out_features):
        return BlockRank((name,), Format.DENSE, None)
    return lock
