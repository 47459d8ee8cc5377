"""Where in a decoder layer the output of a projection goes, found by probing."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

import torch

from engine.refinement.replay import LayerCall, run_layer

if TYPE_CHECKING:
    from torch import nn

_STEP = 0.5
_TOLERANCE = 1e-3
_FLOOR = 1e-3


class Target(Enum):
    """What the output of a projection is fitted to."""

    OUTPUT = "what the dense projection gives"
    BESIDE_INPUT = "what the dense layer's input and the dense projection give together"
    LAYER_OUTPUT = "what the dense layer gives"


@torch.no_grad()
def find_target(layer: nn.Module, projection: nn.Module, hidden: torch.Tensor, calls: dict[int, LayerCall]) -> Target:
    """Return what a projection adds to, in a dense layer.

    A change of its output that appears unchanged in the layer's output is added to that; one that the opposite
    change of the layer's input undoes is added to the input.

    Args:
        layer: holds the projection.
        projection: a linear module that runs once.
        hidden: (n, length, hidden) what the layer is given.
        calls: how it is called.
    """
    kept: list[torch.Tensor] = []

    def keep(_: nn.Module, __: object, output: torch.Tensor) -> None:
        kept.append(output)

    def give(_: nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
        return given.view_as(output).to(output)

    dtype = torch.float32
    hook = projection.register_forward_hook(keep)
    try:
        out = run_layer(layer, hidden, calls, dtype)
    finally:
        hook.remove()
    if kept[0].shape[-1] != out.shape[-1] or kept[0].numel() != out.numel():
        return Target.OUTPUT
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(out.shape, generator=generator).to(out)
    step = _STEP * out.pow(2).mean(-1, keepdim=True).sqrt() * noise
    hook = projection.register_forward_hook(give)
    try:
        given = kept[0].float().view_as(step) + step
        if _near(run_layer(layer, hidden, calls, dtype), out + step, step):
            return Target.LAYER_OUTPUT
        given = kept[0].float().view_as(step) - step
        if _near(run_layer(layer, hidden + step, calls, dtype), out, step):
            return Target.BESIDE_INPUT
    finally:
        hook.remove()
    return Target.OUTPUT


def token_weights(hidden: torch.Tensor) -> torch.Tensor:
    """Return (..., 1): one over each token's mean square, with which errors count as the next layer's norm sees them.

    Args:
        hidden: (..., hidden); a token of nearly no size counts as one a thousandth as large as the median.
    """
    size = hidden.pow(2).mean(-1, keepdim=True)
    floor = (_FLOOR * size.median()).clamp_min(torch.finfo(size.dtype).tiny)
    return 1 / size.clamp_min(floor)


def _near(a: torch.Tensor, b: torch.Tensor, scale: torch.Tensor) -> bool:
    return bool((a - b).norm() <= _TOLERANCE * scale.norm())
