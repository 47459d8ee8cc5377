"""How weights are rounded to integers, and the bytes they take then; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engine.formats import BYTES_PER_PARAM, index_bytes
from engine.types import Format

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from engine.types import BlockRank, Inventory, Projection

SCALE_BYTES: Final = 2
"""Of one scale, a bfloat16 number."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """Integers around zero, to the nearest, with a bfloat16 scale for the weights that share one.

    Attributes:
        bits: of an integer.
        group_size: neighbouring weights of a row that share a scale; the last group of a row may be shorter.
            ``None``: a row has one scale.
    """

    bits: int
    group_size: int | None

    def matrix_bytes(self, out_features: int, in_features: int) -> int:
        """Return the bytes of a matrix: packed integers row by row, and the scales."""
        n_groups = 1 if self.group_size is None else -(-in_features // self.group_size)
        return out_features * (-(-in_features * self.bits // 8) + n_groups * SCALE_BYTES)


ROUNDINGS: Final[Mapping[int, Rounding]] = {8: Rounding(8, None), 4: Rounding(4, 32)}
"""Bits -> how weights are rounded to them."""

STORED_AS: Final[Mapping[int, str]] = {16: "float16", **{bits: f"int{bits}" for bits in ROUNDINGS}}
"""Bits of the projections' weights -> name of the type; everything else of a model has 16."""


def rounded_bytes(rounding: Rounding, blocks: Sequence[BlockRank], inventory: Inventory, model_params: int) -> int:
    """Return the bytes of a whole model whose projections are rounded and whose other weights have 16 bits.

    Args:
        rounding: of every matrix of the projections, dense or factor.
        blocks: decisions; projections in none of them are dense.
        inventory: of the dense model.
        model_params: of the whole model under the decisions.
    """
    projections = inventory.by_name
    shapes = list(matrix_shapes(blocks, inventory))
    others = model_params - sum(rows * columns for rows, columns in shapes)
    orders = sum(index_bytes(block, projections[block.members[0]].in_features) for block in blocks)
    matrices = sum(rounding.matrix_bytes(rows, columns) for rows, columns in shapes)
    return matrices + others * BYTES_PER_PARAM["bfloat16"] + orders


def matrix_shapes(blocks: Sequence[BlockRank], inventory: Inventory) -> Iterator[tuple[int, int]]:
    """Yield (out_features, in_features) of every matrix that the projections of a model consist of."""
    projections = inventory.by_name
    decided = {name for block in blocks for name in block.members}
    for block in blocks:
        yield from _shapes_of(block, projections)
    for name, projection in projections.items():
        if name not in decided:
            yield projection.out_features, projection.in_features


def _shapes_of(block: BlockRank, projections: Mapping[str, Projection]) -> Iterator[tuple[int, int]]:
    members = [projections[name] for name in block.members]
    if block.rank is None:
        yield from ((p.out_features, p.in_features) for p in members)
        return
    if block.format is Format.WIDTH:
        *ups, down = members
        yield from ((p.out_features // down.in_features * block.rank, p.in_features) for p in ups)
        yield down.out_features, block.rank
        return
    width = members[0].in_features
    yield block.rank, width - block.rank if block.format.skips else width
    yield from ((p.out_features, block.rank) for p in members)
