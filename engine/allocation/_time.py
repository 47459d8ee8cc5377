"""What blocks take of a token's time, where a budget is one of time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from engine.allocation._blocks import Price
from engine.allocation._sizes import bytes_at_ranks
from engine.devices.roofline import active_shares, n_kernels, seconds_of
from engine.formats import all_rank_params
from engine.precision import block_bytes
from engine.types import RANK_FORMATS, BlockRank, Format

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from engine.allocation._blocks import Block
    from engine.devices.value import Device
    from engine.types import Projection

TICKS_PER_S: Final = 10**12
"""Costs are whole numbers, so time is counted in picoseconds, rounded up."""


@dataclass(frozen=True, slots=True, eq=False)
class TimeChoices:
    """What blocks take on a device.

    A format with fewer parameters is not always the faster one: skipping gathers columns and adds, and two small
    products may take longer than a large one. So all formats are considered, and dense may be the cheapest choice.

    Attributes:
        device: the model would run on.
        dtype: of its weights.
        batch: sequences that get a token at once.
        projections: of the model, by name.
    """

    device: Device
    dtype: str
    batch: int
    projections: Mapping[str, Projection]

    def storages(self, allowed: frozenset[Format]) -> list[Format]:
        """Return every format."""
        return sorted(RANK_FORMATS & allowed) or [Format.DENSE]

    def of(self, block: Block) -> Iterable[Block]:
        """Yield the block with the time it takes at every rank."""
        yield replace(block, price=Price(self._ticks(block)))

    def _ticks(self, block: Block) -> NDArray[np.int64]:
        curve, storage = block.curve, block.storage
        n_bytes = bytes_at_ranks(block, self.dtype, self.projections)
        n_products = np.zeros(len(n_bytes), dtype=np.int64)
        if storage is not Format.DENSE:
            n_products = all_rank_params(storage, curve.max_rank, curve.in_features, curve.out_features) * self.batch
        read, computed = active_shares(self.projections[curve.members[0]], self.batch)
        n_products = curve.matrices * n_products
        seconds = seconds_of(n_bytes * read, n_products * computed, n_kernels(storage, len(curve.members)), self.device)
        seconds[0] = sum(self._dense_seconds(name) for name in curve.members)
        ticks: NDArray[np.int64] = np.ceil(seconds * TICKS_PER_S).astype(np.int64)
        return ticks

    def _dense_seconds(self, name: str) -> float:
        n_bytes = block_bytes(BlockRank((name,), Format.DENSE, None), self.dtype, self.projections)
        read, computed = active_shares(self.projections[name], self.batch)
        n_products = self.projections[name].params * self.batch
        return float(seconds_of(n_bytes * read, n_products * computed, 1, self.device))
