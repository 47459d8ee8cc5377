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
    from engine.types import Mlp

HeldRanks = tuple[tuple[str, int], ...]
"""Name of a projection and the rank it is held at, or of an MLP and the neurons kept; what saves nothing is dense."""


def held_blocks(held: HeldRanks, formats: frozenset[Format], analysis: Analysis) -> tuple[BlockRank, ...]:
    """Return held ranks as locks: in the cheapest of some formats, or dense where that costs no less.

    Raises:
        InvalidRankMapError: a held rank names no projection.
    """
    return tuple(block for name, rank in held for block in _held_blocks(name, rank, formats, analysis))


def edited_map(rank_map: RankMap, held: HeldRanks, formats: frozenset[Format], analysis: Analysis) -> RankMap:
    """Return a map in which the held projections have their ranks and every other block is as it was.

    A shared block has one rank: that of its held members, where they agree. Where they do not it comes apart, and
    every member has the rank it is held at or the block's, in the cheapest of the formats. An MLP in width of which a
    projection is held comes apart into dense projections. One whose width is held replaces its projections' blocks.

    Raises:
        InvalidRankMapError: a held rank names no projection or was not analysed.
    """
    ranks = dict(held)
    blocks = rank_map.blocks
    for mlp in analysis.inventory.mlps:
        if mlp.name in ranks:
            blocks = tuple(_narrowed(blocks, mlp, ranks[mlp.name], formats, analysis))
    blocks = tuple(b for block in blocks for b in _edited_block(block, ranks, formats, analysis))
    curves = analysis.nats[rank_map.metric]
    for block in blocks:
        if block.rank is not None and block.name not in curves:
            raise InvalidRankMapError(
                f"The width of {block.name} is held, but was not analysed in the {rank_map.metric} metric; release it, "
                "or choose a method of the loss metric."
            )
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
    if block.format.is_shared and len(block.members) > 1 and len(ranks) == 1:
        members = [analysis.projections[name] for name in block.members]
        useful = max_useful_rank(block.format, members[0].in_features, sum(p.out_features for p in members))
        (rank,) = ranks
        if rank <= useful:
            return [BlockRank(block.members, block.format, rank)]
        return [BlockRank((name,), Format.DENSE, None) for name in block.members]
    other = None if block.format is Format.WIDTH else block.rank
    return [b for name in block.members for b in _held_blocks(name, held.get(name, other), formats, analysis)]


def _narrowed(
    blocks: Iterable[BlockRank], mlp: Mlp, count: int, formats: frozenset[Format], analysis: Analysis
) -> Iterable[BlockRank]:
    """Yield a map's blocks with an MLP at a width; shared blocks that reach beyond it come apart."""
    inside = {p.name for p in mlp.members}
    narrow = _held_blocks(mlp.name, count, formats, analysis)
    for block in blocks:
        if inside.isdisjoint(block.members):
            yield block
            continue
        yield from narrow
        narrow = []
        for name in block.members:
            if name not in inside:
                yield from _held_blocks(name, block.rank, formats, analysis)
    yield from narrow


def _held_blocks(name: str, rank: int | None, formats: frozenset[Format], analysis: Analysis) -> list[BlockRank]:
    """Return the decision for a held projection, or for an MLP held at a width: dense where that costs no less."""
    mlp = next((m for m in analysis.inventory.mlps if m.name == name), None)
    if mlp is not None and rank is not None and rank >= mlp.neurons:
        return [BlockRank((p.name,), Format.DENSE, None) for p in mlp.members]
    lock = lock_of(name, rank, analysis.inventory, formats)
    if mlp is None and rank is not None:
        projection = analysis.projections[name]
        if rank > max_useful_rank(lock.format, projection.in_features, projection.out_features):
            return [BlockRank((name,), Format.DENSE, None)]
    return [lock]
