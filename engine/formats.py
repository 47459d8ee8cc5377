"""What a rank costs in each storage format; conversions between formats are in ``engine.factorization``.

Width is priced as a rank is: the "rank" is the number of an MLP's neurons that are kept, ``in_features`` is how many
there are and ``out_features`` how many parameters go with each.

References:
    SkipCat, arXiv:2512.13494: the identity block that skip leaves out saves r^2 parameters and
    multiply-adds; cat shares the inner factor of projections that read the same input.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from engine.types import BlockRank, Format

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from engine.types import Inventory, Projection

BYTES_PER_PARAM: Final = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Number types that weights are stored as -> bytes of one parameter."""

INDEX_BYTES: Final = 4
"""Bytes of one entry of the column order that a skip format stores per block."""


def rank_params(storage: Format, rank: int, in_features: int, out_features: int) -> int:
    """Return the parameters (= multiply-adds per token) of a block at ``rank`` in a format that is not dense."""
    if storage is Format.WIDTH:
        return rank * out_features
    saved = rank * rank if storage.skips else 0
    return rank * (in_features + out_features) - saved


def all_rank_params(storage: Format, max_rank: int, in_features: int, out_features: int) -> NDArray[np.int64]:
    """Return :func:`rank_params` for the ranks 0..``max_rank`` as one array."""
    import numpy as np

    ranks = np.arange(max_rank + 1, dtype=np.int64)
    if storage is Format.WIDTH:
        return ranks * out_features
    saved = ranks * ranks if storage.skips else 0
    result: NDArray[np.int64] = ranks * (in_features + out_features) - saved
    return result


def block_params(block: BlockRank, projections: Mapping[str, Projection]) -> int:
    """Return the parameters of one decided block."""
    members = [projections[name] for name in block.members]
    if block.rank is None:
        return sum(p.params for p in members)
    if block.format is Format.WIDTH:
        return block.rank * sum(p.params for p in members) // members[-1].in_features
    width, height = members[0].in_features, sum(p.out_features for p in members)
    return members[0].matrices * rank_params(block.format, block.rank, width, height)


def allocated_params(blocks: Sequence[BlockRank], inventory: Inventory) -> int:
    """Return the parameters of all projections of a model; those in no block are dense."""
    projections = inventory.by_name
    decided = {name for block in blocks for name in block.members}
    untouched = sum(p.params for name, p in projections.items() if name not in decided)
    return untouched + sum(block_params(block, projections) for block in blocks)


def multiply_adds(blocks: Sequence[BlockRank], inventory: Inventory) -> int:
    """Return the multiply-adds of one token in all projections of a model: the parameters that it meets."""
    projections = inventory.by_name
    resting = [p for p in projections.values() if p.experts is not None]
    block_of = {block.members[0]: block for block in blocks}
    whole = ((p, block_params(block_of[p.name], projections) if p.name in block_of else p.params) for p in resting)
    return allocated_params(blocks, inventory) - sum(n - round(n * p.active_fraction) for p, n in whole)


def index_bytes(block: BlockRank, in_features: int) -> int:
    """Return the bytes of the column order a block stores beside its parameters."""
    return in_features * INDEX_BYTES if block.format.skips else 0


def max_useful_rank(storage: Format, in_features: int, out_features: int) -> int:
    """Return the largest rank whose factors cost less than the dense weight (0: none does)."""
    if storage is Format.WIDTH:
        return in_features - 1
    dense = in_features * out_features
    if storage.skips:
        return min(in_features, out_features) - 1
    return (dense - 1) // (in_features + out_features)


def uniform_rank(storage: Format, kept_fraction: float, in_features: int, out_features: int) -> int:
    """Return the largest rank whose factors cost at most ``kept_fraction`` of the dense weight."""
    return largest_rank(storage, int(kept_fraction * in_features * out_features), in_features, out_features)


def largest_rank(storage: Format, params: int, in_features: int, out_features: int) -> int:
    """Return the largest rank whose factors cost at most ``params`` (0: none does).

    ``params`` itself is at most that of the dense weight.
    """
    if storage is Format.WIDTH:
        return params // out_features
    total = in_features + out_features
    if not storage.skips:
        return params // total
    # r (s - r) <= params: the smaller root of a quadratic, in integers.
    discriminant = total * total - 4 * params
    return (total - math.isqrt(discriminant - 1) - 1) // 2 if discriminant > 0 else total // 2
