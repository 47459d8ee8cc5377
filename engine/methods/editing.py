"""What ranks held by hand mean to a method, and to a map that is edited; free of torch."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from engine.errors import InvalidRankMapError
from engine.formats import max_useful_rank
from engine.methods.locks import lock_of
from engine.types import BITS, BlockRank, Format

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from engine.analysis.value import Analysis
    from engine.rank_map.document import RankMap

HeldRanks = tuple[tuple[str, int], ...]
"""Projection name and the rank a user holds it at, or name of an MLP and the neurons; what saves nothing is dense."""


def holdable(analysis: Analysis) -> set[str]:
    """Return the names that ranks are held by: of the projections, and of the MLPs that can have a width."""
    return {*analysis.projections, *(mlp.name for mlp in analysis.inventory.mlps)}


def without(held: Mapping[str, int], names: Collection[str]) -> dict[str, int]:
    """Return what stays held when these projections are released: not they, and not the width of an MLP they are in."""
    return {key: rank for key, rank in held.items() if not set(key.split("+")).intersection(names)}


def held_blocks(held: HeldRanks, formats: frozenset[Format], analysis: Analysis) -> tuple[BlockRank, ...]:
    """Return held ranks as locks: in the cheapest of some formats, or dense where that costs no less.

    Raises:
        InvalidRankMapError: a held rank names neither a projection nor an MLP.
    """
    return tuple(block for name, rank in held for block in _held_blocks(name, rank, formats, analysis))


def edited_map(rank_map: RankMap, held: HeldRanks, formats: frozenset[Format], analysis: Analysis) -> RankMap:
    """Return a map in which the held projections have their ranks and every other block is as it was.

    A shared block has one rank: that of its held members, where they agree. Where they do not it comes apart, and
    every member has the rank it is held at or the block's, in the cheapest of the formats. So it does where some of
    its members are in an MLP that is held at a width. Where an MLP at a width comes apart the others are dense.

    Raises:
        InvalidRankMapError: a held rank names no projection or was not analysed.
    """
    ranks = dict(held)
    mlp_of = {p.name: mlp.name for mlp in analysis.inventory.mlps if mlp.name in ranks for p in mlp.members}
    blocks = tuple(
        _at_bits(each, block.bits)
        for block in rank_map.blocks
        for each in _edited_block(block, ranks, mlp_of, formats, analysis)
    )
    curves = analysis.nats[rank_map.metric]
    for block in blocks:
        if block.rank is not None and block.rank >= len(curves.get(block.name, ())):
            raise InvalidRankMapError(
                f"{block.name} is held at {'width' if block.format is Format.WIDTH else 'rank'} {block.rank}, but was "
                f"not analysed there in the {rank_map.metric} metric; hold a lower one or release it."
            )
    return rank_map if blocks == rank_map.blocks else replace(rank_map, blocks=blocks, budget_params=None, ceiling=None)


def block_alone(rank_map: RankMap, projection: str) -> RankMap:
    """Return a map that cuts the block of one projection as this one does, unrounded, and leaves all others dense.

    A shared block, or an MLP at a width, is cut as a whole.

    Raises:
        InvalidRankMapError: the map leaves the projection dense.
    """
    for block in rank_map.blocks:
        if projection in block.members and block.rank is not None:
            return replace(rank_map, blocks=(replace(block, bits=None),), budget_params=None, ceiling=None)
    raise InvalidRankMapError(
        f"The map leaves {projection} dense, so that no text pays for it; choose a projection that it cuts."
    )


def _at_bits(block: BlockRank, bits: int | None) -> BlockRank:
    """Return an edited block with the bits of the one it was, which a skip format is never rounded to."""
    return replace(block, bits=max(BITS) if bits is not None and block.format.skips else bits)


def _edited_block(
    block: BlockRank,
    held: Mapping[str, int],
    mlp_of: Mapping[str, str],
    formats: frozenset[Format],
    analysis: Analysis,
) -> Iterable[BlockRank]:
    ranks = {held[name] for name in block.members if name in held}
    is_narrowed = any(name in mlp_of for name in block.members)
    if not ranks and not is_narrowed:
        return [block]
    if len(ranks) == 1 and len(block.members) > 1 and block.format.is_shared and not is_narrowed:
        members = [analysis.projections[name] for name in block.members]
        useful = max_useful_rank(block.format, members[0].in_features, sum(p.out_features for p in members))
        (rank,) = ranks
        if rank <= useful:
            return [BlockRank(block.members, block.format, rank)]
        return [BlockRank((name,), Format.DENSE, None) for name in block.members]
    own = None if block.format is Format.WIDTH else block.rank
    result = []
    for name in block.members:
        key = mlp_of.get(name, name)
        decided = _held_blocks(key, held.get(key, own), formats, analysis)
        result += [each for each in decided if each.members[0] == name]
    return result


def _held_blocks(name: str, rank: int | None, formats: frozenset[Format], analysis: Analysis) -> list[BlockRank]:
    lock = lock_of(name, rank, analysis.inventory, formats)
    last = analysis.projections[lock.members[-1]]
    if rank is None or rank > max_useful_rank(lock.format, last.in_features, last.out_features):
        return [BlockRank((member,), Format.DENSE, None) for member in lock.members]
    return [lock]
