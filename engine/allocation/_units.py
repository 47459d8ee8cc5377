"""What is decided together: an input group, with the MLPs that read the same input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.allocation._blocks import Block, aligned_step
from engine.allocation._membership import UNSHARED, check_membership
from engine.errors import InfeasibleBudgetError, InvalidRankMapError
from engine.types import BlockRank, Format, block_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from engine.types import DistortionCurve, GroupCurves


@dataclass(frozen=True, slots=True, eq=False)
class MlpCurves:
    """The curves of an MLP that can be narrowed: of its projections, and of all of them at a width."""

    up: tuple[DistortionCurve, ...]
    down: DistortionCurve
    width: DistortionCurve


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """An input group, with the down projections of the MLPs whose gate and up are in it.

    No choice in one unit depends on another. Within one they do: a group is stored together only if all its members
    are there, and an MLP at a width takes its own out.

    Attributes:
        group: the curves of the input group.
        mlps: those that read its input, in model order; no projection is in two of them.
        locks: of the unit's projections, by name.
    """

    group: GroupCurves
    mlps: tuple[MlpCurves, ...]
    locks: Mapping[str, BlockRank]

    @property
    def alone(self) -> list[DistortionCurve]:
        """The members of the group that are in no MLP, in model order."""
        inside = {curve.name for mlp in self.mlps for curve in mlp.up}
        return [curve for curve in self.group.separate if curve.name not in inside]

    @property
    def is_whole(self) -> bool:
        """Whether the whole group is locked as one block."""
        lock = self.locks.get(self.group.separate[0].name)
        return lock is not None and lock.format.is_shared and len(lock.members) > 1

    @property
    def can_share(self) -> bool:
        """Whether the group's members may still be stored together."""
        return (
            self.group.shared is not None
            and len(self.group.separate) > 1
            and not any(curve.name in self.locks for curve in self.group.separate)
        )

    def is_narrow(self, mlp: MlpCurves) -> bool:
        """Whether an MLP is locked at a width."""
        lock = self.locks.get(mlp.down.name)
        return lock is not None and lock.format is Format.WIDTH

    def can_narrow(self, mlp: MlpCurves) -> bool:
        """Whether an MLP may still be given a width."""
        return not any(name in self.locks for name in mlp.width.members)

    def block(self, curve: DistortionCurve, storage: Format, rank_step: int, min_rank: int = 1) -> Block:
        """Return a curve's block: with its lock as the only choice, or free in ``storage``.

        Raises:
            InvalidRankMapError: the curve does not reach the lock's rank.
        """
        lock = self.locks.get(curve.members[0])
        return Block.open(curve, storage, rank_step, min_rank) if lock is None else Block.locked(curve, lock)


def units_of(groups: Sequence[GroupCurves], locks: Sequence[BlockRank]) -> list[Unit]:
    """Return the units of a model in the order of their input groups.

    Args:
        groups: the curves of the model's input groups, in model order.
        locks: blocks whose decision is fixed.

    Raises:
        InvalidRankMapError: a lock does not fit the groups, or two overlap.
    """
    names_of = [tuple(name for curve in group.separate for name in curve.members) for group in groups]
    check_membership(locks, names_of, [group.width.members for group in groups if group.width is not None])
    lock_of = {name: lock for lock in locks for name in lock.members}
    mlp_from = _mlps_by_first(groups)
    units = []
    for group, names in zip(groups, names_of, strict=True):
        if group.width is not None:
            continue
        mlps = tuple(mlp_from[name] for name in names if name in mlp_from)
        decided = [*names, *(mlp.down.name for mlp in mlps)]
        unit = Unit(group, mlps, {name: lock_of[name] for name in decided if name in lock_of})
        if unit.is_whole and group.shared is None:
            raise InvalidRankMapError(
                f"{block_name(names)} is held as one block, but was analysed without a shared curve; hold its "
                "projections one by one."
            )
        units.append(unit)
    return units


def blocks_in_one_format(
    groups: Sequence[GroupCurves],
    storage: Format,
    locks: Sequence[BlockRank],
    *,
    rank_step: int,
    min_rank: int = 1,
) -> list[Block]:
    """Return the model's blocks, in model order, when every free one uses ``storage``.

    With width these are the MLPs, whose widths are multiples of :func:`aligned_step`; everything else is dense.

    Raises:
        InvalidRankMapError: a lock does not fit the groups.
        InfeasibleBudgetError: the format is width, but there is no curve of one.
    """
    if storage is Format.WIDTH and groups and not any(group.width for group in groups):
        raise InfeasibleBudgetError(
            "No MLP of this analysis has a curve of its width, so that width makes nothing smaller; choose another "
            "method or format, or analyse the model again with the loss metric if an earlier release did."
        )
    blocks = [block for unit in units_of(groups, locks) for block in _blocks_of(unit, storage, rank_step, min_rank)]
    places = model_order(groups)
    return sorted(blocks, key=lambda block: places[block.curve.members[0]])


def model_order(groups: Sequence[GroupCurves]) -> dict[str, int]:
    """Return the place of every projection in the model."""
    return {curve.name: place for place, curve in enumerate(curve for group in groups for curve in group.separate)}


def _blocks_of(unit: Unit, storage: Format, rank_step: int, min_rank: int) -> list[Block]:
    def blocks(curves: Iterable[DistortionCurve], stored: Format) -> list[Block]:
        return [unit.block(curve, stored, rank_step, min_rank) for curve in curves]

    apart = Format.DENSE if storage is Format.WIDTH else UNSHARED.get(storage, storage)
    shared = unit.group.shared
    if shared is not None and (unit.is_whole or (storage.is_shared and unit.can_share)):
        return blocks([shared], storage) + blocks([mlp.down for mlp in unit.mlps], apart)
    narrow = [m for m in unit.mlps if unit.is_narrow(m) or (storage is Format.WIDTH and unit.can_narrow(m))]
    ranked = [curve for mlp in unit.mlps if mlp not in narrow for curve in (*mlp.up, mlp.down)]
    widths = [unit.block(m.width, Format.WIDTH, aligned_step(m.width, rank_step), min_rank) for m in narrow]
    return widths + blocks([*unit.alone, *ranked], apart)


def _mlps_by_first(groups: Sequence[GroupCurves]) -> dict[str, MlpCurves]:
    """Return the MLPs that can be narrowed by the name of their first projection."""
    curve_of = {curve.name: curve for group in groups for curve in group.separate}
    mlps = {}
    for width in (group.width for group in groups if group.width is not None):
        *up, down = (curve_of[name] for name in width.members)
        mlps[up[0].name] = MlpCurves(tuple(up), down, width)
    return mlps
