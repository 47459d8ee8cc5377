"""Which projections may form a block; the same rule for locks and for rank maps from files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import InvalidRankMapError
from engine.registry import did_you_mean, shown
from engine.types import Format

if TYPE_CHECKING:
    from collections.abc import Iterable

    from engine.types import BlockRank

UNSHARED = {Format.CAT: Format.LOW_RANK, Format.SKIP_CAT: Format.SKIP}
"""What a shared format comes down to for a projection on its own."""


STACKED = {Format.CAT: Format.LOW_RANK, Format.SKIP: Format.LOW_RANK, Format.SKIP_CAT: Format.LOW_RANK}
"""What a format comes down to for a stack of experts, which skips no columns."""


def check_membership(
    blocks: Iterable[BlockRank], groups: Iterable[tuple[str, ...]], mlps: Iterable[tuple[str, ...]] = ()
) -> None:
    """Check that every block is one projection, one whole input group or one MLP, and that no two overlap.

    Args:
        blocks: decisions, for some or all of the projections.
        groups: the projection names of each input group, in the order they run.
        mlps: those of each MLP that may have a width, in the order they run.

    Raises:
        InvalidRankMapError: a block is not; the message names it.
    """
    group_of = {name: group for group in groups for name in group}
    mlp_of = {name: mlp for mlp in mlps for name in mlp}
    seen: set[str] = set()
    for block in blocks:
        for name in block.members:
            if name not in group_of:
                raise InvalidRankMapError(
                    f"The model has no compressible projection {shown(name)}{did_you_mean(name, group_of)}; "
                    "use the names the analysis lists."
                )
            if name in seen:
                raise InvalidRankMapError(f"The projection {name} is in more than one block; keep one of them.")
            seen.add(name)
        if not block.members:
            raise InvalidRankMapError("A block without projections was given; name at least one projection.")
        first = block.members[0]
        if block.format is Format.WIDTH:
            _check_width(block, mlp_of.get(first))
        elif block.rank is not None or block.members != mlp_of.get(first):
            _check_ranks(block, group_of[first])


def _check_width(block: BlockRank, mlp: tuple[str, ...] | None) -> None:
    if mlp is None:
        raise InvalidRankMapError(
            f"{shown(block.name)} was given format width, but is part of no MLP whose width was analysed in this "
            "metric; give each projection a rank, or analyse the model again with the loss metric."
        )
    if block.members != mlp:
        raise InvalidRankMapError(
            f"{shown(block.name)} was given format width, which is that of a whole MLP; expected {'+'.join(mlp)} in "
            "this order."
        )


def _check_ranks(block: BlockRank, group: tuple[str, ...]) -> None:
    if len(block.members) == 1:
        if block.format.is_shared and len(group) > 1:
            raise InvalidRankMapError(
                f"{block.name} alone was given format {block.format}, which is shared by all of "
                f"{'+'.join(group)}; name them all or use {UNSHARED[block.format]}."
            )
    elif block.members != group:
        raise InvalidRankMapError(
            f"The block {shown(block.name)} is neither one projection nor a whole input group; expected "
            f"{'+'.join(group)} in this order, or one projection per block."
        )
    elif block.rank is not None and not block.format.is_shared:
        raise InvalidRankMapError(
            f"{block.name} was given format {block.format}, which holds one projection; use cat or skip+cat, "
            "or one block per projection."
        )
