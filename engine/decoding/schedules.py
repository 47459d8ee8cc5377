"""How the kept fraction declines while tokens are generated, and the ranks of every stage; free of torch.

References:
    FLRC, arXiv:2510.09332, progressive low-rank decoding, implemented from the published description; the
    two schedules and the clipping of ranks are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from engine.errors import InvalidSpecError
from engine.types import BlockRank, Format

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Stage = tuple[BlockRank, ...]
"""The decisions of one stage; projections in no block are dense."""


class ScheduleKind(StrEnum):
    """In what steps the kept fraction declines."""

    STAGED = "staged"
    LINEAR = "linear"


@dataclass(frozen=True, slots=True)
class RankSchedule:
    """Budgets from ``start`` down to ``end``, evenly spaced, each in force for the same number of tokens.

    The prompt and the first generated token always run at ``start``; after ``length`` tokens ``end`` stays.

    Attributes:
        kind: how it was asked for; the numbers below say all.
        start: kept fraction of the prompt and the first tokens, in (0, 1].
        end: kept fraction of the last tokens, at most ``start``.
        stages: number of budgets, the first and the last included.
        length: generated tokens over which all stages have had their turn.
    """

    kind: ScheduleKind
    start: float
    end: float
    stages: int
    length: int

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, fraction in (("start", self.start), ("end", self.end)):
            if not 0 < fraction <= 1:
                raise InvalidSpecError(
                    f"The {name} of the schedule was given as {fraction}; expected a kept fraction above 0 and at "
                    "most 1, for example 0.9."
                )
        if self.end > self.start:
            raise InvalidSpecError(
                f"The schedule starts at {self.start} and ends at {self.end}; ranks never grow while decoding, so "
                "the end is at most the start."
            )
        if self.stages < 1 or self.length < self.stages:
            raise InvalidSpecError(
                f"A schedule of {self.stages} stages over {self.length} tokens was asked for; expected at least one "
                "stage, and at least one token for each."
            )
        if self.stages == 1 and self.end != self.start:
            raise InvalidSpecError(
                f"One stage cannot decline from {self.start} to {self.end}; give at least 2 stages, or equal ends."
            )

    @classmethod
    def staged(cls, start: float, end: float, stages: int, step: int) -> RankSchedule:
        """Return the schedule that goes to the next of ``stages`` budgets every ``step`` generated tokens.

        Raises:
            InvalidSpecError: a value is out of range.
        """
        return cls(ScheduleKind.STAGED, start, end, stages, stages * step)

    @classmethod
    def linear(cls, start: float, end: float, length: int) -> RankSchedule:
        """Return the schedule with a budget of its own for each of ``length`` generated tokens.

        Raises:
            InvalidSpecError: a value is out of range.
        """
        return cls(ScheduleKind.LINEAR, start, end, length, length)

    @property
    def kept_fractions(self) -> tuple[float, ...]:
        """The budget of every stage, never increasing."""
        last = max(self.stages - 1, 1)
        return tuple(self.start + (self.end - self.start) * stage / last for stage in range(self.stages))

    def stage_at(self, n_generated: int) -> int:
        """Return the stage that produces the next token when ``n_generated`` have been generated."""
        return min(n_generated * self.stages // self.length, self.stages - 1)


def allocate_stages(schedule: RankSchedule, allocate: Callable[[float], Sequence[BlockRank]]) -> tuple[Stage, ...]:
    """Allocate every stage of a schedule so that no rank ever grows.

    Args:
        schedule: the budgets.
        allocate: kept fraction -> decisions; called once per stage.

    Raises:
        InvalidSpecError: a block is stored in a skip format, or differently in two stages.
        RankScopeError: whatever ``allocate`` raises.
    """
    stages: list[Stage] = []
    for kept_fraction in schedule.kept_fractions:
        blocks = tuple(allocate(kept_fraction))
        for block in blocks:
            require_sliceable(block.format, block.name)
        stages.append(clip_ranks(blocks, stages[-1]) if stages else blocks)
    return tuple(stages)


def require_sliceable(storage: Format, what: str) -> None:
    """Check that a format is dense, low-rank or cat.

    Args:
        storage: the format.
        what: is stored so, for the message.

    Raises:
        InvalidSpecError: it is a skip format or width.
    """
    if storage is Format.WIDTH:
        raise InvalidSpecError(
            f"{what} is stored as {storage}, which has no ranks that could shrink while decoding; use the format "
            "low-rank or cat for progressive decoding."
        )
    if storage.skips:
        raise InvalidSpecError(
            f"{what} is stored as {storage}, whose inner factor holds for one rank only and cannot be sliced while "
            "decoding; use the format low-rank or cat for progressive decoding."
        )


def clip_ranks(blocks: Sequence[BlockRank], earlier: Sequence[BlockRank]) -> Stage:
    """Return ``blocks`` with no rank above that of ``earlier`` (dense counts as above every rank).

    Raises:
        InvalidSpecError: a projection is factored with other members or in another format than before.
    """
    before = {name: block for block in earlier for name in block.members if block.rank is not None}
    result: dict[tuple[str, ...], BlockRank] = {}
    for block in blocks:
        known = tuple(dict.fromkeys(before[name] for name in block.members if name in before))
        if block.rank is None:
            dense = tuple(name for name in block.members if name not in before)
            clipped = [*known, *(BlockRank((name,), Format.DENSE, None) for name in dense)]
        elif not known:
            clipped = [block]
        else:
            clipped = [replace(block, rank=min(block.rank, b.rank)) for b in known if b.rank is not None]
            if any((b.members, b.format) != (block.members, block.format) for b in known):
                raise InvalidSpecError(
                    f"{block.name} is stored as {block.format} in one stage of progressive decoding and otherwise in "
                    "another; every stage has to factor a projection in the same block and format."
                )
        result |= {b.members: b for b in clipped}
    return tuple(result.values())
