"""What a block takes in bytes at every rank, by the rule of :mod:`engine.precision`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engine.formats import BYTES_PER_PARAM, INDEX_BYTES, all_rank_params
from engine.precision import block_bytes, rounding_of
from engine.types import BlockRank, Format

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from engine.allocation._blocks import Block
    from engine.types import Projection


def bytes_at_ranks(block: Block, dtype: str, projections: Mapping[str, Projection]) -> NDArray[np.int64]:
    """Return (max_rank + 1,) bytes of a block stored as a number type, those of the dense members at 0."""
    curve, storage = block.curve, block.storage
    members = [projections[name] for name in curve.members]
    n_bytes = np.zeros(curve.max_rank + 1, dtype=np.int64)
    if storage is not Format.DENSE:
        order = curve.in_features * INDEX_BYTES if storage.skips else 0
        n_bytes = curve.matrices * _factored(block, dtype, members) + order
    n_bytes[0] = sum(block_bytes(BlockRank((name,), Format.DENSE, None), dtype, projections) for name in curve.members)
    return n_bytes


def _factored(block: Block, dtype: str, members: list[Projection]) -> NDArray[np.int64]:
    curve, storage, rounding = block.curve, block.storage, rounding_of(dtype)
    if rounding is None:
        params = all_rank_params(storage, curve.max_rank, curve.in_features, curve.out_features)
        return params * BYTES_PER_PARAM[dtype]
    ranks = np.arange(curve.max_rank + 1, dtype=np.int64)
    if storage is Format.WIDTH:
        *ups, down = members
        of_ups = sum(rounding.matrix_bytes(p.out_features // down.in_features, p.in_features) for p in ups)
        return ranks * of_ups + rounding.columns_bytes(down.out_features, ranks)
    columns = curve.in_features - (ranks if storage.skips else 0 * ranks)
    return ranks * rounding.columns_bytes(1, columns) + rounding.columns_bytes(curve.out_features, ranks)
