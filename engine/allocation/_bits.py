"""The bits that blocks may have, where a budget is one of bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from engine.allocation._blocks import Price
from engine.allocation._choices import cheapest
from engine.allocation._sizes import bytes_at_ranks
from engine.precision import STORED_AS
from engine.types import BITS, Format, block_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from engine.allocation._blocks import Block
    from engine.types import Projection, RoundingNats

_UNSKIPPED = {Format.SKIP: Format.LOW_RANK, Format.SKIP_CAT: Format.CAT}


@dataclass(frozen=True, slots=True, eq=False)
class BitChoices:
    """What a block may be rounded to, what that costs in bytes and adds to the loss.

    A skip format is never rounded: its inner state has inputs as they are, whose rounding errors nothing bounds. Nor is
    a stack of experts, whose rounding is not predicted.

    Attributes:
        bits: that may be chosen.
        rounding: what rounding is predicted to add; needed for bits below 16.
        projections: of the model, by name.
    """

    bits: tuple[int, ...]
    rounding: RoundingNats | None
    projections: Mapping[str, Projection]

    def storages(self, allowed: frozenset[Format]) -> list[Format]:
        """Return the formats to consider: the cheapest at 16 bits, and the same without skipping where it skips."""
        first = cheapest(allowed)
        plain = _UNSKIPPED.get(first)
        return [first] if plain not in allowed else [first, plain]

    def of(self, block: Block) -> Iterator[Block]:
        """Yield a block at each number of bits it may have; one that skips is dense below 16."""
        for bits in self.bits:
            if block.curve.matrices > 1 and bits < max(BITS):
                continue
            if block.storage.skips and bits < max(BITS):
                if block.may_be_dense:
                    dense = replace(block, storage=Format.DENSE, ranks=range(0))
                    yield replace(dense, price=self._price(dense, bits))
            else:
                yield replace(block, price=self._price(block, bits))

    def _price(self, block: Block, bits: int) -> Price:
        n_bytes = bytes_at_ranks(block, STORED_AS[bits], self.projections)
        return Price(n_bytes, bits, self._nats(block, bits))

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
