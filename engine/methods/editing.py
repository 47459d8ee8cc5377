"""What ranks held by hand mean to a method, and to a map that is edited; free of torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engine.errors import InvalidRankMapError
from engine.formats import max_useful_rank
from engine.methods.locks import lock_of
from engine.types import BlockRank, Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap

HeldRanks = tuple[tuple[str, int], ...]
"""Projection name and the rank a user holds it at; a rank that saves nothing stands for dense."""


def held_blocks(held: HeldRanks, formats: frozenset[Format], analysis: Analysis) -> tuple[BlockRank, ...]:
    """Return held ranks as locks: in the cheapest of some formats, or dense where that costs no less.

    Raises:
        InvalidRankMapError: a held rank names no projection.
    """
    return tuple(_held_block(name, rank, formats, analysis) for name, rank in held)


def edited_map(rank_map: RankMap, held: HeldRanks, formats: frozenset[Format], analysis: Analysis) -> RankMap:
    """Return a map in which the held projections have their ranks and every other block is as it was.

    A shared block has one rank: that of its held members, where they agree. Where they do not it comes apart, and
    every member has the rank it is held at or the block's, in the cheapest of the formats.

    Raises:
        InvalidRankMapError: a held rank names no projection or was not analysed.
    """
    ranks = dict(held)
    blocks = tuple(b for block in rank_map.blocks for b in _edited_block(block, ranks, formats, analysis))
    curves = analysis.nats[rank_map.metric]
    for block in blocks:
        if block.rank is not None and block.rank >= len(curves[block.name]):
            raise InvalidRankMapError(
                f"{block.name} is held at rank {block.rank}, but was analysed up to a lower one; hold a lower rank."
            )
    return replace(rank_map, blocks=blocks, budget_params=rank_map.budget_params if blocks == rank_map.blocks else None)


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
    return [_held_block(name, held.get(name, block.rank), formats, analysis) for name in block.members]


def _held_block(name: str, rank: int | None, formats: frozenset[Format], analysis: Analysis) -> BlockRank:
    lock = lock_of(name, rank, analysis.inventory, formats)
    projection = analysis.projections[name]
    if rank is None or rank > max_useful_rank(lock.format, projection.in_features, projection.out_features):
        return BlockRank((name,), Format.DENSE, None)
    return lock
