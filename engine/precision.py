"""How weights are rounded to integers, and the bytes they take then; free of torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from engine.errors import InvalidSpecError
from engine.formats import BYTES_PER_PARAM, block_params, index_bytes
from engine.types import BlockRank, Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from engine.types import Inventory, Projection

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
        n_bytes: int = out_features * self._row_bytes(in_features)
        return n_bytes

    def columns_bytes(self, out_features: int, in_features: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the bytes of matrices of as many rows that differ in their columns (n,)."""
        n_bytes: NDArray[np.int64] = out_features * self._row_bytes(in_features)
        return n_bytes

    def _row_bytes(self, columns: Any) -> Any:
        n_groups = 1 if self.group_size is None else -(-columns // self.group_size)
        return -(-columns * self.bits // 8) + n_groups * SCALE_BYTES


ROUNDINGS: Final[Mapping[int, Rounding]] = {8: Rounding(8, None), 4: Rounding(4, 32)}
"""Bits -> how weights are rounded to them."""

STORED_AS: Final[Mapping[int, str]] = {16: "float16", **{bits: f"int{bits}" for bits in ROUNDINGS}}
"""Bits of the projections' weights -> name of the type; everything else of a model has 16."""

ROUNDED_TYPES: Final = tuple(STORED_AS[bits] for bits in ROUNDINGS)
"""The number types whose weights are integers with scales."""

_BITS_OF: Final = {name: bits for bits, name in STORED_AS.items()}

SIZE_TYPES: Final = tuple(dict.fromkeys([*BYTES_PER_PARAM, *STORED_AS.values()]))
"""The number types that sizes are given for."""


def model_bytes(dtype: str, blocks: Iterable[BlockRank], inventory: Inventory) -> int:
    """Return the bytes of a whole model's weights; the one rule for boards, results, reports and budgets.

    A type of float is that of every weight. As ``int8`` or ``int4`` the projections are rounded and have scales, and
    everything else (embeddings, head, norms) has 16 bits. A block with bits of its own has those, whatever the type.

    Args:
        dtype: one of :data:`SIZE_TYPES`.
        blocks: decisions; projections in none of them are dense.
        inventory: of the dense model.

    Raises:
        InvalidSpecError: the type is not known.
    """
    require_size_type(dtype)
    blocks, projections = list(blocks), inventory.by_name
    decided = {name for block in blocks for name in block.members}
    dense = (BlockRank((name,), Format.DENSE, None) for name in projections if name not in decided)
    others = inventory.total_params - inventory.compressible_params
    matrices = sum(
        block_bytes(block, dtype if block.bits is None else STORED_AS[block.bits], projections)
        for block in (*blocks, *dense)
    )
    return matrices + others * BYTES_PER_PARAM.get(dtype, BYTES_PER_PARAM["bfloat16"])


def block_bytes(block: BlockRank, dtype: str, projections: Mapping[str, Projection]) -> int:
    """Return the bytes of one decided block stored as a number type, its column order included."""
    order = index_bytes(block, projections[block.members[0]].in_features)
    rounding = rounding_of(dtype)
    if rounding is None:
        return block_params(block, projections) * BYTES_PER_PARAM[dtype] + order
    return sum(rounding.matrix_bytes(*shape) for shape in _shapes_of(block, projections)) + order


def rounding_of(dtype: str) -> Rounding | None:
    """Return how a number type rounds weights; ``None``: it is one of float."""
    return ROUNDINGS.get(bits_of(dtype))


def bits_of(dtype: str) -> int:
    """Return the bits that weights are rounded to in a number type; 16: it is one of float."""
    return _BITS_OF.get(dtype, 16)


def require_size_type(dtype: str) -> None:
    """Check the name of a number type.

    Raises:
        InvalidSpecError: it is not known.
    """
    if dtype not in SIZE_TYPES:
        raise InvalidSpecError(f"The type {dtype!r} was given; expected one of {', '.join(SIZE_TYPES)}.")


def number_type(dtype: str) -> dict[str, int | None]:
    """Return what a browser needs for the same rule: bits of a projection's weights, and who shares a scale.

    ``scale_bytes`` is 0 where nothing is rounded, ``group_size`` ``None`` where a row has one scale, and
    ``other_bytes`` what one weight outside of the projections takes.
    """
    rounding = rounding_of(dtype)
    if rounding is None:
        size = BYTES_PER_PARAM[dtype]
        return {"bits": 8 * size, "group_size": None, "scale_bytes": 0, "other_bytes": size}
    other = BYTES_PER_PARAM["bfloat16"]
    return {"bits": rounding.bits, "group_size": rounding.group_size, "scale_bytes": SCALE_BYTES, "other_bytes": other}


def matrix_shapes(blocks: Sequence[BlockRank], inventory: Inventory) -> Iterator[tuple[int, int]]:
    """Yield (out_features, in_features) of every matrix that the projections of a model consist of."""
    projections = inventory.by_name
    decided = {name for block in blocks for name in block.members}
    for block in blocks:
        yield from _shapes_of(block, projections)
    for name, projection in projections.items():
        if name not in decided:
            yield from [(projection.out_features, projection.in_features)] * projection.matrices


def _shapes_of(block: BlockRank, projections: Mapping[str, Projection]) -> Iterator[tuple[int, int]]:
    members = [projections[name] for name in block.members]
    if block.rank is None:
        yield from ((p.out_features, p.in_features) for p in members for _ in range(p.matrices))
        return
    if block.format is Format.WIDTH:
        *ups, down = members
        yield from ((p.out_features // down.in_features * block.rank, p.in_features) for p in ups)
        yield down.out_features, block.rank
        return
    width = members[0].in_features
    yield from [(block.rank, width - block.rank if block.format.skips else width)] * members[0].matrices
    yield from ((p.out_features, block.rank) for p in members for _ in range(p.matrices))
