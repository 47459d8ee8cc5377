"""What an allocator may decide: the blocks of every group, with locks as blocks that have one choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.allocation._membership import UNSHARED, check_membership
from engine.errors import InvalidRankMapError
from engine.formats import max_useful_rank, rank_params
from engine.types import BlockRank, Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engine.types import DistortionCurve, GroupCurves


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One block and its choices: some ranks of one factored format, and perhaps dense.

    Attributes:
        curve: what each rank does to the loss.
        storage: the factored format of ``ranks``; dense if there are none.
        ranks: the ranks it may take, each cheaper than dense unless locked.
        may_be_dense: false only for a lock at a rank.
    """

    curve: DistortionCurve
    storage: Format
    ranks: range
    may_be_dense: bool = True

    @classmethod
    def open(cls, curve: DistortionCurve, storage: Format, rank_step: int, min_rank: int = 1) -> Block:
        """Return a free block: dense, or a multiple of ``rank_step`` from ``min_rank`` that saves any."""
        if storage is Format.DENSE:
            return cls(curve, storage, range(0))
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
            raise InvalidRankMapError(
                f"{curve.name} is held at rank {lock.rank}; expected a rank from 1 to {curve.max_rank}, or dense."
            )
        storage = UNSHARED.get(lock.format, lock.format) if len(curve.members) == 1 else lock.format
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
        return rank_params(self.storage, rank, self.curve.in_features, self.curve.out_features)

    def nats(self, rank: int | None) -> float:
        """Return the predicted loss increase at ``rank``, in nats per token; 0 when dense."""
        return 0.0 if rank is None else float(self.curve.nats[rank])

    def decide(self, rank: int | None) -> tuple[BlockRank, ...]:
        """Return the decision as rank-map blocks; a dense group is one dense block per projection."""
        if rank is None:
            return tuple(BlockRank((name,), Format.DENSE, None) for name in self.curve.members)
        return (BlockRank(self.curve.members, self.storage, rank),)


@dataclass(frozen=True, slots=True)
class GroupLocks:
    """The locks of one group: on the whole of it in a shared format, or on single members."""

    whole: BlockRank | None
    members: tuple[BlockRank | None, ...]

    @property
    def is_free(self) -> bool:
        """Whether nothing in the group is locked."""
        return self.whole is None and not any(self.members)


def assign_locks(groups: Sequence[GroupCurves], locks: Sequence[BlockRank]) -> list[GroupLocks]:
    """Return the locks of every group; a group locked dense has each member locked dense.

    Raises:
        InvalidRankMapError: a lock does not fit the groups, or two overlap.
    """
    members = [tuple(name for curve in group.separate for name in curve.members) for group in groups]
    check_membership(locks, members)
    lock_of = {name: lock for lock in locks for name in lock.members}
    result = []
    for group, names in zip(groups, members, strict=True):
        first = lock_of.get(names[0])
        is_whole = first is not None and len(first.members) > 1 and first.rank is not None
        if is_whole and group.shared is None:
            raise InvalidRankMapError(
                f"{'+'.join(names)} is held as one block, but was analysed without a shared curve; hold its "
                "projections one by one."
            )
        own = (None,) * len(names) if is_whole else tuple(lock_of.get(name) for name in names)
        result.append(GroupLocks(first if is_whole else None, own))
    return result


def can_share(group: GroupCurves, locks: GroupLocks) -> bool:
    """Whether the members may still be stored together."""
    return group.shared is not None and len(group.separate) > 1 and locks.is_free


def blocks_in_one_format(
    groups: Sequence[GroupCurves],
    storage: Format,
    locks: Sequence[BlockRank],
    *,
    rank_step: int,
    min_rank: int = 1,
) -> list[Block]:
    """Return the model's blocks, in model order, when every free one uses ``storage``.

    Raises:
        InvalidRankMapError: a lock does not fit the groups.
    """
    blocks = []
    alone = UNSHARED.get(storage, storage)
    for group, fixed in zip(groups, assign_locks(groups, locks), strict=True):
        if group.shared is not None and fixed.whole is not None:
            blocks.append(Block.locked(group.shared, fixed.whole))
        elif group.shared is not None and storage.is_shared and can_share(group, fixed):
            blocks.append(Block.open(group.shared, storage, rank_step, min_rank))
        else:
            blocks += [
                Block.locked(curve, lock) if lock else Block.open(curve, alone, rank_step, min_rank)
                for curve, lock in zip(group.separate, fixed.members, strict=True)
            ]
    return blocks
