"""Sums for the moments of a stack of experts: every expert has its own, over the tokens that it is given."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from engine.calibration.outer import add_outer, mirrored, rows_of
from engine.calibration.sides import common_side, is_wide, keeps_common_moment

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

    from engine.model.experts import Routing
    from engine.types import Projection


@dataclass(frozen=True, slots=True)
class StackMoments:
    """What the sums of a stack become, each divided by all tokens.

    Attributes:
        values: (experts, side, side) of inputs or outputs on the smaller side.
        gradients: (experts, side, side) of gradients there.
        common: of inputs or gradients of all experts, on the side that they share; ``None``: it follows from these.
    """

    values: torch.Tensor
    gradients: torch.Tensor
    common: torch.Tensor | None


class StackSums:
    """What the moments of one stack are averaged from, added up batch by batch in float32.

    Args:
        stack: the projection.
        n_start: tokens at the beginning of every sequence whose gradients are left out.
    """

    counts: torch.Tensor
    _values: torch.Tensor
    _gradients: torch.Tensor
    _common: torch.Tensor | None

    def __init__(self, stack: Projection, n_start: int) -> None:
        assert stack.experts is not None
        self.is_wide = is_wide(stack)
        self._stack = stack
        self._shares_input = stack.experts.share_input
        self._n_start = n_start
        self._is_begun = False

    def add_values(self, x: torch.Tensor, y: torch.Tensor, routing: Routing) -> None:
        """Add the input x (rows, in) and the output y (rows, out) of a pass."""
        self._begin(x.device)
        sizes = _sizes(routing)
        self.counts += torch.tensor(sizes, device=self.counts.device)
        self._add(self._values, rows_of(y if self.is_wide else x), sizes)
        if self._common is not None and self._shares_input:
            add_outer(self._common, rows_of(x))

    def add_gradient(self, gradient: torch.Tensor, routing: Routing, length: int) -> None:
        """Add the gradient of the summed loss on the smaller side, (rows, out or in), of sequences of a length."""
        self._add(self._gradients, self._without_start(gradient, routing, length), _sizes(routing))

    def add_output_gradient(self, gradient: torch.Tensor, routing: Routing, length: int) -> None:
        """Add the gradient by the output (rows, out), which experts have in common."""
        assert self._common is not None
        add_outer(self._common, self._without_start(gradient, routing, length))

    @property
    def needs_output_gradient(self) -> bool:
        """Whether gradients by the output are asked for beside those on the smaller side."""
        return keeps_common_moment(self._stack) and not self._shares_input

    def average(self, n_tokens: int, n_scored: int) -> StackMoments:
        """Return the moments; the sums become them in place."""
        for total in (*self._values.div_(n_tokens), *self._gradients.div_(n_scored)):
            mirrored(total)
        common = self._common
        if common is not None:
            common = mirrored(common.div_(n_tokens if self._shares_input else n_scored))
        return StackMoments(self._values, self._gradients, common)

    def _begin(self, device: torch.device) -> None:
        if not self._is_begun:
            self._is_begun = True
            n_experts, side = self._stack.matrices, min(self._stack.out_features, self._stack.in_features)
            self._values, self._gradients = (torch.zeros(n_experts, side, side, device=device) for _ in range(2))
            self.counts = torch.zeros(n_experts, dtype=torch.int64, device=device)
            shared = common_side(self._stack)
            self._common = torch.zeros(shared, shared, device=device) if keeps_common_moment(self._stack) else None

    def _add(self, totals: torch.Tensor, rows: torch.Tensor, sizes: list[int]) -> None:
        for total, of_expert in zip(totals, rows.split(sizes), strict=True):
            if len(of_expert):
                add_outer(total, of_expert)

    def _without_start(self, gradient: torch.Tensor, routing: Routing, length: int) -> torch.Tensor:
        return rows_of(gradient).masked_fill((routing.tokens % length < self._n_start)[:, None], 0)


def watch_stack(
    module: nn.Module, sums: StackSums, length: Callable[[], int], wants_moments: Callable[[], bool]
) -> contextlib.ExitStack:
    """Forward what a stack reads, gives and is told by backward passes to its sums, until what is returned closes.

    Args:
        module: of the stack, an :class:`ExpertStack`.
        sums: of the stack.
        length: of the sequences in the running batch.
        wants_moments: whether the running backward pass feeds moments.
    """

    def gradients(add: Callable[[torch.Tensor, Routing, int], None], routing: Routing) -> Callable[..., None]:
        def take(gradient: torch.Tensor) -> None:
            if wants_moments():
                add(gradient, routing, length())

        return take

    def before(_: nn.Module, given: tuple[torch.Tensor, Routing]) -> tuple[torch.Tensor, Routing] | None:
        rows, routing = given
        if sums.is_wide:
            return None
        own = rows.view_as(rows) if rows.requires_grad else rows.detach().requires_grad_()
        own.register_hook(gradients(sums.add_gradient, routing))
        return own, routing

    def after(_: nn.Module, given: tuple[torch.Tensor, Routing], output: torch.Tensor) -> None:
        rows, routing = given
        with torch.no_grad(), torch.autocast(output.device.type, enabled=False):
            sums.add_values(rows, output, routing)
        if sums.is_wide:
            output.register_hook(gradients(sums.add_gradient, routing))
        if sums.needs_output_gradient:
            output.register_hook(gradients(sums.add_output_gradient, routing))

    stack = contextlib.ExitStack()
    stack.callback(module.register_forward_pre_hook(before).remove)
    stack.callback(module.register_forward_hook(after).remove)
    return stack


def _sizes(routing: Routing) -> list[int]:
    sizes: list[int] = routing.ends.diff(prepend=routing.ends.new_zeros(1)).tolist()
    return sizes
