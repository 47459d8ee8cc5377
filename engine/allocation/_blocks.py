"""What an allocator may decide: blocks with their choices; a lock is a block that has one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engine.allocation._membership import STACKED, UNSHARED
from engine.errors import InvalidRankMapError
from engine.formats import all_rank_params, max_useful_rank, rank_params
from engine.types import BlockRank, Format

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engine.types import DistortionCurve

FEWEST_STEPS: Final = 32
"""How many steps the smaller side of a matrix is divided into at least."""
LARGEST_STEP: Final = 32
"""Largest step of ranks that alignment asks for, a power of two."""


def aligned_step(curve: DistortionCurve, rank_step: int) -> int:
    """Return the least multiple of ``rank_step`` that suits arithmetic units.

    They work on 8 to 32 numbers at once, and libraries keep code for every shape they have met, so that matrices with
    odd sides are slow and cost memory. Ranks are therefore multiples of the largest power of two up to 32 that divides
    the smaller side into at least 32 steps, which costs next to nothing in the loss.
    """
    most = min(curve.in_features, curve.out_features) // FEWEST_STEPS
    return math.lcm(rank_step, 1 << min(max(most, 1), LARGEST_STEP).bit_length() - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Price:
    """What a block costs where a budget is not one of parameters.

    Attributes:
        costs: (max_rank + 1,) at every rank, that of the dense block at 0.
        bits: of its weights; ``None``: those of the whole model.
        nats: (max_rank + 1,) what rounding to the bits adds at every rank, to the dense block at 0; ``None``: nothing.
    """

    costs: NDArray[np.int64]
    bits: int | None = None
    nats: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One block and its choices: some ranks of one format, and perhaps dense.

    In width a rank is the number of neurons that are kept.

    Attributes:
        curve: what each rank does to the loss.
        storage: the format of ``ranks``; dense if there are none.
        ranks: the ranks it may take, each cheaper than dense unless locked.
        may_be_dense: false only for a lock at a rank.
        price: of its choices; ``None``: their parameters.
    """

    curve: DistortionCurve
    storage: Format
    ranks: range
    may_be_dense: bool = True
    price: Price | None = None

    @classmethod
    def open(cls, curve: DistortionCurve, storage: Format, rank_step: int, min_rank: int = 1) -> Block:
        """Return a free block: dense, or a multiple of ``rank_step`` from ``min_rank`` that saves any."""
        if storage is Format.DENSE:
            return cls(curve, storage, range(0))
        storage = STACKED.get(storage, storage) if curve.matrices > 1 else storage
        top = min(max_useful_rank(storage, curve.in_features, curve.out_features), curve.max_rank)
        first = -(-min_rank // rank_step) * rank_step
        return cls(curve, storage, range(first, top + 1, rank_step))

    @classmethod
    def locked(cls, curve: DistortionCurve, lock: BlockRank) -> Block:
        """Return a block whose only choice is ``lock``.

        Raises:
            InvalidRankMapError: the curve does not reach the lock's rank.
        """
        if lock.rank is None:
            return cls(curve, Format.DENSE, range(0))
        if lock.rank > curve.max_rank:
            size = "width" if lock.format is Format.WIDTH else "rank"
            raise InvalidRankMapError(
                f"{curve.name} is held at {size} {lock.rank}; expected a {size} from 1 to {curve.max_rank}, or dense."
            )
        alone = STACKED if curve.matrices > 1 else UNSHARED
        storage = alone.get(lock.format, lock.format) if len(curve.members) == 1 else lock.format
        return cls(curve, storage, range(lock.rank, lock.rank + 1), may_be_dense=False)

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to choose."""
        return len(self.ranks) + self.may_be_dense == 1

    @property
    def cheapest(self) -> int | None:
        """The choice with the fewest parameters (``None``: dense)."""
        return self.ranks[0] if self.ranks else None

    def rank_at_most(self, rank: int) -> int:
        """Return the largest allowed rank up to ``rank``, or the smallest there is."""
        steps = (min(rank, self.ranks[-1]) - self.ranks[0]) // self.ranks.step
        return self.ranks[max(steps, 0)]

    def params(self, rank: int | None) -> int:
        """Return the parameters of the block at ``rank`` (``None``: dense)."""
        if rank is None:
            return self.curve.dense_params
        curve = self.curve
        return curve.matrices * rank_params(self.storage, rank, curve.in_features, curve.out_features)

    def nats(self, rank: int | None) -> float:
        """Return the predicted loss increase at ``rank`` (``None``: dense), rounding included, in nats per token."""
        cut = 0.0 if rank is None else float(self.curve.nats[rank])
        return cut if self.rounding_nats is None else cut + float(self.rounding_nats[rank or 0])

    @property
    def rounding_nats(self) -> NDArray[np.float64] | None:
        """(max_rank + 1,) what rounding adds at every rank, to the dense block at 0; ``None``: nothing is rounded."""
        return None if self.price is None else self.price.nats

    def costs(self, ranks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return what ranks cost (0: dense), in parameters unless the block has prices."""
        if self.price is not None:
            return self.price.costs[ranks]
        curve = self.curve
        costs = curve.matrices * all_rank_params(self.storage, curve.max_rank, curve.in_features, curve.out_features)
        costs[0] = curve.dense_params
        return costs[ranks]

    def decide(self, rank: int | None) -> tuple[BlockRank, ...]:
        """Return the decision as rank-map blocks; what is dense is one block per projection."""
        bits = None if self.price is None else self.price.bits
        if rank is None:
            return tuple(BlockRank((name,), Format.DENSE, None, bits) for name in self.curve.members)
        return (BlockRank(self.curve.members, self.storage, rank, bits),)
