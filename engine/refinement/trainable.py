"""Factors and narrowed matrices as parameters of ordinary size, for as long as they are trained."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.utils import parametrize

from engine.compression.layers import FactoredLinear, NarrowedLinear
from engine.model.experts import ExpertStack, FactoredStack

if TYPE_CHECKING:
    from collections.abc import Iterator

_LEAST_SCALE = 1e-4


class _Scaled(nn.Module):
    """A factor written as an array of ordinary size times the scale of its rows and columns.

    Columns that read a feature of large variance are small, and a step of the same size everywhere would drown
    what they say; in this form an optimiser's steps are in relation to what is there.
    """

    scale: torch.Tensor

    def __init__(self, factor: torch.Tensor) -> None:
        super().__init__()
        squares = factor.detach().pow(2)
        mean = squares.mean((-2, -1), keepdim=True).clamp_min(torch.finfo(factor.dtype).tiny)
        rows, columns = squares.mean(-1, keepdim=True) / mean, squares.mean(-2, keepdim=True) / mean
        scale = (mean * rows.clamp_min(_LEAST_SCALE) * columns.clamp_min(_LEAST_SCALE)).sqrt()
        self.register_buffer("scale", scale, persistent=False)

    def forward(self, relative: torch.Tensor) -> torch.Tensor:
        """Return the factor."""
        return relative * self.scale

    def right_inverse(self, factor: torch.Tensor) -> torch.Tensor:
        """Undo :meth:`forward`."""
        return factor / self.scale


@contextlib.contextmanager
def factors_in_training(model: nn.Module) -> Iterator[list[nn.Parameter]]:
    """Yield factors and narrowed matrices, shared ones once, as parameters of ordinary size; they stay as they end up.

    Meanwhile nothing else takes gradients: the rest is shared with the dense model.
    """
    compressed = [m for m in model.modules() if isinstance(m, FactoredLinear | FactoredStack | NarrowedLinear)]
    # A group's inner factor is listed under one of its members only.
    kinds = nn.Linear | ExpertStack
    modules = [m for part in compressed for m in part.modules() if isinstance(m, kinds) and m.weight.numel()]
    frozen = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    parameters = []
    for module in modules:
        parametrize.register_parametrization(module, "weight", _Scaled(module.weight))
        parameters.append(module.get_parameter("parametrizations.weight.original"))
    for parameter in parameters:
        parameter.requires_grad_(True)
    try:
        yield parameters
    finally:
        for module in modules:
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
            module.weight.requires_grad_(False)
        for parameter in frozen:
            parameter.requires_grad_(True)
