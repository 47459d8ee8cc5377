"""The bits that blocks may have, where a budget is one of bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.allocation._blocks import Stored
from engine.formats import all_rank_params
from engine.precision import ROUNDINGS, STORED_AS, block_bytes
from engine.types import BITS, BlockRank, Format, block_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from engine.allocation._blocks import Block
    from engine.types import Projection, RoundingNats

_UNSKIPPED = {Format.SKIP: Format.LOW_RANK, Format.SKIP_CAT: Format.CAT}


@dataclass(frozen=True, slots=True, eq=False)
class BitChoices:
    """What a block may be rounded to, what that costs in bytes and adds to the loss.

    A skip format is never rounded: its inner state has inputs as they are, whose rounding errors nothing bounds.

    Attributes:
        bits: that may be chosen.
        rounding: what rounding is predicted to add; needed for bits below 16.
        projections: of the model, by name.
    """

    bits: tuple[int, ...]
    rounding: RoundingNats | None
    projections: Mapping[str, Projection]

    def storages(self, storage: Format, formats: frozenset[Format]) -> list[Format]:
        """Return the formats to consider where skipping is the cheapest at 16 bits: the same without it as well."""
        plain = _UNSKIPPED.get(storage)
        return [storage] if plain is None or not formats & {plain, Format.CAT, Format.LOW_RANK} else [storage, plain]

    def of(self, block: Block) -> Iterator[Block]:
        """Yield a block at each number of bits it may have; one that skips is dense below 16."""
        for bits in self.bits:
            if block.storage.skips and bits < max(BITS):
                if block.may_be_dense:
                    yield replace(block, ranks=range(0), stored=self._stored(block, bits))
            else:
                yield replace(block, stored=self._stored(block, bits))

    def _stored(self, block: Block, bits: int) -> Stored:
        curve = block.curve
        n_bytes = self._bytes(block, bits)
        n_bytes[0] = sum(self._block_bytes((name,), Format.DENSE, None, bits) for name in curve.members)
        return Stored(bits, n_bytes, self._nats(block, bits))

    def _block_bytes(self, members: tuple[str, ...], storage: Format, rank: int | None, bits: int) -> int:
        return block_bytes(BlockRank(members, storage, rank), STORED_AS[bits], self.projections)

    def _bytes(self, block: Block, bits: int) -> NDArray[np.int64]:
        """Return (max_rank + 1,) bytes; those at 0 are not set."""
        curve, storage, rounding = block.curve, block.storage, ROUNDINGS.get(bits)
        if storage is Format.DENSE or (storage.skips and rounding is not None):
            return np.zeros(curve.max_rank + 1, dtype=np.int64)
        if rounding is None:
            params = all_rank_params(storage, curve.max_rank, curve.in_features, curve.out_features)
            order = self._block_bytes(curve.members, storage, 1, bits) - 2 * int(params[1])
            return 2 * params + order
        ranks = np.arange(curve.max_rank + 1, dtype=np.int64)
        members = [self.projections[name] for name in curve.members]
        if storage is Format.WIDTH:
            *ups, down = members
            of_ups = sum(rounding.matrix_bytes(p.out_features // down.in_features, p.in_features) for p in ups)
            return ranks * of_ups + rounding.columns_bytes(down.out_features, ranks)
        inner = rounding.matrix_bytes(1, curve.in_features)
        return ranks * inner + rounding.columns_bytes(curve.out_features, ranks)

    def _nats(self, block: Block, bits: int) -> NDArray[np.float64]:
        curve, rounding = block.curve, self.rounding
        if rounding is None or bits == max(BITS):
            return np.zeros(curve.max_rank + 1)
        dense = sum(rounding.dense[bits][name] for name in curve.members)
        if block.storage is Format.WIDTH:
            nats = dense * np.arange(curve.max_rank + 1) / curve.in_features
        elif block.ranks and not block.storage.skips:
            nats = rounding.factored[bits][block_name(curve.members)][: curve.max_rank + 1].copy()
        else:
            nats = np.zeros(curve.max_rank + 1)
        nats[0] = dense
        return nats
