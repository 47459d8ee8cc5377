"""On which side of a weight its moments are taken, and the bytes they take; free of torch, for plans."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from engine.types import InputGroup, Projection


def is_wide(projection: Projection) -> bool:
    """Whether the output side is the smaller one (out <= in), on which the projection is decomposed."""
    return projection.out_features <= projection.in_features


def needs_input_moment(group: InputGroup) -> bool:
    """Whether some block of the group is decomposed on its input side."""
    return len(group.members) > 1 or not is_wide(group.members[0])


def keeps_input_moment(group: InputGroup, downs: Collection[str]) -> bool:
    """Whether G of a group is kept: a block of it is decomposed on that side, or it reads the neurons of an MLP."""
    return needs_input_moment(group) or group.name in downs


def keeps_common_moment(stack: Projection) -> bool:
    """Whether the moment on the side that experts have in common is kept beside those on the smaller side."""
    assert stack.experts is not None
    return is_wide(stack) is stack.experts.share_input


def common_side(stack: Projection) -> int:
    """Return the width of the side that experts have in common."""
    assert stack.experts is not None
    return stack.in_features if stack.experts.share_input else stack.out_features


def statistics_bytes(groups: Sequence[InputGroup], n_sequences: int, downs: Collection[str]) -> int:
    """Return the bytes that the moments of these groups take while they are collected."""
    total = 0
    for group in groups:
        if group.is_stack:
            total += _stack_bytes(group.members[0])
            continue
        total += 4 * n_sequences * group.in_features
        if keeps_input_moment(group, downs):
            total += 4 * group.in_features**2
        else:
            total += 4 * group.out_features**2
        total += sum(4 * min(p.out_features, p.in_features) ** 2 for p in group.members)
    return total


def _stack_bytes(stack: Projection) -> int:
    of_experts = 2 * stack.matrices * min(stack.out_features, stack.in_features) ** 2
    return 4 * (of_experts + (common_side(stack) ** 2 if keeps_common_moment(stack) else 0))
